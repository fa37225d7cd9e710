"""Gibbs sampling of supports, many chains at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from sparsegen_classic._kernels.gibbs import run_chains
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import spawn_generators
from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.support._pairwise import fields, log_weights, to_indices, to_states

_BLOCK = 64  # chains
_CHUNK = 64  # sweeps whose uniforms are drawn at a time

# The kernel adds and removes rows of log factors. With every entry a multiple of 2^-26 (an error of 1e-8 in
# a log-probability) and |sums| < 2^26, each sum is exact in float64. -2^16 stands for -inf: exp gives 0 for
# it, and unlike -inf it can be removed again. 1,000 sites with excluded pairs stay below 2^26.
_GRID, _EXCLUDED = 2.0**-26, -(2.0**16)


class GibbsSampler(BaseEstimator):
    """Draw supports from a pairwise model by Gibbs sampling, one fresh chain for each support.

    A flip takes one atom out of the support and draws it anew given the others,
    P(a_j = m | rest) ~ exp(theta_m + sum_{l != j} Theta[m, a_l]); a sweep is as many flips as there are
    atoms. Chains start at random training supports, which the model finds possible and which
    reproduce the sizes of the data; a chain never changes its size.

    Parameters
    ----------
    burn_in : int, default=20
        Sweeps from the start of a chain to the support that is returned. 0 returns the starts.
    scan : {"random", "systematic"}, default="random"
        Whether flips take the atoms of a support at random or in turn.
    n_jobs : int, default=None
        Threads, as in joblib. Results do not depend on it.
    verbose : int, default=0
        1 shows a progress bar.

    Notes
    -----
    With ``smoothing=0`` the chain can be unable to reach some supports, or to move at all: of the pairs
    {0, 1} and {2, 3} alone, no single flip leads from one to the other. Flips cost O(n_states); all sums
    of log factors are exact, because the sampler rounds them to multiples of 2^-26.

    References
    ----------
    S. Geman and D. Geman, "Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of
    images", IEEE PAMI 6, 1984.

    Examples
    --------
    >>> from sparsegen_classic.support import GibbsSampler, MarkovSupports
    >>> model = MarkovSupports().fit([[1, 1, 0], [0, 1, -1], [1, 0, 0]])
    >>> supports = GibbsSampler(burn_in=5).sample(model, 4, random_state=0)
    >>> supports.shape, supports.dtype
    ((4, 2), dtype('int32'))
    >>> GibbsSampler().sample(model, 1, random_state=0, size=3).tolist()
    [[0, 1, 5]]
    """

    def __init__(
        self, *, burn_in: int = 20, scan: str = "random", n_jobs: int | None = None, verbose: int = 0
    ):
        self.burn_in = burn_in
        self.scan = scan
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
    ) -> NDArray[np.int32]:
        """Draw supports.

        Parameters
        ----------
        model : MarkovSupports
            A fitted model: ``states_``, ``log_factors_``, ``log_pair_factors_`` and ``supports_`` are used.
        n_samples : int, default=None
            Number of supports; None is 1, or the length of ``initial`` or of a list of generators. The
            first m supports are those of a call with m.
        random_state : int, RandomState, Generator, SeedSequence, None, or list of Generator
            Seed, or one generator for each chain; chain i depends on generator i alone.
        initial : array-like of shape (n_samples, k_max), default=None
            Supports to start from, as states, padded with -1, such as an earlier result to continue.
        size : int, default=None
            Number of atoms in every support. Chains then start at training supports of that size; if there
            are none, at those of the nearest size (the larger of two), with random atoms removed, or with
            atoms drawn from the model added.
        sweeps : int, default=None
            Sweeps for this call, in place of ``burn_in``.

        Returns
        -------
        supports : ndarray of shape (n_samples, k_max), int32
            States of the doubled dictionary, ascending, padded with -1. k_max is the largest training
            support, ``size``, or the width of ``initial``.

        Raises
        ------
        ValueError
            If an argument is out of range, if a start in ``initial`` is impossible under the model, or if
            no atom can be added to reach ``size``.
        """
        check_is_fitted(model)
        check_integer("burn_in", self.burn_in, 0)
        sweeps = self.burn_in if sweeps is None else check_integer("sweeps", sweeps, 0)
        random_scan = check_choice("scan", self.scan, ("random", "systematic")) == "random"
        if initial is not None:
            if size is not None:
                raise ValueError("initial already fixes the sizes, got size as well; give one of them")
            supports = _check_initial(model, initial)
            n_samples = len(supports) if n_samples is None else n_samples
        generators = _generators(random_state, n_samples)
        if initial is None:
            supports = _random_starts(model, generators, size)
        elif len(supports) != len(generators):
            raise ValueError(
                f"initial must have one row for each of the {len(generators)} samples, got {len(supports)}"
            )
        self._run(model, supports, generators, sweeps, random_scan)
        return to_states(supports, model.states_)

    def _run(
        self,
        model: Any,
        supports: NDArray[np.int32],
        generators: Sequence[np.random.Generator],
        sweeps: int,
        random_scan: bool,
    ) -> None:
        """Run the chains in place, in blocks; uniforms come from each chain's own generator."""
        theta = np.round(model.log_factors_ / _GRID) * _GRID
        table = np.maximum(np.round(model.log_pair_factors_ / _GRID) * _GRID, _EXCLUDED)
        sizes = (supports >= 0).sum(axis=1)
        with tqdm(total=len(supports), disable=not self.verbose, unit="chain") as progress:

            def work(block: slice) -> None:
                part = supports[block]
                for done in range(0, sweeps, _CHUNK):
                    chunk = min(_CHUNK, sweeps - done)
                    uniforms = np.empty((len(part), chunk * supports.shape[1]))
                    for row, size, generator in zip(uniforms, sizes[block], generators[block], strict=True):
                        generator.random(out=row[: chunk * size])
                    run_chains(theta, table, part, sizes[block], uniforms, chunk, random_scan)
                progress.update(len(part))

            for_blocks(work, len(supports), _BLOCK, self.n_jobs)


