"""Mixtures of factor analysers or of probabilistic PCAs, by EM from a k-means start."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.baselines.base import ImageBaseline
from sparsegen_classic.baselines.factors import MIN_NOISE, FactorMixture
from sparsegen_classic.baselines.gaussians import fit_groups, kmeans_groups

_NEGLIGIBLE = 1e-12  # rows with a smaller responsibility are left out of the M step


class MixtureOfFactorAnalysers(ImageBaseline):
    """Mixture of normals of low rank plus diagonal noise (factor analysers), by EM.

    Starts from k-means with a closed-form normal in each group. With ``noise="isotropic"`` it is a mixture
    of probabilistic PCAs.

    Parameters
    ----------
    n_groups : int, default=None
        Normals (of each class). None = one for every 100 images, at most 200.
    n_factors : int, default=6
        Rank of each.
    noise : {"diagonal", "isotropic"}, default="diagonal"
        One variance for each pixel, or one for all.
    sample_noise : bool, default=False
        Add the noise to samples; the authors below draw without it.
    max_iter : int, default=100
        Most EM steps.
    tol : float, default=1e-3
        Stop when the mean log-likelihood gains at most this much per value of an image.
    per_class : bool, default=False
        Fit one model for each label in ``y``.
    random_state : int, RandomState, Generator or None, default=None
        Seed of k-means.

    Attributes
    ----------
    models_ : list of FactorMixture
        The model of each class (or the one of all), with ``weights``, ``means``, ``factors`` and ``noise``.
    log_likelihoods_ : list of ndarray
        For each model, the mean log-likelihood of an image before every step and after the last.
    classes_ : ndarray or None
        The labels, for a model per class.
    class_prior_ : ndarray of shape (n_models,)
        Share of each class.
    image_shape_, pixel_range_ : ndarray
        Shape of one image; what samples are clipped to.
    n_features_in_ : int
        Number of values of an image.

    Notes
    -----
    Noise variances are at least 1e-6, so that pixels without variation do no harm.

    References
    ----------
    Z. Ghahramani and G. Hinton, "The EM algorithm for mixtures of factor analyzers", 1996.
    E. Richardson and Y. Weiss, "On GANs and GMMs", 2018.

    Examples
    --------
    >>> from sparsegen_classic import open_images
    >>> from sparsegen_classic.baselines import MixtureOfFactorAnalysers
    >>> digits = open_images("digits")
    >>> model = MixtureOfFactorAnalysers(10, random_state=0).fit(digits.images)
    >>> model.sample(3, random_state=0).shape
    (3, 8, 8)
    """

    has_density = True

    def __init__(
        self,
        n_groups: int | None = None,
        n_factors: int = 6,
        *,
        noise: str = "diagonal",
        sample_noise: bool = False,
        max_iter: int = 100,
        tol: float = 1e-3,
        per_class: bool = False,
        random_state: Any = None,
    ):
        self.n_groups = n_groups
        self.n_factors = n_factors
        self.noise = noise
        self.sample_noise = sample_noise
        self.max_iter = max_iter
        self.tol = tol
        self.per_class = per_class
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> MixtureOfFactorAnalysers:  # noqa: D102
        self.log_likelihoods_: list[NDArray[np.float64]] = []
        return super().fit(X, y)

    fit.__doc__ = ImageBaseline.fit.__doc__

    def _fit_rows(self, rows: NDArray[np.floating], seed: int) -> FactorMixture:
        n_factors = check_integer("n_factors", self.n_factors, 1)
        isotropic = check_choice("noise", self.noise, ("diagonal", "isotropic")) == "isotropic"
        noisy = check_choice("sample_noise", self.sample_noise, (True, False))
        max_iter = check_integer("max_iter", self.max_iter, 1)
        tol = check_real("tol", self.tol, 0) * rows.shape[1]
        n_groups = min(max(1, len(rows) // 100), 200) if self.n_groups is None else self.n_groups
        values = rows.astype(np.float64)
        mixture = fit_groups(values, kmeans_groups(rows, n_groups, seed), n_factors, noisy)
        mixture, history = _em(values, mixture, isotropic, max_iter, tol)
        self.log_likelihoods_.append(history)
        return mixture


def _em(rows, mixture, isotropic, max_iter, tol):
    """Return the mixture when the mean log-likelihood gains at most ``tol``, and its history."""
    history = []
    while True:
        joint = mixture.log_joint(rows)
        log_density = logsumexp(joint, axis=1)
        history.append(float(log_density.mean()))
        if len(history) > 1 and history[-1] - history[-2] <= tol:
            break
        if len(history) > max_iter:
            message = f"EM stopped at max_iter={max_iter}; raise max_iter or tol"
            warnings.warn(message, ConvergenceWarning, stacklevel=5)
            break
        mixture = em_step(rows, np.exp(joint - log_density[:, None]), mixture, isotropic)
    return mixture, np.array(history)


def em_step(
    rows: NDArray[np.float64], responsibilities: NDArray[np.float64], mixture: FactorMixture, isotropic: bool
) -> FactorMixture:
    """Return the mixture of greatest expected log-likelihood, given responsibilities (n, K) of the last.

    Means and factors are regressed together on the expected factors with a constant (Ghahramani and Hinton);
    the mean of the residual variances is the isotropic noise.
    """
    means, factors, noise = mixture.means.copy(), mixture.factors.copy(), mixture.noise.copy()
    for k, share in enumerate(responsibilities.T):
        members = np.flatnonzero(share > _NEGLIGIBLE)
        if len(members):
            shift, factors[k], variances = _regress(
                rows[members] - means[k], share[members], factors[k], noise[k]
            )
            means[k] += shift
            noise[k] = np.maximum(variances.mean() if isotropic else variances, MIN_NOISE)
    weights = np.maximum(responsibilities.mean(axis=0), 1e-300)
    return replace(mixture, weights=weights / weights.sum(), means=means, factors=factors, noise=noise)


def _regress(x, share, factors, noise):
    """Return shift of the mean, factors and residual variances of one normal; ``x`` about the old mean."""
    n_factors, total = len(factors), share.sum()
    scaled = factors / noise
    posterior = np.linalg.inv(np.eye(n_factors) + scaled @ factors.T)  # covariance of the factors, given x
    z = np.column_stack([x @ scaled.T @ posterior, np.ones(len(x))])
    weighted = z * share[:, None]
    cross, second = weighted.T @ x, weighted.T @ z
    second[:-1, :-1] += total * posterior
    loadings = np.linalg.solve(second, cross)
    variances = (share @ x**2 - np.einsum("ld,ld->d", loadings, cross)) / total
    return loadings[-1], loadings[:-1], variances
