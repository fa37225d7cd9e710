"""Online sparse dictionary learning (OSDL): the start of Trainlets, and what they do with a mini-batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsegen_classic._validation import check_integer
from sparsegen_classic.dictionary.atoms import atoms_to_replace
from sparsegen_classic.dictionary.samples import by_blocks, check_finite
from sparsegen_classic.dictionary.sparse_atoms import (
    Array,
    Stepper,
    empty_atoms,
    residual_of,
)
from sparsegen_classic.dictionary.sparse_omp import correlate, sparse_omp_arrays
from sparsegen_classic.dictionary.wavelets import check_image_shape, wavelet_base
from sparsegen_classic.pursuit.omp import check_sparsity, codes_from_arrays

_CLEANING = 10  # samples an atom between two cleanings


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

    def learn(self, Y: Array, active: NDArray[np.intp] | None = None) -> float:
        """Take a step on a batch, coded over the atoms in ``active``; return its squared error before."""
        model, n = self.model, len(self.atoms.components)
        codes, residual = self._code(Y, active)
        if model._n_since_cleaning >= _CLEANING * n:
            self._clean(Y, residual)
            codes, residual = self._code(Y, active)
        squared_error = float(np.einsum("ij,ij->", residual, residual, dtype=np.float64))
        model._uses += np.bincount(codes.indices, minlength=n)
        model._n_since_cleaning += len(Y)
        self.stepper.update(self.atoms, codes, residual, model.n_jobs)
        return squared_error

    def _code(self, Y: Array, active: NDArray[np.intp] | None) -> tuple[sparse.csr_array, Array]:
        atoms, n_jobs = self.atoms, self.model.n_jobs
        gram = correlate(atoms.components, atoms, n_jobs)
        indices, coefficients, _ = sparse_omp_arrays(Y, atoms, gram, self.k, active=active, n_jobs=n_jobs)
        codes = codes_from_arrays(indices, coefficients, len(atoms.components))
        return codes, residual_of(Y, codes, atoms.components, n_jobs)

    def _clean(self, Y: Array, residual: Array) -> None:
        """Replace poor atoms by the worst represented images of the batch; start counting anew."""
        model, atoms = self.model, self.atoms
        poor = atoms_to_replace(atoms.components, model._uses, model.coherence_threshold, model.min_uses)
        energy = np.einsum("ij,ij->i", residual, residual)
        worst = np.argsort(-energy, kind="stable")[: len(poor)]
        worst = worst[energy[worst] > 1e-12 * np.einsum("ij,ij->i", Y[worst], Y[worst])]
        poor = poor[: len(worst)]
        atoms.approximate(poor, Y[worst], model.n_jobs)
        if model._velocity is not None:
            model._velocity[poor] = 0
        model._scale[poor] = 1
        model._uses[:], model._n_since_cleaning = 0, 0
        model.n_replaced_ += len(poor)
