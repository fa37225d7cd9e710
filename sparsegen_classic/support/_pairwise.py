"""Log-weights of supports under a pairwise model, given as indices into ``model.states_``.

A model is anything with ``states_``, ``log_factors_`` and ``log_pair_factors_``; rows of indices are padded
with -1, and an index equal to ``len(states_)`` stands for a state that the model has never seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sparsegen_classic._kernels.pair_counts import count_pairs_of_rows
from sparsegen_classic._parallel import for_blocks

_BLOCK = 256
_ROWS = 4096  # supports looked up at once


def check_model(model: Any) -> None:
    """Raise an error if ``model`` has no factors (yet)."""
    if not hasattr(model, "log_pair_factors_"):
        check_is_fitted(model)
        raise TypeError(f"model must have log_factors_ and log_pair_factors_, got {type(model).__name__}")


def factors(
    log_factors: NDArray[np.float64], log_pair_factors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the factors (..., n_states) and (n_states, n_states) as the kernels take them."""
    peaks = log_factors.max(axis=-1, keepdims=True)
    return np.exp(log_factors - peaks), pair_factors(log_pair_factors)


def pair_factors(log_pair_factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the factors of pairs as the kernels take them.

    The largest of each row is 1: what scales a row changes no conditional probability, and products of
    such numbers cannot overflow. What is possible stays so: no factor is below exp(-700).
    """
    peaks = np.max(log_pair_factors, axis=1, initial=-np.inf)
    table = log_pair_factors - np.where(np.isfinite(peaks), peaks, 0.0)[:, None]
    table[(table < -700.0) & np.isfinite(table)] = -700.0
    return np.exp(table, out=table)


def to_indices(states: NDArray[np.integer], known: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return the positions of ``states`` in sorted ``known``; -1 stays, unknown ones become len(known)."""
    indices = np.empty(states.shape, np.int32)
    for start in range(0, len(states), _ROWS):
        part = states[start : start + _ROWS]
        position = np.searchsorted(known, part)
        found = known[np.minimum(position, len(known) - 1)] == part
        indices[start : start + _ROWS] = np.where(part < 0, -1, np.where(found, position, len(known)))
    return indices


def to_states(indices: NDArray[np.integer], known: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return the states of padded index rows, ascending within each row."""
    last = len(known)
    ordered = np.sort(np.where(indices < 0, last, indices), axis=1)
    return np.append(known, -1)[ordered].astype(np.int32)


def count_pairs(indices: NDArray[np.int32], n_states: int) -> NDArray[np.int64]:
    """Return how many supports hold both of two states, and on the diagonal how many hold each."""
    counts = np.zeros((n_states, n_states), np.int64)
    count_pairs_of_rows(indices, counts)
    return counts


def log_weights(model: Any, indices: NDArray[np.integer], n_jobs: int | None = None) -> NDArray[np.float64]:
    """Return theta summed over each support plus Theta summed over its pairs, each pair once."""
    theta, table = model.log_factors_, model.log_pair_factors_
    total = np.zeros(len(indices))

    def work(block: slice) -> None:
        part = indices[block]
        present = part >= 0
        unseen = part == len(theta)
        safe = np.where(present & ~unseen, part, 0)
        total[block] = np.where(present, theta[safe], 0.0).sum(axis=1)
        for j in range(1, part.shape[1]):
            both = present[:, :j] & present[:, j : j + 1]
            total[block] += np.where(both, table[safe[:, :j], safe[:, j : j + 1]], 0.0).sum(axis=1)
        total[block][unseen.any(axis=1)] = -np.inf

    for_blocks(work, len(indices), _BLOCK, n_jobs)
    return total


def fields(model: Any, indices: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return theta_m + sum_l Theta[support_l, m] (n, n_states): the log-weight that state m would add."""
    field = np.tile(model.log_factors_, (len(indices), 1))
    for column in indices.T:
        row = np.flatnonzero(column >= 0)
        field[row] += model.log_pair_factors_[column[row]]
    return field
