"""Gibbs sampling of supports, many chains at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from tqdm import tqdm

from sparsegen_classic._kernels.gibbs import run_chains
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import check_generators
from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.support._chains import (
    Conditioned,
    check_initial,
    condition,
    random_starts,
)
from sparsegen_classic.support._pairwise import check_model, pair_factors, to_states
from sparsegen_classic.support.tempering import check_betas, pair_sums, swap, tempered

_BLOCK = 64  # chains
_CHUNK = 64  # sweeps whose uniforms are drawn at a time


class GibbsSampler(BaseEstimator):
    """Draw supports from a pairwise model by Gibbs sampling, one fresh chain for each support.

    A flip takes one atom out of the support and draws it anew given the others,
    P(a_j = m | rest) ~ exp(theta_m + sum_{l != j} Theta[m, a_l]); a sweep is as many flips as there are
    atoms. Chains start at random training supports, which the model finds possible and which
    reproduce the sizes of the data; a chain never changes its size.

    Parameters
    ----------
    burn_in : int, default=20
        Sweeps from the start of a chain to the first support that is returned. 0 returns the starts.
    thin : int, default=1
        Sweeps from one support of a :meth:`trace` to the next.
    scan : {"random", "systematic"}, default="random"
        Whether flips take the atoms of a support at random or in turn. Taking them in turn is faster by up to
        a third.
    betas : array-like of shape (n_betas,), default=None
        Parallel tempering: each chain has a replica for each of these powers of the pair factors, which
        fall from 1; after every sweep neighbouring replicas may swap their supports, and the replica at 1
        is returned. At beta = 0 atoms are independent and every support is within reach, also where
        chains of an unsmoothed model freeze. None is a single replica.
    n_jobs : int, default=None
        Threads, as in joblib. Results do not depend on it.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    swap_rates_ : ndarray of shape (n_betas - 1,)
        After a call with ``betas``: the share of proposed swaps that each pair of neighbours accepted. Rates
        of 0.2 to 0.4 are sought; near 0, put betas between.

    Notes
    -----
    With ``smoothing=0`` the chain can be unable to reach some supports, or to move at all: of the pairs
    {0, 1} and {2, 3} alone, no single flip leads from one to the other. Flips cost O(n_states). States are
    drawn from products of factors from which no factor is ever divided out, so that sums do not drift however
    long the chain.

    References
    ----------
    S. Geman and D. Geman, "Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of
    images", IEEE PAMI 6, 1984. C. J. Geyer, "Markov chain Monte Carlo maximum likelihood", Interface 1991.

    Examples
    --------
    >>> from sparsegen_classic.support import GibbsSampler, MarkovSupports
    >>> model = MarkovSupports().fit([[1, 1, 0], [0, 1, -1], [1, 0, 0]])
    >>> supports = GibbsSampler(burn_in=5).sample(model, 4, random_state=0)
    >>> supports.shape, supports.dtype
    ((4, 2), dtype('int32'))
    >>> GibbsSampler().sample(model, 1, random_state=0, size=3).tolist()
    [[0, 1, 5]]

    Supports of two atoms that hold state 1 but not state 0:

    >>> GibbsSampler().sample(model, 2, random_state=0, size=2, clamp=[1], forbid=[0]).tolist()
    [[1, 5], [1, 5]]
    """

    def __init__(
        self,
        *,
        burn_in: int = 20,
        thin: int = 1,
        scan: str = "random",
        betas: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.burn_in = burn_in
        self.thin = thin
        self.scan = scan
        self.betas = betas
        self.n_jobs = n_jobs
        self.verbose = verbose

    def sample(
        self,
        model: Any,
        n_samples: int | None = None,
        random_state: Any = None,
        *,
        initial: Any = None,
        size: int | None = None,
        sweeps: int | None = None,
        clamp: Any = None,
        forbid: Any = None,
    ) -> NDArray[np.int32]:
        """Draw supports.

        Parameters
        ----------
        model : MarkovSupports or PairwiseSupports
            A fitted model: ``states_``, ``log_factors_``, ``log_pair_factors_`` and ``supports_`` are used.
        n_samples : int, default=None
            Number of supports; None is 1, or the length of ``initial`` or of a list of generators. The
            first m supports are those of a call with m.
        random_state : int, RandomState, Generator, SeedSequence, None, or list of Generator
            Seed, or one generator for each chain; chain i depends on generator i alone.
        initial : array-like of shape (n_samples, k_max), default=None
            Supports to start from, as states, padded with -1, such as an earlier result to continue.
        size : int, default=None
            Number of atoms in every support, clamped ones included. Chains then start at training supports of
            that size; if there are none, at those of the nearest size (the larger of two), with random atoms
            removed, or with atoms drawn from the model added.
        sweeps : int, default=None
            Sweeps for this call, in place of ``burn_in``.
        clamp : array-like of int, default=None
            Evidence: states that every support holds. The others are drawn given them; sizes, where
            ``size`` leaves them open, are those of the training supports with at least as many atoms.
        forbid : array-like of int, default=None
            States that no support may hold. Training supports lose them, and get others drawn from the model.

        Returns
        -------
        supports : ndarray of shape (n_samples, k_max), int32
            States of the doubled dictionary, ascending, padded with -1. k_max is the largest training
            support, ``size``, or the width of ``initial``.

        Raises
        ------
        ValueError
            If an argument is out of range, if a start in ``initial`` is impossible under the model or the
            evidence, or if no atom can be added to reach ``size``.
        """
        sweeps = self.burn_in if sweeps is None else check_integer("sweeps", sweeps, 0)
        law, starts, generators = self._prepare(model, n_samples, random_state, initial, size, clamp, forbid)
        return self._run(law, starts, generators, sweeps)[:, 0]

    def trace(
        self,
        model: Any,
        n_chains: int | None = None,
        n_draws: int = 1000,
        random_state: Any = None,
        *,
        initial: Any = None,
        size: int | None = None,
        clamp: Any = None,
        forbid: Any = None,
    ) -> NDArray[np.int32]:
        """Follow chains: the support after ``burn_in`` sweeps, and then after every ``thin`` more.

        A number of each support, such as its log-weight, is what :func:`split_rhat` and
        :func:`effective_sample_size` ask for.

        Parameters
        ----------
        model, random_state, initial, size, clamp, forbid
            As in :meth:`sample`.
        n_chains : int, default=None
            Number of chains; None is 1, or as ``initial`` or a list of generators say.
        n_draws : int, default=1000
            Supports of each chain.

        Returns
        -------
        supports : ndarray of shape (n_chains, n_draws, k_max), int32
            ``trace(...)[:, 0]`` is what :meth:`sample` returns.
        """
        n_draws, thin = check_integer("n_draws", n_draws, 1), check_integer("thin", self.thin, 1)
        law, starts, generators = self._prepare(model, n_chains, random_state, initial, size, clamp, forbid)
        return self._run(law, starts, generators, self.burn_in, n_draws, thin)

    def _prepare(
        self, model: Any, n_samples: Any, random_state: Any, initial: Any, size: Any, clamp: Any, forbid: Any
    ) -> tuple[Conditioned, NDArray[np.int32], Sequence[np.random.Generator]]:
        """Return the law given the evidence, and for each chain a start (indices) and a generator."""
        check_model(model)
        check_integer("burn_in", self.burn_in, 0)
        check_choice("scan", self.scan, ("random", "systematic"))
        check_betas(self.betas)
        law = condition(model, clamp, forbid)
        if initial is None:
            generators = check_generators(random_state, n_samples)
            evidence = clamp is not None or forbid is not None
            return law, random_starts(law, generators, size, evidence), generators
        if size is not None:
            raise ValueError("initial already fixes the sizes, got size as well; give one of them")
        starts = check_initial(model, law, initial)
        generators = check_generators(random_state, len(starts) if n_samples is None else n_samples)
        if len(starts) != len(generators):
            raise ValueError(
                f"initial must have one row for each of the {len(generators)} samples, got {len(starts)}"
            )
        return law, starts, generators

    def _run(
        self,
        law: Conditioned,
        starts: NDArray[np.int32],
        generators: Sequence[np.random.Generator],
        burn_in: int,
        n_draws: int = 1,
        thin: int = 1,
    ) -> NDArray[np.int32]:
        """Run the chains in blocks; return the states (n_chains, n_draws, k) that they pass through."""
        betas = check_betas(self.betas)
        chains = _Chains(law, betas, self.scan == "random")
        n_clamped, width = len(law.clamped), starts.shape[1]
        draws = np.empty((len(starts), n_draws, n_clamped + width), np.int32)
        draws[..., :n_clamped] = law.clamped
        n_blocks = -(-len(starts) // _BLOCK)
        accepted = np.zeros((n_blocks, len(betas) - 1), np.int64)
        with tqdm(total=len(starts), disable=not self.verbose, unit="chain") as progress:

            def work(block: slice) -> None:
                replicas = np.repeat(starts[None, block], len(betas), axis=0)
                free, swaps = draws[block, :, n_clamped:], accepted[block.start // _BLOCK]
                swaps += chains.follow(replicas, generators[block], burn_in, free[:, :1])
                swaps += chains.follow(replicas, generators[block], thin, free[:, 1:])
                progress.update(replicas.shape[1])

            for_blocks(work, len(starts), _BLOCK, self.n_jobs)
        if len(betas) > 1:
            n_sweeps = len(starts) * (burn_in + (n_draws - 1) * thin)
            self.swap_rates_ = accepted.sum(axis=0) / max(n_sweeps, 1)
        rows = draws.reshape(len(starts) * n_draws, n_clamped + width)
        return to_states(rows, law.states_).reshape(draws.shape)


class _Chains:
    """The factors of every replica, and the sweeps of a block of chains over them."""

    def __init__(self, law: Conditioned, betas: NDArray[np.float64], random_scan: bool):
        self.betas, self.random_scan = betas, random_scan
        theta = np.exp(law.log_factors_ - law.log_factors_.max())
        tables = [pair_factors(tempered(law.log_pair_factors_, beta)) for beta in betas[1:]]
        first = law.pair_factors_ if law.pair_factors_ is not None else pair_factors(law.log_pair_factors_)
        self.factors = [(theta, table) for table in (first, *tables)]
        self.log_pair_factors = law.log_pair_factors_

    def follow(
        self,
        replicas: NDArray[np.int32],
        generators: Sequence[np.random.Generator],
        thin: int,
        draws: NDArray[np.int32],
    ) -> NDArray[np.int64]:
        """Sweep ``replicas`` (n_betas, n_chains, k) in place and fill ``draws`` (n_chains, n_draws, k).

        Returns how many swaps each pair of neighbours accepted. Uniforms come from each chain's own
        generator, those of about ``_CHUNK`` sweeps at a time.
        """
        accepted = np.zeros(len(self.betas) - 1, np.int64)
        at_once = max(_CHUNK // max(thin, 1), 1)
        for first in range(0, draws.shape[1], at_once):
            part = draws[:, first : first + at_once]
            if len(self.betas) == 1 and thin <= _CHUNK:
                part[:] = self._sweeps(replicas[0], generators, thin, part.shape[1])
                continue
            for draw in range(part.shape[1]):
                for done in range(0, thin, _CHUNK):
                    sweeps = min(_CHUNK, thin - done)
                    if len(self.betas) == 1:
                        self._sweeps(replicas[0], generators, sweeps, 1)
                    else:
                        accepted += self._tempered_sweeps(replicas, generators, sweeps)
                part[:, draw] = replicas[0]
        return accepted

    def _sweeps(
        self, chains: NDArray[np.int32], generators: Sequence[np.random.Generator], thin: int, n_draws: int
    ) -> NDArray[np.int32]:
        sizes = (chains >= 0).sum(axis=1)
        uniforms = np.empty((len(chains), thin * n_draws * chains.shape[1]))
        for row, size, generator in zip(uniforms, sizes, generators, strict=True):
            generator.random(out=row[: thin * n_draws * size])
        draws = np.empty((len(chains), n_draws, chains.shape[1]), np.int32)
        run_chains(*self.factors[0], chains, sizes, uniforms, thin, self.random_scan, draws)
        return draws

    def _tempered_sweeps(
        self, replicas: NDArray[np.int32], generators: Sequence[np.random.Generator], sweeps: int
    ) -> NDArray[np.int64]:
        n_betas, n_chains, width = replicas.shape
        sizes = (replicas[0] >= 0).sum(axis=1)
        shape = (sweeps, n_betas * (width + 1) - 1)
        accepted, kept = np.zeros(n_betas - 1, np.int64), np.empty((n_chains, 1, width), np.int32)
        for uniforms in np.stack([generator.random(shape) for generator in generators], axis=1):
            for b, replica in enumerate(replicas):
                own = np.ascontiguousarray(uniforms[:, b * width : (b + 1) * width])
                run_chains(*self.factors[b], replica, sizes, own, 1, self.random_scan, kept)
            sums = pair_sums(self.log_pair_factors, replicas)
            accepted += swap(replicas, sums, self.betas, uniforms[:, n_betas * width :])
        return accepted
