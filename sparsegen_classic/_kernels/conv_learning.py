"""The filter step of convolutional dictionary learning, from small statistics of sparse codes.

For codes z and images x (full convolution, x ~ sum_k z_k * d_k) least squares in the filters d needs only

    gram[k, j, h - 1 + dy, w - 1 + dx] = sum_p z_k(p) z_j(p + (dy, dx))     (n_atoms, n_atoms, 2h - 1, 2w - 1)
    cross[k, c] = sum_p z_k(p) x_c[p : p + (h, w)]                          (n_atoms, n_channels, h, w)
"""

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz"}


@njit(nogil=True, cache=True)
def add_statistics(entries, value, start, by_row, image, factor, first, last, gram, cross):
    """Add the part of the entries ``first`` to ``last`` of one image's code, times ``factor``.

    entries (n, 3) atom, top, left and value (n,), sorted by atom; by_row: their order by top, then left;
    start (rows + 1,): where each row begins in it; image (n_channels, H, W).
    """
    _, n_channels, h, w = cross.shape
    n_rows = start.shape[0] - 1
    for e in range(first, last):
        k, top, left = entries[e]
        v = value[e] * factor
        for c in range(n_channels):
            for i in range(h):
                for j in range(w):
                    cross[k, c, i, j] += v * image[c, top + i, left + j]
        for row in range(max(top - h + 1, 0), min(top + h, n_rows)):
            low, high = start[row], start[row + 1]
            while low < high:  # the first entry of the row within reach
                middle = (low + high) // 2
                if entries[by_row[middle], 2] <= left - w:
                    low = middle + 1
                else:
                    high = middle
            for at in range(low, start[row + 1]):
                f = by_row[at]
                dx = entries[f, 2] - left
                if dx >= w:
                    break
                gram[k, entries[f, 0], row - top + h - 1, dx + w - 1] += v * value[f]


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _add_correlation(gram, filters, sign, out):
    """Add sign * sum_o' gram(o - o') filters(o') to out (n_channels, h, w)."""
    n_channels, h, w = filters.shape
    for c in range(n_channels):
        for i in range(h):
            target = out[c, i]
            for p in range(h):
                row = gram[i - p + h - 1]
                for q in range(w):
                    v = sign * filters[c, p, q]
                    source = row[w - 1 - q : 2 * w - 1 - q]
                    for j in range(w):
                        target[j] += v * source[j]


@njit(nogil=True, cache=True, fastmath=_FAST)
def descend_filters(gram, cross, n_steps, filters):
    """Minimise 1/2 <d, gram d> - <cross, d> over one filter after the other, norms at most 1.

    Each by ``n_steps`` projected gradient steps of length 1 / L, L an upper bound of its curvature: none
    raises the objective. Filters that no entry uses stay. Returns a lower bound of the decrease.
    """
    n_atoms = len(filters)
    linear, gradient = np.empty_like(filters[0]), np.empty_like(filters[0])
    decrease = 0.0
    for k in range(n_atoms):
        own = gram[k, k]
        curvature = np.abs(own).sum()
        if curvature == 0:
            continue
        linear[:] = cross[k]
        for j in range(n_atoms):
            if j != k:
                _add_correlation(gram[k, j], filters[j], -1.0, linear)
        for _ in range(n_steps):
            gradient[:] = linear
            _add_correlation(own, filters[k], -1.0, gradient)
            new = filters[k] + gradient / curvature
            norm = np.sqrt((new * new).sum())
            if norm > 1:
                new /= norm
            change = new - filters[k]
            decrease += 0.5 * curvature * (change * change).sum()
            filters[k] = new
    return decrease
