"""What Trainlets do with sparse rows: multiply them by dense ones, and cut dense ones down to them."""

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz"}
_DIGIT = 11  # bits that are counted at a time


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
def _nth_largest(candidates, n, n_bits):
    """Return the nth largest of non-negative integers, and how many of its equals are among the n largest.

    Candidates are counted by their leading bits, and only those of the decisive count stay, in place.
    """
    counts = np.empty(2**_DIGIT, np.int64)
    n_left, shift = candidates.shape[0], n_bits
    while shift > 0:
        shift = max(shift - _DIGIT, 0)
        counts[:] = 0
        for c in range(n_left):
            counts[(candidates[c] >> shift) & (2**_DIGIT - 1)] += 1
        digit = 2**_DIGIT - 1
        while counts[digit] < n:
            n -= counts[digit]
            digit -= 1
        n_decisive = 0
        for c in range(n_left):
            if (candidates[c] >> shift) & (2**_DIGIT - 1) == digit:
                candidates[n_decisive] = candidates[c]
                n_decisive += 1
        n_left = n_decisive
    return candidates[0], n


@njit(nogil=True, cache=True)
def keep_largest(rows, bits, magnitude, positions, values):
    """Collect the largest magnitudes of each row; of equal ones those that come first.

    ``bits`` are the rows seen as signed integers and ``magnitude`` all their bits but the sign: without it,
    floats are in the order of their bits. Out: positions, ascending, and values, (n, n_kept).
    """
    candidates = np.empty_like(bits[0])
    for i in range(rows.shape[0]):
        row = bits[i]
        for c in range(row.shape[0]):
            candidates[c] = row[c] & magnitude
        cut, n_ties = _nth_largest(candidates, positions.shape[1], 8 * bits.itemsize - 1)
        t = 0
        for c in range(row.shape[0]):
            rank = row[c] & magnitude
            if rank < cut:
                continue
            if rank == cut:
                if n_ties == 0:
                    continue
                n_ties -= 1
            positions[i, t] = c
            values[i, t] = rows[i, c]
            t += 1
