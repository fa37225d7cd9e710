"""Coordinate descent for the convolutional lasso, on the residual image.

An *entry* is one atom at one place. ``residual`` (n_channels, H, W + spare) holds mask * (image - D maps);
``filters`` (n_atoms, n_channels, h, w rounded up to a multiple of 8, zeros behind w) so that the inner loops
have 8 steps and become vector instructions; ``spare`` columns let a row of a filter end beyond W. Atoms that
reach the lower or right border go on at the opposite one (on images with zero boundary none reaches it).
"""

from numba import njit

_FAST = {"reassoc", "contract", "nsz"}  # sums may be vectorised; NaN and infinity keep their meaning


@njit(nogil=True, cache=True, fastmath=_FAST)
def strongest(correlation, scale, positive, ratio, atom):
    """Per position the largest |correlation| * scale (positive: without the modulus) and its atom."""
    n_atoms, n_rows, n = correlation.shape
    for y in range(n_rows):
        best, who = ratio[y], atom[y]
        best[:] = 0
        who[:] = 0
        for k in range(n_atoms):
            row, factor = correlation[k, y], scale[k]
            for x in range(n):
                v = row[x] * factor if positive else abs(row[x]) * factor
                who[x] = k if v > best[x] else who[x]
                best[x] = max(v, best[x])


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _inner(residual, filters, k, top, left):
    zero = residual[0, 0, 0] * 0
    s0, s1, s2, s3, s4, s5, s6, s7 = zero, zero, zero, zero, zero, zero, zero, zero
    for c in range(filters.shape[1]):
        for i in range(filters.shape[2]):
            for j in range(0, filters.shape[3], 8):
                r = residual[c, top + i, left + j : left + j + 8]
                f = filters[k, c, i, j : j + 8]
                s0 += r[0] * f[0]
                s1 += r[1] * f[1]
                s2 += r[2] * f[2]
                s3 += r[3] * f[3]
                s4 += r[4] * f[4]
                s5 += r[5] * f[5]
                s6 += r[6] * f[6]
                s7 += r[7] * f[7]
    return ((s0 + s4) + (s1 + s5)) + ((s2 + s6) + (s3 + s7))


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _subtract(residual, filters, mask, masked, k, top, left, change):
    for c in range(filters.shape[1]):
        for i in range(filters.shape[2]):
            for j in range(0, filters.shape[3], 8):
                r = residual[c, top + i, left + j : left + j + 8]
                f = filters[k, c, i, j : j + 8]
                if masked:
                    q = mask[c, top + i, left + j : left + j + 8]
                    for p in range(8):
                        r[p] -= change * f[p] * q[p]
                else:
                    for p in range(8):
                        r[p] -= change * f[p]


@njit(nogil=True, cache=True)
def _inner_wrapped(residual, filters, k, top, left, size):
    total = residual[0, 0, 0] * 0
    for c in range(filters.shape[1]):
        for i in range(filters.shape[2]):
            y = (top + i) % size[0]
            for j in range(size[2]):
                total += residual[c, y, (left + j) % size[1]] * filters[k, c, i, j]
    return total


@njit(nogil=True, cache=True)
def _subtract_wrapped(residual, filters, mask, masked, k, top, left, size, change):
    for c in range(filters.shape[1]):
        for i in range(filters.shape[2]):
            y = (top + i) % size[0]
            for j in range(size[2]):
                x = (left + j) % size[1]
                if not masked or mask[c, y, x] != 0:
                    residual[c, y, x] -= change * filters[k, c, i, j]


@njit(nogil=True, cache=True)
def entry_norms(filters, mask, size, atom, top, left, squared):
    """Write the squared norms of the entries on the observed pixels into ``squared``."""
    for e in range(atom.shape[0]):
        total = squared[e] * 0
        for c in range(filters.shape[1]):
            for i in range(filters.shape[2]):
                y = (top[e] + i) % size[0]
                for j in range(size[2]):
                    f = filters[atom[e], c, i, j] * mask[c, y, (left[e] + j) % size[1]]
                    total += f * f
        squared[e] = total


@njit(nogil=True, cache=True, fastmath=_FAST)
def sweep(residual, filters, mask, size, threshold, positive, atom, top, left, squared, value):
    """Minimise over each entry in turn; return twice the decrease that these steps guarantee.

    size = (H, W, w): of the image, and the true width of a filter; mask (n_channels, H, W + spare), or of
    shape (0, 0, 0) if every pixel is observed; squared (n,) squared norms of the entries; value (n,) is
    updated, and the residual with it.
    """
    masked = mask.shape[0] > 0
    height = filters.shape[2]
    decrease = 0.0
    for e in range(atom.shape[0]):
        k, y, x, z = atom[e], top[e], left[e], value[e]
        inside = y + height <= size[0] and x + size[2] <= size[1]
        if inside:
            target = _inner(residual, filters, k, y, x)
        else:
            target = _inner_wrapped(residual, filters, k, y, x, size)
        target += squared[e] * z
        new = max(abs(target) - threshold[k], 0) / squared[e]
        if target < 0:
            new = z * 0 if positive else -new
        change = new - z
        if change != 0:
            value[e] = new
            decrease += squared[e] * change * change
            if inside:
                _subtract(residual, filters, mask, masked, k, y, x, change)
            else:
                _subtract_wrapped(residual, filters, mask, masked, k, y, x, size, change)
    return decrease
