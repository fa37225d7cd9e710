"""Write a folder of many unaligned faces, for runs at the scale of the paper's largest (200,000 images).

    make_faces.py FOLDER --n 200000

Every file is one of the 13,233 grey 64x64 faces of LFWcrop (``faces/lfwcrop_grey_64.npz`` of the data sets),
mirrored or not, turned, scaled and shifted at random: one bicubic resampling of the face continued by its
reflection, so that no border is black. Files lie 1,000 to a folder: ``000/000000.jpg``, ...

A file depends on the seed and its own number only: the folder can be made by any number of processes, and
after an interruption the same command goes on (files that exist are kept). The first N files of a large
folder are the folder of N. One person in ten is left out; ``--held-out`` makes faces of those, and no person
is in both. ``--synthetic`` takes scikit-learn's digits instead of faces and needs no data set.

JPEG (quality 95) rather than PNG, because folders of photographs hold JPEG, it is written in half the time
and takes a quarter less space; reading takes equally long.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image
from surroundings import DATA
from tqdm import tqdm

from sparsegen_classic import open_images

SIDE, MARGIN, IN_A_FOLDER = 64, 16, 1000
SHIFT, ANGLE, SCALE = 4.0, 10.0, 1.1  # most: pixels, degrees, factor; the margin holds all of it
_CONTINUED = np.pad(np.arange(SIDE), MARGIN, mode="reflect")


def load_sources(held_out=False, synthetic=False):
    """Return the faces (n, 64, 64), uint8, of nine people in ten, or of the others."""
    if synthetic:
        faces = np.rint(open_images("digits", size=SIDE, fit="resize").images * 255).astype(np.uint8)
        people = np.arange(len(faces))
    else:
        path = DATA / "faces" / "lfwcrop_grey_64.npz"
        if not path.exists():
            raise FileNotFoundError(
                f"{path} does not exist: set SPARSEGEN_DATA to the folder that holds faces/, or make digits "
                "with --synthetic"
            )
        with np.load(path) as archive:
            faces, people = archive["images"], archive["ids"]
    names = np.random.default_rng(0).permutation(np.unique(people))
    return faces[np.isin(people, names[: len(names) // 10]) == held_out]


def vary(face, rng):
    """Return the face (64, 64), uint8, mirrored or not, turned, scaled and shifted, as a Pillow image."""
    mirror = rng.choice((-1, 1))
    angle, zoom = np.radians(rng.uniform(-ANGLE, ANGLE)), SCALE ** rng.uniform(-1, 1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    turn[:, 0] *= mirror
    # Pillow wants where the pixels of the result come from; their centres turn about the middle
    origin = SIDE / 2 + MARGIN + rng.uniform(-SHIFT, SHIFT, 2) - turn @ (SIDE / 2, SIDE / 2)
    affine = (*turn[0], origin[0], *turn[1], origin[1])
    continued = Image.fromarray(face[np.ix_(_CONTINUED, _CONTINUED)])
    return continued.transform((SIDE, SIDE), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)


def write_folder(folder, first, last, faces, seed):
    """Write the files numbered ``first`` to ``last`` that are not there yet."""
    path = Path(folder, f"{first // IN_A_FOLDER:03d}")
    path.mkdir(parents=True, exist_ok=True)
    there = set(os.listdir(path))
    for i in range(first, last):
        name = f"{i:06d}.jpg"
        if name not in there:
            image = vary(faces[i % len(faces)], np.random.default_rng([seed, i]))
            image.save(path / f".{name}", format="jpeg", quality=95)
            os.replace(path / f".{name}", path / name)


def make_folder(folder, n, faces, seed=0, n_jobs=-1):
    """Write ``n`` variations of ``faces`` below ``folder``."""
    firsts = range(0, n, IN_A_FOLDER)
    jobs = (delayed(write_folder)(folder, i, min(i + IN_A_FOLDER, n), faces, seed) for i in firsts)
    done = Parallel(n_jobs, return_as="generator")(jobs)
    for _ in tqdm(done, desc="writing faces", unit="thousand", total=len(firsts), disable=None):
        pass


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--n", type=int, default=200_000, help="files; default 200000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", action="store_true", help="of the people left out")
    parser.add_argument("--synthetic", action="store_true", help="digits instead of faces")
    parser.add_argument("--jobs", type=int, default=-1)
    options = parser.parse_args()
    try:
        faces = load_sources(options.held_out, options.synthetic)
    except FileNotFoundError as error:
        sys.exit(str(error))
    make_folder(options.folder, options.n, faces, options.seed, options.jobs)
    print(f"{options.folder} holds {options.n} variations of {len(faces)} images")


if __name__ == "__main__":
    main()
