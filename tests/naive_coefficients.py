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
