"""Draws from a multivariate normal restricted to the positive orthant."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

TAIL = 5.0  # beyond this many standard deviations the excess is solved for, not the quantile
SMALLEST = 1e-300


@njit(nogil=True, cache=True)
def first_positive(mean, covariance, normals):
    """Return the first of the proposals ``mean + L normals[i]`` that is positive everywhere, else zeros."""
    factor = np.linalg.cholesky(covariance)
    for i in range(len(normals)):
        proposal = mean + factor @ normals[i]
        if proposal.min() > 0:
            return proposal
    return np.zeros_like(mean)


@njit(nogil=True, cache=True)
def gibbs_positive(mean, covariance, uniforms):
    """Return the state after ``len(uniforms)`` sweeps of coordinate Gibbs; uniforms (n_sweeps, k) in (0, 1].

    Given the others, coordinate j is normal with variance ``1 / K_jj`` and mean
    ``mu_j - sum_{l != j} K_jl (x_l - mu_l) / K_jj``, K the inverse covariance, restricted to x_j > 0.
    """
    precision = np.linalg.inv(covariance)
    deviations = 1 / np.sqrt(np.diag(precision))
    x = np.maximum(mean, 0.1 * deviations)
    for sweep in uniforms:
        for j in range(len(x)):
            pull = 0.0
            for m in range(len(x)):
                pull += precision[j, m] * (x[m] - mean[m])
            centre = x[j] - pull * deviations[j] ** 2
            x[j] = max(deviations[j] * _excess(-centre / deviations[j], sweep[j]), SMALLEST)
    return x


@njit(nogil=True, cache=True)
def _excess(a, u):
    """Return t - a where t > a is the standard normal, restricted to t > a, at upper tail probability u."""
    if a < TAIL:
        return _upper_quantile(u * 0.5 * math.erfc(a / math.sqrt(2.0))) - a
    # Newton on log Q(a + e) - log Q(a) - log u, concave in e, from the right of its root.
    log_u, mills = math.log(u), _mills(a)
    e = -log_u / a
    for _ in range(20):
        here = _mills(a + e)
        step = (math.log(here / mills) - a * e - e * e / 2 - log_u) * here
        e += step
        if abs(step) <= 1e-14 * e:
            break
    return max(e, 0.0)


@njit(nogil=True, cache=True)
def _upper_quantile(p):
    """Return t with P(normal > t) = p, 0 < p < 1: Abramowitz and Stegun 26.2.23, then Newton on log p."""
    if p > 0.5:
        return -_upper_quantile(max(1 - p, SMALLEST))
    w = math.sqrt(-2 * math.log(p))
    t = w - (2.515517 + w * (0.802853 + w * 0.010328)) / (1 + w * (1.432788 + w * (0.189269 + w * 0.001308)))
    for _ in range(2):
        here = _mills(t)
        t += here * (math.log(here / p) - t * t / 2 - 0.5 * math.log(2 * math.pi))
    return t


@njit(nogil=True, cache=True)
def _mills(t):
    """Return P(normal > t) / density(t), for t > -1: erfc, beyond TAIL Laplace's continued fraction."""
    if t < TAIL:
        return math.sqrt(math.pi / 2) * math.erfc(t / math.sqrt(2.0)) * math.exp(t * t / 2)
    fraction = t
    for n in range(40, 0, -1):
        fraction = t + n / fraction
    return 1 / fraction
