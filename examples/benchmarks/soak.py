"""Does memory stay flat? Fit, sample, save, load, encode and evaluate small models, again and again.

``--minutes 60`` is the long run. Each cycle fits another kind of model on other images, from memory or from
a store with a checkpoint, saves and loads it, and sees that the loaded one draws the same bits. Resident
memory, open files and threads are written to a CSV and shown every minute. The verdict takes the second half:
the median of all slopes (Theil and Sen). Exits with 1 if memory grows by more than ``--limit`` MB an hour, or
if files or threads pile up. Needs Linux (``/proc``).
"""

import argparse
import csv
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from scipy.stats import theilslopes

from sparsegen_classic import (
    KSVD,
    SparseImageGenerator,
    Trainlets,
    evaluate_generator,
    load_model,
    open_images,
    save_model,
    store_images,
)

KINDS = ("K-SVD", "a model a class", "online K-SVD", "Trainlets", "store and checkpoint")
_NOISE = 2.0  # MB that come and go: short runs cannot tell them from growth
COLUMNS = ("minute", "cycles", "resident_mb", "files", "threads")


def cycle(number, images, labels, folder):
    """Fit, save, load and use one model."""
    kind, seed = KINDS[number % len(KINDS)], number
    some = np.random.default_rng(seed).choice(len(images), 800, replace=False)
    images, labels = images[some], labels[some]
    if kind == "Trainlets":
        images = np.kron(images, np.ones((1, 2, 2), np.float32))
        dictionary = Trainlets(64, n_nonzero_coefs=6, max_iter=2)
    else:
        dictionary = KSVD(32, n_nonzero_coefs=4, max_iter=2, online=kind == "online K-SVD")
    generator = SparseImageGenerator(
        dictionary, per_class=kind == "a model a class", random_state=seed, n_jobs=2
    )
    if kind == "store and checkpoint":
        np.save(folder / "images.npy", images)
        store = store_images(folder / "images.npy", folder / "store", n_jobs=2)
        generator.fit(store, checkpoint=folder / "checkpoint")
    else:
        generator.fit(images, labels if generator.per_class else None)
    drawn = generator.sample(50, random_state=seed)
    loaded = load_model(save_model(generator, folder / "model.npz"))
    if not np.array_equal(loaded.sample(50, random_state=seed), drawn):
        raise AssertionError(f"cycle {number} ({kind}): the loaded model draws other images")
    generator.decode(generator.encode(images[:100], labels[:100]), labels[:100])
    if number % 10 == 3:
        evaluate_generator(generator, images[:200], images[200:], n_samples=200)


def measure():
    """Return resident memory in MB, open files and threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return (
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
    )


def verdict(rows, limit):
    """Print how much the second half grew; return whether that is too much."""
    minute, _, resident, files, threads = np.array(rows[len(rows) // 2 :]).T
    slope, _, low, high = theilslopes(resident, minute / 60)
    print(
        f"second half: {resident.min():.0f} to {resident.max():.0f} MB resident, {slope:+.1f} MB an hour "
        f"(95 %: {low:+.1f} to {high:+.1f}; limit {limit:g}); files {files[0]:.0f} to {files[-1]:.0f}, "
        f"threads {threads[0]:.0f} to {threads[-1]:.0f}"
    )
    hours = (minute[-1] - minute[0]) / 60
    grows = (slope > limit and slope * hours > _NOISE) or files[-1] > files[0] or threads[-1] > threads[0]
    print("memory is not flat" if grows else "memory is flat")
    return bool(grows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--limit", type=float, default=10, help="MB an hour that memory may grow")
    parser.add_argument("--csv", type=Path, default=Path("soak.csv"))
    arguments = parser.parse_args()
    data = open_images("digits")
    rows, start, number = [], time.monotonic(), 0
    every = min(60.0, 60 * arguments.minutes / 20)  # seconds
    with open(arguments.csv, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        while (now := time.monotonic() - start) < 60 * arguments.minutes:
            folder = Path(tempfile.mkdtemp(prefix="soak-"))
            cycle(number, data.images, data.labels, folder)
            shutil.rmtree(folder)
            number += 1
            if now >= every * len(rows) and number >= len(KINDS):
                rows.append((now / 60, number, *measure()))
                table.writerow([f"{value:.2f}" for value in rows[-1]])
                file.flush()
                print(
                    "minute {:.1f}: {} cycles, {:.1f} MB, {} files, {} threads".format(*rows[-1]), flush=True
                )
    return verdict(rows, arguments.limit)


if __name__ == "__main__":
    sys.exit(main())
