"""What Trainlets do with sparse rows: multiply them by dense ones, and cut dense ones down to them."""

from numba import njit

_FAST = {"reassoc", "contract", "nsz"}


@njit(nogil=True, cache=True, fastmath=_FAST)
def csr_times_dense(indptr, indices, data, dense, out):
    """``out = S @ dense`` for CSR rows of S, which scipy computes under the GIL."""
    for r in range(out.shape[0]):
        row = out[r]
        row[:] = 0
        start, stop = indptr[r], indptr[r + 1]
        rest = stop - (stop - start) % 4
        for p in range(start, rest, 4):  # four at a time: the row is loaded and stored once for all
            a0, a1, a2, a3 = data[p], data[p + 1], data[p + 2], data[p + 3]
            b0, b1 = dense[indices[p]], dense[indices[p + 1]]
            b2, b3 = dense[indices[p + 2]], dense[indices[p + 3]]
            for c in range(row.shape[0]):
                row[c] += (a0 * b0[c] + a1 * b1[c]) + (a2 * b2[c] + a3 * b3[c])
        for p in range(rest, stop):
            a, b = data[p], dense[indices[p]]
            for c in range(row.shape[0]):
                row[c] += a * b[c]


@njit(nogil=True, cache=True)
def keep_largest(rows, cut, positions, values):
    """Collect from each row the entries of magnitude above ``cut``, then as many at it as still fit.

    ``cut`` (n,) is the smallest magnitude to be kept. Out: positions, ascending, and values, (n, n_kept).
    """
    n_kept = positions.shape[1]
    for i in range(rows.shape[0]):
        row = rows[i]
        n_ties = n_kept
        for c in range(row.shape[0]):
            n_ties -= abs(row[c]) > cut[i]
        t = 0
        for c in range(row.shape[0]):
            magnitude = abs(row[c])
            tie = magnitude == cut[i] and n_ties > 0
            if magnitude > cut[i] or tie:
                n_ties -= tie
                positions[i, t] = c
                values[i, t] = row[c]
                t += 1
