"""Slow oracles for the metrics, written from the definitions."""

import numpy as np


def distances(one, other):
    return np.sqrt(((one[:, None] - other[None]) ** 2).sum(axis=-1))


def coverage(samples, references, k):
    """Precision, recall, density, coverage with all distances in one table."""
    across = distances(samples, references)
    radius = np.sort(distances(references, references), axis=1)[:, k]  # column 0 is the row itself
    own_radius = np.sort(distances(samples, samples), axis=1)[:, k]
    inside = across < radius
    return (
        inside.any(axis=1).mean(),
        (across < own_radius[:, None]).any(axis=0).mean(),
        inside.sum() / (k * len(samples)),
        inside.any(axis=0).mean(),
    )


def mmd(samples, references, kernel):
    """The U-statistic by loops over pairs."""
    m, n = len(samples), len(references)
    within = sum(kernel(samples[i], samples[j]) for i in range(m) for j in range(m) if i != j)
    within_other = sum(kernel(references[i], references[j]) for i in range(n) for j in range(n) if i != j)
    across = sum(kernel(x, y) for x in samples for y in references)
    return within / (m * (m - 1)) + within_other / (n * (n - 1)) - 2 * across / (m * n)


def jackknife_error(samples, references, estimate):
    """Leave one row of either set out at a time."""
    variance = 0.0
    for which in (0, 1):
        sets = [samples, references]
        values = []
        for i in range(len(sets[which])):
            reduced = list(sets)
            reduced[which] = np.delete(sets[which], i, axis=0)
            values.append(estimate(*reduced))
        variance += (len(values) - 1) * np.var(values)
    return np.sqrt(variance)


def wasserstein_1d(one, other, p, n_grid=400_000):
    """Integrate the difference of two quantile functions on a fine grid."""
    level = (np.arange(n_grid) + 0.5) / n_grid
    quantiles = [np.sort(part)[(level * len(part)).astype(int)] for part in (one, other)]
    return (np.abs(quantiles[0] - quantiles[1]) ** p).mean() ** (1 / p)
