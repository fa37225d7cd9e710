"""What dictionaries are learned from: samples in memory or read block by block, masked or weighted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._rows import Rows
from sparsegen_classic.pursuit.masked import check_weights
from sparsegen_classic.pursuit.omp import check_tol

FLOATS = (np.float64, np.float32)
_BLOCK = 512  # rows that are read at a time


class Samples(NamedTuple):
    """Samples to learn from, in memory or not.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features) or Rows
        0 where entries are missing.
    weights : ndarray of the shape of X, or None
        Of the entries; None = all count fully.
    counts : ndarray of shape (n_samples,)
        How often a sample counts.
    tol : ndarray of shape (n_samples,) or None
        Targets of the squared error.
    """

    X: Any
    weights: NDArray[np.floating] | None
    counts: NDArray[np.float64]
    tol: NDArray[np.float64] | None

    def take(self, which: Any) -> Samples:
        """Return some of the samples, in memory."""
        parts: Any = (None if part is None else part[which] for part in self)
        return Samples(*parts)


def check_samples(model: Any, X: Any, *, in_memory: bool = False, **rules: Any) -> Any:
    """Return ``X`` as a checked array of floats, or as it is if it is Rows; set ``n_features_in_``."""
    if isinstance(X, Rows) and in_memory:
        X = X[:]
    if isinstance(X, Rows):
        return validate_data(model, X, skip_check_array=True)
    return np.asarray(validate_data(model, X, dtype=FLOATS, order="C", **rules))


def weighted_samples(X: Any, mask: Any, sample_weight: Any, entry_weight: Any, tol: Any) -> Samples:
    """Return checked samples with their weights, without those of weight 0."""
    weights, counts = None, np.ones(len(X))
    if mask is not None or entry_weight is not None:
        if isinstance(X, Rows):
            raise TypeError("mask and entry_weight need X in memory: give X[:] instead of Rows")
        weights = check_weights(X, mask, check_entry_weight(entry_weight, X.shape))
    if weights is not None:
        X, weights = np.where(weights > 0, X, 0), np.ascontiguousarray(weights, X.dtype)
    if sample_weight is not None:
        counts = check_weight("sample_weight", sample_weight, {"(n_samples,)": (len(X),)})
        if not counts.any():
            raise ValueError("every sample_weight is zero; give at least one sample a positive weight")
    others: Any = weights, counts, check_tol(tol, len(X))
    kept = np.flatnonzero(counts)
    if len(kept) == len(X):
        return Samples(X, *others)
    others = (None if part is None else part[kept] for part in others)
    members = kept if not isinstance(X, Rows) or X.members is None else X.members[kept]
    X = replace(X, members=members) if isinstance(X, Rows) else X[kept]
    return Samples(X, *others)


def check_weight(name: str, weight: Any, shapes: dict[str, tuple[int, ...]]) -> NDArray[np.float64]:
    """Return weights of one of the shapes if they are finite and at least 0."""
    given = np.asarray(weight, np.float64)
    if given.shape not in shapes.values():
        rule = " or ".join(f"{axes}={shape}" for axes, shape in shapes.items())
        raise ValueError(f"{name} must have shape {rule}, got {given.shape}")
    bad = given[~(np.isfinite(given) & (given >= 0))]
    if len(bad):
        raise ValueError(f"{name} must be finite and at least 0, got {bad[0]}")
    return given


def check_entry_weight(weight: Any, shape: tuple[int, int]) -> NDArray[np.float64] | None:
    """Return weights of entries, or None if there are none."""
    if weight is None:
        return None
    return check_weight(
        "entry_weight", weight, {"(n_samples, n_features)": shape, "(n_features,)": shape[1:]}
    )


def by_blocks(
    function: Callable[[NDArray[np.floating]], NDArray[Any]], X: Any, n_jobs: int | None
) -> NDArray[Any]:
    """Return ``function(X)``, whose rows belong to those of ``X``, reading no more than a block at once."""
    parts: list[Any] = [None] * -(-len(X) // _BLOCK)

    def work(block: slice) -> None:
        parts[block.start // _BLOCK] = function(X[block])

    for_blocks(work, len(X), _BLOCK, n_jobs)
    return np.concatenate(parts)


def check_finite(sums: NDArray[np.floating]) -> None:
    """Raise if a row cannot be learned from, given sums over the values of each."""
    bad = np.flatnonzero(~np.isfinite(sums))
    if len(bad):
        raise ValueError(
            f"row {bad[0]} of X holds NaN, infinity or values too large to be squared ({len(bad)} such "
            "rows); leave them out"
        )
