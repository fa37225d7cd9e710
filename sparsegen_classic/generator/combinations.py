"""Random combinations of atoms: the negative control of the paper's Fig. 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsegen_classic._codes import codes_from_states


def combine_at_random(
    states: NDArray[np.integer], magnitudes: sparse.csc_array, generators: list[np.random.Generator]
) -> sparse.csr_array:
    """Return codes with the shuffled coefficients of a random training code on random distinct atoms."""
    training, n_components = magnitudes.tocsr(), magnitudes.shape[1] // 2
    width = int(np.diff(training.indptr).max())
    chosen = np.full((len(generators), width), -1)
    values = np.zeros(chosen.shape)
    for i, generator in enumerate(generators):
        coefficients = generator.permutation(training[[generator.integers(training.shape[0])]].data)
        shuffled = generator.permutation(states)
        first = np.sort(np.unique(shuffled % n_components, return_index=True)[1])[: len(coefficients)]
        chosen[i, : len(first)] = shuffled[first]
        values[i, : len(first)] = coefficients[: len(first)]
    return codes_from_states(chosen, values, n_components)
