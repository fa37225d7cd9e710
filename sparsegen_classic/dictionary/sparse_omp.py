"""Sparse Batch-OMP: correlations by way of the base and the sparse atoms, and no dense dictionary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._parallel import for_blocks
from sparsegen_classic.dictionary.sparse_atoms import Array, SparseAtoms, sparse_product
from sparsegen_classic.pursuit.omp import code_block

_BLOCK = 64  # signals a thread takes at a time: their analysed images stay in the cache


def correlate(signals: Array, atoms: SparseAtoms, n_jobs: int | None = None) -> Array:
    """Return ``signals @ components^T`` (n, n_components) as ``A^T (Phi^T y)``.

    Of the atoms' own dense form this is their Gram matrix.
    """
    codes = atoms.to_csr()
    alpha = np.empty((len(signals), codes.shape[0]), signals.dtype)

    def work(block: slice) -> None:
        analysed = atoms.base.analyze_columns(signals[block])
        alpha[block] = sparse_product(codes, analysed, slice(0, codes.shape[0])).T

    for_blocks(work, len(signals), _BLOCK, n_jobs)
    return alpha


def sparse_omp_arrays(
    X: Array,
    atoms: SparseAtoms,
    gram: Array,
    n_nonzero_coefs: int,
    *,
    active: NDArray[np.integer] | None = None,
    n_jobs: int | None = None,
) -> tuple[NDArray[np.int32], Array, int]:
    """Code ``X`` like ``pursuit.omp_arrays``, over the atoms in ``active`` (None = all).

    Returns indices (n_samples, n_nonzero_coefs), padded with -1, coefficients in the order of the picks, and
    how many signals stopped at a dependent atom.
    """
    alpha = correlate(X, atoms, n_jobs)
    if active is not None:
        # the kernel wants rows in one piece, and alpha[:, active] has none
        alpha, gram = alpha.take(active, axis=1), np.ascontiguousarray(gram[np.ix_(active, active)])
    shape = (len(X), n_nonzero_coefs)
    indices, coefficients = np.full(shape, -1, np.int32), np.zeros(shape, X.dtype)
    nothing = np.empty((len(X), 0), X.dtype)  # the exact residual is for error targets, and there are none
    n_dependent: list[int] = []

    def work(block: slice) -> None:
        energy = np.einsum("ij,ij->i", X[block], X[block])
        tol = np.full(len(energy), -1.0)
        given = alpha[block], gram, energy, tol, nothing[block], nothing
        n_dependent.append(code_block(*given, indices[block], coefficients[block]))

    for_blocks(work, len(X), _BLOCK, n_jobs)
    if active is not None:
        indices = np.where(indices >= 0, active[indices], -1).astype(np.int32)
    return indices, coefficients, sum(n_dependent)
