"""The nearest reference image of each sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from sparsegen_classic._parallel import for_blocks

_BLOCK, _REFERENCES = 256, 4096  # a block of samples meets so many references at a time


def nearest_images(
    images: ArrayLike, references: ArrayLike, *, n_jobs: int | None = None
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the nearest reference of each image in Euclidean distance.

    Parameters
    ----------
    images : array-like of shape (n, ...)
        Images or feature rows.
    references : array-like of shape (n_references, ...)
        What they are compared with, of the same size, e.g. the training images.
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
    rows, others = (
        check_array(part.reshape(len(part), -1), dtype=(np.float32, np.float64), input_name=name)
        for name, part in (("images", np.asarray(images)), ("references", np.asarray(references)))
    )
    if rows.shape[1] != others.shape[1]:
        raise ValueError(
            f"images have {rows.shape[1]} values each but references have {others.shape[1]}; "
            "bring both to one size"
        )
    squares = np.einsum("ij,ij->i", others, others)
    indices = np.zeros(len(rows), np.intp)

    def search(block: slice) -> None:
        best = np.full(len(rows[block]), np.inf)
        for start in range(0, len(others), _REFERENCES):
            part = slice(start, start + _REFERENCES)
            distance = squares[part] - 2 * (rows[block] @ others[part].T)  # less a constant a row
            nearest = distance.argmin(axis=1)
            smallest = distance[np.arange(len(nearest)), nearest]
            closer = smallest < best
            indices[block][closer], best[closer] = start + nearest[closer], smallest[closer]

    for_blocks(search, len(rows), _BLOCK, n_jobs)
    difference = rows - others[indices]
    return indices, np.sqrt(np.einsum("ij,ij->i", difference, difference, dtype=np.float64))
