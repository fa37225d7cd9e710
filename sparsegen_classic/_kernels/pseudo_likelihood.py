"""Pseudo-likelihood of supports under a pairwise model and its gradient (see ``pseudo_likelihoods``)."""

from __future__ import annotations

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz"}
_TINY = 1e-280  # a weight below this may have lost its digits to underflow


@njit(nogil=True, cache=True, fastmath=_FAST)
def _multiply(x, y, out):
    for m in range(len(out)):
        out[m] = x[m] * y[m]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _multiply_by(x, y):
    for m in range(len(x)):
        x[m] *= y[m]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _sum(x):
    total = 0.0
    for m in range(len(x)):
        total += x[m]
    return total


@njit(nogil=True, cache=True, fastmath=_FAST)
def _scale_and_add(x, scale, total):
    for m in range(len(x)):
        x[m] *= scale
        total[m] += x[m]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _add_difference(x, y, out):
    for m in range(len(out)):
        out[m] += x[m] - y[m]


@njit(nogil=True, cache=True)
def _by_logs(theta, table, support, site, weights):
    """Write the weights of ``site`` over their sum; return the logarithm of the one of its own state."""
    weights[:] = np.log(theta)
    for other in range(len(support)):
        if other != site:
            weights += np.log(table[support[other]])
    peak = weights.max()
    if peak == -np.inf:
        weights[:] = 0.0
        return -np.inf
    log_sum = peak + np.log(np.exp(weights - peak).sum())
    value = weights[support[site]] - log_sum
    weights[:] = np.exp(weights - log_sum)
    return value


@njit(nogil=True, cache=True)
def _one_support(theta, table, support, weights, product, expected):
    """Return sum_j log P(a_j | rest); P(a_j = m | rest) goes to ``weights``, its sum over j to ``expected``.

    The weights of site j are theta times the rows of all other sites: products of the rows before j and
    after j, as in the Gibbs kernel.
    """
    size, value = len(support), 0.0
    weights[size - 1] = theta
    for j in range(size - 1, 0, -1):
        _multiply(weights[j], table[support[j]], weights[j - 1])
    product[:] = 1.0
    expected[:] = 0.0
    for j in range(size):
        if j > 0:
            _multiply_by(product, table[support[j - 1]])
            _multiply_by(weights[j], product)
        total, own = _sum(weights[j]), weights[j, support[j]]
        if own > _TINY and total > _TINY:
            value += np.log(own / total)
            _scale_and_add(weights[j], 1.0 / total, expected)
        else:
            value += _by_logs(theta, table, support, j, weights[j])
            _scale_and_add(weights[j], 1.0, expected)
    return value


@njit(nogil=True, cache=True)
def pseudo_likelihoods(theta, table, supports, sizes, values):
    """Write sum_j log P(a_j | rest of the support) of each row of ``supports`` (n, k_max) to ``values``.

    ``theta`` (n_states,) and ``table`` (n_states, n_states) are factors, not logarithms, at most 1; a row of
    ``table`` may be scaled by any constant. P(a_j = m | rest) ~ theta_m prod_{l != j} table[a_l, m].
    """
    weights = np.empty((supports.shape[1], len(theta)))
    product, expected = np.empty(len(theta)), np.empty(len(theta))
    for i in range(len(supports)):
        if sizes[i]:
            values[i] = _one_support(theta, table, supports[i, : sizes[i]], weights, product, expected)


@njit(nogil=True, cache=True)
def add_gradients(theta, table, supports, sizes, values, log_theta_gradient, log_table_gradient):
    """Like ``pseudo_likelihoods``; adds the gradients of the sum of the values by log theta and log table.

    ``log_table_gradient[l, m]`` collects the sites that hold m beside l in ordered pairs: of a symmetric
    table the gradient is this plus its transpose.
    """
    weights = np.empty((supports.shape[1], len(theta)))
    product, expected = np.empty(len(theta)), np.empty(len(theta))
    for i in range(len(supports)):
        size = sizes[i]
        if size == 0:
            continue
        support = supports[i, :size]
        values[i] = _one_support(theta, table, support, weights, product, expected)
        log_theta_gradient -= expected
        for j in range(size):
            log_theta_gradient[support[j]] += 1.0
            gradient = log_table_gradient[support[j]]
            _add_difference(weights[j], expected, gradient)
            for other in range(size):
                if other != j:
                    gradient[support[other]] += 1.0
