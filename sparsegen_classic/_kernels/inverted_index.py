"""Codes listed by state: a counting sort of their entries, and the moments of each state."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def count_states(columns, values, counts):
    """Add to ``counts`` (2 * n_components,) how many entries are positive, then how many negative."""
    n_components = len(counts) // 2
    for column, value in zip(columns, values):  # noqa: B905 (numba has no strict)
        if value != 0:
            counts[column if value > 0 else n_components + column] += 1


@njit(nogil=True, cache=True)
def list_by_state(first, sizes, columns, values, ends, samples, magnitudes):
    """Append the entries of a block of rows to the lists of their states.

    ``first`` is the number of its first row, ``sizes`` say how many entries each has; ``ends``
    (2 * n_components,) are where the lists end so far, and move on.
    """
    n_components, entry = len(ends) // 2, 0
    for i in range(len(sizes)):
        for _ in range(sizes[i]):
            column, value = columns[entry], values[entry]
            entry += 1
            if value != 0:
                state = column if value > 0 else n_components + column
                samples[ends[state]], magnitudes[ends[state]] = first + i, abs(value)
                ends[state] += 1


@njit(nogil=True, cache=True)
def moments_by_state(indptr, samples, values, weights):
    """Return uses, weight, mean, scatter about the mean and sum of squares of the values of each state.

    Uses of weight 0 do not count; where there are no others the mean is NaN and the scatter 0.
    """
    n_states = len(indptr) - 1
    uses, means = np.zeros(n_states, np.int64), np.full(n_states, np.nan)
    totals, scatters, squares = np.zeros((3, n_states))
    for state in range(n_states):
        total = 0.0
        for entry in range(indptr[state], indptr[state + 1]):
            weight = weights[samples[entry]]
            uses[state] += weight > 0
            totals[state] += weight
            total += weight * values[entry]
        if totals[state] > 0:
            means[state] = total / totals[state]
            for entry in range(indptr[state], indptr[state + 1]):
                weight = weights[samples[entry]]
                scatters[state] += weight * (values[entry] - means[state]) ** 2
                squares[state] += weight * values[entry] ** 2
    return uses, totals, means, scatters, squares
