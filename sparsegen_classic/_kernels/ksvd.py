"""The atom stage of K-SVD (Aharon, Elad, Bruckstein 2006) on a residual that is kept up to date.

With E = R_w + g d^T, the error of the users w of an atom without it, one step of the power method is
d <- E^T g / ||.||, g <- E d. Neither E nor its SVD is formed (Rubinstein, Zibulevsky, Elad 2008).
"""

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz"}


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


@njit(nogil=True, cache=True, fastmath=_FAST)
def update_atoms(order, components, residual, start, users, coefficients):
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
        norm = d[0] - d[0]
        for f in range(d.shape[0]):
            d_new[f] += energy * d[f]
            norm += d_new[f] * d_new[f]
        if norm <= 0:
            continue  # no user, or nothing left to explain
        scale = 1 / np.sqrt(norm)
        overlap = d[0] - d[0]
        for f in range(d.shape[0]):
            d_new[f] *= scale
            overlap += d_new[f] * d[f]
        for p in w:
            r, c = residual[p // k], g[p]
            c_new = c * overlap
            for f in range(d.shape[0]):
                c_new += r[f] * d_new[f]
            for f in range(d.shape[0]):
                r[f] += c * d[f] - c_new * d_new[f]
            g[p] = c_new
        d[:] = d_new
