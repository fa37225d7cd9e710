"""Greedy choices on convolutional maps: matching pursuit, its orthogonal form, and caps on local counts.

Everything is local. An atom overlaps only atoms within reach of it, so a row of the Gram matrix is a small
array (its *neighbours*), the same at every position where the atom is cropped alike; the correlations are
kept up to date around what changed, and the largest one is found through the maxima of tiles.

Maps are (height, width, n_atoms) here, signals have height 1. Position i of an axis lies in the windows
``step * i + first`` to ``step * i + last`` over which counts are capped; ``windows`` holds (step, first,
last, n_windows) for each axis.
"""

import numpy as np
from numba import njit

N_NONZERO, TOL, EXACT, CAP, DEPENDENT, MAX_ITER = range(6)  # why a pursuit stopped


@njit(nogil=True, cache=True)
def take_under_cap(order, positions, windows, cap, circular, shape, taken):
    """Take entries in the given order, each unless a window that holds it is full.

    positions (n, 2) int64; taken (n,) bool, filled here.
    """
    counts = np.zeros((windows[0, 3], windows[1, 3]), np.int32)
    full = np.zeros((shape[0], shape[1]), np.bool_)
    for e in order:
        y, x = positions[e]
        if cap > 0 and not full[y, x]:
            taken[e] = True
            _count(y, x, windows, cap, circular, counts, full)


@njit(nogil=True, cache=True)
def pursue(
    corr, residual, filters, scale, grid, crop_y, crop_x, windows, cap, max_iter, tol, orthogonal, picks, code
):
    """Pursue x; return atoms picked, iterations, squared residual norm and why it stopped.

    corr (height, width, n_atoms) = D^T x, becomes that of the residual; residual (n_channels, h, w) = x,
    becomes the residual; filters (n_atoms, n_channels, h, w); scale, of the shape of corr, 1 / norm of every
    atom; grid = (stride_y, stride_x, padding_y, padding_x, circular); crop_y (height, 3): how the atoms of a
    row are cropped, a number for it and the first and last + 1 of the pixel rows that remain; crop_x alike.
    cap < 0: none. Out: picks (n_nonzero, 3) positions and atoms in order, code (n_nonzero,) coefficients.
    """
    tile, best, where, stale = _tiles(corr.shape, filters.shape, grid)
    slot = np.full(corr.shape, -1, np.int32)  # which pick an entry is
    counts, full = np.zeros((windows[0, 3], windows[1, 3]), np.int32), np.full(corr.shape[:2], cap == 0)
    row_of = np.full((crop_y[:, 0].max() + 1, crop_x[:, 0].max() + 1, corr.shape[2]), -1)
    rows, n_rows = np.empty((4, tile[0], tile[1], corr.shape[2])), 0
    start, columns, values = np.zeros(len(picks) + 1, np.int64), np.empty(64, np.int64), np.empty(64)
    diagonal, change = np.empty(len(picks)), np.zeros(len(picks))
    energy = first_energy = np.sum(residual * residual)
    n, iteration = 0, 0
    while energy > tol:
        if iteration == max_iter:
            return n, iteration, energy, MAX_ITER
        y, x, j = _best(corr, scale, slot, full, not orthogonal, tile, best, where, stale)
        if j < 0 or abs(corr[y, x, j]) * scale[y, x, j] <= 1e-13 * np.sqrt(first_energy):
            return n, iteration, energy, CAP if full.any() and energy > 1e-24 * first_energy else EXACT
        p = slot[y, x, j]
        if p < 0:
            if n == len(picks):
                return n, iteration, energy, N_NONZERO
            p = n
        crop = crop_y[y, 0], crop_x[x, 0], j
        if row_of[crop] < 0:
            rows = _grown(rows, n_rows + 1)
            _neighbours(filters, j, crop_y[y], crop_x[x], grid, rows[n_rows])
            row_of[crop] = n_rows
            n_rows += 1
        own = 1 / scale[y, x, j] ** 2
        change[:] = 0
        if orthogonal:
            columns, values = _grown(columns, start[n] + n), _grown(values, start[n] + n)
            _gram_with_picks(rows[row_of[crop]], slot, y, x, grid[4], change)
            if _append_row(n, start, columns, values, diagonal, own, change) <= 1e-12 * own:
                return n, iteration, energy, DEPENDENT
            _solve_for_change(n, corr[y, x, j], start, columns, values, diagonal, change)
            energy -= (corr[y, x, j] / diagonal[n]) ** 2
        else:
            change[p] = corr[y, x, j] / own
            energy -= corr[y, x, j] ** 2 / own
        if p == n:
            picks[n] = y, x, j
            slot[y, x, j] = n
            n += 1
            if cap >= 0:
                _count(y, x, windows, cap, grid[4], counts, full)
        _apply(
            change[:n], code, picks, corr, residual, filters, rows, row_of, crop_y, crop_x, grid, tile, stale
        )
        if energy <= max(1e-6 * first_energy, tol):  # here the recursion cancels
            energy = np.sum(residual * residual)
        iteration += 1
    return n, iteration, energy, TOL


