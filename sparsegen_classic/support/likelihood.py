"""Pseudo-likelihood of supports: each atom given the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._kernels.pseudo_likelihood import add_gradients, pseudo_likelihoods
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic.support._pairwise import factors

_BLOCK = 64
_N_SUMS = 8  # gradients are summed in this many parts, whatever n_jobs


def pseudo_likelihood(
    supports: NDArray[np.integer],
    log_factors: NDArray[np.float64],
    log_pair_factors: NDArray[np.float64],
    n_jobs: int | None = None,
    groups: NDArray[np.integer] | None = None,
) -> NDArray[np.float64]:
    """Return the mean over the atoms of each support of log P(atom | rest of the support), in nats.

    P(a_j = m | rest) ~ exp(theta_m + sum_{l != j} Theta[a_l, m]): what the Gibbs sampler draws from.
    Unlike the likelihood it needs no sum over all supports. Independent of the model's size, -log(n_states)
    is guessing.

    Parameters
    ----------
    supports : ndarray of shape (n, k_max), integer
        Rows of indices into the states of the model (not states), distinct, padded with -1 at the end; an
        index equal to n_states stands for a state that the model does not have.
    log_factors : ndarray of shape (n_states,) or (n_groups, n_states)
        theta, or that of each group.
    log_pair_factors : ndarray of shape (n_states, n_states)
        Theta, symmetric, -inf for impossible pairs and on the diagonal.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.
    groups : ndarray of shape (n,), integer, default=None
        Group of each support, if theta is that of groups.

    Returns
    -------
    values : ndarray of shape (n,)
        Mean log-probability of an atom; 0 for an empty support, -inf for an impossible one.

    References
    ----------
    J. Besag, "Statistical analysis of non-lattice data", The Statistician 24, 1975.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.support import pseudo_likelihood
    >>> pairs = np.where(np.eye(3, dtype=bool), -np.inf, 0.0)
    >>> np.exp(pseudo_likelihood(np.array([[0, 1]]), np.log([0.5, 0.25, 0.25]), pairs)).round(4).tolist()
    [0.5774]
    """
    thetas, table = factors(np.atleast_2d(log_factors), log_pair_factors)
    supports = check_rows(supports, len(table))
    if groups is None:
        groups = np.zeros(len(supports), np.intp)
    groups = check_group_rows(groups, len(supports), len(thetas))
    seen = np.flatnonzero((supports < len(table)).all(axis=1))
    seen = seen[np.argsort(groups[seen], kind="stable")]
    known, in_order, sums = supports[seen], groups[seen], np.zeros(len(seen))
    sizes = (known >= 0).sum(axis=1)

    def work(block: slice) -> None:
        for group, own in runs_of(in_order, block):
            pseudo_likelihoods(thetas[group], table, known[own], sizes[own], sums[own])

    for_blocks(work, len(known), _BLOCK, n_jobs)
    values = np.full(len(supports), -np.inf)
    values[seen] = sums / np.maximum(sizes, 1)
    return values


def gradient_sums(
    supports: NDArray[np.int32],
    log_factors: NDArray[np.float64],
    log_pair_factors: NDArray[np.float64],
    n_jobs: int | None,
    groups: NDArray[np.intp] | None = None,
    kernel: Callable[..., None] = add_gradients,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum of log P(atom | rest) over all atoms of all supports, and its gradients.

    ``log_factors`` (n_groups, n_states) has a row for each of the ascending ``groups`` (n,) of the supports,
    and the first gradient is by what is added to all rows. The second is by the entries of a symmetric table,
    m < l and l < m counted as one; both halves hold it.
    """
    thetas, table = factors(np.atleast_2d(log_factors), log_pair_factors)
    groups = np.zeros(len(supports), np.intp) if groups is None else groups
    sizes = (supports >= 0).sum(axis=1)
    block_size = -(-len(supports) // _N_SUMS)
    n_blocks = -(-len(supports) // block_size)
    values = np.zeros(len(supports))
    by_theta, by_table = np.zeros((n_blocks, len(table))), np.zeros((n_blocks, *table.shape))

    def work(block: slice) -> None:
        part = block.start // block_size
        for group, own in runs_of(groups, block):
            given = thetas[group], table, supports[own], sizes[own], values[own]
            kernel(*given, by_theta[part], by_table[part])

    for_blocks(work, len(supports), block_size, n_jobs)
    total = by_table.sum(axis=0)
    return float(values.sum()), by_theta.sum(axis=0), total + total.T


def runs_of(groups: NDArray[np.intp], block: slice) -> Iterator[tuple[int, slice]]:
    """Yield each of the ascending groups in a block, and where it stands."""
    edges = np.flatnonzero(np.diff(groups[block])) + block.start + 1
    for start, stop in pairwise([block.start, *edges.tolist(), min(block.stop, len(groups))]):
        yield int(groups[start]), slice(start, stop)


def check_group_rows(groups: Any, n: int, n_groups: int, name: str = "groups") -> NDArray[np.intp]:
    """Return the group of each of ``n`` supports, or raise an error that says what is wrong."""
    groups = np.asarray(groups)
    if groups.shape != (n,) or groups.dtype.kind not in "iu" or not np.isin(groups, range(n_groups)).all():
        raise ValueError(
            f"{name} must hold one of 0..{n_groups - 1} for each of the {n} supports, got shape "
            f"{groups.shape} of {groups.dtype}"
        )
    return groups.astype(np.intp)


def check_rows(supports: Any, n_states: int, name: str = "supports") -> NDArray[np.int32]:
    """Return index rows padded with -1 at the end, or raise an error that says what is wrong."""
    rows = np.asarray(supports)
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(
            f"{name} must be a 2-D array of integer indices padded with -1, got {rows.dtype} of shape"
            f" {rows.shape}"
        )
    if rows.size and not -1 <= rows.min() <= rows.max() <= n_states:
        raise ValueError(
            f"{name} must hold indices from 0 to {n_states} (= not in the model) or -1, got {rows.min()} to"
            f" {rows.max()}"
        )
    if ((rows[:, :-1] < 0) & (rows[:, 1:] >= 0)).any():
        raise ValueError(f"{name} must be padded with -1 at the end of a row, not before or between indices")
    return np.ascontiguousarray(rows, np.int32)
