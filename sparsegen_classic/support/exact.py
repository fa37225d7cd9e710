"""All supports of a small model, with their exact probabilities."""

from __future__ import annotations

from itertools import chain, combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from sparsegen_classic._validation import check_integer
from sparsegen_classic.support._pairwise import check_model, log_weights

LIMIT = 1_000_000


def enumerate_supports(model: Any, size: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return every support of ``size`` states of a model and its probability.

    Parameters
    ----------
    model : MarkovSupports or PairwiseSupports
        A fitted model.
    size : int
        Number of atoms in a support, from 0 to the number of states.

    Returns
    -------
    supports : ndarray of shape (n_supports, size), int32
        States of the doubled dictionary, ascending, in lexicographic order; impossible supports included.
    probabilities : ndarray of shape (n_supports,)
        They sum to 1.

    Raises
    ------
    ValueError
        If there are more than a million supports, or if all of them are impossible.

    Examples
    --------
    >>> from sparsegen_classic.support import MarkovSupports, enumerate_supports
    >>> X = [[1, 1, 0], [1, 1, 0], [1, 0, 1], [1, 1, 0]]
    >>> supports, probabilities = enumerate_supports(MarkovSupports(smoothing=0).fit(X), 2)
    >>> supports.tolist(), probabilities.round(3).tolist()
    ([[0, 1], [0, 2], [1, 2]], [0.75, 0.25, 0.0])
    """
    check_model(model)
    n_states = len(model.states_)
    size = check_integer("size", size, 0, n_states, "a support holds each state once")
    indices = all_supports(n_states, size)
    weights = log_weights(model, indices)
    if np.isneginf(weights).all():
        raise ValueError(
            f"no support of size={size} is possible under the model; use a smaller size, or fit with"
            " smoothing > 0"
        )
    return model.states_[indices], softmax(weights)


def all_supports(n_states: int, size: int) -> NDArray[np.int32]:
    """Return all sets of ``size`` of ``n_states`` indices, in lexicographic order, if they are few enough."""
    count = comb(n_states, size)
    if count > LIMIT:
        raise ValueError(
            f"{n_states} states have {count} supports of size={size}, more than {LIMIT}; use a smaller size,"
            " fewer states (min_count), or draw supports with GibbsSampler"
        )
    flat = chain.from_iterable(combinations(range(n_states), size))
    return np.fromiter(flat, np.int32, count * size).reshape(count, size)
