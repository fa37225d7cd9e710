"""The normalising constant of a pairwise model: exactly where it is small, annealed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from sparsegen_classic._kernels.gibbs import run_chains
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import spawn_generators
from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.support._pairwise import check_model, factors, log_weights, to_indices
from sparsegen_classic.support.exact import LIMIT, all_supports
from sparsegen_classic.support.tempering import pair_sums, tempered

_BLOCK = 64  # chains
_N_BASE = 10_000  # independent supports drawn to see how many of them are possible


@dataclass(frozen=True)
class LogPartition:
    """An estimate of log Z. ``upper`` is None unless supports were given to anneal back from."""

    value: float
    standard_error: float
    effective_sample_size: float
    method: str
    upper: float | None = None


def log_partition(
    model: Any,
    size: int,
    *,
    method: str = "auto",
    n_chains: int = 100,
    n_temperatures: int = 1000,
    supports: NDArray[np.integer] | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> LogPartition:
    """Return log Z, the logarithm of the sum of the weights of all supports of one size.

    ``model.log_weights(X) - log_partition(model, size).value`` is then the log-probability of supports.

    Parameters
    ----------
    model : MarkovSupports or PairwiseSupports
        A fitted model.
    size : int
        Number of atoms in a support, from 0 to the number of states.
    method : {"auto", "exact", "ais"}, default="auto"
        "exact" sums over all supports, up to a million of them. "ais" is annealed importance sampling: chains
        start at independent atoms, whose Z is an elementary symmetric polynomial, and pass through
        n_temperatures powers of the pair factors, a sweep at each. "auto" is exact where that is possible.
    n_chains : int, default=100
        Chains of the annealing.
    n_temperatures : int, default=1000
        Steps of each chain; a step costs a table of n_states^2 factors.
    supports : ndarray of shape (n, size), integer, default=None
        Draws from the model, as states (:meth:`GibbsSampler.sample`), from which chains anneal back to
        independent atoms: that gives ``upper``, which errs upwards as ``value`` errs downwards. "ais" only.
    random_state : int, RandomState, Generator, SeedSequence or None
        Seed of the chains.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    result : LogPartition
        ``value``; ``standard_error`` (0 if exact), of the mean weight, by the delta method;
        ``effective_sample_size`` of the weights, the number of chains if all weigh the same: when it is a
        few, distrust the other two; ``method``; and ``upper``.

    Raises
    ------
    ValueError
        If an argument is out of range, if "exact" is asked of too large a model, or if no support, or none
        that was reached, is possible.

    References
    ----------
    R. M. Neal, "Annealed importance sampling", Statistics and Computing 11, 2001. R. B. Grosse, Z.
    Ghahramani, R. P. Adams, "Sandwiching the marginal likelihood using bidirectional Monte Carlo", 2015.

    Examples
    --------
    >>> from sparsegen_classic.support import PairwiseSupports, log_partition
    >>> model = PairwiseSupports([0.0, 0.0, 0.0], [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    >>> round(log_partition(model, 2).value, 4)  # log(e + 2)
    1.5514
    >>> result = log_partition(model, 2, method="ais", random_state=0)
    >>> abs(result.value - 1.5514) < 4 * result.standard_error
    True
    """
    check_model(model)
    n_states = len(model.states_)
    size = check_integer("size", size, 0, n_states, "a support holds each state once")
    check_choice("method", method, ("auto", "exact", "ais"))
    if method == "exact" or (method == "auto" and comb(n_states, size) <= LIMIT):
        weights = log_weights(model, all_supports(n_states, size), n_jobs)
        return LogPartition(_checked(float(logsumexp(weights))), 0.0, np.inf, "exact")
    n_chains = check_integer("n_chains", n_chains, 2)
    betas = np.linspace(0, 1, check_integer("n_temperatures", n_temperatures, 2))
    here, *generators = spawn_generators(random_state, n_chains + 1)
    base, starts = _independent(model.log_factors_, size, n_chains, here)
    gains = _anneal(model, starts, betas, generators, n_jobs)
    value = _checked(float(base + logsumexp(gains) - np.log(n_chains)))
    upper = None
    if supports is not None:
        ends = to_indices(np.asarray(supports), model.states_)
        if ends.ndim != 2 or ends.shape[1] != size or np.isneginf(log_weights(model, ends)).any():
            raise ValueError(f"supports must be possible under the model and hold {size} states each")
        losses = _anneal(model, ends, betas[::-1], spawn_generators(here, len(ends)), n_jobs)
        # chains from possible supports anneal to the possible ones among the independent alone
        drawn = _independent(model.log_factors_, size, _N_BASE, here)[1]
        share = np.isfinite(pair_sums(model.log_pair_factors_, drawn)).mean()
        upper = float(base + np.log(max(share, 1 / _N_BASE)) - logsumexp(losses) + np.log(len(ends)))
    weights = np.exp(gains - gains.max())
    error = float(weights.std(ddof=1) / weights.mean() / np.sqrt(n_chains))
    return LogPartition(value, error, float(weights.sum() ** 2 / (weights**2).sum()), "ais", upper)


def _checked(value: float) -> float:
    if np.isneginf(value):
        raise ValueError("no support of this size, or none that was reached, is possible; use a smaller size")
    return value


def _independent(
    log_factors: NDArray[np.float64], size: int, n: int, generator: np.random.Generator
) -> tuple[float, NDArray[np.int32]]:
    """Return log Z of independent atoms and ``n`` supports drawn from that law.

    e_r(m) = e_r(m - 1) + w_m e_{r-1}(m - 1) sums over the r-subsets of the first m states; going backwards,
    state m is in with probability w_m e_{r-1}(m - 1) / e_r(m).
    """
    n_states = len(log_factors)
    sums = np.full((n_states + 1, size + 1), -np.inf)
    sums[:, 0] = 0.0
    for m, log_factor in enumerate(log_factors):
        sums[m + 1, 1:] = np.logaddexp(sums[m, 1:], log_factor + sums[m, :-1])
    _checked(float(sums[-1, -1]))
    supports, left = np.full((n, size), -1, np.int32), np.full(n, size)
    for m in range(n_states - 1, -1, -1):
        with np.errstate(invalid="ignore"):  # -inf - -inf where nothing is left: not drawn
            log_in = log_factors[m] + sums[m, left - 1] - sums[m + 1, left]
        drawn = (left > 0) & (np.log1p(-generator.random(n)) < log_in)
        left[drawn] -= 1
        supports[drawn, left[drawn]] = m
    return float(sums[-1, -1]), supports


def _anneal(
    model: Any, supports: Any, betas: Any, generators: Any, n_jobs: int | None
) -> NDArray[np.float64]:
    """Take ``supports`` in place from the first to the last of ``betas``; return the sums of log-weights."""
    kept = np.empty((len(supports), 1, supports.shape[1]), np.int32)
    gains, sizes = np.zeros(len(supports)), np.full(len(supports), supports.shape[1])
    for before, beta in pairwise(betas):
        gains += (beta - before) * pair_sums(model.log_pair_factors_, supports)
        theta, table = factors(model.log_factors_, tempered(model.log_pair_factors_, beta))

        def work(block: slice, theta: Any = theta, table: Any = table) -> None:
            uniforms = np.stack([generator.random(supports.shape[1]) for generator in generators[block]])
            run_chains(theta, table, supports[block], sizes[block], uniforms, 1, True, kept[block])

        for_blocks(work, len(supports), _BLOCK, n_jobs)
    return gains
