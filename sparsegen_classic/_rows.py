"""Images as rows that are read when they are asked for, from memory or from files.

Files are read, not mapped: what was read once does not stay resident, a file that shrinks is an error and
not a crash, and a worker elsewhere gets the path instead of the data.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._archive import ArchiveError, read_npy_header


@dataclass(frozen=True)
class ArrayFile:
    """A C-contiguous array (n, ...) in a file, indexed by slices and integer arrays along its first axis."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def open_npy(cls, path: str | Path) -> ArrayFile:
        """Return the array of a ``.npy`` file; only its header is read."""
        path = Path(path).resolve()
        try:
            offset, shape, dtype = read_npy_header(path)
            if not shape:
                raise ArchiveError("it is a single value")
        except ArchiveError as error:
            raise ArchiveError(f"{path} cannot be read row by row: {error}") from error
        return cls(path, offset, shape, dtype)

    @classmethod
    def of_memmap(cls, array: np.memmap) -> ArrayFile | None:
        """Return what a memory map shows, or None if that is not one piece of a file."""
        mapped = getattr(array, "_mmap", None)
        if array.filename is None or mapped is None or not array.flags.c_contiguous:
            return None
        start = np.frombuffer(mapped, np.uint8).ctypes.data  # where the map of the file begins
        first = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
        return cls(Path(array.filename), first + array.ctypes.data - start, array.shape, array.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: slice | NDArray[np.integer]) -> NDArray[Any]:
        index = np.arange(len(self))[which]
        rows = np.empty((len(index), *self.shape[1:]), self.dtype)
        width = prod(self.shape[1:]) * self.dtype.itemsize
        if not rows.size:
            return rows
        target = rows.reshape(-1).view(np.uint8).data
        starts = np.flatnonzero(np.diff(index, prepend=-2) != 1)  # of runs of neighbours, read in one go
        with open(self.path, "rb", buffering=0) as file:
            for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(index)], strict=True):
                file.seek(self.offset + int(index[start]) * width)
                _read_into(file, target[start * width : stop * width])
        return rows


def _read_into(file: Any, target: memoryview) -> None:
    while len(target):
        n = file.readinto(target)
        if not n:
            raise OSError(f"{file.name} is shorter than it was; put the whole file back and go on")
        target = target[n:]


@dataclass(frozen=True)
class Rows:
    """Rows of floats (n, n_features) out of a source of images, less their mean.

    Attributes
    ----------
    source : array (n_images, ...) of numbers, ArrayFile or ImageStore
        Anything with ``shape`` and ``dtype`` that slices and integer arrays index.
    members : ndarray of int, or None
        The images that are the rows; None = all.
    mean : ndarray of shape (n_features,) or None
        What is subtracted.
    """

    source: Any
    members: NDArray[np.intp] | None = None
    mean: NDArray[np.floating] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and of values of each."""
        n = self.source.shape[0] if self.members is None else len(self.members)
        return n, prod(self.source.shape[1:])

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of the rows: float64 for a source of float64, else float32."""
        return np.dtype(np.float64 if self.source.dtype == np.float64 else np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: slice | NDArray[np.integer]) -> NDArray[np.floating]:
        images = self.source[which if self.members is None else self.members[which]]
        rows = np.ascontiguousarray(images.reshape(len(images), self.shape[1]), self.dtype)
        return rows if self.mean is None else np.asarray(rows - self.mean, self.dtype)


def as_source(X: Any) -> Any:
    """Return what :class:`Rows` reads images from: the file behind a memory map, anything else as it is."""
    if isinstance(X, np.memmap):
        return ArrayFile.of_memmap(X) or X
    return X