@njit(nogil=True, cache=True)
def _tiles(shape, filter_shape, grid):
    """Tiles as large as what one atom overlaps: size, best gain, where it is, and whether to look again."""
    size = np.array((2 * ((filter_shape[2] - 1) // grid[0]) + 1, 2 * ((filter_shape[3] - 1) // grid[1]) + 1))
    n = ((shape[0] - 1) // size[0] + 1, (shape[1] - 1) // size[1] + 1)
    return size, np.zeros(n), np.zeros((*n, 3), np.int64), np.ones(n, np.bool_)


@njit(nogil=True, cache=True)
def _best(corr, scale, slot, full, again, tile, best, where, stale):
    """Find the admissible entry that would lower the error most; atom -1 if none would."""
    while True:
        for a in range(best.shape[0]):
            for b in range(best.shape[1]):
                if stale[a, b]:
                    _scan(corr, scale, slot, full, again, tile, a, b, best, where)
                    stale[a, b] = False
        flat = np.argmax(best)
        a, b = flat // best.shape[1], flat % best.shape[1]
        y, x, j = where[a, b]
        if best[a, b] <= 0:
            return y, x, -1
        if (again and slot[y, x, j] >= 0) or not (full[y, x] or slot[y, x, j] >= 0):
            return y, x, j
        stale[a, b] = True  # filled up or picked since it was found


@njit(nogil=True, cache=True)
def _scan(corr, scale, slot, full, again, tile, a, b, best, where):
    largest = 0.0
    for y in range(a * tile[0], min((a + 1) * tile[0], corr.shape[0])):
        for x in range(b * tile[1], min((b + 1) * tile[1], corr.shape[1])):
            for j in range(corr.shape[2]):
                gain = abs(corr[y, x, j]) * scale[y, x, j]
                if gain > largest and (again if slot[y, x, j] >= 0 else not full[y, x]):
                    largest = gain
                    where[a, b, 0], where[a, b, 1], where[a, b, 2] = y, x, j
    best[a, b] = largest


@njit(nogil=True, cache=True)
def _wrapped(i, n, circular):
    """Return i, its place on the circle, or -1 if it is outside."""
    if circular:
        return i % n
    return i if 0 <= i < n else -1


@njit(nogil=True, cache=True)
def _neighbours(filters, j, rows, columns, grid, out):
    """Inner products of a (cropped) atom j with all atoms within reach of it."""
    n_atoms, n_channels, height, width = filters.shape
    for dy in range(out.shape[0]):
        for dx in range(out.shape[1]):
            top, left = (dy - out.shape[0] // 2) * grid[0], (dx - out.shape[1] // 2) * grid[1]
            for k in range(n_atoms):
                total = 0.0
                for c in range(n_channels):
                    for u in range(max(rows[1], top), min(rows[2], height + top)):
                        for v in range(max(columns[1], left), min(columns[2], width + left)):
                            total += filters[j, c, u, v] * filters[k, c, u - top, v - left]
                out[dy, dx, k] = total


@njit(nogil=True, cache=True)
def _gram_with_picks(row, slot, y, x, circular, out):
    """Add the inner products of one atom with all picks so far to out."""
    for dy in range(row.shape[0]):
        v = _wrapped(y + dy - row.shape[0] // 2, slot.shape[0], circular)
        for dx in range(row.shape[1]):
            u = _wrapped(x + dx - row.shape[1] // 2, slot.shape[1], circular)
            if v >= 0 and u >= 0:
                for k in range(slot.shape[2]):
                    if slot[v, u, k] >= 0:
                        out[slot[v, u, k]] += row[dy, dx, k]


@njit(nogil=True, cache=True)
def _grown(array, n):
    """Return the array with room for n entries."""
    if n <= len(array):
        return array
    larger = np.empty((max(n, 2 * len(array)), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


@njit(nogil=True, cache=True)
def _append_row(n, start, columns, values, diagonal, own, w):
    """Append row n of the Cholesky factor, L w = Gram with the picks (in w); return the squared pivot.

    Rows keep their non-zeros only: atoms that no chain of overlaps connects have none.
    """
    pivot = own
    end = start[n]
    for i in range(n):
        total = w[i]
        for e in range(start[i], start[i + 1]):
            total -= values[e] * w[columns[e]]
        if total != 0:
            total /= diagonal[i]
            columns[end], values[end] = i, total
            end += 1
            pivot -= total * total
        w[i] = total
    start[n + 1] = end
    diagonal[n] = np.sqrt(max(pivot, 0))
    return pivot


@njit(nogil=True, cache=True)
def _solve_for_change(n, correlation, start, columns, values, diagonal, change):
    """How the coefficients move when pick n joins: L^T change = (0, ..., 0, correlation / L[n, n])."""
    change[:n] = 0
    change[n] = correlation / diagonal[n]
    for i in range(n, -1, -1):
        if change[i] != 0:
            change[i] /= diagonal[i]
            for e in range(start[i], start[i + 1]):
                change[columns[e]] -= values[e] * change[i]


@njit(nogil=True, cache=True)
def _apply(change, code, picks, corr, residual, filters, rows, row_of, crop_y, crop_x, grid, tile, stale):
    """Add the changes to the code; correlations and residual follow, where they are not below rounding."""
    for p in range(len(change)):
        amount, before = change[p], code[p]
        code[p] += amount
        if code[p] == before:
            continue
        y, x, j = picks[p]
        row = rows[row_of[crop_y[y, 0], crop_x[x, 0], j]]
        for dy in range(tile[0]):
            v = _wrapped(y + dy - tile[0] // 2, corr.shape[0], grid[4])
            for dx in range(tile[1]):
                u = _wrapped(x + dx - tile[1] // 2, corr.shape[1], grid[4])
                if v >= 0 and u >= 0:
                    stale[v // tile[0], u // tile[1]] = True
                    for k in range(corr.shape[2]):
                        corr[v, u, k] -= amount * row[dy, dx, k]
        for c in range(residual.shape[0]):
            for a in range(crop_y[y, 1], crop_y[y, 2]):
                v = (y * grid[0] - grid[2] + a) % residual.shape[1]
                for b in range(crop_x[x, 1], crop_x[x, 2]):
                    u = (x * grid[1] - grid[3] + b) % residual.shape[2]
                    residual[c, v, u] -= amount * filters[j, c, a, b]


@njit(nogil=True, cache=True)
def _count(y, x, windows, cap, circular, counts, full):
    """Count an entry at (y, x); the positions of a window that reaches the cap are full."""
    for a in range(windows[0, 0] * y + windows[0, 1], windows[0, 0] * y + windows[0, 2] + 1):
        v = _wrapped(a, windows[0, 3], circular)
        for b in range(windows[1, 0] * x + windows[1, 1], windows[1, 0] * x + windows[1, 2] + 1):
            u = _wrapped(b, windows[1, 3], circular)
            if v >= 0 and u >= 0:
                counts[v, u] += 1
                if counts[v, u] == cap:
                    _fill(v, u, windows, circular, full)


@njit(nogil=True, cache=True)
def _fill(v, u, windows, circular, full):
    """Mark all positions that lie in window (v, u)."""
    top, bottom = _members(v, windows[0], full.shape[0])
    left, right = _members(u, windows[1], full.shape[1])
    for a in range(top, bottom + 1):
        y = _wrapped(a, full.shape[0], circular)
        for b in range(left, right + 1):
            x = _wrapped(b, full.shape[1], circular)
            if y >= 0 and x >= 0:
                full[y, x] = True


@njit(nogil=True, cache=True)
def _members(v, window, n):
    """First and last position in window v: step * i + first <= v <= step * i + last."""
    if window[0] == 0:  # one window for all
        return 0, n - 1
    return -((window[2] - v) // window[0]), (v - window[1]) // window[0]