def _generators(random_state: Any, n_samples: int | None) -> Sequence[np.random.Generator]:
    if not isinstance(random_state, list | tuple):
        n_samples = 1 if n_samples is None else check_integer("n_samples", n_samples, 1)
        return spawn_generators(random_state, n_samples)
    if not all(isinstance(generator, np.random.Generator) for generator in random_state):
        raise TypeError(
            "a list random_state must hold numpy Generators; make them with numpy.random.default_rng"
        )
    if n_samples is not None and n_samples != len(random_state):
        raise ValueError(
            f"a list random_state must hold one generator for each of the {n_samples} samples, got"
            f" {len(random_state)}"
        )
    return random_state


def _check_initial(model: Any, initial: Any) -> NDArray[np.int32]:
    """Return the rows of ``initial`` as indices into the model's states, padding last."""
    states = np.asarray(initial)
    if states.ndim != 2 or not np.issubdtype(states.dtype, np.integer):
        raise ValueError(
            f"initial must be a 2-D array of integer states padded with -1, got {states.dtype} of shape"
            f" {states.shape}"
        )
    indices = to_indices(np.sort(states, axis=1)[:, ::-1], model.states_)
    impossible = np.flatnonzero(np.isneginf(log_weights(model, indices)))
    if len(impossible):
        raise ValueError(
            f"initial row {impossible[0]}, {states[impossible[0]].tolist()}, has probability 0 under the"
            " model; start from training supports (initial=None) or fit with smoothing > 0"
        )
    return indices


def _random_starts(
    model: Any, generators: Sequence[np.random.Generator], size: int | None
) -> NDArray[np.int32]:
    """Return a training support for each generator, as indices, brought to ``size`` if one is asked for."""
    candidates = model.supports_
    if size is None:
        return candidates[[generator.integers(len(candidates)) for generator in generators]]
    size = check_integer("size", size, 0, len(model.states_), "a support holds each state once")
    sizes = (candidates >= 0).sum(axis=1)
    distance = np.where(sizes >= size, sizes - size, size - sizes + 0.5)
    candidates = candidates[distance == distance.min()]
    starts = np.empty((len(generators), size), np.int32)
    for start, generator in zip(starts, generators, strict=True):
        start[:] = _resize(model, candidates[generator.integers(len(candidates))], size, generator)
    return starts


def _resize(
    model: Any, support: NDArray[np.int32], size: int, generator: np.random.Generator
) -> NDArray[np.int32]:
    """Return ``size`` indices: a random part of ``support``, or all of it with drawn atoms added."""
    members = support[support >= 0]
    if len(members) > size:
        return generator.permutation(members)[:size]
    while len(members) < size:
        field = fields(model, members[None])[0]
        if np.isneginf(field).all():
            raise ValueError(
                f"size={size} cannot be reached: no atom can be added to a training support grown to"
                f" {len(members)} atoms; use a smaller size, or fit with smoothing > 0"
            )
        members = np.append(members, generator.choice(len(field), p=softmax(field)))
    return members
