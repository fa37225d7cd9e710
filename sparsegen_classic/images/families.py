"""Families of similar images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from sparsegen_classic._parallel import single_threaded_blas, single_threaded_openmp
from sparsegen_classic._rows import Rows

_DIMENSIONS, _ITERATIONS = 50, 30
SOME, _BLOCK = 20_000, 2048  # rows that tell the components; rows projected at a time


def group_images(rows: NDArray[np.floating] | Rows, n_groups: int, random_state: int = 0) -> NDArray[np.intp]:
    """Group images by k-means on their 50 first principal components, those of 20,000 images at most.

    Parameters
    ----------
    rows : ndarray or Rows of shape (n_samples, n_features)
        Images as rows.
    n_groups : int
        Number of groups wanted, at most n_samples.
    random_state : int, default=0
        Seed.

    Returns
    -------
    groups : ndarray of shape (n_samples,)
        Group of each image, 0, 1, ...; fewer than ``n_groups`` where images are equal.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.images import group_images
    >>> groups = group_images(np.array([[0.0, 1], [0, 0.9], [1, 0], [0.9, 0]]), 2)
    >>> groups[0] == groups[1], groups[0] == groups[2], groups[2] == groups[3]
    (np.True_, np.False_, np.True_)
    """
    if n_groups > 1:
        n_groups = _n_different(rows, n_groups)
    if n_groups == 1:
        return np.zeros(len(rows), np.intp)
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), SOME)).astype(int)]
    with single_threaded_blas(), single_threaded_openmp():  # threads would add up in any order
        components = PCA(min(_DIMENSIONS, *some.shape), svd_solver="randomized", random_state=random_state)
        reduced = components.fit_transform(some)
        if len(some) < len(rows):
            blocks = (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))
            reduced = np.concatenate([components.transform(block) for block in blocks])
        means = KMeans(n_groups, n_init=1, max_iter=_ITERATIONS, random_state=random_state)
        return np.unique(means.fit_predict(reduced), return_inverse=True)[1]


def _n_different(rows: NDArray[np.floating] | Rows, enough: int) -> int:
    """Return how many rows differ, or ``enough`` if that many do: equal ones cannot be told apart."""
    different: set[bytes] = set()
    for start in range(0, len(rows), _BLOCK):
        different.update(row.tobytes() for row in rows[start : start + _BLOCK])
        if len(different) >= enough:
            return enough
    return len(different)
