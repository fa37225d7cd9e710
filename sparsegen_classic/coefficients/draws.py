"""Draws and densities of the coefficients of one support, normal or log-normal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from sparsegen_classic.coefficients.truncated import draw_positive


def draw_magnitudes(
    mean: NDArray[np.float64], covariance: NDArray[np.float64], rng: np.random.Generator, draw: str, log: bool
) -> NDArray[np.float64]:
    """Draw the magnitudes (k,) by the rule ``draw``, or those whose logarithms have these moments."""
    if len(mean) == 0:
        return mean
    if draw == "truncated" and not log:
        return draw_positive(mean, covariance, rng)
    draws = mean + np.linalg.cholesky(covariance) @ rng.standard_normal(len(mean))
    if log:
        return np.exp(draws)
    return np.maximum(draws, 0) if draw == "clip" else draws


def log_density(
    magnitudes: NDArray[np.float64], mean: NDArray[np.float64], covariance: NDArray[np.float64], log: bool
) -> float:
    """Return the log-density of the magnitudes (k,), normal or log-normal."""
    values = np.log(magnitudes) if log else magnitudes
    factor = np.linalg.cholesky(covariance)
    z = solve_triangular(factor, values - mean, lower=True)
    density = -0.5 * (z @ z + len(z) * np.log(2 * np.pi)) - np.log(np.diag(factor)).sum()
    return float(density - values.sum() if log else density)
