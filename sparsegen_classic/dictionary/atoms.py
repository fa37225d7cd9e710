"""Where atoms come from, and which ones have to go."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._kernels.ksvd import FREE, NON_NEGATIVE, ZERO_MEAN
from sparsegen_classic._parallel import single_threaded_blas
from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.dictionary.samples import by_blocks, check_finite
from sparsegen_classic.pursuit.omp import check_components


def dct_atoms(patch_shape: tuple[int, int], n_components: int) -> NDArray[np.float64]:
    """Return the overcomplete separable cosine dictionary of Elad and Aharon (2006).

    Parameters
    ----------
    patch_shape : tuple of two ints
        Height and width of a patch.
    n_components : int
        Number of atoms. With ``p = ceil(sqrt(n_components))`` frequencies an axis, ``p**2`` products of
        one-dimensional cosines exist; the ``n_components`` with the lowest sum of frequencies are returned.

    Returns
    -------
    atoms : ndarray of shape (n_components, height * width)
        Rows of unit norm. The first is constant, the others have zero mean.

    Examples
    --------
    >>> from sparsegen_classic.dictionary import dct_atoms
    >>> dct_atoms((8, 8), 256).shape
    (256, 64)
    """
    height, width = (check_integer("patch_shape", side, 1) for side in patch_shape)
    n_components = check_integer("n_components", n_components, 1)
    p = math.isqrt(n_components - 1) + 1
    atoms = np.einsum("ay,bx->abyx", _cosines(height, p), _cosines(width, p)).reshape(p * p, -1)
    a, b = np.divmod(np.arange(p * p), p)
    return np.ascontiguousarray(atoms[np.argsort(a + b, kind="stable")[:n_components]])


def _cosines(length: int, n: int) -> NDArray[np.float64]:
    """Return ``n`` sampled cosines in rows: zero mean but for the first, unit norm."""
    rows = np.cos(np.pi / n * np.outer(np.arange(n), np.arange(length)))
    rows[1:] -= rows[1:].mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norms > 1e-8, rows / np.maximum(norms, 1e-8), rows[0] / norms[0])


def distinct_rows(
    X: Any, rng: np.random.Generator, rule: int = FREE, n_jobs: int | None = None
) -> NDArray[np.intp]:
    """Return one index for each distinct non-zero row, in an order that knows neither place nor repetition.

    Rows, made what the rule for atoms allows, are sorted by their product with a random vector: equal rows
    are neighbours.
    """
    direction = np.asarray(rng.standard_normal(X.shape[1]), X.dtype)

    def key_and_square(block: NDArray[np.floating]) -> NDArray[np.floating]:
        rows = allowed(block, rule)
        return np.stack([np.einsum("ij,j->i", rows, direction), np.einsum("ij,ij->i", rows, rows)], axis=1)

    key, squared = by_blocks(key_and_square, X, n_jobs).T
    check_finite(squared)
    order = np.argsort(key, kind="stable")
    order = order[squared[order] > 1e-12 * squared.max(initial=0)]
    first = np.ones(len(order), bool)
    first[1:] = key[order[1:]] != key[order[:-1]]
    return order[first]


def initial_atoms(
    init: Any,
    n_components: int | None,
    X: Any,
    distinct: NDArray[np.intp],
    rng: np.random.Generator,
    rule: int = FREE,
) -> NDArray[np.floating]:
    """Return the atoms that ``init`` ("data", "dct" or an array) stands for, in the dtype of ``X``."""
    n_features = X.shape[1]
    if not isinstance(init, str):
        atoms = check_components(init, X.dtype).copy()
        expected = (len(atoms) if n_components is None else n_components, n_features)
        if atoms.shape != expected:
            raise ValueError(f"init must have shape (n_components, n_features)={expected}, got {atoms.shape}")
        return atoms
    check_choice("init", init, ("data", "dct"))
    n = min(n_features, max(1, len(distinct))) if n_components is None else n_components
    check_integer("n_components", n, 1)
    if init == "dct":
        side = math.isqrt(n_features)
        if side * side != n_features:
            raise ValueError(
                f"init='dct' needs square patches, got n_features={n_features}; "
                "give an array, for example dct_atoms((height, width), n_components)"
            )
        return dct_atoms((side, side), n).astype(X.dtype)
    if len(distinct) < n:
        raise ValueError(
            f"n_components={n} atoms need at least as many distinct non-zero samples, got {len(distinct)} "
            f"of n_samples={len(X)}; lower n_components or give more samples"
        )
    chosen = allowed(X[distinct[rng.choice(len(distinct), n, replace=False)]], rule)
    return np.ascontiguousarray(chosen / np.linalg.norm(chosen, axis=1, keepdims=True))


def allowed(rows: NDArray[np.floating], rule: int) -> NDArray[np.floating]:
    """Return the rows made non-negative or of zero mean, as the rule for atoms says."""
    if rule == NON_NEGATIVE:
        return np.maximum(rows, 0)
    return rows - rows.mean(axis=1, keepdims=True) if rule == ZERO_MEAN else rows


def atoms_to_replace(
    components: NDArray[np.floating],
    uses: NDArray[Any],
    coherence_threshold: float,
    min_uses: float,
) -> NDArray[np.intp]:
    """Return the atoms with fewer than ``min_uses`` users and the less used one of each coherent pair."""
    poor = uses < min_uses
    if coherence_threshold < 1:
        with single_threaded_blas():
            gram = np.abs(components @ components.T)
        by_use = np.argsort(-uses, kind="stable")  # of equally used atoms the first stays
        for rank, j in enumerate(by_use):
            if not poor[j]:
                later = by_use[rank + 1 :]
                poor[later[gram[j, later] > coherence_threshold]] = True
    return np.flatnonzero(poor)


def worst_represented(
    X: NDArray[np.floating],
    energy: NDArray[np.floating],
    candidates: NDArray[np.intp],
    n: int,
    rule: int = FREE,
) -> NDArray[np.floating]:
    """Return the up to ``n`` candidates with the most residual energy, normalised; exact fits are no use."""
    worst = candidates[np.argsort(-energy[candidates], kind="stable")[:n]]
    rows = allowed(X[worst], rule)
    norms = np.linalg.norm(rows, axis=1)
    usable = energy[worst] > (1e-6 * norms) ** 2
    return rows[usable] / norms[usable, None]
