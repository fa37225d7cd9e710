"""How many supports hold two states."""

from numba import njit


@njit(nogil=True, cache=True)
def count_pairs_of_rows(rows, counts):
    """Count in ``counts`` (n_states, n_states), zeros, the rows that hold two states; on its diagonal, one.

    ``rows`` (n, k) hold indices, each once; those outside 0 to n_states - 1 stand for nothing.
    """
    n_states, k = len(counts), rows.shape[1]
    for row in rows:
        for s in range(k):
            m = row[s]
            if 0 <= m < n_states:
                of_m = counts[m]
                for t in range(s, k):
                    if 0 <= row[t] < n_states:
                        of_m[row[t]] += 1
    for m in range(n_states):
        for other in range(m):
            counts[m, other] += counts[other, m]
            counts[other, m] = counts[m, other]
