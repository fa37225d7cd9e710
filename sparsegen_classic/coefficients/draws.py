"""Draws and densities of the coefficients of one support, of which a power or the logarithm is normal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from sparsegen_classic.coefficients.truncated import draw_positive

EXPONENTS = {"linear": 1.0, "sqrt": 1 / 2, "cbrt": 1 / 3, "log": 0.0}  # by scale; 0 stands for logarithms


def to_scale(magnitudes: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    """Return the powers or logarithms of magnitudes; "linear" returns the array itself."""
    exponent = EXPONENTS[scale]
    if exponent == 1:
        return magnitudes
    return magnitudes**exponent if exponent else np.log(magnitudes)


def draw_magnitudes(
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    rng: np.random.Generator,
    draw: str,
    scale: str,
) -> NDArray[np.float64]:
    """Draw the magnitudes (k,) that have these moments on ``scale``, by the rule ``draw``."""
    exponent = EXPONENTS[scale]
    if len(mean) == 0:
        return mean
    if draw == "truncated" and exponent:
        values = draw_positive(mean, covariance, rng)
    else:
        values = mean + np.linalg.cholesky(covariance) @ rng.standard_normal(len(mean))
    if not exponent:
        return np.exp(values)
    if draw == "clip":
        values = np.maximum(values, 0)
    return values if exponent == 1 else np.sign(values) * np.abs(values) ** (1 / exponent)


def log_density(
    magnitudes: NDArray[np.float64], mean: NDArray[np.float64], covariance: NDArray[np.float64], scale: str
) -> float:
    """Return the log-density of magnitudes (k,) that have these moments on ``scale``."""
    factor, exponent = np.linalg.cholesky(covariance), EXPONENTS[scale]
    z = solve_triangular(factor, to_scale(magnitudes, scale) - mean, lower=True)
    density = -0.5 * (z @ z + len(z) * np.log(2 * np.pi)) - np.log(np.diag(factor)).sum()
    slopes = np.log(exponent or 1) + (exponent - 1) * np.log(magnitudes)
    return float(density + slopes.sum())
