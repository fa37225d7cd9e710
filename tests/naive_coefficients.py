"""Slow oracles for the coefficients, by definition: EM row by row, overlaps by scanning every code."""

import numpy as np
from scipy.stats import multivariate_normal


def log_likelihood(X, mean, covariance):
    """Log-likelihood of the observed entries."""
    total = 0.0
    for row in X:
        seen = ~np.isnan(row)
        if seen.any():
            total += multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)]).logpdf(row[seen])
    return total


def em_step(X, mean, covariance, strength=0.0, prior=None, fixed_mean=False):
    """Complete each row by its conditional mean and covariance, then take moments."""
    X = X[~np.isnan(X).all(axis=1)]
    n, k = X.shape
    completed, extra = X.copy(), np.zeros((k, k))
    for row in completed:
        missing = np.isnan(row)
        seen = ~missing
        regression = covariance[np.ix_(missing, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
        row[missing] = mean[missing] + regression @ (row[seen] - mean[seen])
        extra[np.ix_(missing, missing)] += (
            covariance[np.ix_(missing, missing)] - regression @ covariance[np.ix_(seen, missing)]
        )
    mean = mean if fixed_mean else completed.mean(axis=0)
    scatter = (completed - mean).T @ (completed - mean) + extra
    return mean, (scatter + strength * (np.zeros((k, k)) if prior is None else prior)) / (n + strength)


def overlap_rows(codes, support, min_overlap=1):
    """Training coefficients on a support of states, NaN where a code lacks the state."""
    n_components = codes.shape[1]
    rows = []
    for code in codes:
        row = np.full(len(support), np.nan)
        for j, state in enumerate(support):
            value = code[state] if state < n_components else -code[state - n_components]
            if value > 0:
                row[j] = value
        if (~np.isnan(row)).sum() >= min_overlap:
            rows.append(row)
    return np.array(rows).reshape(-1, len(support))


def weighted_em(X, weights, mean, covariance, strength, prior, n_steps):
    """EM in which a row counts ``weights`` times: the E step of each row alone, then weighted moments."""
    for _ in range(n_steps):
        sums, products, total = np.zeros(len(mean)), np.zeros((len(mean), len(mean))), weights.sum()
        for row, weight in zip(X, weights, strict=True):
            seen = ~np.isnan(row)
            gain = covariance[:, seen] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
            completed = mean + gain @ (row[seen] - mean[seen])
            rest = covariance - gain @ covariance[seen]
            sums += weight * completed
            products += weight * (np.outer(completed, completed) + rest)
        mean = sums / total
        scatter = products - total * np.outer(mean, mean)
        covariance = (scatter + strength * prior) / (total + strength)
    return mean, covariance


def pairwise_moments(X, weights, strength, prior):
    """Available-case means, pair weights and shrunk covariances, pair by pair."""
    seen = ~np.isnan(X)
    k = X.shape[1]
    mean = np.array([np.average(X[seen[:, i], i], weights=weights[seen[:, i]]) for i in range(k)])
    counts, covariance = np.zeros((k, k)), np.zeros((k, k))
    for i in range(k):
        for j in range(k):
            both = seen[:, i] & seen[:, j]
            counts[i, j] = weights[both].sum()
            scatter = (weights[both] * (X[both, i] - mean[i]) * (X[both, j] - mean[j])).sum()
            covariance[i, j] = (scatter + strength * prior[i, j]) / (counts[i, j] + strength)
    return mean, counts, covariance
