"""Where atoms come from, and which ones have to go."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def atoms_from_data(
    X: NDArray[np.floating], n_components: int, rng: np.random.Generator
) -> NDArray[np.floating]:
    """Return ``n_components`` distinct random non-zero samples, normalised to unit norm."""
    norms = np.linalg.norm(X, axis=1)
    usable = np.flatnonzero(norms > 1e-6 * norms.max(initial=0))
    if len(usable) < n_components:
        raise ValueError(
            f"n_components={n_components} atoms need at least as many non-zero samples, got {len(usable)} "
            f"of n_samples={len(X)}; lower n_components or give more samples"
        )
    chosen = rng.choice(usable, n_components, replace=False)
    return np.ascontiguousarray(X[chosen] / norms[chosen, None])


def atoms_to_replace(
    components: NDArray[np.floating],
    uses: NDArray[np.integer],
    coherence_threshold: float,
    min_uses: int,
) -> NDArray[np.intp]:
    """Return the atoms with fewer than ``min_uses`` users and the less used one of each coherent pair."""
    poor = uses < min_uses
    if coherence_threshold < 1:
        gram = np.abs(components @ components.T)
        by_use = np.argsort(-uses, kind="stable")  # of equally used atoms the first stays
        for rank, j in enumerate(by_use):
            if not poor[j]:
                later = by_use[rank + 1 :]
                poor[later[gram[j, later] > coherence_threshold]] = True
    return np.flatnonzero(poor)


def worst_represented(X: NDArray[np.floating], energy: NDArray[np.floating], n: int) -> NDArray[np.floating]:
    """Return the up to ``n`` samples with the largest residual energy, normalised; exact fits are no use."""
    worst = np.argsort(-energy, kind="stable")[:n]
    norms = np.linalg.norm(X[worst], axis=1)
    usable = energy[worst] > (1e-6 * norms) ** 2
    return X[worst[usable]] / norms[usable, None]
