"""The iterations of K-SVD on samples in memory: code all of them, refit every atom, replace poor ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._kernels.ksvd import subtract_codes, users_by_atom
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import seed_sequence
from sparsegen_classic.dictionary.atom_stage import atom_stage
from sparsegen_classic.dictionary.atoms import atoms_to_replace, distinct_rows, worst_represented
from sparsegen_classic.dictionary.online import continued_stream
from sparsegen_classic.dictionary.samples import Samples
from sparsegen_classic.dictionary.steps import Run, State, generator_at, progress
from sparsegen_classic.pursuit.omp import check_sparsity, omp_arrays

_BLOCK = 1024  # samples a thread takes at a time for the residual
_KEPT = ("components_", "errors_", "n_iter_", "n_replaced_")


def batch_steps(model: Any, samples: Samples, rule: int, state: State | None) -> Iterator[State]:
    """Fit the model; yield a state after each iteration."""
    run = Run(model, samples.X, _KEPT)
    batch = _Batch(model, samples, rule)
    if state is None:
        rng = np.random.default_rng(seed_sequence(model.random_state))
        start = rng.bit_generator.state
    else:
        run.restore(state)
        start = state["start"]
        rng = generator_at(start)
    batch.distinct = distinct_rows(batch.X, rng, rule, model.n_jobs)
    if state is None:
        components, energy = model._initial_atoms(batch.X, batch.distinct, rule, rng), np.empty(0)
        check_sparsity(model.n_nonzero_coefs, model.tol, components.shape)
        model.components_, model.errors_, model.n_iter_, model.n_replaced_ = components, np.empty(0), 0, 0
    else:
        rng, energy = generator_at(state["rng"]), state["energy"]
    with progress(model, model.max_iter, model.n_iter_) as bar:
        while model.n_iter_ < model.max_iter:
            energy = batch.iterate(rng)
            bar.update()
            yield run.state(energy=energy, start=start, rng=rng.bit_generator.state)
    n_batches = max(1, len(batch.X) // model.batch_size)
    model.n_seen_, model._stream = 0, list(continued_stream(model.components_, energy, n_batches))


class _Batch:
    """The samples of a fit and what all iterations need of them."""

    distinct: NDArray[np.intp]  # the samples that may become atoms

    def __init__(self, model: Any, samples: Samples, rule: int):
        self.model, self.rule = model, rule
        self.X, self.weights, self.counts, tol = samples
        self.tol = None if tol is None else tol * self.counts
        observed = 1.0 if self.weights is None else self.weights.mean(axis=1, dtype=np.float64)
        self.share = observed * self.counts  # of a sample, in the error
        self.scaled = self.X
        if np.any(self.counts != 1):
            self.scaled = self.X * np.sqrt(self.counts)[:, None].astype(self.X.dtype)
        self.residual, self.energy = np.empty_like(self.X), np.empty(len(self.X))

    def iterate(self, rng: np.random.Generator) -> NDArray[Any]:
        """Improve the atoms of the model once; return the energy of the codes of each."""
        model, components = self.model, self.model.components_
        k = check_sparsity(model.n_nonzero_coefs, model.tol, components.shape)
        options = {"tol": self.tol, "positive": model.positive, "weights": self.weights}
        indices, coefficients, _ = omp_arrays(self.scaled, components, k, **options, n_jobs=model.n_jobs)
        self._compute_residual(components, indices, coefficients)
        start, users = users_by_atom(indices, len(components))
        atom_stage(
            model.dc_atom + rng.permutation(len(components) - model.dc_atom),
            components,
            self.residual,
            start,
            users,
            coefficients,
            exact=model.update == "exact",
            weights=self.weights,
            rule=self.rule,
            positive=model.positive,
        )
        self._compute_energy()
        error = np.sqrt(self.energy.sum() / (self.share.sum() * self.X.shape[1]))
        model.errors_ = np.append(model.errors_, error)
        model.n_iter_ += 1
        used = coefficients != 0
        atoms = indices[used]
        if model.n_iter_ < model.max_iter:  # what is replaced last would never be refitted
            counts = np.broadcast_to(self.counts[:, None], indices.shape)[used]
            self._replace_atoms(components, np.bincount(atoms, counts, len(components)))
        return np.bincount(atoms, coefficients[used].astype(np.float64) ** 2, len(components))

    def _compute_residual(self, components: Any, indices: Any, coefficients: Any) -> None:
        def compute(block: slice) -> None:
            self.residual[block] = self.scaled[block]
            subtract_codes(self.residual[block], components, indices[block], coefficients[block])

        for_blocks(compute, len(self.X), _BLOCK, self.model.n_jobs)

    def _compute_energy(self) -> None:
        def compute(block: slice) -> None:
            r = self.residual[block]
            self.energy[block] = np.einsum(
                "ij,ij->i", r if self.weights is None else r * self.weights[block], r
            )

        for_blocks(compute, len(self.X), _BLOCK, self.model.n_jobs)

    def _replace_atoms(self, components: Any, uses: NDArray[Any]) -> None:
        poor = atoms_to_replace(components, uses, self.model.coherence_threshold, self.model.min_uses)
        poor = poor[poor >= self.model.dc_atom]
        fresh = worst_represented(self.X, self.energy / self.share, self.distinct, len(poor), self.rule)
        components[poor[: len(fresh)]] = fresh
        self.model.n_replaced_ += len(fresh)
