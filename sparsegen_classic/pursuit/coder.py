"""Any pursuit as an estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsegen_classic._codes import CodingMixin
from sparsegen_classic._validation import check_choice
from sparsegen_classic.pursuit.omp import check_components, check_features, check_sparsity, orthogonal_mp
from sparsegen_classic.pursuit.thresholding import (
    iterative_hard_thresholding,
    subspace_pursuit,
    thresholding,
)

PURSUITS: dict[str, Callable[..., sparse.csr_array]] = {
    "omp": orthogonal_mp,
    "threshold": thresholding,
    "iht": iterative_hard_thresholding,
    "subspace": subspace_pursuit,
}


class SparseCoder(CodingMixin, BaseEstimator):
    """Code samples over given atoms by a pursuit of choice.

    Parameters
    ----------
    components : array-like of shape (n_components, n_features), default=None
        Atoms in rows, of unit norm. None means the unit vectors.
    algorithm : {"omp", "threshold", "iht", "subspace"} or callable, default="omp"
        The pursuit: :func:`orthogonal_mp`, :func:`thresholding`, :func:`iterative_hard_thresholding`,
        :func:`subspace_pursuit`, or a function
        ``(X, components, n_nonzero_coefs, n_jobs=..., **options) -> codes``.
    n_nonzero_coefs : int, default=None
        Largest number of atoms a sample may use; None leaves it to the pursuit.
    options : dict, default=None
        Further arguments of the pursuit, for example ``{"positive": True}``.
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The atoms.
    n_features_in_ : int
        Number of features.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.pursuit import SparseCoder
    >>> coder = SparseCoder(np.eye(3), algorithm="threshold", n_nonzero_coefs=1)
    >>> coder.fit_transform([[3.0, -5, 1]]).toarray()
    array([[ 0., -5.,  0.]])
    """

    def __init__(
        self,
        components: ArrayLike | None = None,
        *,
        algorithm: str | Callable[..., sparse.csr_array] = "omp",
        n_nonzero_coefs: int | None = None,
        options: Mapping[str, Any] | None = None,
        n_jobs: int | None = None,
    ):
        self.components = components
        self.algorithm = algorithm
        self.n_nonzero_coefs = n_nonzero_coefs
        self.options = options
        self.n_jobs = n_jobs

    def fit(self, X: ArrayLike, y: Any = None) -> SparseCoder:
        """Check the atoms against ``X`` (n_samples, n_features); nothing is learned and ``y`` is ignored."""
        X = np.asarray(validate_data(self, X, dtype=(np.float64, np.float32)))
        if not callable(self.algorithm):
            check_choice("algorithm", self.algorithm, tuple(PURSUITS))
        given = np.eye(X.shape[1]) if self.components is None else self.components
        components = check_components(given, X.dtype)
        check_features(X, components)
        check_sparsity(self.n_nonzero_coefs, None, components.shape)
        self.components_ = components
        return self

    def transform(self, X: ArrayLike) -> sparse.csr_array:
        """Return the codes (n_samples, n_components) of ``X``."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        pursue = self.algorithm if callable(self.algorithm) else PURSUITS[self.algorithm]
        return pursue(
            X, self.components_, self.n_nonzero_coefs, n_jobs=self.n_jobs, **dict(self.options or {})
        )
