"""Online sparse dictionary learning (OSDL): the start of Trainlets, and what they do with a mini-batch."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
from joblib import parallel_config
from numpy.typing import NDArray
from scipy import sparse

from sparsegen_classic._parallel import map_blocks, workers_are_remote
from sparsegen_classic._rows import Rows
from sparsegen_classic._validation import check_integer
from sparsegen_classic.dictionary.atoms import atoms_to_replace
from sparsegen_classic.dictionary.samples import by_blocks, check_finite
from sparsegen_classic.dictionary.sparse_atoms import (
    Array,
    SparseAtoms,
    Stepper,
    empty_atoms,
    residual_of,
    sparse_product,
)
from sparsegen_classic.dictionary.sparse_omp import correlate, sparse_omp_arrays
from sparsegen_classic.dictionary.wavelets import check_image_shape, wavelet_base
from sparsegen_classic.pursuit.omp import check_sparsity, codes_from_arrays

_CLEANING = 10  # samples an atom between two cleanings
_BLOCK = 512  # images of a larger batch that are worked on in one place


def start(model: Any, X: Any, rng: np.random.Generator) -> None:
    """Choose the initial atoms of the model among the samples, and start counting."""
    n_features = X.shape[1]
    base = wavelet_base(check_image_shape(model.image_shape, n_features), model.wavelet, X.dtype)
    n = n_features if model.n_components is None else check_integer("n_components", model.n_components, 1)
    check_sparsity(model.n_nonzero_coefs, None, (n, n_features))
    sparsity = min(max(16, n_features // 16), base.n_functions)
    if model.atom_sparsity is not None:
        sparsity = check_integer("atom_sparsity", model.atom_sparsity, 1, base.n_functions)
    energy = by_blocks(lambda rows: np.einsum("ij,ij->i", rows, rows), X, model.n_jobs)
    check_finite(energy)
    usable = np.flatnonzero(energy > 1e-12 * energy.max())
    if len(usable) < n:
        raise ValueError(
            f"n_components={n} atoms need at least as many non-zero samples, got {len(usable)} of "
            f"n_samples={len(X)}; lower n_components or give more samples"
        )
    atoms = empty_atoms(base, n, sparsity)
    chosen = np.sort(rng.choice(usable, n, replace=False))
    atoms.approximate(np.arange(n), X[chosen], model.n_jobs)
    model.atom_positions_, model.atom_values_ = atoms.positions, atoms.values
    model.components_ = atoms.components
    model.errors_, model.n_iter_, model.n_replaced_ = np.empty(0), 0, 0
    model._velocity = None
    model._scale = np.ones(n, X.dtype)
    model._uses, model._n_since_cleaning = np.zeros(n, np.int64), 0


class Learner:
    """Takes the steps of a model, whose attributes change in place."""

    def __init__(self, model: Any, dtype: Any):
        self.model, self.atoms = model, model._atoms(dtype)
        self.k = check_sparsity(model.n_nonzero_coefs, None, self.atoms.components.shape)
        if model.momentum and model._velocity is None:
            model._velocity = np.zeros((len(self.atoms.components), self.atoms.base.n_functions), dtype)
        self.stepper = Stepper(model.step, model.momentum, model._velocity, model._scale)

    def draw_active(self, rng: np.random.Generator) -> NDArray[np.intp] | None:
        """Draw the atoms that a batch of the first pass may use; None = all."""
        n = len(self.atoms.components)
        n_hidden = int(self.model.drop_atoms * n) if self.model.n_iter_ == 0 else 0
        return np.sort(rng.choice(n, max(self.k, n - n_hidden), replace=False)) if n_hidden else None

    def learn(self, X: Any, rows: NDArray[np.intp], active: NDArray[np.intp] | None = None) -> float:
        """Take a step on a batch of ``X``, coded over the atoms in ``active``; return its error before.

        That is the sum of squares.
        """
        model, n = self.model, len(self.atoms.components)
        coded = self._code(X, rows, active)
        if model._n_since_cleaning >= _CLEANING * n:
            self._clean(X, rows, coded.energy)
            coded = self._code(X, rows, active)
        model._uses += np.bincount(coded.codes.indices, minlength=n)
        model._n_since_cleaning += len(rows)
        self.stepper.update(self.atoms, coded.codes, coded.residual, model.n_jobs, coded.products)
        return coded.squared_error

    def _code(self, X: Any, rows: NDArray[np.intp], active: NDArray[np.intp] | None) -> _Coded:
        atoms, n_jobs = self.atoms, self.model.n_jobs
        gram = correlate(atoms.components, atoms, n_jobs)
        if len(rows) <= _BLOCK:
            return _code_images(X[rows], atoms, gram, self.k, active, n_jobs)
        # without a file to read from, images stay in this process
        somewhere = nullcontext() if isinstance(X, Rows) else parallel_config("threading")
        with somewhere if workers_are_remote() else nullcontext():
            given = X, rows, atoms, gram, self.k, active
            blocks = map_blocks(_code_block, len(rows), _BLOCK, n_jobs, *given)
            codes, energies, products, squared_error = [], [], np.zeros_like(atoms.components), 0.0
            for block in blocks:
                codes.append(block.codes)
                energies.append(block.energy)
                products += block.products
                squared_error += block.squared_error
        nothing = np.empty((0, X.shape[1]), X.dtype)
        return _Coded(sparse.vstack(codes, "csr"), np.concatenate(energies), squared_error, nothing, products)

    def _clean(self, X: Any, rows: NDArray[np.intp], energy: NDArray[np.floating]) -> None:
        """Replace poor atoms by the worst represented images of the batch; start counting anew."""
        model, atoms = self.model, self.atoms
        poor = atoms_to_replace(atoms.components, model._uses, model.coherence_threshold, model.min_uses)
        worst = np.argsort(-energy, kind="stable")[: len(poor)]
        images = X[rows[worst]]
        usable = energy[worst] > 1e-12 * np.einsum("ij,ij->i", images, images)
        poor = poor[: np.count_nonzero(usable)]
        atoms.approximate(poor, images[usable], model.n_jobs)
        if model._velocity is not None:
            model._velocity[poor] = 0
        model._scale[poor] = 1
        model._uses[:], model._n_since_cleaning = 0, 0
        model.n_replaced_ += len(poor)


class _Coded(NamedTuple):
    """Images over the present atoms: codes, what of each is left, and what moves the atoms."""

    codes: sparse.csr_array
    energy: NDArray[np.floating]  # of the residual of each image
    squared_error: float
    residual: Array  # of no images, where there are products
    products: Array | None = None  # codes^T residual


def _code_images(
    Y: Array, atoms: SparseAtoms, gram: Array, k: int, active: NDArray[np.intp] | None, n_jobs: int | None
) -> _Coded:
    indices, coefficients, _ = sparse_omp_arrays(Y, atoms, gram, k, active=active, n_jobs=n_jobs)
    codes = codes_from_arrays(indices, coefficients, len(atoms.components))
    residual = residual_of(Y, codes, atoms.components, n_jobs)
    squared_error = float(np.einsum("ij,ij->", residual, residual, dtype=np.float64))
    return _Coded(codes, np.einsum("ij,ij->i", residual, residual), squared_error, residual)


def _code_block(
    block: slice,
    X: Any,
    rows: NDArray[np.intp],
    atoms: SparseAtoms,
    gram: Array,
    k: int,
    active: NDArray[np.intp] | None,
) -> _Coded:
    """Return a block of a large batch, with its part of the gradient in place of what is left of images."""
    coded = _code_images(X[rows[block]], atoms, gram, k, active, None)
    by_atom = coded.codes.T.tocsr()
    products = sparse_product(by_atom, coded.residual, slice(0, by_atom.shape[0]))
    return coded._replace(residual=coded.residual[:0].copy(), products=products)
