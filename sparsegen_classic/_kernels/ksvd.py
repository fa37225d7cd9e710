"""The atom stage of K-SVD (Aharon, Elad, Bruckstein 2006) on a residual that is kept up to date.

With E = R_w + g d^T, the error of the users w of an atom without it, one step of the power method is
d <- E^T g / ||.||, g <- E d. Neither E nor its SVD is formed (Rubinstein, Zibulevsky, Elad 2008). Both
halves are exact minimisers, and stay so when d must be non-negative (clip) or of zero mean (centre), g
non-negative (clip), or when entries have weights (divide by their sums): the objective never rises.
"""

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz"}
FREE, NON_NEGATIVE, ZERO_MEAN = 0, 1, 2  # what an atom may be


@njit(nogil=True, cache=True)
def users_by_atom(indices, n_atoms):
    """Return start, users: ``users[start[j]:start[j + 1]]`` are the flat positions i * k + t of atom j."""
    start = np.zeros(n_atoms + 1, np.int64)
    for i in range(indices.shape[0]):
        for t in range(indices.shape[1]):
            if indices[i, t] >= 0:
                start[indices[i, t] + 1] += 1
    start = np.cumsum(start)
    users = np.empty(start[-1], np.int64)
    fill = start[:-1].copy()
    for i in range(indices.shape[0]):
        for t in range(indices.shape[1]):
            j = indices[i, t]
            if j >= 0:
                users[fill[j]] = i * indices.shape[1] + t
                fill[j] += 1
    return start, users


@njit(nogil=True, cache=True, fastmath=_FAST)
def subtract_codes(residual, components, indices, coefficients):
    """``residual -= codes @ components`` in place; padding has index -1."""
    for i in range(residual.shape[0]):
        r = residual[i]
        for t in range(indices.shape[1]):
            if indices[i, t] >= 0:
                g, d = coefficients[i, t], components[indices[i, t]]
                for f in range(r.shape[0]):
                    r[f] -= g * d[f]


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _normalise(d, rule):
    """Bring d to what the rule allows and to unit norm, in place; return False if nothing is left."""
    zero = d[0] - d[0]
    if rule == NON_NEGATIVE:
        for f in range(d.shape[0]):
            d[f] = max(d[f], zero)
    elif rule == ZERO_MEAN:
        mean = zero
        for f in range(d.shape[0]):
            mean += d[f]
        mean /= d.shape[0]
        for f in range(d.shape[0]):
            d[f] -= mean
    norm = zero
    for f in range(d.shape[0]):
        norm += d[f] * d[f]
    if norm <= 0:
        return False
    scale = 1 / np.sqrt(norm)
    for f in range(d.shape[0]):
        d[f] *= scale
    return True


@njit(nogil=True, cache=True, fastmath=_FAST)
def update_atoms(order, components, residual, start, users, coefficients, rule, positive):
    """One sweep over the atoms in ``order``; components, residual and coefficients change in place."""
    k = coefficients.shape[1]
    g = coefficients.reshape(-1)
    d_new = np.empty(components.shape[1], components.dtype)
    for j in order:
        d = components[j]
        w = users[start[j] : start[j + 1]]
        energy = d[0] - d[0]
        d_new[:] = 0
        for p in w:
            r, c = residual[p // k], g[p]
            energy += c * c
            for f in range(d.shape[0]):
                d_new[f] += c * r[f]
        for f in range(d.shape[0]):
            d_new[f] += energy * d[f]
        if energy <= 0 or not _normalise(d_new, rule):
            continue  # no user, or nothing left to explain
        overlap = d[0] - d[0]
        for f in range(d.shape[0]):
            overlap += d_new[f] * d[f]
        for p in w:
            r, c = residual[p // k], g[p]
            c_new = c * overlap
            for f in range(d.shape[0]):
                c_new += r[f] * d_new[f]
            if positive:
                c_new = max(c_new, d[0] - d[0])
            for f in range(d.shape[0]):
                r[f] += c * d[f] - c_new * d_new[f]
            g[p] = c_new
        d[:] = d_new


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _centre_weighted(d, denominator, mean):
    """Move d to zero mean at the least cost, in place; entries with denominator 0 stay."""
    total, inverse = mean - mean, mean - mean
    for f in range(d.shape[0]):
        total += d[f]
        if denominator[f] > 0:
            inverse += 1 / denominator[f]
    if inverse > 0:
        for f in range(d.shape[0]):
            if denominator[f] > 0:
                d[f] -= total / inverse / denominator[f]


@njit(nogil=True, cache=True, fastmath=_FAST)
def update_atoms_weighted(order, components, residual, weights, start, users, coefficients, rule, positive):
    """``update_atoms`` for the error ``sum(weights * residual**2)``; residual is finite everywhere.

    An entry of an atom that none of its users observes stays as it is.
    """
    k = coefficients.shape[1]
    g = coefficients.reshape(-1)
    d_new, denominator = np.empty_like(components[0]), np.empty_like(components[0])
    for j in order:
        d = components[j]
        w = users[start[j] : start[j + 1]]
        zero = d[0] - d[0]
        d_new[:] = 0
        denominator[:] = 0
        for p in w:
            r, b, c = residual[p // k], weights[p // k], g[p]
            for f in range(d.shape[0]):
                d_new[f] += b[f] * c * r[f]
                denominator[f] += b[f] * c * c
        for f in range(d.shape[0]):
            d_new[f] = d[f] + (d_new[f] / denominator[f] if denominator[f] > 0 else zero)
        if rule == ZERO_MEAN:
            _centre_weighted(d_new, denominator, zero)
        norm = zero
        for f in range(d.shape[0]):
            if rule == NON_NEGATIVE:
                d_new[f] = max(d_new[f], zero)
            norm += d_new[f] * d_new[f]
        norm = np.sqrt(norm)
        if norm <= 0:
            continue
        for f in range(d.shape[0]):
            d_new[f] /= norm
        for p in w:
            r, b, c = residual[p // k], weights[p // k], g[p]
            correlation, energy, most = zero, zero, zero
            for f in range(d.shape[0]):
                correlation += b[f] * (r[f] + c * d[f]) * d_new[f]
                energy += b[f] * d_new[f] * d_new[f]
                most = max(most, b[f])
            c_new = correlation / energy if energy > 1e-6 * most else c * norm  # hardly observed: only scale
            if positive:
                c_new = max(c_new, zero)
            for f in range(d.shape[0]):
                r[f] += c * d[f] - c_new * d_new[f]
            g[p] = c_new
        d[:] = d_new
