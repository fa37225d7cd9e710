"""Codes listed by the states of the doubled dictionary, and the mean and variance of each state."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsegen_classic._kernels.inverted_index import count_states, list_by_state, moments_by_state

ROWS = 4096  # codes of a block when they are listed by state


def without_duplicates(codes: sparse.csr_array) -> sparse.csr_array:
    """Return codes whose entries come once, adding up those that come twice; these stay as they are."""
    if not codes.has_canonical_format:
        codes = codes.copy()
        codes.sum_duplicates()
    return codes


def list_states(codes: sparse.csr_array) -> sparse.csc_array:
    """Return the magnitudes of signed codes by the states of [D, -D]; beside it only blocks of rows are held.

    The arrays of ``codes`` may be memory maps, of any number types; no entry may come twice.
    """
    n, n_components = codes.shape
    ends = np.zeros(2 * n_components, np.int64)
    for *_, columns, values in _blocks_of_rows(codes):
        count_states(columns, values, ends)
    indptr = np.append(0, np.cumsum(ends))
    index = np.int32 if indptr[-1] < 2**31 else np.int64  # the kernel of EM is compiled for each
    samples, magnitudes = np.empty(indptr[-1], index), np.empty(indptr[-1])
    ends = indptr[:-1].copy()
    for first, sizes, columns, values in _blocks_of_rows(codes):
        list_by_state(first, sizes, columns, values, ends, samples, magnitudes)
    return sparse.csc_array((magnitudes, samples, indptr.astype(index)), shape=(n, 2 * n_components))


def _blocks_of_rows(codes):
    """Yield the number of the first row, entries of each row, columns and values, as types of one kernel."""
    for first in range(0, codes.shape[0], ROWS):
        ends = np.asarray(codes.indptr[first : first + ROWS + 1], np.int64)
        part = slice(ends[0], ends[-1])
        yield first, np.diff(ends), codes.indices[part].astype(np.int64), codes.data[part].astype(np.float64)


def state_moments(
    codes: sparse.csc_array, values: NDArray[np.float64], weights: NDArray[np.float64], floor: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of the values of each state (column of ``codes``), NaN if it has none.

    A state with one value takes the variance of all values about their states' means. No variance is less
    than ``floor``, or, if that is 0, than 1e-6 of the mean squared value.
    """
    uses, weight, means, scatters, squares = moments_by_state(codes.indptr, codes.indices, values, weights)
    total = max(weight.sum(), 1e-300)
    variances = np.divide(scatters, weight, out=np.full_like(means, np.nan), where=weight > 0)
    variances[uses == 1] = scatters.sum() / total
    return means, np.maximum(variances, floor or 1e-6 * squares.sum() / total)
