"""Images to be measured, checked; training images may stay on disk, of which parts and samples are read."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic.metrics._rows import is_on_disk, rows_to_read

_PART = 4096  # images read at a time
_VALUES = 2**26  # how many values of training images bins and components are made from

Images = Any  # NDArray[np.float32] or TrainingImages


class TrainingImages:
    """Images on disk (n, h, w[, c]) in [0, 1], indexed by slices and integer arrays as if of float32.

    Parameters
    ----------
    source : Rows, memory map or image store
        At least ten images.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, source: Any):
        self._rows = rows_to_read("training", source)
        self.shape = (len(self._rows), *self._rows.source.shape[1:])
        _check_number("training", self.shape, 10)
        for part in parts_of(self):
            check_images("training", self[part], 1)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: slice | NDArray[np.integer]) -> NDArray[np.float32]:
        rows = self._rows[which]
        return np.asarray(rows, np.float32).reshape(len(rows), *self.shape[1:])


def training_images(images: Any) -> Images:
    """Return training images as a checked array, or as TrainingImages if they are on disk."""
    if isinstance(images, TrainingImages):
        return images
    return TrainingImages(images) if is_on_disk(images) else check_images("training", images)


def parts_of(images: Images) -> Iterator[slice]:
    """Yield the parts that images are read in."""
    for start in range(0, len(images), _PART):
        yield slice(start, min(start + _PART, len(images)))


def some_of(images: Images, seed: int) -> NDArray[np.float32]:
    """Return all images, or as many of them at random as have 2**26 values in all."""
    most = max(_VALUES // prod(images.shape[1:]), 10)
    if len(images) <= most:
        return images[:]
    return images[np.sort(np.random.default_rng(seed).choice(len(images), most, replace=False))]


def check_images(name: str, images: Any, least: int = 10) -> NDArray[np.float32]:
    """Return images as an array of float32 in [0, 1], or raise a ValueError."""
    array = np.asarray(images[:] if is_on_disk(images) else images, np.float32)
    _check_number(name, array.shape, least)
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"{name} must be finite and lie in [0, 1], found values from {low:.6g} to {high:.6g}; clip them"
        )
    return array


def _check_number(name: str, shape: tuple[int, ...], least: int) -> None:
    if len(shape) not in (3, 4) or shape[0] < least:
        raise ValueError(
            f"{name} must be at least {least} images, (n, h, w) or (n, h, w, c), found shape {shape}"
        )
