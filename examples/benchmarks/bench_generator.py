"""The generator end to end: seconds and peak memory to fit and to draw, each step in a fresh process.

MNIST (60,000 images, one model a class) and 4,400 aligned faces 64x64. No peer exists; the prototype this
project started from needed minutes. A few figures stand beside the times, for a bad model is soon fitted:
held-out reconstruction error, supports equal to a training support, and the median distance to the nearest
training image against that of held-out images. How good the images are is for ``bench_generation.py``.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from surroundings import DATA

from sparsegen_classic import (
    SparseImageGenerator,
    load_model,
    nearest_images,
    open_images,
    save_model,
)


def load(name):
    """Return training images, their labels, held-out images and theirs."""
    if name == "mnist":
        train, test = (open_images(DATA / "mnist", split=split) for split in ("train", "test"))
        return train.images, train.labels, test.images, test.labels
    faces = open_images(DATA / "faces" / "utk_aligned4400_64.npz").images
    return faces[:4000], None, faces[4000:], None


def fit(name, path):
    images, labels, *_ = load(name)
    start = time.perf_counter()
    generator = SparseImageGenerator(per_class=labels is not None, random_state=0, n_jobs=-1).fit(
        images, labels
    )
    seconds = time.perf_counter() - start
    save_model(generator, path)
    facts = generator.summary()
    report(
        f"fit {len(images)} images, {facts['n_components'][0]} atoms, {facts['n_groups'][0]} groups", seconds
    )


def sample(name, path):
    generator = load_model(path)
    start = time.perf_counter()
    draws = generator.draw(1000, random_state=1)
    report("draw 1,000 images", time.perf_counter() - start)
    images, _, held_out, labels = load(name)
    distance, floor = (
        np.median(nearest_images(part[:1000], images, n_jobs=-1)[1]) for part in (draws.images, held_out)
    )
    print(f"  supports equal to a training support: {draws.in_training.mean():.2%}")
    print(f"  median distance to the nearest training image: {distance:.2f} (held-out images: {floor:.2f})")
    error = held_out - generator.reconstruct(held_out, labels)
    print(
        f"  held-out RMSE of reconstructions: {np.sqrt(np.mean(error**2)):.4f} (images: {held_out.std():.4f})"
    )


def report(what, seconds):
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  {what}: {seconds:.1f} s, peak memory of the process {memory:.2f} GiB")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        {"fit": fit, "sample": sample}[sys.argv[1]](*sys.argv[2:])
    elif not DATA.is_dir():
        print(f"no data sets at {DATA}: set SPARSEGEN_DATA")
    else:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("mnist", "faces"):
                print(name, flush=True)
                for step in ("fit", "sample"):
                    path = Path(folder, f"{name}.npz")
                    subprocess.run([sys.executable, __file__, step, name, path], check=True)
