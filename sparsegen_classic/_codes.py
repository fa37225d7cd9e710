"""The doubled dictionary [D, -D]: signed codes seen as states with positive coefficients.

Vaksman and Elad treat an atom and its negative as two atoms. Code entry ``(i, m)`` becomes state ``m`` of
sample ``i`` if it is positive and state ``n_components + m`` if it is negative, with its magnitude as the
coefficient. Supports of different sizes share one array, padded with -1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def states_from_codes(codes: Any) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return states (n_samples, k_max) int32, ascending, padded with -1, and magnitudes, padded with 0.

    ``codes`` is (n_samples, n_components), signed, sparse or dense; explicit zeros do not count.
    """
    coo = sparse.coo_array(codes)
    nonzero = coo.data != 0
    row, column, value = coo.coords[0][nonzero], coo.coords[1][nonzero], coo.data[nonzero]
    state = column + np.where(value < 0, coo.shape[1], 0)
    order = np.lexsort((state, row))
    row, state, value = row[order], state[order], value[order]
    sizes = np.bincount(row, minlength=coo.shape[0])
    position = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    shape = (coo.shape[0], int(sizes.max(initial=0)))
    states, magnitudes = np.full(shape, -1, np.int32), np.zeros(shape)
    states[row, position] = state
    magnitudes[row, position] = np.abs(value)
    return states, magnitudes


def codes_from_states(
    states: NDArray[np.integer], magnitudes: NDArray[np.floating] | None, n_components: int
) -> sparse.csr_array:
    """Return the signed CSR codes (n_samples, n_components) of states and magnitudes (None = all ones)."""
    magnitudes = np.ones(states.shape) if magnitudes is None else magnitudes
    row, position = np.nonzero(states >= 0)
    state = states[row, position]
    value = np.where(state >= n_components, -1, 1) * magnitudes[row, position]
    codes = sparse.csr_array((value, (row, state % n_components)), shape=(len(states), n_components))
    codes.sort_indices()
    return codes
