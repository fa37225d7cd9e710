"""Trainlets beside K-SVD and beside the wavelets alone: held-out error, seconds, memory, on 64x64 faces.

Every fit runs in a process of its own, on two threads, in float32, with the mean image removed; compilation
is not counted. Seconds are wall time, with the processor time of both threads beside it (on a busy machine
only the latter compares). Memory is the peak of the process's own (anonymous) memory during ``fit`` above
what it was before; the images are a memory map, which the system may drop at any time.
The error is the RMSE of held-out faces coded by the same OMP with the same number of atoms k, on [0, 1].
Give a number of seconds to stop starting new fits after it.
"""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from surroundings import DATA

from sparsegen_classic import KSVD, orthogonal_mp
from sparsegen_classic.dictionary import Trainlets
from sparsegen_classic.dictionary.wavelets import wavelet_base

FACES = DATA / "faces"
K = 20
LEARNERS = {"trainlets": Trainlets, "ksvd": KSVD}
FITS = [  # data, training faces, atoms, learner, passes
    ("utk_aligned4400_64", 4000, 500, "trainlets", (2, 5, 10)),
    ("utk_aligned4400_64", 4000, 500, "ksvd", (2, 5, 10)),
    ("utk_aligned4400_64", 4000, 200, "trainlets", (10,)),
    ("utk_aligned4400_64", 4000, 200, "ksvd", (10,)),
    ("lfwcrop_grey_64", 1000, 500, "trainlets", (5, 20)),
    ("lfwcrop_grey_64", 1000, 500, "ksvd", (5, 20)),
    ("lfwcrop_grey_64", 13000, 500, "trainlets", (1, 3, 6)),
    ("lfwcrop_grey_64", 13000, 500, "ksvd", (1, 3, 6)),
]


def prepare(name, n_train, folder):
    """Write training and held-out faces, mean image removed, as arrays that can be mapped."""
    with np.load(FACES / f"{name}.npz") as file:
        images = file["images"]
    rows = images.reshape(len(images), -1).astype(np.float32) / 255
    held_out = rows[max(n_train, len(rows) - 400) :]
    mean = rows[:n_train].mean(axis=0)
    np.save(folder / "train.npy", rows[:n_train] - mean)
    np.save(folder / "test.npy", held_out - mean)


def own_memory():
    """Return the anonymous memory of this process in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


class PeakMemory(threading.Thread):
    """Looks at the memory every few milliseconds until stopped."""

    def __init__(self):
        super().__init__(daemon=True)
        self.before = self.peak = own_memory()
        self.done = threading.Event()

    def run(self):
        while not self.done.wait(0.005):
            self.peak = max(self.peak, own_memory())


def fit(folder, learner, n_components, passes):
    X, test = (np.load(folder / name, mmap_mode="r") for name in ("train.npy", "test.npy"))

    def make(n, k, n_iter):
        return LEARNERS[learner](n, n_nonzero_coefs=k, max_iter=n_iter, random_state=0, n_jobs=2)

    make(10, 3, 2).fit(X[:200])  # compiles
    memory = PeakMemory()
    memory.start()
    wall, cpu = time.perf_counter(), time.process_time()
    model = make(n_components, K, passes).fit(X)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory.done.set()
    memory.join()
    error = rmse(test, model.components_)
    print(
        f"{learner:10s}{n_components:5d} atoms{passes:4d} passes{wall:8.1f} s{cpu:8.1f} s cpu"
        f"{memory.peak - memory.before:8.0f} MiB{error:9.4f}",
        flush=True,
    )


def rmse(X, components):
    codes = orthogonal_mp(X, components, K, n_jobs=2)
    return float(np.sqrt(((X - codes @ components) ** 2).mean()))


def wavelets_alone(folder):
    base = wavelet_base((64, 64), "sym8", np.float32)
    atoms = base.synthesize(np.eye(base.n_functions, dtype=np.float32))
    print(
        f"the {base.n_functions} wavelets alone{rmse(np.load(folder / 'test.npy'), atoms):57.4f}", flush=True
    )


def main(seconds):
    stop = time.perf_counter() + seconds
    print(f"k = {K}; columns: fit wall, fit processor time, fit memory, held-out RMSE")
    shown = None
    with tempfile.TemporaryDirectory() as folder:
        for name, n_train, n_components, learner, passes in FITS:
            if not (FACES / f"{name}.npz").exists():
                print(f"no {name} at {FACES}: set SPARSEGEN_DATA")
                continue
            if shown != (name, n_train):
                shown = (name, n_train)
                prepare(name, n_train, Path(folder))
                print(f"\n{n_train} faces of {name}", flush=True)
                wavelets_alone(Path(folder))
            for n_passes in passes:
                if time.perf_counter() < stop:
                    arguments = [__file__, folder, learner, str(n_components), str(n_passes)]
                    subprocess.run([sys.executable, *arguments], check=True)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        fit(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(float(sys.argv[1]) if len(sys.argv) == 2 else np.inf)
