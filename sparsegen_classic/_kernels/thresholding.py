"""Pursuits that choose k atoms at once: thresholding, iterative hard thresholding, subspace pursuit.

All work on correlations alpha = D x and the Gram matrix, in float64, and end with a least-squares refit. One
signature: ``(alpha, gram, max_iter, indices, coefficients)``, indices filled with -1 beforehand.
"""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _largest(values, k, chosen):
    """Fill ``chosen`` with the indices of the k largest magnitudes above 0; return how many there are."""
    size = np.abs(values)
    k = min(k, len(values))
    for t in range(k):
        j = np.argmax(size)
        if size[j] <= 0:
            return t
        chosen[t] = j
        size[j] = 0
    return k


@njit(nogil=True, cache=True)
def _least_squares(gram, alpha, chosen, g):
    """Refit the chosen atoms by Cholesky; atoms dependent on earlier ones get 0. Return what is explained."""
    t = chosen.shape[0]
    factor, kept, n = np.empty((t, t)), np.empty(t, np.int64), 0
    g[:t] = 0
    for p in range(t):
        for q in range(n + 1):
            other = chosen[p] if q == n else chosen[kept[q]]
            entry = gram[chosen[p], other]
            for s in range(q):
                entry -= factor[n, s] * factor[q, s]
            if q < n:
                factor[n, q] = entry / factor[q, q]
            elif entry > 1e-12:
                factor[n, n] = np.sqrt(entry)
                kept[n] = p
        n += n < t and entry > 1e-12
    z, explained = np.empty(n), 0.0
    for q in range(n):
        z[q] = alpha[chosen[kept[q]]]
        for s in range(q):
            z[q] -= factor[q, s] * z[s]
        z[q] /= factor[q, q]
        explained += z[q] * z[q]
    for q in range(n - 1, -1, -1):
        for s in range(q + 1, n):
            z[q] -= factor[s, q] * z[s]
        z[q] /= factor[q, q]
        g[kept[q]] = z[q]
    return explained


@njit(nogil=True, cache=True)
def _correlate(gram, alpha, chosen, g, out):
    """Write the correlations of the residual with all atoms to ``out``."""
    out[:] = alpha
    for p in range(chosen.shape[0]):
        out -= g[p] * gram[chosen[p]]


@njit(nogil=True, cache=True)
def threshold_block(alpha, gram, max_iter, indices, coefficients):
    """Take the k atoms most correlated with the signal."""
    k = indices.shape[1]
    for i in range(alpha.shape[0]):
        t = _largest(alpha[i], k, indices[i])
        _least_squares(gram, alpha[i], indices[i, :t], coefficients[i])


@njit(nogil=True, cache=True)
def iht_block(alpha, gram, max_iter, indices, coefficients):
    """Normalised iterative hard thresholding (Blumensath and Davies 2010)."""
    k, n_atoms = indices.shape[1], gram.shape[0]
    a, moved, chosen = np.empty(n_atoms), np.empty(n_atoms), np.empty(k, np.int32)
    for i in range(alpha.shape[0]):
        t = _largest(alpha[i], k, indices[i])
        g = coefficients[i]
        g[:] = 0
        for _ in range(max_iter):
            old = indices[i, :t].copy()
            _correlate(gram, alpha[i], old, g, a)
            step = _exact_step(gram, a, old)
            if step <= 0:
                break
            while True:
                moved[:] = step * a
                for p in range(t):
                    moved[old[p]] += g[p]
                n = _largest(moved, k, chosen)
                if np.array_equal(np.sort(chosen[:n]), np.sort(old)):
                    break
                squared, image = _squared_change(gram, moved, chosen[:n], old, g)
                if step * image <= 0.99 * squared:
                    break
                step /= 2
            change = 0.0
            for p in range(n):
                change += (step * a[chosen[p]]) ** 2
            t = n
            indices[i, :t], indices[i, t:] = chosen[:t], -1
            g[:t], g[t:] = moved[chosen[:t]], 0
            if change <= 1e-24 * (g * g).sum():
                break
        _least_squares(gram, alpha[i], indices[i, :t], g)


@njit(nogil=True, cache=True)
def _exact_step(gram, a, chosen):
    """||a_S||^2 / ||D_S^T a_S||^2, the best step along the gradient on the support."""
    squared, image = 0.0, 0.0
    for p in chosen:
        squared += a[p] * a[p]
        for q in chosen:
            image += a[p] * gram[p, q] * a[q]
    return squared / image if image > 1e-300 else 0.0


@njit(nogil=True, cache=True)
def _squared_change(gram, moved, chosen, old, g):
    """Squared norms of the change of the code, and of its image."""
    where = np.concatenate((chosen, old))
    change = np.zeros(where.shape[0])
    for p in range(chosen.shape[0]):
        change[p] = moved[chosen[p]]
    for p in range(old.shape[0]):
        change[chosen.shape[0] + p] = -g[p]
    squared, image = 0.0, 0.0
    for p in range(where.shape[0]):
        for q in range(where.shape[0]):
            if where[p] == where[q]:
                squared += change[p] * change[q]
            image += change[p] * gram[where[p], where[q]] * change[q]
    return squared, image


@njit(nogil=True, cache=True)
def subspace_pursuit_block(alpha, gram, max_iter, indices, coefficients):
    """Subspace pursuit (Dai and Milenkovic 2009): merge k new atoms, refit, keep the k largest."""
    k, n_atoms = indices.shape[1], gram.shape[0]
    a, g = np.empty(n_atoms), np.empty(2 * k)
    fresh, merged, kept = np.empty(k, np.int32), np.empty(2 * k, np.int32), np.empty(k, np.int32)
    for i in range(alpha.shape[0]):
        t = _largest(alpha[i], k, indices[i])
        best = _least_squares(gram, alpha[i], indices[i, :t], coefficients[i])
        for _ in range(max_iter):
            _correlate(gram, alpha[i], indices[i, :t], coefficients[i], a)
            a[indices[i, :t]] = 0
            n = _largest(a, k, fresh)
            merged[:t], merged[t : t + n] = indices[i, :t], fresh[:n]
            _least_squares(gram, alpha[i], merged[: t + n], g)
            size = _largest(g[: t + n], k, kept)
            candidate = merged[kept[:size]]
            explained = _least_squares(gram, alpha[i], candidate, g)
            if explained <= best * (1 + 1e-12):
                break
            best, t = explained, size
            indices[i, :t], indices[i, t:] = candidate, -1
            coefficients[i, :t], coefficients[i, t:] = g[:t], 0
