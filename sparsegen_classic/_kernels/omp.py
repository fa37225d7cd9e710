"""Batch orthogonal matching pursuit on correlations and the Gram matrix (Rubinstein, Zibulevsky, Elad 2008).

The Cholesky factor is carried in a form that leaves no triangular solve inside the loop. For every chosen
atom the Gram row, orthonormalised against the earlier ones, is kept: V = L^-1 G[I]. Column j of V is then
the new Cholesky row of atom j, and the correlations of the residual lose z_t V_t with z = L^-1 alpha0[I].
One back substitution at the end turns z into coefficients.
"""

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz"}  # sums may be vectorised; NaN and infinity keep their meaning


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _argmax_abs(bits, magnitude):
    """First index of the largest magnitude, as integer reductions over bit patterns, which vectorise."""
    integer = bits.dtype.type  # kept throughout: wider integers would halve the lanes
    largest = integer(0)
    for j in range(bits.shape[0]):
        size = integer(bits[j] & magnitude)
        largest = size if size > largest else largest
    n = integer(bits.shape[0])
    first = n
    for j in range(n):
        here = integer(j) if integer(bits[j] & magnitude) == largest else n
        first = here if here < first else first
    return first


@njit(nogil=True, cache=True, fastmath=_FAST)
def _squared_residual(x, components, chosen, coefficients):
    total = 0.0
    for f in range(x.shape[0]):
        r = x[f]
        for p in range(chosen.shape[0]):
            r -= coefficients[p] * components[chosen[p], f]
        total += r * r
    return total


@njit(nogil=True, cache=True, fastmath=_FAST)
def _back_substitute(cholesky, z, coefficients):
    """Solve L^T g = z."""
    for p in range(z.shape[0] - 1, -1, -1):
        g = z[p]
        for q in range(p + 1, z.shape[0]):
            g -= cholesky[q, p] * coefficients[q]
        coefficients[p] = g / cholesky[p, p]


@njit(nogil=True, cache=True, fastmath=_FAST)
def omp_block(alpha, bits, magnitude, gram, energy, tol, x, components, floor, indices, coefficients):
    """Code a block of signals; return how many stopped at a dependent atom.

    alpha (n, M) correlations, overwritten; bits = alpha seen as integers, magnitude = their mask without
    the sign; energy (n,) squared norms; tol (n,) squared residual targets, negative = none; floor =
    (smallest relative correlation, smallest squared pivot); x and components serve the exact residual where
    the recursion cancels. Out: indices (n, k) filled with -1 beforehand, coefficients (n, k), pick order.
    """
    n, k = indices.shape
    n_atoms = gram.shape[0]
    v = np.empty((k, n_atoms), alpha.dtype)
    cholesky = np.empty((k, k), alpha.dtype)
    z = np.empty(k, alpha.dtype)
    n_dependent = 0
    for i in range(n):
        a = alpha[i]
        smallest = floor[0] * np.sqrt(energy[i])
        residual = energy[i]
        t = 0
        while t < k and residual > tol[i]:
            j = _argmax_abs(bits[i], magnitude)
            if abs(a[j]) <= smallest:
                break
            pivot = gram[j, j]
            for p in range(t):
                cholesky[t, p] = v[p, j]
                pivot -= v[p, j] * v[p, j]
            if pivot <= floor[1]:
                n_dependent += 1
                break
            cholesky[t, t] = np.sqrt(pivot)
            z[t] = a[j] / cholesky[t, t]
            indices[i, t] = j
            residual -= z[t] * z[t]
            t += 1
            if tol[i] >= 0 and residual <= max(1e-6 * energy[i], tol[i]):  # here the recursion cancels
                _back_substitute(cholesky, z[:t], coefficients[i])
                residual = _squared_residual(x[i], components, indices[i, :t], coefficients[i])
            if t < k:
                _remove_atom(v, cholesky, gram[j], z, a, t - 1)
                for p in range(t):
                    a[indices[i, p]] = 0  # exactly orthogonal: rounding must not bring an atom back
        _back_substitute(cholesky, z[:t], coefficients[i])
    return n_dependent


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _remove_atom(v, cholesky, gram_row, z, a, t):
    """V_t = (G_j - sum_p L[t, p] V_p) / L[t, t], two p at a time; then alpha -= z_t V_t."""
    row = v[t]
    scale = 1 / cholesky[t, t]
    step = z[t] * scale
    for m in range(row.shape[0]):
        row[m] = gram_row[m]
    for p in range(0, t - 1, 2):
        c0, c1 = cholesky[t, p], cholesky[t, p + 1]
        v0, v1 = v[p], v[p + 1]
        for m in range(row.shape[0]):
            row[m] -= c0 * v0[m] + c1 * v1[m]
    if t % 2:
        c0, v0 = cholesky[t, t - 1], v[t - 1]
        for m in range(row.shape[0]):
            row[m] -= c0 * v0[m]
    for m in range(row.shape[0]):
        a[m] -= step * row[m]
        row[m] *= scale
