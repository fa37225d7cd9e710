"""Pursuits that choose all atoms of a signal at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils import check_array

from sparsegen_classic._kernels.thresholding import iht_block, subspace_pursuit_block, threshold_block
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._validation import check_integer
from sparsegen_classic.pursuit.omp import (
    check_components,
    check_features,
    check_sparsity,
    codes_from_arrays,
    gram_matrix,
)

_BLOCK = 256


def thresholding(
    X: ArrayLike, components: ArrayLike, n_nonzero_coefs: int | None = None, *, n_jobs: int | None = None
) -> sparse.csr_array:
    """Code signals with the atoms most correlated with them, refitted by least squares.

    The cheapest pursuit: no atom knows of the others. Computed in float64; atoms that depend on better ones
    get no coefficient.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals, float32 or float64.
    components : array-like of shape (n_components, n_features)
        Atoms in rows, of unit norm.
    n_nonzero_coefs : int, default=None
        Largest number of atoms a signal may use. None means ``max(1, n_features // 10)``.
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.

    Returns
    -------
    codes : csr_array of shape (n_samples, n_components)
        ``X ~ codes @ components``.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.pursuit import thresholding
    >>> thresholding([[3.0, -5, 1]], np.eye(3), 2).toarray()
    array([[ 3., -5.,  0.]])
    """
    return _pursue(threshold_block, X, components, n_nonzero_coefs, 1, n_jobs)


def iterative_hard_thresholding(
    X: ArrayLike,
    components: ArrayLike,
    n_nonzero_coefs: int | None = None,
    *,
    max_iter: int = 100,
    n_jobs: int | None = None,
) -> sparse.csr_array:
    """Code signals by normalised iterative hard thresholding.

    Gradient steps on the squared error, of exact length on the support and shortened where the support
    changes, each followed by keeping the ``n_nonzero_coefs`` largest coefficients; the error never rises.
    Ends with a least-squares refit.

    Parameters
    ----------
    X, components, n_nonzero_coefs, n_jobs
        As in :func:`thresholding`.
    max_iter : int, default=100
        Largest number of steps.

    Returns
    -------
    codes : csr_array of shape (n_samples, n_components)
        ``X ~ codes @ components``.

    References
    ----------
    T. Blumensath, M. E. Davies, "Normalized iterative hard thresholding: guaranteed stability and
    performance", IEEE J. Selected Topics in Signal Processing 4 (2010).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.pursuit import iterative_hard_thresholding
    >>> iterative_hard_thresholding([[3.0, -5, 1]], np.eye(3), 2).toarray()
    array([[ 3., -5.,  0.]])
    """
    return _pursue(iht_block, X, components, n_nonzero_coefs, max_iter, n_jobs)


def subspace_pursuit(
    X: ArrayLike,
    components: ArrayLike,
    n_nonzero_coefs: int | None = None,
    *,
    max_iter: int = 20,
    n_jobs: int | None = None,
) -> sparse.csr_array:
    """Code signals by subspace pursuit.

    Each round adds the ``n_nonzero_coefs`` atoms most correlated with the residual, refits by least squares,
    keeps the largest coefficients and refits again, for as long as the error falls.

    Parameters
    ----------
    X, components, n_nonzero_coefs, n_jobs
        As in :func:`thresholding`.
    max_iter : int, default=20
        Largest number of rounds.

    Returns
    -------
    codes : csr_array of shape (n_samples, n_components)
        ``X ~ codes @ components``.

    References
    ----------
    W. Dai, O. Milenkovic, "Subspace pursuit for compressive sensing signal reconstruction", IEEE Trans.
    Information Theory 55 (2009).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.pursuit import subspace_pursuit
    >>> subspace_pursuit([[3.0, -5, 1]], np.eye(3), 2).toarray()
    array([[ 3., -5.,  0.]])
    """
    return _pursue(subspace_pursuit_block, X, components, n_nonzero_coefs, max_iter, n_jobs)


def _pursue(
    kernel: Callable[..., None], X: Any, components: Any, n_nonzero_coefs: Any, max_iter: int, n_jobs: Any
) -> sparse.csr_array:
    X = np.asarray(check_array(X, dtype=(np.float64, np.float32), input_name="X"))
    components = check_components(components)
    check_features(X, components)
    check_integer("max_iter", max_iter, 1)
    shape = (len(X), check_sparsity(n_nonzero_coefs, None, components.shape))
    indices, coefficients = np.full(shape, -1, np.int32), np.zeros(shape)
    gram = gram_matrix(components, n_jobs)

    def code(block: slice) -> None:
        alpha = X[block].astype(np.float64) @ components.T
        kernel(alpha, gram, max_iter, indices[block], coefficients[block])

    for_blocks(code, len(X), _BLOCK, n_jobs)
    return codes_from_arrays(indices, coefficients.astype(X.dtype, copy=False), len(components))
