"""Learning from a stream: what ``KSVD.partial_fit`` keeps between calls, and what a batch does to it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._kernels.online_ksvd import add_moments, update_atoms_from_moments
from sparsegen_classic._random import seed_sequence
from sparsegen_classic.dictionary.atoms import allowed, atoms_to_replace, distinct_rows, worst_represented
from sparsegen_classic.pursuit.omp import check_sparsity, check_tol, omp_arrays

_FADE = 10.0  # after t batches the moments remember the last t / _FADE or so
_USES_BEFORE_CLEANING = 10  # times min_uses, for the average atom


class Stream(NamedTuple):
    """The atoms after the last whole batch, the moments of their codes, and the samples since."""

    atoms: NDArray[np.float64]  # none before the first batch
    gram: NDArray[np.float64]
    cross: NDArray[np.float64]
    uses: NDArray[np.float64]
    n_batches: int
    pending: NDArray[np.floating]
    seed: int


def fresh_stream(X: NDArray[np.floating], random_state: Any) -> Stream:
    """Return a stream without atoms for samples like those of ``X``."""
    empty = np.empty((0, X.shape[1]))
    seed = int(seed_sequence(random_state).generate_state(1)[0])
    return Stream(empty, np.empty((0, 0)), empty, np.empty(0), 0, empty.astype(X.dtype), seed)


def continued_stream(
    components: NDArray[np.floating], indices: Any, coefficients: Any, batch_size: int
) -> Stream:
    """Return a stream that goes on from a fit: every atom has the weight of its coefficients there."""
    used = indices >= 0
    energy = np.bincount(indices[used], coefficients[used].astype(np.float64) ** 2, len(components))
    atoms = components.astype(np.float64)
    return Stream(
        atoms,
        np.diag(energy),
        energy[:, None] * atoms,
        np.zeros(len(components)),
        max(1, len(indices) // batch_size),
        np.empty((0, components.shape[1]), components.dtype),
        0,
    )


def learn_batch(model: Any, stream: Stream, batch: NDArray[np.floating], rule: int) -> Stream:
    """Return the stream after one batch; ``stream`` itself stays as it is."""
    if not len(stream.atoms):
        stream = _with_atoms(model, stream, batch, rule)
    atoms, gram, cross, uses = (part.copy() for part in stream[:4])
    k = check_sparsity(model.n_nonzero_coefs, model.tol, atoms.shape)
    tol = None if model.tol is None else check_tol(model.tol, len(batch))
    components = atoms.astype(batch.dtype)
    indices, coefficients, _ = omp_arrays(
        batch, components, k, tol=tol, positive=model.positive, n_jobs=model.n_jobs
    )
    n_batches = stream.n_batches + 1
    add_moments(batch, indices, coefficients, (1 - 1 / n_batches) ** _FADE, gram, cross, uses)
    update_atoms_from_moments(int(model.dc_atom), atoms, gram, cross, rule)
    if uses.sum() >= _USES_BEFORE_CLEANING * max(model.min_uses, 1) * len(atoms):
        poor = atoms_to_replace(atoms, uses, model.coherence_threshold, model.min_uses)
        poor = poor[poor >= model.dc_atom]
        source = allowed(batch, rule)
        residual = batch - np.einsum("it,itf->if", coefficients, components[indices])
        distinct = distinct_rows(source, np.random.default_rng(stream.seed))
        worst = worst_represented(source, (residual**2).sum(axis=1), distinct, len(poor))
        poor = poor[: len(worst)]
        atoms[poor], cross[poor], gram[poor], gram[:, poor] = worst, 0, 0, 0
        uses[:] = 0
    return Stream(atoms, gram, cross, uses, n_batches, stream.pending, stream.seed)


def _with_atoms(model: Any, stream: Stream, batch: NDArray[np.floating], rule: int) -> Stream:
    rng = np.random.default_rng(stream.seed)
    source = allowed(batch, rule)
    atoms = model._initial_atoms(source, distinct_rows(source, rng), rule, rng).astype(np.float64)
    shape = len(atoms), len(atoms)
    return stream._replace(
        atoms=atoms, gram=np.zeros(shape), cross=np.zeros_like(atoms), uses=np.zeros(len(atoms))
    )
