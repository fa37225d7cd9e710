"""What sketches are learned from: principal components and groups of sparse codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_LEAST = 1e-9  # of the largest variance: a component with less is none


def principal_atoms(
    codes: sparse.csr_array, atoms: NDArray[np.float64], n_components: int
) -> NDArray[np.float64]:
    """Return the atoms (n_atoms, d) in the principal components of the signals that codes stand for.

    With C = R R' the covariance of the codes, that of the signals is D' C D = (R' D)' (R' D). Eigenvectors w
    of R' G R, G = D D' the Gram matrix, with variances l, give components v = D' R w / sqrt(l), and atoms
    D v = G R w / sqrt(l): no signal is ever made.
    """
    gram, mean = atoms @ atoms.T, codes.mean(axis=0)
    covariance = (codes.T @ codes).toarray() / codes.shape[0] - np.outer(mean, mean)
    variances, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(variances, 0))
    variances, vectors = np.linalg.eigh(root.T @ gram @ root)
    first = np.argsort(variances)[::-1][:n_components]
    first = first[variances[first] > _LEAST * max(variances.max(), np.finfo(float).tiny)]
    if len(first) == 0:  # all signals are equal: any direction does
        return gram[:, :1] / np.sqrt(max(gram[0, 0], 1e-300))
    seen = gram @ (root @ vectors[:, first]) / np.sqrt(variances[first])
    largest = seen[np.abs(seen).argmax(axis=0), np.arange(len(first))]
    return np.ascontiguousarray(seen * np.where(largest < 0, -1.0, 1.0))  # of signs that no library chose


def group_means(
    positions: NDArray[np.float64], groups: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of each group, of all for an empty one, and a root of the covariance within groups."""
    sizes = np.bincount(groups)
    means = np.tile(positions.mean(axis=0), (len(sizes), 1))
    for group in np.flatnonzero(sizes):
        means[group] = positions[groups == group].mean(axis=0)
    deviations = positions - means[groups]
    variances, vectors = np.linalg.eigh(deviations.T @ deviations / len(positions))
    return means, vectors * np.sqrt(np.maximum(variances, 0))
