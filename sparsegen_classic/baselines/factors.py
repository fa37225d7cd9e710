"""Mixtures of normals of low rank plus noise: density and draws without a d x d matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from sklearn.decomposition import PCA

MIN_NOISE = 1e-6  # smallest noise variance: a standard deviation of a quarter grey level of 256 in [0, 1]
_BLOCK = 512  # rows whose densities are computed at a time


@dataclass(frozen=True)
class FactorMixture:
    """The mixture of K normals N(means[k], factors[k].T @ factors[k] + diag(noise[k])).

    Attributes
    ----------
    weights : ndarray of shape (K,)
        Positive, sum 1.
    means : ndarray of shape (K, d)
        Means.
    factors : ndarray of shape (K, l, d)
        Rows are loadings; zero rows where a normal has a lower rank.
    noise : ndarray of shape (K, d)
        Variances that the factors leave.
    noisy : bool
        Whether draws carry the noise.
    """

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    factors: NDArray[np.float64]
    noise: NDArray[np.float64]
    noisy: bool = False

    def log_joint(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return log weights[k] + log N_k(x) for every row and normal, (n, K).

        With L = I + A D^-1 A' = C C' (A the factors, D the noise) the matrix inversion lemma gives
        (x - mu)' Sigma^-1 (x - mu) = (x - mu)' D^-1 (x - mu) - |C^-1 A D^-1 (x - mu)|^2 and
        |Sigma| = |L| |D|: three matrix products for all normals at once.
        """
        n_groups, n_factors, n_features = self.factors.shape
        centre = self.weights @ self.means  # of all data, against cancellation below
        means, precision = self.means - centre, 1 / self.noise
        scaled = self.factors * precision[:, None]
        small = np.eye(n_factors) + scaled @ self.factors.transpose(0, 2, 1)
        half = np.linalg.cholesky(small)
        filters = np.empty_like(scaled)
        for k in range(n_groups):
            filters[k] = solve_triangular(half[k], scaled[k], lower=True)
        log_det = 2 * np.log(np.diagonal(half, axis1=1, axis2=2)).sum(axis=1) + np.log(self.noise).sum(axis=1)
        constant = np.log(self.weights) - 0.5 * (n_features * np.log(2 * np.pi) + log_det)
        offsets = np.einsum("kld,kd->kl", filters, means)
        linear, square = (means * precision).T, (means**2 * precision).sum(axis=1)
        filters = filters.reshape(-1, n_features).T
        joint = np.empty((len(rows), n_groups))
        for start in range(0, len(rows), _BLOCK):
            x = rows[start : start + _BLOCK] - centre
            explained = (x @ filters).reshape(len(x), n_groups, n_factors) - offsets
            distance = x**2 @ precision.T - 2 * x @ linear + square - (explained**2).sum(axis=2)
            joint[start : start + len(x)] = constant - distance / 2
        return joint

    def log_density(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the log-density of each row."""
        return logsumexp(self.log_joint(rows), axis=1)

    def sample(self, n_samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw rows: a normal, its factors, and the noise if ``noisy``."""
        n_groups, n_factors, _ = self.factors.shape
        group = rng.choice(n_groups, n_samples, p=self.weights)
        z = rng.standard_normal((n_samples, n_factors))
        rows = self.means[group]
        for k in np.unique(group):
            rows[group == k] += z[group == k] @ self.factors[k]
        if self.noisy:
            for start in range(0, n_samples, _BLOCK):
                part = slice(start, start + _BLOCK)
                deviations = np.sqrt(self.noise[group[part]])
                rows[part] += deviations * rng.standard_normal(deviations.shape)
        return rows


def ppca(
    rows: NDArray[np.floating], n_factors: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return mean (d,), factors (n_factors, d) and noise of the most likely low-rank normal plus noise.

    The factors span the leading eigenvectors of the covariance (divided by n); the noise is the mean of all
    other eigenvalues (Tipping and Bishop 1999). Factors beyond the rank of the data are zero.
    """
    n, n_features = rows.shape
    rank = min(n_factors, n - 1, n_features)
    rows = rows.astype(np.float64)
    factors, noise = np.zeros((n_factors, n_features)), 0.0
    total = rows.var(axis=0).sum()
    if total > 0:
        pca = PCA(rank, svd_solver="covariance_eigh" if n > n_features else "full").fit(rows)
        variances = pca.explained_variance_ * (n - 1) / n
        if rank < n_features:
            noise = (total - variances.sum()) / (n_features - rank)
        noise = max(noise, MIN_NOISE)
        factors[:rank] = pca.components_ * np.sqrt(np.maximum(variances - noise, 0))[:, None]
    return rows.mean(axis=0), factors, max(noise, MIN_NOISE)
