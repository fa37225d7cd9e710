"""Orthogonal matching pursuit with a weight on every entry of every signal (0 = missing).

Each signal has its own dictionary, the atoms times the root of its weights, so no Gram matrix is shared.
What can be shared is the product of all residuals with the atoms: the caller forms it for a block of
signals, one matrix product a step, and the step below does the rest by Gram-Schmidt on the chosen atoms.
"""

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz"}


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _dot(a, b):
    total = a[0] - a[0]
    for f in range(a.shape[0]):
        total += a[f] * b[f]
    return total


@njit(nogil=True, cache=True, fastmath=_FAST)
def _orthonormalise(q, basis, row):
    """Take the part in ``basis`` out of q, twice against rounding; return the squared norm of the rest.

    q is normalised in place; ``row`` becomes its coordinates, the new row of the triangular factor.
    """
    t = basis.shape[0]
    row[: t + 1] = 0
    for _ in range(2):
        for p in range(t):
            c = _dot(q, basis[p])
            row[p] += c
            for f in range(q.shape[0]):
                q[f] -= c * basis[p, f]
    pivot = _dot(q, q)
    if pivot > 0:
        row[t] = np.sqrt(pivot)
        q /= row[t]
    return pivot


@njit(nogil=True, cache=True, fastmath=_FAST)
def masked_omp_step(
    t, rows, alpha, inverse_norm, root, components, tol, floor, residual, basis, factor, z, indices, active
):
    """Add atom number t to the signals ``rows`` of a block; return how many met a dependent atom.

    alpha (n_rows, M) correlations of the weighted residuals with the atoms; for all signals of the block:
    inverse_norm (n, M) of the weighted atoms, 0 = never pick; root (n, n_features) of the weights; tol (n,)
    squared residual targets, negative = none; floor = (smallest correlation (n,), smallest squared pivot).
    State, changed in place: residual (n, n_features) times root; basis (n, k, n_features) orthonormal;
    factor (n, k, k) and z (n, k): basis = factor^-1 atoms, z = basis signal; indices (n, k); active (n,).
    """
    n_dependent = 0
    for a in range(rows.shape[0]):
        i = rows[a]
        for p in range(t):
            alpha[a, indices[i, p]] = 0
        best, j = floor[0][i], -1
        for m in range(alpha.shape[1]):
            correlation = abs(alpha[a, m]) * inverse_norm[i, m]
            if correlation > best:
                best, j = correlation, m
        if j < 0:
            active[i] = False
            continue
        q, r = basis[i, t], residual[i]
        for f in range(q.shape[0]):
            q[f] = root[i, f] * components[j, f] * inverse_norm[i, j]
        if _orthonormalise(q, basis[i, :t], factor[i, t]) <= floor[1]:
            n_dependent += 1
            active[i] = False
            continue
        indices[i, t] = j
        z[i, t] = _dot(q, r)
        for f in range(q.shape[0]):
            r[f] -= z[i, t] * q[f]
        if tol[i] >= 0 and _dot(r, r) <= tol[i]:
            active[i] = False
    return n_dependent


@njit(nogil=True, cache=True, fastmath=_FAST)
def masked_omp_coefficients(factor, z, inverse_norm, indices, coefficients):
    """Solve factor^T g = z for every signal and undo the normalisation of its weighted atoms."""
    for i in range(indices.shape[0]):
        t = 0
        while t < indices.shape[1] and indices[i, t] >= 0:
            t += 1
        for p in range(t - 1, -1, -1):
            g = z[i, p]
            for q in range(p + 1, t):
                g -= factor[i, q, p] * z[i, q]
            z[i, p] = g / factor[i, p, p]
            coefficients[i, p] = z[i, p] * inverse_norm[i, indices[i, p]]
