"""A fit that is killed again and again until it ends, in its own process: ``killed_fits.py KIND WORK N``.

Compiled and imported once, it forks the fits, kills them with SIGKILL at random moments and prints how many
died, in which stages, and whether every model that was finished has the bytes of an undisturbed one.
"""

import faulthandler
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sparsegen_classic import KSVD, SparseImageGenerator, Trainlets, open_images, save_model, store_images

KINDS = {
    "trainlets": lambda: SparseImageGenerator(
        Trainlets(40, n_nonzero_coefs=5, max_iter=6, batch_size=128), random_state=0, n_groups=3
    ),
    "online": lambda: SparseImageGenerator(
        KSVD(24, n_nonzero_coefs=4, online=True, max_iter=3, batch_size=64),
        random_state=2,
        per_class=True,
        n_jobs=2,
    ),
    "batch": lambda: SparseImageGenerator(KSVD(40, n_nonzero_coefs=5, max_iter=12), random_state=1),
}


def fit(kind, source, work):
    """Store, fit and save: every part of it may have been done before."""
    store = store_images(source, work / "images")
    labels = np.arange(len(store)) % 3
    model = KINDS[kind]().fit(store, labels, checkpoint=work / "fit")
    save_model(model, work / "model.npz", overwrite=True)


def stage_of(work):
    """Name the furthest thing that the checkpoint holds."""
    for pattern in ("codes/*.npy", "dictionary.npz", "steps.npz"):
        if list(work.glob(f"fit/model-*/{pattern}")):
            return pattern
    return "images" if list(work.glob("images/blocks/*.npy")) else "nothing"


def main(kind, place, n_kills):
    place, rng = Path(place), np.random.default_rng(len(kind))
    tqdm.set_lock(threading.RLock())  # its own is shared by forks: one that is killed would keep it for good
    source = place / "source.npy"
    np.save(source, open_images("digits").images)
    (place / "whole").mkdir()
    for _ in range(2):  # the first compiles
        shutil.rmtree(place / "whole")
        (place / "whole").mkdir()
        start = time.monotonic()
        fit(kind, source, place / "whole")
        seconds = time.monotonic() - start
    work, killed, finished, stages = place / "work", 0, 0, {}
    work.mkdir()
    same = True
    while killed < n_kills or not finished:
        child = os.fork()
        if child == 0:
            faulthandler.dump_traceback_later(50, exit=True)  # of a fit that hangs
            try:
                fit(kind, source, work)
                os._exit(0)
            except BaseException as error:
                print(f"failed: {error!r}", file=sys.stderr)
                os._exit(1)
        deadline = time.monotonic() + (seconds * rng.random() ** 2 if killed < n_kills else 60)
        status = None
        while status is None and time.monotonic() < deadline:
            pid, code = os.waitpid(child, os.WNOHANG)
            status = code if pid else None
            time.sleep(0.002)
        if status is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            killed += 1
            stage = stage_of(work)
            stages[stage] = stages.get(stage, 0) + 1
            if rng.random() > 0.2:
                continue  # with what is there; else anew, for the early stages to be hit as well
        elif status:
            sys.exit(f"a fit ended with status {status}")
        else:
            finished += 1
            same &= (work / "model.npz").read_bytes() == (place / "whole" / "model.npz").read_bytes()
        shutil.rmtree(work)
        work.mkdir()
    print(json.dumps({"killed": killed, "finished": finished, "same": same, "stages": stages}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
