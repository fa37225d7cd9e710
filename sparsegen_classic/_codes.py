"""The doubled dictionary [D, -D]: signed codes seen as states with positive coefficients.

Vaksman and Elad treat an atom and its negative as two atoms. Code entry ``(i, m)`` becomes state ``m`` of
sample ``i`` if it is positive and state ``n_components + m`` if it is negative, with its magnitude as the
coefficient. Supports of different sizes share one array, padded with -1. The way from codes back to samples
needs no states: ``codes @ components_``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

_ROWS = 4096  # codes taken apart at once


def states_from_codes(codes: Any) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return states (n_samples, k_max) int32, ascending, padded with -1, and magnitudes, padded with 0.

    ``codes`` is (n_samples, n_components), signed, sparse or dense; explicit zeros do not count.
    """
    rows, states = _compressed(codes)
    magnitudes = np.zeros(states.shape)
    for block, used, padded in _blocks_of_states(rows, states.shape[1]):
        order = np.argsort(padded, axis=1, kind="stable")
        states[block] = np.where(used, np.take_along_axis(padded, order, axis=1), -1)
        values = np.zeros(used.shape)
        values[used] = np.abs(rows.data[rows.indptr[block.start] : rows.indptr[block.stop]])
        magnitudes[block] = np.take_along_axis(values, order, axis=1)
    return states, magnitudes


def supports_from_codes(codes: Any) -> NDArray[np.int32]:
    """Return the states of :func:`states_from_codes` alone, in a third of the memory."""
    rows, states = _compressed(codes)
    for block, used, padded in _blocks_of_states(rows, states.shape[1]):
        padded.sort(axis=1)
        states[block] = np.where(used, padded, -1)
    return states


def _compressed(codes: Any) -> tuple[sparse.csr_array, NDArray[np.int32]]:
    """Return the codes as CSR without explicit zeros, and empty states for them."""
    rows = sparse.csr_array(codes)
    if not rows.data.all():
        rows = rows.copy()
        rows.eliminate_zeros()
    width = int(np.diff(rows.indptr).max(initial=0))
    return rows, np.full((rows.shape[0], width), -1, np.int32)


def _blocks_of_states(
    rows: sparse.csr_array, width: int
) -> Iterator[tuple[slice, NDArray[np.bool_], NDArray[np.int64]]]:
    """Yield slices of rows, where they have an entry, and there its state; elsewhere a larger number."""
    n_components = rows.shape[1]
    for start in range(0, rows.shape[0], _ROWS):
        block = slice(start, min(start + _ROWS, rows.shape[0]))
        indptr = rows.indptr[block.start : block.stop + 1]
        part = slice(indptr[0], indptr[-1])
        used = np.arange(width) < np.diff(indptr)[:, None]
        padded = np.full(used.shape, 2 * n_components)
        padded[used] = rows.indices[part] + np.where(rows.data[part] < 0, n_components, 0)
        yield block, used, padded


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


class CodingMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """For estimators that code samples over atoms, the rows of ``components_``."""

    components_: NDArray[np.floating]

    def inverse_transform(self, codes: Any) -> NDArray[np.floating]:
        """Return the samples (n_samples, n_features) that ``codes`` (sparse or dense) stand for."""
        check_is_fitted(self)
        return np.asarray(codes @ self.components_)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)
