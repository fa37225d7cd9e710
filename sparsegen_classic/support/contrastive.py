"""Maximum likelihood by chains: persistent contrastive divergence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._kernels.gibbs import run_chains
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import spawn_generators
from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.support._pairwise import count_pairs, factors
from sparsegen_classic.support.fitting import Fit, in_groups, possible_rows
from sparsegen_classic.support.likelihood import runs_of

_BLOCK = 64  # chains


def fit_contrastive_divergence(
    supports: NDArray[np.integer],
    log_factors: NDArray[np.float64],
    log_pair_factors: NDArray[np.float64],
    *,
    l2: float = 1.0,
    towards: str = "start",
    n_chains: int = 1000,
    max_iter: int = 200,
    learning_rate: float = 0.1,
    random_state: Any = None,
    n_jobs: int | None = None,
    groups: NDArray[np.integer] | None = None,
    log_group_factors: NDArray[np.float64] | None = None,
) -> Fit:
    """Fit the factors by maximum likelihood, by persistent contrastive divergence, from given ones on.

    The gradient of the log-likelihood is the counts of atoms and pairs in the data less those expected
    under the model, at the sizes of the data. Chains that start at data supports, and take one sweep between
    one step and the next, stand for the expectation. Steps are Newton steps with the diagonal only,
    shortened by a learning rate that falls to 0; the mean of the second half of them is returned.

    Parameters
    ----------
    supports : ndarray of shape (n, k_max), integer
        Index rows as for :func:`pseudo_likelihood`, each possible under the start.
    log_factors : ndarray of shape (n_states,)
        theta to start from.
    log_pair_factors : ndarray of shape (n_states, n_states)
        Theta to start from.
    l2 : float, default=1.0
        Precision of the Gaussian prior, as in :func:`fit_pseudo_likelihood`.
    towards : {"start", "zero"}, default="start"
        Where the penalty draws the pair factors.
    n_chains : int, default=1000
        Number of chains; their counts are noisy like those of as many supports.
    max_iter : int, default=200
        Number of steps.
    learning_rate : float in (0, 1], default=0.1
        Share of the first Newton step that is taken.
    random_state : int, RandomState, Generator, SeedSequence or None
        Seed of the chains.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.
    groups, log_group_factors
        Several networks, as in :func:`fit_pseudo_likelihood`.

    Returns
    -------
    log_factors : ndarray of shape (n_states,)
    log_pair_factors : ndarray of shape (n_states, n_states)
    history : dict of str to ndarray of shape (max_iter,)
        "mismatch": mean over the atoms of the absolute difference between their shares in the data and in
        the chains.

    References
    ----------
    T. Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient",
    ICML 2008.

    Examples
    --------
    >>> from sparsegen_classic.support import MarkovSupports, fit_contrastive_divergence
    >>> model = MarkovSupports().fit([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]])
    >>> start = model.log_factors_, model.log_pair_factors_
    >>> theta, pairs, history = fit_contrastive_divergence(model.supports_, *start, random_state=0)
    >>> theta.shape, pairs.shape, len(history["mismatch"])
    ((4,), (4, 4), 200)
    """
    l2, rate = check_real("l2", l2, 0.0), check_real("learning_rate", learning_rate, 0.0, 1.0, "(]")
    check_choice("towards", towards, ("start", "zero"))
    n_chains, max_iter = check_integer("n_chains", n_chains, 1), check_integer("max_iter", max_iter, 1)
    rows = possible_rows(supports, log_factors, log_pair_factors, n_jobs)
    chooser, *generators = spawn_generators(random_state, n_chains + 1)
    order, in_order, offsets = in_groups(len(rows), log_factors, groups, log_group_factors)
    chosen = chooser.permutation(len(rows))[np.arange(n_chains) % len(rows)]
    if groups is not None:
        chosen = np.sort(chosen)  # of rows in the order of their groups
    chains, chain_groups = rows[order[chosen]], in_order[chosen]
    sizes = (chains >= 0).sum(axis=1)
    theta, table = np.array(log_factors, np.float64), np.array(log_pair_factors, np.float64)
    possible = np.isfinite(table)
    pull = np.where(possible, table, 0.0) if towards == "start" else np.zeros_like(table)
    data = count_pairs(rows, len(theta))
    mean_theta, mean_table, mismatch = np.zeros_like(theta), np.zeros_like(table), np.empty(max_iter)
    first_kept = max_iter // 2
    for step in range(max_iter):
        _sweep(factors(offsets + theta, table), chains, chain_groups, sizes, generators, n_jobs)
        model = count_pairs(chains, len(theta)) * (len(rows) / n_chains)
        excess = data - model
        mismatch[step] = np.abs(np.diag(excess)).sum() / np.diag(data).sum()
        pace = rate * (1 - step / max_iter)
        theta += pace * np.diag(excess) / (np.diag(data) + 1.0)
        push = excess - l2 * np.where(possible, table - pull, 0.0)
        table[possible] += (pace * push / (data + l2 + 1.0))[possible]
        if step >= first_kept:
            mean_theta += theta
            mean_table += table
    n_kept = max_iter - first_kept
    return mean_theta / n_kept, mean_table / n_kept, {"mismatch": mismatch}


def _sweep(tables: Any, chains: Any, groups: Any, sizes: Any, generators: Any, n_jobs: int | None) -> None:
    thetas, table = tables
    kept = np.empty((len(chains), 1, chains.shape[1]), np.int32)

    def work(block: slice) -> None:
        for group, own in runs_of(groups, block):
            uniforms = np.stack([generator.random(chains.shape[1]) for generator in generators[own]])
            run_chains(thetas[group], table, chains[own], sizes[own], uniforms, 1, True, kept[own])

    for_blocks(work, len(chains), _BLOCK, n_jobs)
