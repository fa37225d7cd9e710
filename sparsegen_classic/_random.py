"""Seeds: one child per image or chain, so that results depend on neither block order nor ``n_jobs``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sparsegen_classic._validation import check_integer

RandomState = int | np.random.RandomState | np.random.Generator | np.random.SeedSequence | None


def seed_sequence(random_state: Any) -> np.random.SeedSequence:
    """Turn any accepted ``random_state`` into a SeedSequence.

    None takes fresh entropy, an int always gives the same sequence; a RandomState or Generator is
    advanced by one draw, so two calls with the same object give different sequences, as in scikit-learn.
    """
    if isinstance(random_state, np.random.SeedSequence):
        return random_state
    if random_state is None:
        return np.random.SeedSequence()
    if isinstance(random_state, np.random.Generator):
        return np.random.SeedSequence(random_state.integers(2**63, size=2).tolist())
    if isinstance(random_state, np.random.RandomState):
        return np.random.SeedSequence(random_state.randint(2**31, size=4).tolist())
    check_random_state(random_state)  # scikit-learn's own error for anything else that is no seed
    return np.random.SeedSequence(int(random_state))


def spawn_generators(random_state: Any, n: int) -> list[np.random.Generator]:
    """Return ``n`` independent generators; the first ``m < n`` are those of a call with ``m``."""
    return [np.random.default_rng(seed) for seed in seed_sequence(random_state).spawn(n)]


def check_generators(random_state: Any, n_samples: int | None) -> Sequence[np.random.Generator]:
    """Return one generator for each sample: spawned from a seed, or those of a list."""
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
