"""A multivariate normal learned from rows with missing entries."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsegen_classic._kernels.em import OUT_OF_ITERATIONS, SINGULAR, em_gaussian
from sparsegen_classic._kernels.missing_patterns import batch_patterns, group_patterns
from sparsegen_classic._random import RandomState, spawn_generators
from sparsegen_classic._validation import check_integer, check_real
from sparsegen_classic.coefficients.truncated import check_covariance


class MissingDataGaussian(DensityMixin, BaseEstimator):
    """Multivariate normal fitted by EM to data with missing values (NaN).

    Values are taken to be missing at random. EM starts from the observed means and the diagonal of the
    observed variances, and works on one mean and scatter matrix per missing pattern, so that an iteration
    costs one Cholesky factorisation per pattern, however many rows share it.

    Parameters
    ----------
    prior_strength : float, default=0.0
        Pseudo-observations kappa with covariance ``prior_covariance``. 0 is maximum likelihood, which may
        not exist when few rows see the same columns; then any positive value helps.
    prior_covariance : array-like of shape (n_features, n_features), default=None
        Sigma0; None = the diagonal of the observed variances.
    assume_centered : bool, default=False
        Keep the mean at zero.
    init_covariance : array-like of shape (n_features, n_features), default=None
        Where EM starts; None = the diagonal of the observed variances.
    max_iter : int, default=1000
        Most EM iterations.
    tol : float, default=1e-8
        Stop when the objective gains at most this much per row in one iteration.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        Mean.
    covariance_ : ndarray of shape (n_features, n_features)
        Covariance (divided by the number of rows, not rows - 1).
    log_likelihoods_ : ndarray of shape (n_iter_ + 1,)
        Log-likelihood of the observed entries *before* each iteration, and after the last one.
    objectives_ : ndarray of shape (n_iter_ + 1,)
        The same, minus ``kappa / 2 (log|Sigma| + tr(Sigma^-1 Sigma0))``; never decreases.
    n_iter_ : int
        Iterations.
    pair_counts_ : ndarray of shape (n_features, n_features)
        Number of rows that see both columns.
    n_features_in_ : int
        Number of columns.

    Notes
    -----
    A row without any observed entry changes nothing. Method: Dempster, Laird and Rubin (1977); Little and
    Rubin, *Statistical Analysis with Missing Data*, chapter 8.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.coefficients import MissingDataGaussian
    >>> X = [[8, 59], [6, 58], [11, 56], [22, 53], [14, 50], [17, 45], [4, np.nan], [5, np.nan]]
    >>> model = MissingDataGaussian().fit(X)
    >>> model.mean_.round(2)
    array([10.88, 54.78])
    >>> model.score_samples([[8, np.nan]]).round(3)
    array([-2.821])
    """

    def __init__(
        self,
        prior_strength: float = 0.0,
        *,
        prior_covariance: ArrayLike | None = None,
        assume_centered: bool = False,
        init_covariance: ArrayLike | None = None,
        max_iter: int = 1000,
        tol: float = 1e-8,
    ) -> None:
        self.prior_strength = prior_strength
        self.prior_covariance = prior_covariance
        self.assume_centered = assume_centered
        self.init_covariance = init_covariance
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: ArrayLike, y: None = None) -> MissingDataGaussian:
        """Fit mean and covariance.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN marks a missing entry.
        y : None
            Ignored.

        Returns
        -------
        MissingDataGaussian
            The fitted object.

        Raises
        ------
        ValueError
            If a column has no observed value or no variance, a value is infinite, or the covariance turns
            singular (the likelihood has no maximum).

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` came first.
        UserWarning
            If ``prior_strength`` is 0 and some columns are never observed together.
        """
        strength = check_real("prior_strength", self.prior_strength, 0)
        max_iter = check_integer("max_iter", self.max_iter, 1)
        tol = check_real("tol", self.tol, 0)
        X = _rows(self, X, reset=True, ensure_min_samples=2)
        observed = ~np.isnan(X)
        if not observed.any(axis=0).all():
            columns = np.flatnonzero(~observed.any(axis=0)).tolist()
            raise ValueError(f"X has no observed value in columns {columns}; drop these columns")
        self.pair_counts_ = observed.T.astype(np.int64) @ observed
        mean = np.zeros(X.shape[1]) if self.assume_centered else np.nanmean(X, axis=0)
        variances = np.nanmean((X - mean) ** 2, axis=0)
        initial, prior = self._initial_and_prior(variances)
        if strength == 0:
            self._warn_of_unseen_pairs()

        self.mean_, self.covariance_, self.log_likelihoods_, self.objectives_, status = _em(
            X, observed, mean, initial, strength, prior, bool(self.assume_centered), max_iter, tol
        )
        self.n_iter_ = len(self.objectives_) - 1
        if status == SINGULAR:
            raise ValueError(
                f"the covariance became singular in iteration {self.n_iter_}: columns are linearly dependent "
                f"or too few rows see the same columns, so the likelihood has no maximum; "
                f"set prior_strength > {strength:g}"
            )
        if status == OUT_OF_ITERATIONS:
            self._warn_of_early_stop(len(X))
        return self

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the log-density of the observed part of each row of X (0 where nothing is observed).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN marks a missing entry.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-densities.
        """
        check_is_fitted(self)
        X = _rows(self, X, reset=False)
        patterns, pattern_of_row = np.unique(~np.isnan(X), axis=0, return_inverse=True)
        density = np.empty(len(X))
        for p, seen in enumerate(patterns):
            rows = pattern_of_row.ravel() == p
            factor = np.linalg.cholesky(self.covariance_[np.ix_(seen, seen)])
            z = linalg.solve_triangular(factor, (X[rows][:, seen] - self.mean_[seen]).T, lower=True)
            log_det = 2 * np.log(np.diag(factor)).sum()
            density[rows] = -0.5 * ((z**2).sum(axis=0) + log_det + seen.sum() * np.log(2 * np.pi))
        return density

    def score(self, X: ArrayLike, y: None = None) -> float:
        """Return the mean of ``score_samples(X)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN marks a missing entry.
        y : None
            Ignored.

        Returns
        -------
        float
            Mean log-density per row.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> NDArray[np.float64]:
        """Draw complete rows from the fitted normal.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows; the first m are those of a call with m.
        random_state : int, Generator, RandomState, SeedSequence or None, default=None
            Seed.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Samples.
        """
        check_is_fitted(self)
        shape = (check_integer("n_samples", n_samples, 1), self.n_features_in_)
        normals = spawn_generators(random_state, 1)[0].standard_normal(shape)
        # einsum, not BLAS: a row must not depend on how many there are
        return self.mean_ + np.einsum("ij,kj->ik", normals, np.linalg.cholesky(self.covariance_))

    def _initial_and_prior(self, variances):
        diagonal, k = np.diag(variances), len(variances)
        if self.init_covariance is None and not variances.all():
            columns = np.flatnonzero(variances == 0).tolist()
            raise ValueError(
                f"X has no variance in columns {columns}; drop these columns, or give init_covariance, "
                f"prior_covariance and prior_strength > 0"
            )
        given = (("init_covariance", self.init_covariance), ("prior_covariance", self.prior_covariance))
        return [diagonal if value is None else check_covariance(name, value, k) for name, value in given]

    def _warn_of_unseen_pairs(self):
        pairs = np.argwhere(np.triu(self.pair_counts_ == 0)).tolist()
        if pairs:
            warnings.warn(
                f"{len(pairs)} pairs of columns are never observed together, {pairs[:5]} first: the data do "
                f"not tell their covariance, which depends on where EM starts; set prior_strength > 0",
                UserWarning,
                stacklevel=3,
            )

    def _warn_of_early_stop(self, n_samples):
        gain = (self.objectives_[-1] - self.objectives_[-2]) / n_samples
        warnings.warn(
            f"EM stopped at max_iter={self.max_iter} while the objective still gained {gain:.2g} per row "
            f"(tol={self.tol:g}); raise max_iter or tol, or set prior_strength > {self.prior_strength:g}",
            ConvergenceWarning,
            stacklevel=3,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _rows(estimator: Any, X: Any, **options: Any) -> NDArray[np.float64]:
    return validate_data(estimator, X, dtype=np.float64, ensure_all_finite="allow-nan", **options)


def _em(X, observed, *start_and_options):
    """Run EM on the rows of X grouped by what they see; the kernel takes the observed entries by column."""
    variables, row_of_sample = np.arange(X.shape[1]), np.full(len(X), -1, np.int32)
    indptr = np.append(0, np.cumsum(observed.sum(axis=0))).astype(np.int32)
    samples = np.nonzero(observed.T)[1].astype(np.int32)
    patterns = group_patterns(variables, indptr, samples, X.T[observed.T], np.ones(len(X)), 1, row_of_sample)
    return em_gaussian(batch_patterns(*patterns), *start_and_options)
