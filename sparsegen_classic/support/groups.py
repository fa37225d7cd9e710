"""Latent groups of supports, each with factors of single atoms of its own: a mixture, learned by EM."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import logsumexp

from sparsegen_classic._random import RandomState, spawn_generators


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
    row, position = np.nonzero((indices >= 0) & (indices < n_states))
    ones = np.ones(len(row), np.int64)
    return sparse.csr_array((ones, (row, indices[row, position])), shape=(len(indices), n_states))


def group_log_factors(uses: sparse.csr_array, memberships: NDArray, smoothing: float) -> NDArray[np.float64]:
    """Return log P(atom | group) (n_groups, n_states), shrunk to that of all supports.

    ``uses`` (n_supports, n_states) holds a one where a support has a state; ``memberships``
    (n_supports, n_groups) says how much it belongs to each group. ``smoothing`` > 0 supports with the average
    counts of all are added to every group.
    """
    counts = memberships.T @ uses
    counts += smoothing * uses.mean(axis=0)
    return np.log(counts / counts.sum(axis=1, keepdims=True))


def mixture_groups(
    uses: sparse.csr_array,
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
    n_supports = uses.shape[0]
    centres = uses[generator.choice(n_supports, n_groups, replace=False)]
    shared = (uses @ centres.T).toarray() + generator.random((n_supports, n_groups))  # ties at random
    memberships = (shared == shared.max(axis=1, keepdims=True)).astype(float)
    pseudo_counts, history = smoothing * uses.mean(axis=0), []
    for _ in range(max_iter):
        log_shares = np.log((memberships.sum(axis=0) + smoothing) / (n_supports + n_groups * smoothing))
        log_factors = group_log_factors(uses, memberships, smoothing)
        joint = uses @ log_factors.T + log_shares
        evidence = logsumexp(joint, axis=1, keepdims=True)
        memberships = np.exp(joint - evidence)
        prior = (log_factors @ pseudo_counts).sum() + smoothing * log_shares.sum()
        history.append(float(evidence.sum() + prior))
        if len(history) > 1 and history[-1] - history[-2] < 1e-6 * abs(history[-1]):
            break
    return memberships.argmax(axis=1), np.array(history)
