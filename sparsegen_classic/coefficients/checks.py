"""Checks of what is given with codes: states, groups, generators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._random import RandomState, spawn_generators


def check_states(states: ArrayLike, n_components: int, seen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return supports as int64 rows of states, all ``seen`` in training, or raise a ValueError."""
    states = np.array(states)
    n_states = 2 * n_components
    if states.ndim != 2 or (states.size and not np.issubdtype(states.dtype, np.integer)):
        raise ValueError(
            f"supports must be rows of integer states, got {states.dtype} of shape {states.shape}"
        )
    states = states.astype(np.int64)
    if states.size and not (states.min() >= -1 and states.max() < n_states):
        raise ValueError(f"states must be in 0..{n_states - 1}, got {states.min()}..{states.max()}")
    atoms = np.sort(np.where(states >= 0, states % n_components, -1 - np.arange(states.shape[1])))
    repeated = (atoms[:, 1:] == atoms[:, :-1]).any(axis=1)
    if repeated.any():
        i = int(np.argmax(repeated))
        raise ValueError(f"support {i} must use each atom once, got states {states[i].tolist()}")
    unseen = (states >= 0) & ~seen[states]
    if unseen.any():
        i, position = np.argwhere(unseen)[0].tolist()
        state = int(states[i, position])
        sign = "-" if state >= n_components else "+"
        raise ValueError(
            f"support {i} has state {state} ({sign} atom {state % n_components}), which no "
            f"training code uses; remove it or fit on codes that use it"
        )
    return states


def check_groups(groups: ArrayLike, n_samples: int) -> NDArray[np.int64]:
    """Return the groups of training codes as an int64 array, or raise a ValueError."""
    array = np.array(groups)
    if array.shape != (n_samples,) or array.dtype.kind not in "iu":
        raise ValueError(
            f"groups must hold one integer for each of the {n_samples} codes, "
            f"got shape {array.shape} of {array.dtype}"
        )
    return array.astype(np.int64)


def check_group_choice(
    groups: ArrayLike | None, n_supports: int, known: NDArray[np.integer] | None
) -> list[int] | list[None]:
    """Return the group of each support, None where groups do not matter, or raise a ValueError."""
    if groups is None:
        return [None] * n_supports
    if known is None:
        raise ValueError("groups need a model fitted with groups; call fit(X, groups=...)")
    wanted = check_groups(np.broadcast_to(groups, n_supports) if np.ndim(groups) == 0 else groups, n_supports)
    unknown = np.setdiff1d(wanted, known)
    if len(unknown):
        raise ValueError(
            f"groups must be among the {len(np.unique(known))} groups of fit, got {unknown[:5].tolist()}; "
            "use None for all training codes alike"
        )
    return wanted.tolist()


def check_generators(random_state: RandomState | Sequence[Any], n: int) -> Sequence[np.random.Generator]:
    """Return one generator per support from a seed, or those given."""
    if not isinstance(random_state, list | tuple):
        return spawn_generators(random_state, n)
    if len(random_state) != n or not all(isinstance(rng, np.random.Generator) for rng in random_state):
        raise ValueError(f"random_state must be a seed or a list of {n} Generators, one per support")
    return random_state
