"""Arrays as image sources: numpy arrays, .npy and .npz files, the digits of scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._archive import ArchiveError, is_npz, open_archive, read_npy
from sparsegen_classic.images.pixels import PixelRules, check_pixels, to_size, to_unit


def convert_array(name: str, pixels: NDArray[Any], rules: PixelRules) -> NDArray[np.float32]:
    """Return (n, h, w) or (n, h, w, c) pixels as a new float32 array, converted and fitted by ``rules``."""
    if pixels.ndim not in (3, 4):
        raise ValueError(
            f"{name} must be (n, h, w) or (n, h, w, c), found shape {pixels.shape}; reshape flat images, "
            "give a single image as X[numpy.newaxis]"
        )
    if pixels.ndim == 4 and pixels.shape[-1] not in (1, 2, 3, 4):
        raise ValueError(
            f"{name} of four dimensions must hold 1 to 4 channels in the last one, found shape {pixels.shape}"
            "; for (n, c, h, w) pass numpy.moveaxis(X, 1, -1)"
        )
    if pixels.size == 0:
        raise ValueError(f"{name} must hold at least one pixel, found shape {pixels.shape}")
    check_pixels(name, pixels)
    pixels = pixels if pixels.ndim == 4 else pixels[..., np.newaxis]
    images = np.empty((len(pixels), *rules.output_shape(*pixels.shape[1:3])), np.float32)
    step = max(1, 2**20 // pixels[0].size)  # a block of a few MB at a time
    for start in range(0, len(pixels), step):
        block = to_unit(pixels[start : start + step], rules)
        if rules.size in (None, pixels.shape[1:3]):
            images[start : start + step] = block
        else:
            for i, image in enumerate(block, start):
                images[i] = to_size(image, rules, f"each image of {name}")
    return images


def read_array_file(path: Path, labels: bool) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the images of a .npy file, or ``images`` and, if present, ``labels`` of a .npz file."""
    try:
        if not is_npz(path):
            return read_npy(path), None
        with open_archive(path) as archive:
            keys = archive.names
            images = archive.read("images") if "images" in keys else None
            targets = archive.read("labels") if labels and "labels" in keys else None
    except ArchiveError as error:
        raise ValueError(f"{path} cannot be read as a {path.suffix} file without pickle: {error}") from error
    if images is None:
        raise ValueError(
            f"{path} must hold the key 'images', found {', '.join(keys) or 'no keys'}; rename it"
        )
    if targets is not None and targets.shape != images.shape[:1]:
        raise ValueError(
            f"{path}: labels must be one per image, expected shape {images.shape[:1]}, found {targets.shape}"
            "; repair the file, or pass labels=False"
        )
    return images, targets


def load_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the 1797 bundled 8x8 digits of scikit-learn, their 17 levels scaled to [0, 1], and 0-9."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images / 16, digits.target.astype(np.int64)
