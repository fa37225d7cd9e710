"""Codes as (indices, coefficients) become sorted CSR."""

from numba import njit


@njit(nogil=True, cache=True)
def compress_rows(indices, coefficients, indptr, columns, data):
    """Fill indptr, columns and data without zeros; each short row is sorted by insertion."""
    n, k = indices.shape
    indptr[0] = end = 0
    for i in range(n):
        for t in range(k):
            j, c = indices[i, t], coefficients[i, t]
            if c != 0:
                p = end
                while p > indptr[i] and columns[p - 1] > j:
                    columns[p], data[p] = columns[p - 1], data[p - 1]
                    p -= 1
                columns[p], data[p] = j, c
                end += 1
        indptr[i + 1] = end
