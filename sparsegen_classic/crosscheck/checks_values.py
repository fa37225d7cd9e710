"""Checks of what comes out: against the reference, rule by rule, and between samples and positions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic.crosscheck.adapters import coarser
from sparsegen_classic.crosscheck.checks import (
    Check,
    against_reference,
    differ,
    has_ties,
    property_check,
)
from sparsegen_classic.crosscheck.constraints import KeepLargest
from sparsegen_classic.crosscheck.constraints_stripe import Stripe
from sparsegen_classic.crosscheck.inputs import mostly_zero, ordinary, roomy_shape, scaled
from sparsegen_classic.crosscheck.probe import Probe
from sparsegen_classic.crosscheck.verdicts import Verdict

Array = NDArray[np.float64]


def typical(probe: Probe, rng: np.random.Generator) -> Iterator[Array]:
    """Yield what a layer meets: both signs, one sign, few non-zeros; large and small against k."""
    for signs in ("both", "both", "positive", "negative"):
        x = scaled(ordinary(probe.small, rng, signs), probe.constraint)
        yield x
        if not probe.constraint.homogeneous:
            yield from (x / 16, x * 16)
    yield scaled(mostly_zero(probe.small, rng), probe.constraint)
    x = scaled(ordinary(probe.small, rng), probe.constraint) * _uneven(probe.small)
    yield x * (1 + 2.0**-9 * rng.random(x.shape))  # digits that bfloat16 does not have


def _uneven(shape: tuple[int, ...]) -> Array:
    """Return factors that make one sample much larger than another."""
    return 4.0 ** -np.arange(shape[0], dtype=np.float64).reshape(-1, *[1] * (len(shape) - 1))


def plain(probe: Probe, rng: np.random.Generator) -> Iterator[Array]:
    """Yield two ordinary inputs, one with samples of different size."""
    x = scaled(ordinary(probe.small, rng), probe.constraint)
    yield x
    yield x * _uneven(probe.small)


def roomy(probe: Probe, rng: np.random.Generator) -> Iterator[Array]:
    """Yield ordinary inputs, and one in which every axis is longer than k."""
    yield from plain(probe, rng)
    shape = roomy_shape(probe.constraint, probe.small, probe.vary)
    yield scaled(ordinary(shape, rng), probe.constraint)


def of_full_size(probe: Probe, rng: np.random.Generator) -> Iterator[Array]:
    """Yield one input as large as the user said."""
    yield scaled(ordinary(probe.shape, rng), probe.constraint)


def _output(probe: Probe, x: Array) -> str | None:
    probe(x)
    return None


def _answer_dtype(probe: Probe, x: Array) -> str | None:
    answered = probe.read(probe.answer(probe.adapter.native(x, probe.dtype)), x.shape)[1]
    return f"answers {answered} to {probe.dtype}" if coarser(answered, probe.dtype) else None


def _feasible(probe: Probe, x: Array) -> str | None:
    return probe.constraint.infeasible(x, probe(x), probe.eps())


def _kept(probe: Probe, x: Array) -> str | None:
    return probe.constraint.misplaced(x, probe(x))


def _magnitudes(probe: Probe, x: Array) -> str | None:
    y = probe(x)
    right_signs = np.where(np.sign(y) == -np.sign(x), -y, y)
    return probe.constraint.altered(x, right_signs, probe.eps())


def _signs(probe: Probe, x: Array) -> str | None:
    return probe.constraint.wrong_sign(x, probe(x))


def _idempotent(probe: Probe, x: Array) -> str | None:
    constraint = probe.constraint
    if isinstance(constraint, KeepLargest) and constraint.by_value:
        enough = max(constraint.counts(constraint.size(x.shape)))
        if (np.count_nonzero(constraint.rows(x) > 0, axis=1) < enough).any():
            return None  # by value zeros come before negative survivors
    once = probe(x)
    if has_ties(probe, x) or has_ties(probe, once):
        return None
    return differ(probe, x, probe(once), once, "a second application changes the answer")


def _samples(probe: Probe, x: Array) -> str | None:
    together = probe(x)
    alone = [probe(x[i : i + 1]) for i in range(len(x))]
    if probe.constraint.scalar:
        reduce = np.sum if getattr(probe.constraint, "reduction", "") == "sum" else np.mean
        return differ(probe, x, together, np.asarray(reduce(alone)), "the batch is not its samples together")
    for i, answer in enumerate(alone):
        found = differ(probe, x[i : i + 1], together[i : i + 1], answer, f"sample {i} beside others")
        if found:
            return f"{found}; alone it is right there" if _right(probe, x[i : i + 1], answer) else found
    return None


def _right(probe: Probe, x: Array, y: Array) -> bool:
    return probe.constraint.fault(x, y, probe.eps()) is None


def _order(probe: Probe, x: Array) -> str | None:
    expected = probe(x)
    backwards = probe(x[::-1])
    if not probe.constraint.scalar:
        backwards = backwards[::-1]
    return differ(probe, x, backwards, expected, "with the samples in another order")


def _layout(probe: Probe, x: Array) -> str | None:
    rearrange = probe.constraint.shuffled(x, np.random.default_rng(x.size))
    expected = probe(x)
    moved = probe(rearrange(x))
    if not probe.constraint.scalar:
        expected = rearrange(expected)
    if has_ties(probe, rearrange(x)):
        return None
    what = f"entries rearranged in a way that {probe.constraint.name} in {probe.constraint.layout} allows"
    return differ(probe, rearrange(x), moved, expected, what)


def _non_square_inputs(probe: Probe, rng: np.random.Generator) -> Iterator[Array]:
    size = probe.small[probe.letters().index("W")] if "W" in probe.letters() else 0
    for sizes in ({"H": size + 2, "W": size}, {"H": size, "W": size + 3}):
        shape = probe.resized(**sizes)
        if shape is not None:
            yield scaled(ordinary(shape, rng), probe.constraint)


def _no_square(probe: Probe) -> str | None:
    if "H" not in probe.letters():
        return f"the layout {probe.constraint.layout} has one spatial axis at most"
    return None if {"H", "W"} <= set(probe.vary) else "height or width may not vary"


def _no_batch(probe: Probe) -> str | None:
    if not probe.constraint.per_sample:
        return f"{probe.constraint.name} is meant to look at the whole batch"
    return None if "N" in probe.vary else "the number of samples may not vary"


def _alone(probe: Probe, x: Array) -> str | None:
    x = x[:1]
    once = probe(x)
    if not probe.constraint.per_sample or probe.constraint.scalar:
        return probe.constraint.fault(x, once, probe.eps())
    twice = probe(np.concatenate([x, x]))[:1]
    return differ(probe, x, once, twice, "a batch of one against the same sample twice")


def _unless_hard(probe: Probe) -> str | None:
    hard = isinstance(probe.constraint, KeepLargest)
    return None if hard else f"{probe.constraint.name} does not choose entries by rank"


def _if_scalar(probe: Probe) -> str | None:
    return "the layer returns a number" if probe.constraint.scalar else None


def _no_projection(probe: Probe) -> str | None:
    return None if probe.constraint.projection else f"{probe.constraint.name} is no projection"


def _objective(probe: Probe, rng: np.random.Generator) -> Verdict:
    if not isinstance(probe.constraint, Stripe):
        return Verdict("objective", "skip", f"{probe.constraint.name} has one right answer")
    shares = [probe.constraint.share(x, probe(x)) for x in map(probe.quantised, plain(probe, rng))]
    return Verdict("objective", "note", f"keeps {min(shares):.1%} of what the certificate allows")


OUTPUT = property_check(
    "output", "one array of the right kind and shape", _output, lambda probe, rng: [next(typical(probe, rng))]
)
VALUES = [
    property_check("values", "the answers of the reference", against_reference, typical),
    Check("objective", "as much energy as possible is kept", _objective, needs=("values",)),
    property_check("answer-dtype", "the answer is as precise as the input", _answer_dtype, plain),
    property_check("feasible", "the constraint holds", _feasible, typical, skip=_if_scalar),
    property_check("kept", "the largest entries are kept", _kept, typical, skip=_unless_hard),
    property_check("magnitudes", "what is kept has the right size", _magnitudes, typical, skip=_if_scalar),
    property_check("signs", "what is kept has its sign", _signs, typical, skip=_if_scalar),
    property_check("idempotent", "twice is once", _idempotent, typical, skip=_no_projection),
    property_check("samples", "samples do not see each other", _samples, plain, skip=_no_batch),
    property_check("batch-order", "the order of samples does not matter", _order, plain),
    property_check("layout", "channels and positions are where the layout says", _layout, roomy),
    property_check(
        "batch-of-one",
        "one sample is a batch",
        _alone,
        plain,
        skip=lambda probe: None if "N" in probe.vary else "the number of samples may not vary",
    ),
    property_check(
        "non-square",
        "height and width may differ",
        against_reference,
        _non_square_inputs,
        needs=("values",),
        skip=_no_square,
    ),
]
FULL_SIZE: Check = property_check(
    "full-size",
    "the answer of the reference at full size",
    against_reference,
    of_full_size,
    needs=("values", "memory"),
)
