"""The nearest reference image of each sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._parallel import for_blocks
from sparsegen_classic.metrics._rows import as_rows, check_widths, rows_to_read

_BLOCK, _REFERENCES = 256, 4096  # a block of samples meets so many references at a time


def nearest_images(
    images: ArrayLike, references: Any, *, n_jobs: int | None = None
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the nearest reference of each image in Euclidean distance.

    Parameters
    ----------
    images : array-like of shape (n, ...)
        Images or feature rows.
    references : array-like, memory map or image store of shape (n_references, ...)
        What they are compared with, of the same size, e.g. the training images. They are read once, 4,096 at
        a time, so that a set on disk may be larger than the memory; the result is that of an array.
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.

    Returns
    -------
    indices : ndarray of shape (n,), intp
        The nearest reference; of equally near ones the first.
    distances : ndarray of shape (n,), float64
        Its distance, the root of the summed squared differences.

    Raises
    ------
    ValueError
        If there are no references or their size differs from that of the images.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.metrics import nearest_images
    >>> nearest_images(np.array([[0.9, 0.0]]), np.array([[0.0, 0.0], [1.0, 0.0]]))[0]
    array([1])
    """
    rows, others = as_rows("images", images), rows_to_read("references", references)
    check_widths(rows, others, ("images", "references"))
    indices, least = np.zeros(len(rows), np.intp), np.full(len(rows), np.inf)
    for start in range(0, len(others), _REFERENCES):
        part = as_rows("references", others[start : start + _REFERENCES])
        _search(rows, part, start, indices, least, n_jobs)
    distances = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        difference = rows[block] - others[indices[block]]
        distances[block] = np.sqrt(np.einsum("ij,ij->i", difference, difference, dtype=np.float64))
    return indices, distances


def _search(
    rows: NDArray[np.floating],
    part: NDArray[np.floating],
    start: int,
    indices: NDArray[np.intp],
    least: NDArray[np.float64],
    n_jobs: int | None,
) -> None:
    """Compare all rows with a part of the references, the first of which has the number ``start``."""
    squares = np.einsum("ij,ij->i", part, part)

    def search(block: slice) -> None:
        distance = squares - 2 * (rows[block] @ part.T)  # less a constant a row
        nearest = distance.argmin(axis=1)
        smallest = distance[np.arange(len(nearest)), nearest]
        closer = smallest < least[block]
        indices[block][closer], least[block][closer] = start + nearest[closer], smallest[closer]

    for_blocks(search, len(rows), _BLOCK, n_jobs)
