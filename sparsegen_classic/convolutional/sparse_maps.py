"""Maps of a convolutional code with almost all entries zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class SparseMaps:
    """The non-zeros of an array of maps.

    Parameters
    ----------
    shape : tuple of int
        Shape of the dense array: (n_atoms, height, width), with a leading axis of images for a batch;
        (n_atoms, length) for signals.
    indices : ndarray of shape (nnz,), int64
        Positions in the flattened (C order) array, ascending.
    values : ndarray of shape (nnz,)
        Their values, not zero.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.convolutional import SparseMaps
    >>> maps = SparseMaps.from_dense(np.array([[0.0, 2.0, 0.0], [0.0, 0.0, -1.0]]))
    >>> maps.nnz, maps.coordinates
    (2, (array([0, 1]), array([1, 2])))
    """

    shape: tuple[int, ...]
    indices: NDArray[np.int64]
    values: NDArray[np.floating]

    @classmethod
    def from_dense(cls, maps: ArrayLike) -> SparseMaps:
        """Keep the non-zeros of a dense array."""
        dense = np.asarray(maps)
        indices = np.flatnonzero(dense)
        return cls(dense.shape, indices, dense.ravel()[indices])

    @property
    def nnz(self) -> int:
        """Number of non-zeros."""
        return len(self.values)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    @property
    def coordinates(self) -> tuple[NDArray[np.int64], ...]:
        """Positions along each axis, as from ``np.nonzero``."""
        return np.unravel_index(self.indices, self.shape)

    def to_dense(self) -> NDArray[np.floating]:
        """Return the array of shape ``shape``."""
        dense = np.zeros(self.shape, self.dtype)
        dense.ravel()[self.indices] = self.values
        return dense

    def __repr__(self) -> str:
        return f"SparseMaps(shape={self.shape}, nnz={self.nnz}, dtype={self.dtype})"
