"""Orthogonal matching pursuit on incomplete or weighted signals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._kernels.masked_omp import masked_omp_coefficients, masked_omp_step
from sparsegen_classic._kernels.nn_omp import masked_nn_omp_step
from sparsegen_classic._parallel import for_blocks

_BLOCK_BYTES = 2**22  # the chosen atoms of one block of signals
_LEAST_SHARE = 1e-6  # of an atom's energy that must be observed before it may be picked


def check_weights(X: NDArray[np.floating], mask: Any, sample_weight: Any) -> NDArray[Any] | None:
    """Return the weights of the entries of ``X``, broadcast to its shape, or None if all count fully.

    ``X`` may hold anything where the weight is 0 and must be finite elsewhere.
    """
    weights: Any = None
    if isinstance(mask, str):
        if mask != "nan":
            raise ValueError(f"mask must be None, 'nan' or a boolean array (True = observed), got {mask!r}")
        weights = ~np.isnan(X)
    elif mask is not None:
        weights = np.asarray(mask)
        if weights.dtype != bool:
            raise TypeError(f"mask must be boolean (True = observed), got an array of {weights.dtype}")
        _check_shape("mask", weights, X.shape)
    if sample_weight is not None:
        given = np.asarray(sample_weight, np.float64)
        _check_shape("sample_weight", given, X.shape)
        bad = given[~(np.isfinite(given) & (given >= 0))]
        if len(bad):
            raise ValueError(f"sample_weight must be finite and at least 0, got {bad[0]}")
        weights = given if weights is None else given * weights
    if weights is not None and np.all(weights == 1):
        weights = None
    _check_observed(X, weights, mask is None)
    return None if weights is None else np.broadcast_to(weights, X.shape)


def _check_shape(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape not in (shape, shape[1:]):
        raise ValueError(
            f"{name} must have the shape of X (n_samples, n_features)={shape} or (n_features,), "
            f"got shape {array.shape}"
        )


def _check_observed(X: NDArray[np.floating], weights: NDArray[Any] | None, no_mask: bool) -> None:
    bad = ~np.isfinite(X)
    if weights is not None:
        bad &= weights > 0
        empty = np.flatnonzero(~np.broadcast_to(weights > 0, X.shape).any(axis=1))
        if len(empty):
            raise ValueError(
                f"row {empty[0]} of X has no observed entry ({len(empty)} such rows): "
                "mask and sample_weight must leave at least one; drop these rows"
            )
    if bad.any():
        row, column = np.argwhere(bad)[0]
        remedy = "give mask='nan' if NaN means missing" if no_mask else "mark it False in mask"
        raise ValueError(
            f"Input X contains NaN or infinity at row {row}, column {column}, which counts as observed; "
            f"{remedy}"
        )


def masked_omp_arrays(
    X: NDArray[np.floating],
    components: NDArray[np.floating],
    weights: NDArray[Any],
    tol: NDArray[np.float64],
    floor: NDArray[np.floating],
    positive: bool,
    n_jobs: int | None,
    indices: NDArray[np.int32],
    coefficients: NDArray[np.floating],
) -> int:
    """Fill ``indices`` and ``coefficients``; return how many signals stopped at a dependent atom.

    Arrays other than ``X`` and ``weights`` have the dtype of the computation.
    """
    dtype, (n_components, n_features), k = components.dtype, components.shape, indices.shape[1]
    atoms, squared_atoms = components.T.copy(), (components**2).T.copy()
    step = masked_nn_omp_step if positive else masked_omp_step
    n_dependent: list[int] = []

    def code(block: slice) -> None:
        w = weights[block].astype(dtype)
        root = np.sqrt(w)
        residual = root * np.where(w > 0, X[block], 0).astype(dtype)
        n = len(w)
        energy = w @ squared_atoms
        usable = energy > _LEAST_SHARE * w.max(axis=1, keepdims=True)
        inverse_norm = np.where(usable, 1 / np.sqrt(np.where(usable, energy, 1)), 0).astype(dtype)
        squared = np.einsum("ij,ij->i", residual, residual)
        floors = floor[0] * np.sqrt(squared), floor[1]
        basis = np.empty((n, k, n_features), dtype)
        factor, z = np.zeros((n, k, k), dtype), np.zeros((n, k), dtype)
        active = squared > tol[block]
        for t in range(k):
            rows = np.flatnonzero(active)
            if not len(rows):
                break
            alpha = (root[rows] * residual[rows]) @ atoms
            state = residual, basis, factor, z, indices[block], active
            n_dependent.append(
                step(t, rows, alpha, inverse_norm, root, components, tol[block], floors, *state)
            )
        if positive:
            chosen = indices[block]
            coefficients[block] = np.where(
                chosen >= 0, z * np.take_along_axis(inverse_norm, np.maximum(chosen, 0), axis=1), 0
            )
        else:
            masked_omp_coefficients(factor, z, inverse_norm, indices[block], coefficients[block])

    bytes_each = (k * (n_features + k) + 4 * n_components) * dtype.itemsize
    for_blocks(code, len(X), max(4, min(256, _BLOCK_BYTES // bytes_each)), n_jobs)
    return sum(n_dependent)
