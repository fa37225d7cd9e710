"""Families of similar images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from sparsegen_classic._parallel import single_threaded_openmp

_DIMENSIONS, _ITERATIONS = 50, 30


def group_images(rows: NDArray[np.floating], n_groups: int, random_state: int = 0) -> NDArray[np.intp]:
    """Group images by k-means on their 50 first principal components.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
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
    if n_groups > 1:  # equal images cannot be told apart
        n_groups = min(n_groups, len({row.tobytes() for row in rows}))
    if n_groups == 1:
        return np.zeros(len(rows), np.intp)
    n_dimensions = min(_DIMENSIONS, *rows.shape)
    reduced = PCA(n_dimensions, svd_solver="randomized", random_state=random_state).fit_transform(rows)
    with single_threaded_openmp():  # threads would add up centres in any order
        means = KMeans(n_groups, n_init=1, max_iter=_ITERATIONS, random_state=random_state)
        return np.unique(means.fit_predict(reduced), return_inverse=True)[1]
