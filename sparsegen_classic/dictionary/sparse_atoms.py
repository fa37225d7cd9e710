"""Atoms that are sparse over a base: D = Phi A, their start from images, and one NIHT step on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsegen_classic._kernels.trainlets import csr_times_dense, keep_largest
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic.dictionary.wavelets import SeparableBase
from sparsegen_classic.pursuit.omp import gram_matrix

_BLOCK = 64  # atoms or images a thread takes at a time
_APPROXIMATION_STEPS = 3

Array = NDArray[np.floating]


@dataclass
class SparseAtoms:
    """Atoms of unit norm with ``atom_sparsity`` base functions each.

    Attributes
    ----------
    base : SeparableBase
        Phi.
    positions : ndarray of shape (n_components, atom_sparsity), int32
        Which base functions, ascending.
    values : ndarray of shape (n_components, atom_sparsity)
        With which coefficients.
    components : ndarray of shape (n_components, n_features)
        The atoms, densely: ``components = to_csr() @ Phi^T``.
    """

    base: SeparableBase
    positions: NDArray[np.int32]
    values: Array
    components: Array

    def to_csr(self) -> sparse.csr_array:
        """Return A, transposed: one row (n_base_functions long) for each atom."""
        n_components, atom_sparsity = self.positions.shape
        parts = self.values.ravel(), self.positions.ravel(), np.arange(n_components + 1) * atom_sparsity
        return sparse.csr_array(parts, shape=(n_components, self.base.n_functions))

    def assign(self, rows: NDArray[np.integer], codes: Array) -> Array:
        """Set atoms from dense ``codes`` by keeping their largest coefficients; return the norms divided out.

        A code of which nothing is left changes nothing.
        """
        positions, values = largest(codes, self.positions.shape[1])
        components = self.base.synthesize(scatter(positions, values, self.base.n_functions))
        norms = np.linalg.norm(components, axis=1)
        alive = norms > 0
        rows, divisor = rows[alive], norms[alive, None]
        self.positions[rows] = positions[alive]
        self.values[rows] = values[alive] / divisor
        self.components[rows] = components[alive] / divisor
        return np.where(alive, norms, 1)

    def approximate(self, rows: NDArray[np.integer], images: Array, n_jobs: int | None = None) -> None:
        """Set atoms to sparse approximations of ``images`` by a few steps of iterative hard thresholding."""

        def work(block: slice) -> None:
            target = images[block] / np.linalg.norm(images[block], axis=1, keepdims=True)
            codes = self.base.weights * self.base.analyze(target)
            for _ in range(_APPROXIMATION_STEPS - 1):
                kept = largest(codes, self.positions.shape[1])
                codes = scatter(*kept, self.base.n_functions)
                codes += self.base.weights * self.base.analyze(target - self.base.synthesize(codes))
            self.assign(rows[block], codes)

        for_blocks(work, len(rows), _BLOCK, n_jobs)


def empty_atoms(base: SeparableBase, n_components: int, atom_sparsity: int) -> SparseAtoms:
    """Return atoms yet to be assigned."""
    shape = (n_components, atom_sparsity)
    dense = np.zeros((n_components, len(base.left) * len(base.right)), base.left.dtype)
    return SparseAtoms(base, np.zeros(shape, np.int32), np.zeros(shape, base.left.dtype), dense)


def largest(codes: Array, n_kept: int) -> tuple[NDArray[np.int32], Array]:
    """Hard thresholding: positions, ascending, and values of the largest magnitudes of each row.

    Equal magnitudes are settled by the lower position.
    """
    integer = np.dtype(f"i{codes.itemsize}")
    magnitude = integer.type(np.iinfo(integer).max)  # every bit but the sign
    positions = np.empty((len(codes), n_kept), np.int32)
    values = np.empty((len(codes), n_kept), codes.dtype)
    keep_largest(codes, codes.view(integer), magnitude, positions, values)
    return positions, values


def scatter(positions: NDArray[np.integer], values: Array, n_columns: int) -> Array:
    """Return the dense rows that positions and values stand for."""
    rows = np.zeros((len(positions), n_columns), values.dtype)
    np.put_along_axis(rows, positions, values, axis=1)
    return rows


def sparse_product(rows: sparse.csr_array, dense: Array, block: slice) -> Array:
    """Return ``rows[block] @ dense``."""
    indptr = rows.indptr[block.start : block.stop + 1]
    out = np.empty((len(indptr) - 1, dense.shape[1]), dense.dtype)
    csr_times_dense(indptr, rows.indices, rows.data, dense, out)
    return out


def residual_of(images: Array, codes: sparse.csr_array, components: Array, n_jobs: int | None) -> Array:
    """Return ``codes @ components - images``."""
    residual = np.empty_like(images)

    def work(block: slice) -> None:
        np.subtract(sparse_product(codes, components, block), images[block], out=residual[block])

    for_blocks(work, len(images), _BLOCK, n_jobs)
    return residual


@dataclass
class Stepper:
    """Normalised iterative hard thresholding on ``f(A) = ||Phi A X - Y||_F^2 / 2`` for a batch of codes X.

    With the gradient g the atoms move along a direction d by the exact line search
    ``eta = <g, d> / ||Phi d X||_F^2``, averaged over the batches by the momentum, and keep their largest
    coefficients. The direction is g itself ("exact"); or g divided for every atom by the energy of its codes,
    and by the curvature of the base ("scaled"). The rule of the authors' code ("paper") is the square root of
    that ratio on atoms that are not renormalised, with the momentum added up. In the normalised atoms kept
    here that is a direction g / scale^2, where ``scale`` is what those norms would have become.
    """

    step: str
    momentum: float
    velocity: Array | None
    scale: Array

    def update(
        self,
        atoms: SparseAtoms,
        codes: sparse.csr_array,
        residual: Array,
        n_jobs: int | None = None,
        products: Array | None = None,
    ) -> float:
        """Move the atoms that ``codes`` use, in place; return the step size ``eta``.

        The codes grow as the norms of their atoms shrink to one, also in place. ``residual`` is not needed
        where ``products = codes^T residual`` (n_components, n_features) is known.
        """
        base, dtype = atoms.base, atoms.components.dtype
        used = np.unique(codes.indices)
        known = residual if products is None else products
        if not len(used) or not known.any():
            return 0.0
        by_atom = codes[:, used].T.tocsr()
        divisor = self._divisor(used, by_atom)
        slopes = np.empty(len(used))
        direction = np.empty((len(used), base.n_functions), dtype)
        motion = np.empty((len(used), known.shape[1]), dtype)

        def find_direction(block: slice) -> None:
            product = sparse_product(by_atom, residual, block) if products is None else products[used[block]]
            gradient = base.analyze(product)
            direction[block] = gradient / divisor[block, None]
            if self.step == "scaled":
                direction[block] *= base.weights
            slopes[block] = np.einsum("ij,ij->i", gradient, direction[block])
            motion[block] = base.synthesize(direction[block])

        for_blocks(find_direction, len(used), _BLOCK, n_jobs)
        squared_norm = _squared_norm if products is None else _squared_norm_by_gram
        eta = slopes.sum() / max(squared_norm(by_atom.T.tocsr(), motion, n_jobs), np.finfo(float).tiny)
        eta = np.sqrt(eta) if self.step == "paper" else eta
        direction *= eta if self.step == "paper" else eta * (1 - self.momentum)

        norms = np.ones(codes.shape[1], dtype)

        def move(block: slice) -> None:
            rows = used[block]
            if self.velocity is not None:
                direction[block] += self.momentum * self.velocity[rows]
            trial = -direction[block]
            positions = atoms.positions[rows]
            moved = np.take_along_axis(trial, positions, axis=1) + atoms.values[rows]
            np.put_along_axis(trial, positions, moved, axis=1)
            norms[rows] = atoms.assign(rows, trial)
            if self.velocity is not None:
                self.velocity[rows] = direction[block] / norms[rows, None]

        for_blocks(move, len(used), _BLOCK, n_jobs)
        codes.data *= norms[codes.indices]
        if self.step == "paper":
            self.scale *= norms
        return float(eta)

    def _divisor(self, used: NDArray[np.integer], by_atom: sparse.csr_array) -> Array:
        if self.step == "scaled":
            energy = np.add.reduceat(by_atom.data**2, by_atom.indptr[:-1])
            return np.maximum(energy, 1e-6 * energy.max())
        return self.scale[used] ** 2 if self.step == "paper" else np.ones(len(used), by_atom.dtype)


def _squared_norm(codes: sparse.csr_array, motion: Array, n_jobs: int | None) -> float:
    """Return ``||codes @ motion||_F^2``, summed in the order of the rows."""
    energy = np.empty(codes.shape[0])

    def work(block: slice) -> None:
        image = sparse_product(codes, motion, block)
        energy[block] = np.einsum("ij,ij->i", image, image)

    for_blocks(work, codes.shape[0], _BLOCK, n_jobs)
    return float(energy.sum())


def _squared_norm_by_gram(codes: sparse.csr_array, motion: Array, n_jobs: int | None) -> float:
    """Return the same by products of codes and of motions, at a cost that does not grow with the codes."""
    pairs = sparse.csr_array(codes.T @ codes).multiply(gram_matrix(motion, n_jobs))
    return float(pairs.sum(dtype=np.float64))
