"""Gibbs sampling of supports from a pairwise model, on exact fixed-point tables (see ``run_chain``)."""

from __future__ import annotations

import numpy as np
from numba import njit

_LOG2E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10  # their sum is ln 2
_ROUND = 1.5 * 2.0**52  # adding it leaves the nearest integer in the low bits of the mantissa
_C2, _C3, _C4, _C5 = 1 / 2, 1 / 6, 1 / 24, 1 / 120
_C6, _C7, _C8, _C9 = 1 / 720, 1 / 5040, 1 / 40320, 1 / 362880
_GROUP = 32


@njit(nogil=True, cache=True, fastmath={"contract"})
def exponentials(x, peak, out):
    """Write exp(x - peak), for x <= peak, to ``out``, to ten digits; 0 from exp(-700) down.

    exp(t) = 2^n exp(r) with n = round(t / ln 2) and |r| <= ln(2) / 2, where the Taylor polynomial of degree
    9 is right to 1e-11. Unlike ``math.exp``, this loop becomes vector instructions.
    """
    for m in range(len(x)):
        t = max(x[m] - peak, -700.0)
        shifted = t * _LOG2E + _ROUND
        n = shifted - _ROUND
        r = (t - n * _LN2_HIGH) - n * _LN2_LOW
        p = ((((_C9 * r + _C8) * r + _C7) * r + _C6) * r + _C5) * r + _C4
        p = (((p * r + _C3) * r + _C2) * r + 1.0) * r + 1.0
        bits = np.float64(p).view(np.int64) + (np.float64(shifted).view(np.int64) << 52)  # p * 2^n
        out[m] = np.int64(bits).view(np.float64) if t > -700.0 else 0.0


@njit(nogil=True, cache=True, fastmath={"reassoc", "nnan", "nsz"})
def _maximum(x):
    peak = x[0]
    for m in range(1, len(x)):
        peak = max(peak, x[m])
    return peak


@njit(nogil=True, cache=True, fastmath={"reassoc", "nnan", "nsz"})
def _sum(x, start, stop):
    total = 0.0
    for m in range(start, stop):
        total += x[m]
    return total


@njit(nogil=True, cache=True)
def _draw(fields, weights, u):
    """Return a state drawn from softmax(fields) by the uniform ``u``; never one of weight 0."""
    exponentials(fields, _maximum(fields), weights)
    remaining, start = u * _sum(weights, 0, len(weights)), 0
    while start + _GROUP < len(weights):  # skip whole groups: their sums are vector instructions
        group = _sum(weights, start, start + _GROUP)
        if remaining < group:
            break
        remaining -= group
        start += _GROUP
    for m in range(start, len(weights)):
        remaining -= weights[m]
        if remaining < 0.0:
            return m
    m = len(weights) - 1  # rounding used up the weights
    while weights[m] == 0.0:
        m -= 1
    return m


@njit(nogil=True, cache=True)
def run_chain(theta, table, support, uniforms, random_scan, fields, weights):
    """Update ``support`` (size,) in place, one site for each of ``uniforms``.

    ``fields`` holds f_m = theta_m + sum_l table[support_l, m] on return (``weights`` is a workspace). To
    redraw a site, its state's row is taken out of f, a state is drawn from softmax(f), and the new row is
    put in. ``theta`` and ``table`` are multiples of one power of two and bounded, so these sums are exact:
    what was added is removed to the last bit, and f never drifts.

    A random scan takes the site from the same uniform: the integer part of u * size is the site, the
    fraction draws the state.
    """
    size = len(support)
    fields[:] = theta
    for site in range(size):
        fields += table[support[site]]
    for flip in range(len(uniforms)):
        u, site = uniforms[flip], flip % size
        if random_scan:
            site = int(u * size)
            u = u * size - site
        state = support[site]
        for m in range(len(fields)):
            fields[m] -= table[state, m]
        state = _draw(fields, weights, u)
        for m in range(len(fields)):
            fields[m] += table[state, m]
        support[site] = state


@njit(nogil=True, cache=True)
def run_chains(theta, table, supports, sizes, uniforms, n_sweeps, random_scan):
    """Run ``n_sweeps`` sweeps on each row of ``supports`` (n_chains, k_max), in place.

    Chain i has ``sizes[i]`` sites and uses the first ``n_sweeps * sizes[i]`` uniforms of its row.
    """
    fields, weights = np.empty(len(theta)), np.empty(len(theta))
    for i in range(len(supports)):
        size = sizes[i]
        run_chain(
            theta, table, supports[i, :size], uniforms[i, : n_sweeps * size], random_scan, fields, weights
        )
