"""Parallel tempering: replicas of a chain under weaker pair factors, and their swaps."""

from __future__ import annotations

from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic.support._pairwise import log_weights


def check_betas(betas: Any) -> NDArray[np.float64]:
    """Return the powers of the pair factors, from 1 down to 0 or more; None is a single 1."""
    values = np.array([1.0]) if betas is None else np.asarray(betas, np.float64)
    falls = values.ndim == 1 and len(values) and values[0] == 1.0 and (np.diff(values) < 0).all()
    if not falls or values[-1] < 0:
        raise ValueError(f"betas must fall from 1 to 0 or more, such as (1, 0.7, 0.4, 0.1), got {betas!r}")
    return values


def tempered(log_pair_factors: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """Return ``beta`` times the pair factors; at 0 every pair of different states becomes possible."""
    if beta == 1.0:
        return log_pair_factors
    if beta > 0:
        return beta * log_pair_factors
    return np.where(np.eye(len(log_pair_factors), dtype=bool), -np.inf, 0.0)


def pair_sums(log_pair_factors: NDArray[np.float64], indices: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the pair factors of index rows (..., k), summed: minus the energy that swaps compare."""
    pairs = SimpleNamespace(log_factors_=np.zeros(len(log_pair_factors)), log_pair_factors_=log_pair_factors)
    rows = indices.reshape(prod(indices.shape[:-1]), indices.shape[-1])
    return log_weights(pairs, rows).reshape(indices.shape[:-1])


def swap(
    replicas: NDArray[np.int32],
    weights: NDArray[np.float64],
    betas: NDArray[np.float64],
    uniforms: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Swap replicas b and b + 1 of each chain, for one b after the other, by the Metropolis rule, in place.

    ``replicas`` (n_betas, n_chains, k) with pair sums ``weights`` (n_betas, n_chains); accepted with
    probability min(1, exp((beta_b - beta_{b+1}) (S_{b+1} - S_b))). Returns how many were accepted,
    (n_betas - 1,).
    """
    accepted = np.zeros(len(betas) - 1, np.int64)
    for b in range(len(accepted)):
        ratio = np.minimum((betas[b] - betas[b + 1]) * (weights[b + 1] - weights[b]), 0.0)
        moved = np.flatnonzero(uniforms[:, b] < np.exp(ratio))
        for values in (replicas, weights):
            values[b, moved], values[b + 1, moved] = values[b + 1, moved], values[b, moved]
        accepted[b] = len(moved)
    return accepted
