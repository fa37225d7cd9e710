"""Non-negative OMP (Bruckstein, Elad, Zibulevsky 2008): pick the largest signed correlation, refit by NNLS.

The refit over the chosen atoms is the active-set method of Lawson and Hanson (1974) on the Gram matrix,
started from the last solution. An atom whose coefficient it sets to zero stays chosen and may return.
"""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _solve_on_active(gram, active, alpha0, factor, solution):
    """Least squares on the active atoms by Cholesky; return False if they are dependent."""
    n_active = 0
    for p in active:
        for q in range(n_active + 1):
            entry = gram[p, active[q]]
            for s in range(q):
                entry -= factor[n_active, s] * factor[q, s]
            if q < n_active:
                factor[n_active, q] = entry / factor[q, q]
            elif entry > 1e-12:
                factor[q, q] = np.sqrt(entry)
            else:
                return False
        n_active += 1
    for q in range(n_active):
        total = alpha0[active[q]]
        for s in range(q):
            total -= factor[q, s] * solution[s]
        solution[q] = total / factor[q, q]
    for q in range(n_active - 1, -1, -1):
        for s in range(q + 1, n_active):
            solution[q] -= factor[s, q] * solution[s]
        solution[q] /= factor[q, q]
    return True


@njit(nogil=True, cache=True)
def _nnls(gram, alpha0, smallest, factor, solution, g):
    """Lawson-Hanson over the chosen atoms, g updated in place; the last atom is new.

    gram (t, t) and alpha0 (t,) are those of the chosen atoms. Return False if the new atom is dependent.
    """
    t = gram.shape[0]
    entering = t - 1
    for _ in range(3 * t):  # each round lowers the residual; the bound only guards against rounding
        g[entering] = 1e-300  # marks the atom active; its step below starts from zero
        while True:
            active = np.flatnonzero(g[:t] > 0)
            if not _solve_on_active(gram, active, alpha0, factor, solution):
                g[entering] = 0
                return False
            step, leaving = 1.0, -1
            for q in range(active.shape[0]):
                p = active[q]
                if solution[q] <= 0 and g[p] < step * (g[p] - solution[q]):
                    step, leaving = g[p] / (g[p] - solution[q]), p
            for q in range(active.shape[0]):
                g[active[q]] = max(g[active[q]] + step * (solution[q] - g[active[q]]), 0.0)
            if leaving < 0:
                break
            g[leaving] = 0
        entering, best = -1, smallest
        for p in range(t):
            if g[p] == 0:
                gradient = alpha0[p]
                for q in range(t):
                    gradient -= gram[p, q] * g[q]
                if gradient > best:
                    entering, best = p, gradient
        if entering < 0:
            break
    return True


@njit(nogil=True, cache=True)
def nn_omp_block(alpha, gram, energy, tol, x, components, floor, indices, coefficients):
    """Code a block of signals with non-negative coefficients; arguments as in ``omp_block``."""
    n, k = indices.shape
    factor, solution, g = np.empty((k, k)), np.empty(k), np.empty(k)
    chosen_gram, chosen_alpha = np.empty((k, k)), np.empty(k)
    a = np.empty(gram.shape[0])
    n_dependent = 0
    for i in range(n):
        smallest = floor[0] * np.sqrt(energy[i])
        residual = energy[i]
        t = 0
        g[:] = 0
        a[:] = alpha[i]
        while t < k and residual > tol[i]:
            j = np.argmax(a)
            if a[j] <= smallest:
                break
            indices[i, t] = j
            chosen_alpha[t] = alpha[i, j]
            for p in range(t + 1):
                chosen_gram[t, p] = chosen_gram[p, t] = gram[j, indices[i, p]]
            t += 1
            if not _nnls(chosen_gram[:t, :t], chosen_alpha, smallest, factor, solution, g):
                t -= 1
                indices[i, t] = -1
                n_dependent += 1
                break
            a[:] = alpha[i]
            for p in range(t):
                for m in range(a.shape[0]):
                    a[m] -= g[p] * gram[indices[i, p], m]
            a[indices[i, :t]] = 0
            if tol[i] >= 0:
                residual = 0.0
                for f in range(x.shape[1]):
                    r = x[i, f]
                    for p in range(t):
                        r -= g[p] * components[indices[i, p], f]
                    residual += r * r
        coefficients[i, :t] = g[:t]
    return n_dependent


@njit(nogil=True, cache=True)
def masked_nn_omp_step(
    t, rows, alpha, inverse_norm, root, components, tol, floor, residual, basis, factor, z, indices, active
):
    """Add atom number t to the signals ``rows``; arguments as in ``masked_omp_step``, with three changes.

    basis holds the weighted atoms, normalised but not orthogonal, factor their Gram matrix, and z their
    non-negative coefficients.
    """
    k = indices.shape[1]
    cholesky, solution, chosen_alpha = np.empty((k, k)), np.empty(k), np.empty(k)
    n_dependent = 0
    for a in range(rows.shape[0]):
        i = rows[a]
        alpha[a, indices[i, :t]] = 0
        j = np.argmax(alpha[a] * inverse_norm[i])
        if alpha[a, j] * inverse_norm[i, j] <= floor[0][i]:
            active[i] = False
            continue
        q, r = basis[i, t], residual[i]
        q[:] = root[i] * components[j] * inverse_norm[i, j]
        for p in range(t):  # back from the residual to the signal
            r += z[i, p] * basis[i, p]
        for p in range(t + 1):
            chosen_alpha[p] = (basis[i, p] * r).sum()
            factor[i, t, p] = factor[i, p, t] = (basis[i, p] * q).sum()
        indices[i, t] = j
        gram = factor[i, : t + 1, : t + 1]
        if not _nnls(gram, chosen_alpha, floor[0][i], cholesky, solution, z[i]):
            indices[i, t] = -1
            n_dependent += 1
            active[i] = False
        for p in range(t + 1):
            r -= z[i, p] * basis[i, p]
        if tol[i] >= 0 and (r * r).sum() <= tol[i]:
            active[i] = False
    return n_dependent
