"""Latent groups of supports, each with factors of single atoms of its own: a mixture, learned by EM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import logsumexp

from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import RandomState, spawn_generators
from sparsegen_classic._validation import check_integer, check_real

_ROWS = 4096  # supports whose probabilities in all groups are in memory at once


def group_supports(
    model: Any, groups: ArrayLike | None, complete: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Return the group of each of ``model.supports_``, their shares and their factors of single atoms.

    ``groups`` (n,) are given for all supports, also those that are not ``complete``, or are looked for.
    """
    smoothing = check_real("group_smoothing", model.group_smoothing, 1e-9)
    n, n_states = len(model.supports_), len(model.states_)
    remedy = f"each needs one of n_samples={n} supports"
    n_groups = check_integer("n_groups", model.n_groups, 1, n, remedy)
    if groups is not None:
        group_of = check_groups(groups, len(complete), n_groups)[complete]
    elif n_groups > 1:
        group_of, _ = mixture_groups(model.supports_, n_states, n_groups, smoothing, model.random_state)
    else:
        group_of = np.zeros(n, np.intp)
    shares, log_factors = np.bincount(group_of, minlength=n_groups) / n, model.log_factors_[None]
    if n_groups > 1:
        counts = count_groups(model.supports_, group_of, n_groups, n_states)
        log_factors = group_log_factors(counts, n, smoothing)
    return group_of, shares, log_factors


def check_groups(groups: ArrayLike, n_samples: int, n_groups: int) -> NDArray[np.intp]:
    """Return the group of each sample as 0 to n_groups - 1, in the ascending order of their labels."""
    labels = np.asarray(groups)
    if labels.shape != (n_samples,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"groups must hold an integer for each of the {n_samples} codes, got shape {labels.shape} of "
            f"{labels.dtype}"
        )
    names, group_of = np.unique(labels, return_inverse=True)
    if len(names) != n_groups:
        raise ValueError(f"groups must be n_groups={n_groups} different ones, got {len(names)}")
    return group_of


def uses_of(indices: NDArray[np.integer], n_states: int) -> sparse.csr_array:
    """Return ones (n_supports, n_states) where supports have states; unknown states are left out."""
    known = (indices >= 0) & (indices < n_states)
    indptr = np.append(0, np.cumsum(known.sum(axis=1)))
    ones = np.ones(indptr[-1], np.int32)
    return sparse.csr_array((ones, indices[known], indptr), shape=(len(indices), n_states))


def count_groups(
    indices: NDArray[np.int32], groups: NDArray[np.intp], n_groups: int, n_states: int
) -> NDArray[np.int64]:
    """Return how many supports of each group hold each state (n_groups, n_states)."""
    counts = np.zeros(n_groups * n_states, np.int64)
    for block in _blocks(len(indices)):
        uses = uses_of(indices[block], n_states).tocoo()
        cells = groups[block][uses.row] * n_states + uses.col
        counts += np.bincount(cells, minlength=len(counts))
    return counts.reshape(n_groups, n_states)


def group_log_factors(counts: NDArray, n_supports: int, smoothing: float) -> NDArray[np.float64]:
    """Return log P(atom | group) (n_groups, n_states), shrunk to that of all ``n_supports``.

    ``counts`` (n_groups, n_states) are those of :func:`count_groups`, or expected ones. ``smoothing`` > 0
    supports with the average counts of all are added to every group.
    """
    counts = counts + smoothing * (counts.sum(axis=0) / n_supports)
    return np.log(counts / counts.sum(axis=1, keepdims=True))


def most_probable(
    indices: NDArray[np.int32],
    log_factors: NDArray[np.float64],
    shares: NDArray[np.float64],
    n_jobs: int | None = None,
) -> NDArray[np.intp]:
    """Return the group (n_supports,) in which independent atoms make a support most probable."""
    log_shares, best = np.log(np.maximum(shares, 1e-300)), np.empty(len(indices), np.intp)

    def work(block: slice) -> None:
        best[block] = _joint(indices[block], log_factors, log_shares).argmax(axis=1)

    for_blocks(work, len(indices), _ROWS, n_jobs)
    return best


def mixture_groups(
    indices: NDArray[np.int32],
    n_states: int,
    n_groups: int,
    smoothing: float,
    random_state: RandomState = None,
    max_iter: int = 100,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Group supports by EM for a mixture of independent atoms, from random supports as first centres.

    Returns the most probable group of each support (n_supports,), and after every iteration the
    log-likelihood with the prior that ``smoothing`` stands for, which never falls.
    """
    (generator,) = spawn_generators(random_state, 1)
    n_supports, history = len(indices), []
    centres = uses_of(indices[generator.choice(n_supports, n_groups, replace=False)], n_states)
    groups = np.empty(n_supports, np.intp)
    for block in _blocks(n_supports):
        shared = (uses_of(indices[block], n_states) @ centres.T).toarray()
        groups[block] = (shared + generator.random(shared.shape)).argmax(axis=1)  # ties at random
    sizes: NDArray[Any] = np.bincount(groups, minlength=n_groups)
    counts: NDArray[Any] = count_groups(indices, groups, n_groups, n_states)
    pseudo_counts = smoothing * counts.sum(axis=0) / n_supports
    for _ in range(max_iter):
        log_shares = np.log((sizes + smoothing) / (n_supports + n_groups * smoothing))
        log_factors = group_log_factors(counts, n_supports, smoothing)
        total = (log_factors @ pseudo_counts).sum() + smoothing * log_shares.sum()
        sizes, counts = np.zeros(n_groups), np.zeros(log_factors.shape)
        for block in _blocks(n_supports):
            joint = _joint(indices[block], log_factors, log_shares)
            evidence = logsumexp(joint, axis=1, keepdims=True)
            memberships = np.exp(joint - evidence)
            groups[block] = memberships.argmax(axis=1)
            sizes += memberships.sum(axis=0)
            counts += memberships.T @ uses_of(indices[block], n_states)
            total += evidence.sum()
        history.append(float(total))
        if len(history) > 1 and history[-1] - history[-2] < 1e-6 * abs(history[-1]):
            break
    return groups, np.array(history)


def _joint(
    indices: NDArray[np.int32], log_factors: NDArray[np.float64], log_shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return log P(support, group) (n_supports, n_groups) of independent atoms, up to a constant."""
    return uses_of(indices, log_factors.shape[1]) @ log_factors.T + log_shares


def _blocks(n_supports: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, n_supports, _ROWS))
