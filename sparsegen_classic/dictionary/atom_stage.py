"""The atom stage: refit every atom together with the coefficients of its users, supports fixed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from sparsegen_classic._kernels.ksvd import FREE, update_atoms, update_atoms_weighted
from sparsegen_classic._parallel import single_threaded_blas

_N_ALTERNATIONS = 30  # of d and g for the exact update where no singular value decomposition solves it


def atom_stage(
    order: NDArray[np.intp],
    components: NDArray[np.floating],
    residual: NDArray[np.floating],
    start: NDArray[np.int64],
    users: NDArray[np.int64],
    coefficients: NDArray[np.floating],
    *,
    exact: bool = False,
    weights: NDArray[Any] | None = None,
    rule: int = FREE,
    positive: bool = False,
) -> None:
    """Sweep once over the atoms in ``order``; components, residual and coefficients change in place.

    ``exact`` takes the best rank-one fit of each atom's error: the leading singular pair or, where atoms or
    codes are constrained or entries have weights, many alternations instead of one.
    """
    if exact and weights is None and rule == FREE and not positive:
        with single_threaded_blas():
            _sweep_by_singular_vectors(order, components, residual, start, users, coefficients)
        return
    order = np.repeat(order, _N_ALTERNATIONS) if exact else order
    if weights is None:
        update_atoms(order, components, residual, start, users, coefficients, rule, positive)
    else:
        update_atoms_weighted(
            order, components, residual, weights, start, users, coefficients, rule, positive
        )


def _sweep_by_singular_vectors(
    order: Any, components: Any, residual: Any, start: Any, users: Any, coefficients: Any
) -> None:
    k = coefficients.shape[1]
    flat = coefficients.reshape(-1)
    for j in order:
        w = users[start[j] : start[j + 1]]
        if not len(w):
            continue
        rows = w // k
        error = residual[rows] + np.outer(flat[w], components[j])
        atom = _leading_right_singular_vector(error)
        if atom is None:
            continue
        components[j] = atom if atom @ components[j] >= 0 else -atom
        flat[w] = error @ components[j]
        residual[rows] = error - np.outer(flat[w], components[j])


def _leading_right_singular_vector(error: NDArray[np.floating]) -> NDArray[np.floating] | None:
    """By the eigenvector of the smaller Gram matrix; None if the error is zero."""
    wide = error.shape[0] < error.shape[1]
    gram = (error @ error.T if wide else error.T @ error).astype(np.float64)
    top = len(gram) - 1
    vector = linalg.eigh(gram, subset_by_index=(top, top), check_finite=False)[1][:, 0]
    vector = vector @ error if wide else vector
    norm = np.linalg.norm(vector)
    return vector / norm if norm > 0 else None
