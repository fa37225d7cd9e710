"""Dictionaries of patches from folders of images; one image at a time is in memory."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._checkpoint import Checkpoint, CheckpointError, describe
from sparsegen_classic._random import spawn_generators
from sparsegen_classic._validation import check_choice
from sparsegen_classic.dictionary import KSVD
from sparsegen_classic.images.patches import MEANS, check_patch_shape, sample_patches, split_means
from sparsegen_classic.restoration.patch_codes import image_files, iterate_images


def learn_patch_dictionary(
    source: str | os.PathLike[str] | NDArray[Any],
    *,
    patch_shape: int | tuple[int, int] = 8,
    n_components: int = 256,
    n_nonzero_coefs: int | None = None,
    tol: float | None = None,
    max_iter: int = 10,
    n_patches: int = 100_000,
    mean: str = "patch",
    mode: str = "L",
    errors: str = "raise",
    checkpoint: str | os.PathLike[str] | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> KSVD:
    """Learn a dictionary of patches by K-SVD from random patches of a folder of images.

    Parameters
    ----------
    source, mode, errors
        As for :func:`iterate_images`. In colour a patch holds all three channels.
    patch_shape : int or (int, int), default=8
        Sides of a patch; an int means a square.
    n_components, n_nonzero_coefs, tol, max_iter
        As for ``KSVD``.
    n_patches : int, default=100000
        Patches to learn from; every position in every image is equally likely.
    mean : {"patch", "none"}, default="patch"
        "patch" takes from every patch the mean of each of its channels.
    checkpoint : path, default=None
        Folder that keeps the patches, once they are taken, and the iterations; new, empty or of the same
        work. Interrupted at any moment, even killed, the same call goes on from there and ends with the same
        bits.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the patches and of K-SVD.
    n_jobs, verbose
        As for ``KSVD``.

    Returns
    -------
    KSVD
        Fitted, with the attributes ``patch_shape_`` ([h, w], or [h, w, 3] in colour) and ``patch_mean_``,
        which a model file keeps.

    Raises
    ------
    CheckpointError
        If the checkpoint is of another source, other parameters or versions, of files that have another name,
        size or date now, or in use.
    """
    check_choice("mean", mean, MEANS)
    sides = check_patch_shape(patch_shape)
    model = KSVD(
        n_components,
        n_nonzero_coefs=n_nonzero_coefs,
        tol=tol,
        max_iter=max_iter,
        random_state=random_state,
        n_jobs=n_jobs,
        verbose=verbose,
    )

    def take_patches() -> NDArray[np.float32]:
        (rng,) = spawn_generators(random_state, 1)
        images = (image for _, image in iterate_images(source, mode=mode, errors=errors, verbose=verbose))
        patches = sample_patches(images, n_patches, sides, rng)
        return split_means(patches, mean, 3 if mode == "RGB" else 1)[0]

    if checkpoint is None:
        model.fit(take_patches())
    else:
        given = {"patch_shape": sides, "n_patches": n_patches, "mean": mean, "mode": mode, "errors": errors}
        parameters = {name: describe(value) for name, value in given.items()} | describe(model)
        work = {"work": "learn-dictionary", "source": _name(source), "parameters": parameters}
        with Checkpoint(checkpoint, work) as stages:
            model = stages.learn("dictionary", model, _kept_patches(stages, _content(source), take_patches))
    model.patch_shape_ = [*sides, *([3] if mode == "RGB" else [])]
    model.patch_mean_ = mean
    return model


def _kept_patches(stages: Checkpoint, content: str, take: Any) -> NDArray[np.float32]:
    """Return the patches that were taken from the same content before, or take and keep them."""
    kept = stages.load("patches")
    if kept is None:
        stages.remove("steps")  # of other patches, if the seed is fresh
        kept = {"content": content, "patches": take()}
        stages.save("patches", kept)
    if not isinstance(kept, dict) or kept.get("content") != content or "patches" not in kept:
        raise CheckpointError(
            f"the patches in {stages.folder} were taken from other images, some have another name, size or "
            "date now; remove that folder to take them again, or give another"
        )
    return kept["patches"]


def _name(source: Any) -> str:
    return os.path.abspath(source) if isinstance(source, str | os.PathLike) else "array"


def _content(source: Any) -> str:
    """Tell images by names, sizes and dates of their files, or by their values."""
    if not isinstance(source, str | os.PathLike):
        return str(describe(np.asarray(source)))
    path = Path(source)
    others = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in image_files(path) or others if file.is_file()]
    stats = [(file, file.stat()) for file in files]
    lines = [f"{os.path.relpath(file, path)}\0{it.st_size}\0{it.st_mtime_ns}" for file, it in stats]
    return hashlib.sha256("\0".join(lines).encode(errors="surrogateescape")).hexdigest()
