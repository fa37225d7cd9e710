"""A pairwise model of supports given by its factors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic.support._pairwise import log_weights, to_indices


class PairwiseSupports:
    """A law of supports given by its factors, as the sampler and the exact methods take it.

        log P(a) = sum_{m in a} log_factors[m] + sum_{m < l in a} log_pair_factors[m, l] + const,

    for supports ``a`` of one size. :class:`MarkovSupports` learns such factors from codes; this class takes
    them as they are: planted, fitted elsewhere, or read from another library.

    Parameters
    ----------
    log_factors : array-like of shape (n_states,)
        Factor of each state; -inf makes it impossible.
    log_pair_factors : array-like of shape (n_states, n_states)
        Factor of each pair, symmetric; -inf makes it impossible. The diagonal is taken as -inf.
    states : array-like of shape (n_states,), default=None
        Names of the states, ascending non-negative integers. None is 0, 1, ..., n_states - 1.
    supports : array-like of shape (n_supports, k_max), default=None
        Supports that chains may start from, as states padded with -1. With None chains are grown from
        nothing, to the ``size`` that the sampler is given.

    Attributes
    ----------
    states_, log_factors_, log_pair_factors_, supports_
        As in :class:`MarkovSupports`; ``supports_`` has no rows if none were given.

    Raises
    ------
    ValueError
        If the shapes do not fit, the pair factors are not symmetric, an entry is NaN or +inf, or a support
        holds a state that is not in the model.

    Examples
    --------
    >>> from sparsegen_classic.support import PairwiseSupports, enumerate_supports
    >>> model = PairwiseSupports([0.0, 0.0, 0.0], [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    >>> supports, probabilities = enumerate_supports(model, 2)
    >>> supports.tolist(), probabilities.round(3).tolist()
    ([[0, 1], [0, 2], [1, 2]], [0.576, 0.212, 0.212])
    """

    def __init__(
        self,
        log_factors: ArrayLike,
        log_pair_factors: ArrayLike,
        states: ArrayLike | None = None,
        supports: ArrayLike | None = None,
    ):
        self.log_factors_, self.log_pair_factors_ = _check_factors(log_factors, log_pair_factors)
        n_states = len(self.log_factors_)
        self.states_ = (
            np.arange(n_states, dtype=np.int32) if states is None else _check_states(states, n_states)
        )
        rows = np.empty((0, 0), np.int32) if supports is None else np.asarray(supports)
        if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.integer):
            raise ValueError(
                f"supports must be a 2-D array of integer states, got {rows.dtype}, {rows.shape}"
            )
        order = np.argsort(np.where(rows < 0, np.iinfo(rows.dtype).max, rows), axis=1)  # padding last
        self.supports_ = to_indices(np.take_along_axis(rows, order, axis=1), self.states_)
        if (self.supports_ == n_states).any():
            raise ValueError("supports must hold states of the model alone, got others; leave those rows out")

    def log_weights(self, supports: NDArray[np.integer], n_jobs: int | None = None) -> NDArray[np.float64]:
        """Return the unnormalised log-probabilities (n,) of ``supports`` (n, k), states padded with -1."""
        return log_weights(self, to_indices(np.asarray(supports), self.states_), n_jobs)


def _check_factors(
    log_factors: Any, log_pair_factors: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    theta, table = np.array(log_factors, np.float64), np.array(log_pair_factors, np.float64)
    if theta.ndim != 1 or len(theta) == 0 or table.shape != (len(theta), len(theta)):
        raise ValueError(
            "log_factors must have shape (n_states,) and log_pair_factors (n_states, n_states), got"
            f" {theta.shape} and {table.shape}"
        )
    np.fill_diagonal(table, -np.inf)
    for name, values in (("log_factors", theta), ("log_pair_factors", table)):
        if np.isnan(values).any() or np.isposinf(values).any():
            raise ValueError(f"{name} must be finite or -inf, got NaN or +inf")
    if not np.array_equal(table, table.T):
        raise ValueError(
            "log_pair_factors must be symmetric: a support has no order; average it with its transpose"
        )
    return theta, table


def _check_states(states: Any, n_states: int) -> NDArray[np.int32]:
    states = np.asarray(states)
    if states.shape != (n_states,) or not np.issubdtype(states.dtype, np.integer):
        raise ValueError(f"states must be {n_states} integers, one for each factor, got {states!r}")
    if states[0] < 0 or (np.diff(states) <= 0).any():
        raise ValueError("states must be non-negative and ascending; sort them, and the factors with them")
    return states.astype(np.int32)
