"""How much supports have in common with others."""

from numba import njit


@njit(nogil=True, cache=True)
def largest_overlaps_of_rows(rows, indptr, holders, shared, largest):
    """Write to ``largest`` (n,) the most states that each of ``rows`` (n, k) shares with one of the others.

    Those of the others that hold state m are ``holders[indptr[m]:indptr[m + 1]]``. States below 0 stand for
    nothing. ``shared`` is room for a count of each of the others.
    """
    for i in range(len(rows)):
        shared[:] = 0
        most = 0
        for m in rows[i]:
            if m >= 0:
                for p in range(indptr[m], indptr[m + 1]):
                    shared[holders[p]] += 1
                    most = max(most, shared[holders[p]])
        largest[i] = most
