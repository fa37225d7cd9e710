"""Mean and covariance of the coefficients on one support, from the training codes that meet it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsegen_classic._kernels.em import SINGULAR, climb
from sparsegen_classic._kernels.missing_patterns import batch_patterns, group_patterns, pairwise_moments

MEMORY = 8  # past steps that tell of the curvature

Moments = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass
class SupportMoments:
    """Moments on one support at a time; for one thread only, since it owns scratch space."""

    codes: sparse.csc_array
    values: NDArray[np.float64]  # of the entries of ``codes``: coefficients or their logarithms
    weights: NDArray[np.float64]
    groups: NDArray[np.integer] | None
    state_means: NDArray[np.float64]
    state_variances: NDArray[np.float64]
    parameters: dict[str, Any]
    scratch: NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        self.scratch = np.full(self.codes.shape[0], -1, np.int32)

    def __call__(self, support: NDArray[np.integer], group: int | None) -> tuple[Moments, bool]:
        """Return mean and covariance, and whether the data, or a prior, tell every covariance."""
        strength = float(self.parameters["prior_strength"])
        if len(support) == 0:
            return (np.zeros(0), np.zeros((0, 0))), True
        prior = self.state_means[support], np.diag(self.state_variances[support])
        patterns = self.patterns(support, None)
        moments = self._fit(support, patterns, prior, strength, 0.0)
        if group is not None and self.parameters["group_weight"] < 1:  # the prior: rows like all codes'
            patterns = self.patterns(support, group)
            moments = self._fit(support, patterns, moments, strength, strength)
        return moments, strength > 0 or bool(_pair_counts(patterns, len(support)).all())

    def _fit(self, support, patterns, prior, strength, mean_strength):
        """Return the posterior mode (EM) or the shrunk pairwise moments."""
        if len(patterns[0]) == 0:
            return prior
        if self.parameters["method"] == "pooled":
            return _pooled(_with_rows(patterns, mean_strength, *prior), *prior, strength - mean_strength)
        mean, covariance, _, status = climb(
            batch_patterns(*patterns), _pair_counts(patterns, len(support)), *prior, strength, mean_strength,
            MEMORY, self.parameters["max_iter"], float(self.parameters["tol"]),
        )  # fmt: skip
        if status == SINGULAR:
            raise ValueError(
                f"EM diverged on support {support.tolist()}: too few training codes share its states; "
                f"set prior_strength > {self.parameters['prior_strength']:g}"
            )
        return mean, covariance

    def pair_counts(self, support: NDArray[np.integer], group: int | None) -> NDArray[np.float64]:
        """Return the weight of the training codes that have both states of each pair."""
        return _pair_counts(self.patterns(support, group), len(support))

    def patterns(self, support: NDArray[np.integer], group: int | None) -> tuple[NDArray[Any], ...]:
        """Return the training codes that meet a support, grouped by the states they share with it."""
        weights, codes = self.weights, self.codes
        if group is not None:
            weights = np.where(self.groups == group, weights, self.parameters["group_weight"] * weights)
        counts, offsets, observed, means, scatters = group_patterns(
            support, codes.indptr, codes.indices, self.values, weights, self.parameters["min_overlap"],
            self.scratch,
        )  # fmt: skip
        if self.parameters["overlap_power"] > 0:
            sizes = np.diff(offsets)
            share = (sizes / len(support)) ** self.parameters["overlap_power"]
            counts, scatters = counts * share, scatters * np.repeat(share, sizes**2)
        return counts, offsets, observed, means, scatters


def nearest_positive_definite(matrix: NDArray[np.float64], smallest: float) -> NDArray[np.float64]:
    """Return a covariance of equal variances whose correlation matrix has eigenvalues of about ``smallest``.

    The matrix itself, if they are no less. Otherwise small eigenvalues of its correlation matrix are raised,
    which gives the nearest such matrix in the Frobenius norm, and its diagonal is scaled back to one.
    """
    deviations = np.sqrt(np.diag(matrix))
    scale = np.outer(deviations, deviations)
    eigenvalues, vectors = np.linalg.eigh(matrix / scale)
    if eigenvalues[:1].min(initial=smallest) >= smallest:
        return matrix
    raised = (vectors * np.maximum(eigenvalues, smallest)) @ vectors.T
    return raised / np.sqrt(np.outer(np.diag(raised), np.diag(raised))) * scale


def _pooled(patterns, mean, prior, strength):
    """Return available-case means and covariances, shrunk to the prior and made positive definite.

    Small eigenvalues of a correlation matrix of n pairs each are mostly error, of the order of k / n.
    """
    mean, k = mean.copy(), len(mean)
    pair_counts, scatters = pairwise_moments(*patterns, mean)
    total = pair_counts + strength
    covariance = np.divide(scatters + strength * prior, total, out=np.zeros_like(total), where=total > 0)
    flat = np.diag(covariance) <= 1e-9 * np.diag(prior)
    covariance[flat, flat] = np.diag(prior)[flat]
    return mean, nearest_positive_definite(covariance, k / (k + total.mean()))


def _pair_counts(patterns, k):
    return pairwise_moments(*patterns, np.zeros(k))[0]


def _with_rows(patterns, n_rows, mean, covariance):
    """Add ``n_rows`` rows that see everything and have this mean and covariance."""
    if n_rows == 0:
        return patterns
    counts, offsets, observed, means, scatters = patterns
    k = len(mean)
    return (
        np.append(counts, n_rows),
        np.append(offsets, offsets[-1] + k),
        np.append(observed, np.arange(k)),
        np.append(means, mean),
        np.append(scatters, n_rows * covariance.ravel()),
    )
