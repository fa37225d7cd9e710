"""Online dictionary learning: the moments of all codes so far, and what a mini-batch does to them.

``KSVD(online=True)`` passes over its samples in mini-batches; ``partial_fit`` takes them from a stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._kernels.ksvd import subtract_codes
from sparsegen_classic._kernels.online_ksvd import add_moments, update_atoms_from_moments
from sparsegen_classic._random import seed_sequence
from sparsegen_classic.dictionary.atoms import atoms_to_replace, distinct_rows, worst_represented
from sparsegen_classic.dictionary.samples import Samples
from sparsegen_classic.dictionary.steps import Course, Run, State
from sparsegen_classic.pursuit.omp import check_sparsity, omp_arrays

_FADE = 10.0  # after t batches the moments remember the last t / _FADE or so
_USES_BEFORE_CLEANING = 10  # times min_uses, for the average atom
_MOMENTS = ("atoms", "gram", "cross", "uses", "n_batches")
_KEPT = ("errors_", "n_iter_", "n_replaced_")


class Stream(NamedTuple):
    """The atoms after the last whole batch, the moments of their codes, and the samples since."""

    atoms: NDArray[np.float64]  # none before the first batch
    gram: NDArray[np.float64]
    cross: NDArray[np.float64]
    uses: NDArray[np.float64]
    n_batches: int
    pending: NDArray[np.floating]
    seed: int


class Learned(NamedTuple):
    """What came of a batch: the stream after it, and how well its atoms before it represented it."""

    stream: Stream
    squared_error: float
    weight: float  # of all entries of the batch
    n_replaced: int


def fresh_stream(n_features: int, dtype: Any, seed: int) -> Stream:
    """Return a stream without atoms."""
    empty = np.empty((0, n_features))
    return Stream(empty, np.empty((0, 0)), empty, np.empty(0), 0, empty.astype(dtype), seed)


def continued_stream(components: NDArray[np.floating], energy: NDArray[np.float64], n_batches: int) -> Stream:
    """Return a stream that goes on from a fit: every atom has the energy of its coefficients there."""
    atoms = components.astype(np.float64)
    empty = np.empty((0, components.shape[1]), components.dtype)
    moments = np.diag(energy), energy[:, None] * atoms, np.zeros(len(atoms))
    return Stream(atoms, *moments, n_batches, empty, 0)


def with_atoms(stream: Stream, atoms: NDArray[np.floating]) -> Stream:
    """Return a stream that starts from these atoms."""
    n = len(atoms)
    moments = np.zeros((n, n)), np.zeros(atoms.shape), np.zeros(n)
    return Stream(atoms.astype(np.float64), *moments, *stream[4:])


def learn_batch(model: Any, stream: Stream, batch: Samples, rule: int) -> Learned:
    """Learn from one batch; ``stream`` itself stays as it is."""
    X, weights, counts, tol = batch
    if not len(stream.atoms):
        rng = np.random.default_rng(stream.seed)
        stream = with_atoms(stream, model._initial_atoms(X, distinct_rows(X, rng, rule), rule, rng))
    atoms, gram, cross, uses = (part.copy() for part in stream[:4])
    components = atoms.astype(X.dtype)
    k = check_sparsity(model.n_nonzero_coefs, model.tol, atoms.shape)
    options = {"tol": tol, "positive": model.positive, "weights": weights, "n_jobs": model.n_jobs}
    indices, coefficients, _ = omp_arrays(X, components, k, **options)
    residual = X.copy()
    subtract_codes(residual, components, indices, coefficients)
    energy = np.einsum("ij,ij->i", residual if weights is None else residual * weights, residual)
    share = np.ones(len(X)) if weights is None else weights.mean(axis=1, dtype=np.float64)

    n_batches = stream.n_batches + 1
    fade = (1 - 1 / n_batches) ** _FADE
    filled, scaled = completed(batch, residual, coefficients)
    add_moments(filled, indices, scaled, counts, fade, gram, cross, uses)
    update_atoms_from_moments(int(model.dc_atom), atoms, gram, cross, rule)
    n_replaced = 0
    if uses.sum() >= _USES_BEFORE_CLEANING * max(model.min_uses, 1) * len(atoms):
        poor = atoms_to_replace(atoms, uses, model.coherence_threshold, model.min_uses)
        poor = poor[poor >= model.dc_atom]
        distinct = distinct_rows(X, np.random.default_rng(stream.seed), rule)
        worst = worst_represented(X, energy / share, distinct, len(poor), rule)
        poor = poor[: len(worst)]
        atoms[poor], cross[poor], gram[poor], gram[:, poor] = worst, 0, 0, 0
        uses[:] = 0
        n_replaced = len(poor)
    weight = float((share * counts).sum() * X.shape[1])
    learned = Stream(atoms, gram, cross, uses, n_batches, stream.pending, stream.seed)
    return Learned(learned, float((energy * counts).sum()), weight, n_replaced)


def completed(batch: Samples, residual: Any, coefficients: Any) -> tuple[Any, Any]:
    """Return samples and coefficients whose moments are those of the weighted error.

    Where an entry has not the full weight of its sample, the rest of the weight goes to what the codes say:
    the error of these samples lies above that of the true ones, and touches it at the present atoms.
    """
    X, weights, counts, _ = batch
    if weights is not None:
        top = weights.max(axis=1, keepdims=True)
        X = X - (1 - weights / top) * residual
        counts = counts * top[:, 0]
    if np.all(counts == 1):
        return X, coefficients
    root = np.sqrt(counts)[:, None].astype(X.dtype)
    return X * root, coefficients * root


def online_steps(model: Any, samples: Samples, rule: int, state: State | None) -> Iterator[State]:
    """Fit the model in passes over mini-batches; yield a state after each."""
    X = samples.X
    run = Run(model, X, _KEPT)
    if state is None:
        rng = np.random.default_rng(seed_sequence(model.random_state))
        atoms = model._initial_atoms(X, distinct_rows(X, rng, rule, model.n_jobs), rule, rng)
        check_sparsity(model.n_nonzero_coefs, model.tol, atoms.shape)
        stream = with_atoms(fresh_stream(X.shape[1], X.dtype, int(rng.integers(2**32))), atoms)
        model.components_, model.errors_, model.n_iter_, model.n_replaced_ = atoms, np.empty(0), 0, 0
        course = Course(rng.bit_generator.state)
    else:
        run.restore(state)
        stream = fresh_stream(X.shape[1], X.dtype, state["seed"])
        stream = stream._replace(**{name: state[name] for name in _MOMENTS})
        model.components_ = stream.atoms.astype(X.dtype)
        course = Course(**state["course"])
    for rows, _ in course.batches(model, len(X)):
        learned = learn_batch(model, stream, samples.take(rows), rule)
        stream = learned.stream
        model.components_ = stream.atoms.astype(X.dtype)
        model.n_replaced_ += learned.n_replaced
        course.record(model, learned.squared_error, learned.weight)
        moments = {name: getattr(stream, name) for name in (*_MOMENTS, "seed")}
        yield run.state(**moments, course=course.state())
    model.n_seen_, model._stream = 0, list(stream)


def learn_stream(model: Any, samples: Samples, rule: int) -> None:
    """Learn from the next samples of a stream: whole batches for good, the rest as if nothing came after."""
    if np.ndim(model.tol):
        raise ValueError(f"tol must be one number for partial_fit, got shape {np.shape(model.tol)}")
    if not hasattr(model, "_stream"):
        seed = int(seed_sequence(model.random_state).generate_state(1)[0])
        model._stream, model.n_seen_ = list(fresh_stream(samples.X.shape[1], samples.X.dtype, seed)), 0
    stream = Stream(*model._stream)
    waiting = _and_then(stream.pending, getattr(model, "_pending_weights", None), samples)
    whole = len(waiting.X) - len(waiting.X) % model.batch_size
    for start in range(0, whole, model.batch_size):
        batch = _without_ones(waiting.take(slice(start, start + model.batch_size)))
        stream = learn_batch(model, stream, batch, rule).stream
    rest = _without_ones(waiting.take(slice(whole, None)))
    latest = learn_batch(model, stream, rest, rule).stream if len(rest.X) else stream
    model.components_ = latest.atoms.astype(rest.X.dtype)
    model._stream = list(stream._replace(pending=rest.X.copy()))
    weighted = rest.weights is not None or np.any(rest.counts != 1)
    model._pending_weights = [rest.weights, rest.counts] if weighted else None
    model.n_seen_ += len(samples.X)


def _and_then(pending: NDArray[np.floating], weights: Any, samples: Samples) -> Samples:
    """Return the samples that wait with the next ones; all entries have weights if some have."""
    of_entries, counts = weights or (None, np.ones(len(pending)))
    earlier = Samples(pending, of_entries, counts, None)
    later = samples._replace(X=samples.X.astype(pending.dtype, copy=False))
    X = np.concatenate([earlier.X, later.X])
    counts = np.concatenate([earlier.counts, later.counts])
    if earlier.weights is not None or later.weights is not None:
        of_entries = np.concatenate(
            [np.ones_like(part.X) if part.weights is None else part.weights for part in (earlier, later)]
        )
    tol = None if samples.tol is None else np.full(len(X), samples.tol[0])
    return Samples(X, of_entries, counts, tol)


def _without_ones(samples: Samples) -> Samples:
    """Return the same samples, without weights of entries if all count fully."""
    full = samples.weights is not None and np.all(samples.weights == 1)
    return samples._replace(weights=None) if full else samples
