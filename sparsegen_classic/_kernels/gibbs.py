"""Gibbs sampling of supports from a pairwise model, by products of factors (see ``run_chain``)."""

from __future__ import annotations

import numpy as np
from numba import njit

_FAST = {
    "reassoc",
    "contract",
    "nsz",
}  # sums may be taken in any order, so that they become vector instructions
_GROUP = 32
_TINY = 1e-280  # a sum below this may have lost terms to underflow


# Loops over states, each in a function of its own whose arrays do not overlap: then they become vector
# instructions.


@njit(nogil=True, cache=True)
def _copy(x, out):
    for m in range(len(out)):
        out[m] = x[m]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _multiply(x, y, out):
    for m in range(len(out)):
        out[m] = x[m] * y[m]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _multiply_by(x, y):
    for m in range(len(x)):
        x[m] *= y[m]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _multiply_by_two(x, y, z):
    for m in range(len(x)):
        x[m] *= y[m] * z[m]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _dot(x, y):
    total = 0.0
    for m in range(len(x)):
        total += x[m] * y[m]
    return total


@njit(nogil=True, cache=True, fastmath=_FAST)
def _start(x, y):
    """Fill ``x`` with ones and return x @ y."""
    total = 0.0
    for m in range(len(x)):
        x[m] = 1.0
        total += y[m]
    return total


@njit(nogil=True, cache=True, fastmath=_FAST)
def _multiply_and_dot(x, row, y):
    """Multiply ``x`` by ``row`` in place and return x @ y, in one pass."""
    total = 0.0
    for m in range(len(x)):
        product = x[m] * row[m]
        x[m] = product
        total += product * y[m]
    return total


@njit(nogil=True, cache=True)
def _draw(x, y, total, u):
    """Return a state drawn with weights x * y, of sum ``total``, by the uniform ``u``; none of weight 0."""
    remaining, start = u * total, 0
    while start + _GROUP < len(x):  # skip whole groups: their sums are vector instructions
        group = _dot(x[start : start + _GROUP], y[start : start + _GROUP])
        if remaining < group:
            break
        remaining -= group
        start += _GROUP
    for m in range(start, len(x)):
        remaining -= x[m] * y[m]
        if remaining < 0.0:
            return m
    m = len(x) - 1  # rounding used up the weights
    while x[m] * y[m] == 0.0:
        m -= 1
    return m


@njit(nogil=True, cache=True)
def _draw_by_logs(theta, table, support, site, u):
    """Return a state drawn for ``site`` where products of factors underflow."""
    log_weights = np.log(theta)
    for other in range(len(support)):
        if other != site:
            log_weights += np.log(table[support[other]])
    peak = log_weights.max()
    if peak == -np.inf:
        return support[site]
    weights = np.exp(log_weights - peak)
    return _draw(np.ones(len(weights)), weights, weights.sum(), u)


@njit(nogil=True, cache=True)
def _run_of_sites(uniforms, flip, size, random_scan, order, fractions, taken):
    """Return how many flips from ``flip`` on take no site twice; write their sites and uniforms.

    A random scan takes the site from the same uniform: the integer part of u * size is the site, the
    fraction draws the state.
    """
    taken[:] = False
    length = 0
    while flip + length < len(uniforms) and length < size:
        u, site = uniforms[flip + length], (flip + length) % size
        if random_scan:
            site = int(u * size)
            u = u * size - site
        if taken[site]:
            break
        taken[site], order[length], fractions[length] = True, site, u
        length += 1
    return length


@njit(nogil=True, cache=True)
def _products_of_others(theta, table, support, taken, order, length, later):
    """Write to later[i] the product of theta, the rows of the sites not ``taken`` and of order[i + 1 :]."""
    last, held = later[length - 1], -1
    _copy(theta, last)
    for site in range(len(support)):
        if taken[site]:
            continue
        if held < 0:
            held = site
        else:
            _multiply_by_two(last, table[support[held]], table[support[site]])
            held = -1
    if held >= 0:
        _multiply_by(last, table[support[held]])
    for i in range(length - 1, 0, -1):
        _multiply(later[i], table[support[order[i]]], later[i - 1])


@njit(nogil=True, cache=True)
def run_chain(theta, table, support, uniforms, random_scan, later, earlier):
    """Update ``support`` (size,) in place, one site for each of ``uniforms``.

    To redraw a site, its state's row is left out of the product theta * prod_l table[support_l] and a state
    is drawn with these weights. Nothing is divided out, so nothing drifts and factors may be 0: in a run
    of flips that take each site at most once, the weights are the product of the rows drawn ``earlier`` in
    the run and of all those that change ``later`` or not at all. A flip fetches one row, that of the state
    drawn; the other rows of the support were fetched before and are still in the cache. ``later`` (size,
    n_states) and ``earlier`` (n_states,) are workspaces.
    """
    size, flip = len(support), 0
    order, fractions, taken = np.empty(size, np.int64), np.empty(size), np.empty(size, np.bool_)
    while flip < len(uniforms):
        length = _run_of_sites(uniforms, flip, size, random_scan, order, fractions, taken)
        _products_of_others(theta, table, support, taken, order, length, later)
        for i in range(length):
            if i == 0:
                total = _start(earlier, later[0])
            else:
                total = _multiply_and_dot(earlier, table[support[order[i - 1]]], later[i])
            if total > _TINY:
                support[order[i]] = _draw(earlier, later[i], total, fractions[i])
            else:
                support[order[i]] = _draw_by_logs(theta, table, support, order[i], fractions[i])
        flip += length


@njit(nogil=True, cache=True)
def run_chains(theta, table, supports, sizes, uniforms, thin, random_scan, draws):
    """Run each row of ``supports`` (n_chains, k_max) in place; keep it after every ``thin`` sweeps.

    ``theta`` (n_states,) and ``table`` (n_states, n_states) are factors, not logarithms, at most 1. Chain i
    has ``sizes[i]`` sites and fills ``draws[i]``, an array (n_draws, k_max), by the first
    ``n_draws * thin * sizes[i]`` uniforms of its row.
    """
    later, earlier = np.empty((supports.shape[1], len(theta))), np.empty(len(theta))
    for i in range(len(supports)):
        support = supports[i, : sizes[i]]
        flips = thin * sizes[i]
        for draw in range(draws.shape[1]):
            part = uniforms[i, draw * flips : (draw + 1) * flips]
            run_chain(theta, table, support, part, random_scan, later, earlier)
            draws[i, draw] = supports[i]
