"""Checks of special inputs: ties, zeros, extreme magnitudes, dtypes, memory layouts, k at its edges."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic.crosscheck.adapters import DTYPES, EPS, LARGEST, SMALLEST, coarser
from sparsegen_classic.crosscheck.checks import (
    Check,
    against_reference,
    differ,
    examine,
    has_ties,
    property_check,
)
from sparsegen_classic.crosscheck.checks_values import plain
from sparsegen_classic.crosscheck.constraints import KeepLargest, at_worst
from sparsegen_classic.crosscheck.constraints_stripe import Stripe
from sparsegen_classic.crosscheck.inputs import mostly_zero, ordinary, scaled, tied
from sparsegen_classic.crosscheck.probe import LayerError, Probe
from sparsegen_classic.crosscheck.verdicts import Verdict

Array = NDArray[np.float64]


def _tied_inputs(probe: Probe, rng: np.random.Generator) -> Iterator[Array]:
    unit = probe.constraint.k if probe.constraint.name == "soft-threshold" else 1.0
    for x in (tied(probe.small, rng), tied(probe.small, rng), np.ones(probe.small), -np.ones(probe.small)):
        yield x * unit


def _zero_inputs(probe: Probe, rng: np.random.Generator) -> Iterator[Array]:
    yield np.zeros(probe.small)
    yield scaled(mostly_zero(probe.small, rng), probe.constraint)
    x = scaled(ordinary(probe.small, rng), probe.constraint)
    x[0] = 0
    yield x


def _zeros(probe: Probe, x: Array) -> str | None:
    y = probe(x)
    if probe.constraint.scalar:
        return None if np.isfinite(y) and (x.any() or y == 0) else f"the penalty of zeros is {y}"
    return at_worst((x == 0) & (y != 0), np.abs(y), x, y, "should stay 0")


def _negative_zero_inputs(probe: Probe, rng: np.random.Generator) -> Iterator[Array]:
    x = scaled(mostly_zero(probe.small, rng), probe.constraint)
    yield np.where(x == 0, -0.0, x)
    yield np.where((x == 0) & (rng.random(x.shape) < 0.5), -0.0, -x)


def _negative_zero(probe: Probe, x: Array) -> str | None:
    return differ(probe, x, probe(x), probe(x + 0.0), "with -0.0 in place of 0.0")


def _large_inputs(probe: Probe, rng: np.random.Generator) -> Iterator[Array]:
    x = ordinary(probe.small, rng)
    room = 8 if isinstance(probe.constraint, KeepLargest | Stripe) else 8 * x.size
    yield x * 2.0 ** np.floor(np.log2(LARGEST[probe.dtype] / np.abs(x).max() / room))


def _tiny_inputs(probe: Probe, rng: np.random.Generator) -> Iterator[Array]:
    yield ordinary(probe.small, rng) * SMALLEST[probe.dtype] * 2.0**14


def _extreme(probe: Probe, x: Array) -> str | None:
    if not probe.constraint.homogeneous:
        return against_reference(probe, x)
    top = np.abs(x).max(initial=0)
    factor = 2.0 ** -np.floor(np.log2(top)) if top else 1.0
    y = probe(x) * factor
    return differ(probe, x * factor, y, probe(x * factor), "the same input at another scale")


def _denormals(probe: Probe, rng: np.random.Generator) -> Verdict:
    if not isinstance(probe.constraint, KeepLargest):
        return Verdict("denormals", "skip", f"nothing to choose in {probe.constraint.name}")
    unit = SMALLEST[probe.dtype] * EPS[probe.dtype]
    signs = rng.choice([-1.0, 1.0], probe.small)
    x = signs * unit * (1 + rng.permutation(np.prod(probe.small)).reshape(probe.small) % 100)
    try:
        y = probe(x)
    except LayerError as error:
        return Verdict("denormals", "note", str(error))
    if against_reference(probe, x) is None:
        return Verdict("denormals", "pass", "denormal numbers are numbers")
    if not y.any():
        return Verdict("denormals", "note", "become 0")
    harmless = partial(_denormals_harmed, probe.constraint)
    verdict = examine(probe, "denormals", "", harmless, [x])
    return (
        verdict if verdict.status == "fail" else Verdict("denormals", "note", "are compared as if all were 0")
    )


def _denormals_harmed(constraint: KeepLargest, probe: Probe, x: Array) -> str | None:
    y = probe(x)
    return constraint.infeasible(x, y, 0.0) or constraint.altered(x, y, 0.0)


def _strided(probe: Probe, x: Array) -> str | None:
    expected = probe(x)
    for how in probe.adapter.strides:
        found = differ(probe, x, probe(x, how=how), expected, f"the same input in other memory ({how})")
        if found:
            return found
    return None


def _in_dtype(dtype: str, probe: Probe, x: Array) -> str | None:
    native = probe.adapter.native(x, dtype)
    y, answered = probe.read(probe.answer(native), x.shape)
    if coarser(answered, dtype):
        return f"answers {answered} to {dtype}"
    return probe.constraint.fault(x, y, probe.eps(dtype))


def _dtype_check(dtype: str) -> Check:
    question = f"{dtype} goes in and comes out"

    def judge(probe: Probe, rng: np.random.Generator) -> Verdict:
        if dtype not in probe.adapter.dtypes:
            return Verdict(dtype, "skip", f"the layer takes {', '.join(probe.adapter.dtypes)}")
        x = scaled(ordinary(probe.small, rng), probe.constraint)
        inputs = [probe.quantised(x, dtype)]
        if dtype == "float64":
            inputs.append(x * (1 + 1e-10 * rng.standard_normal(x.shape)))  # more digits than float32 has
        if probe.constraint.homogeneous and not probe.constraint.scalar:
            inputs.append(x * 2.0 ** (9 - np.floor(np.log2(np.abs(x).max()))))  # squares overflow float16
        if dtype not in probe.adapter.main_dtypes:
            try:
                probe(inputs[0], dtype)
            except LayerError as error:
                return Verdict(dtype, "note", str(error))
        return examine(probe, dtype, question, partial(_in_dtype, dtype), inputs, dtype)

    return Check(dtype, question, judge, needs=("values",))


def _k_edges(probe: Probe, rng: np.random.Generator) -> Verdict:
    """Other k of the same layer; else, other sizes of its input."""
    question = "k = 1, k = all and the like"
    if probe.with_k is not None:
        for k in _edges_of_k(probe):
            verdict = _at_k(probe, k, question, rng)
            if verdict.status == "fail":
                return verdict
        return Verdict("k-edges", "pass", question)
    shape = _shape_of_size(probe, probe.constraint.k) if isinstance(probe.constraint, KeepLargest) else None
    if shape is None:
        return Verdict(
            "k-edges", "skip", "k is built into the layer: pass its class, or a function of (x, k)"
        )
    return examine(probe, "k-edges", question, against_reference, [ordinary(shape, rng)])


def _at_k(probe: Probe, k: Any, question: str, rng: np.random.Generator) -> Verdict:
    assert probe.with_k is not None
    try:
        other = probe.with_k(k)
    except LayerError as error:
        return Verdict("k-edges", "fail", f"at k = {k}: the layer cannot be made, it {error}")
    verdict = examine(other, "k-edges", question, against_reference, plain(other, rng))
    if verdict.status == "pass":
        return verdict
    return Verdict("k-edges", "fail", f"at k = {k}: {verdict.message}", verdict.worst, verdict.smallest)


def _edges_of_k(probe: Probe) -> list[Any]:
    if isinstance(probe.constraint, KeepLargest):
        size = probe.constraint.size(probe.small)
        return sorted({1, 2, size - 1, size} - {0})
    if isinstance(probe.constraint, Stripe):
        return [1, int(np.prod(probe.small))]
    return [0.0, 1e6]


def _shape_of_size(probe: Probe, size: Any) -> tuple[int, ...] | None:
    """Return a shape whose rows have so many entries, or None if there is none to be had."""
    if isinstance(size, float) or size < 1:
        return None
    letters, n = probe.letters(), 1 if probe.constraint.name == "l0-batch" else 2
    sizes = {"N": n} if "N" in probe.vary else {}
    sizes |= {letters[a]: 1 for a in probe.constraint.axes if letters[a] != "N"}
    grow = max((letters[a] for a in probe.constraint.axes if letters[a] != "N"), key=lambda a: a == "C")
    return probe.resized(**sizes | {grow: size})


def _policy_of_k(name: str, probe: Probe, rng: np.random.Generator) -> Verdict:
    """Allow an error or the obvious answer at k = 0 and more than all, anything at a fraction."""
    if not isinstance(probe.constraint, KeepLargest):
        return Verdict(name, "skip", f"{probe.constraint.name} counts nothing in a row")
    other, shape = None, probe.small
    k: Any = {"k-zero": 0, "k-fraction": 0.5, "k-too-large": probe.constraint.size(probe.small) + 1}[name]
    try:
        if probe.with_k is not None:
            other = probe.with_k(k)
        elif name == "k-too-large" and isinstance(probe.constraint.k, int):
            shape = _shape_of_size(probe, probe.constraint.k - 1) or ()
            other = probe if shape else None
        if other is None:
            return Verdict(name, "skip", "k is built into the layer: pass its class, or a function of (x, k)")
        x = other.quantised(ordinary(shape, rng))
        y = other(x)
    except LayerError as error:
        return Verdict(name, "note", str(error))
    fault = other.constraint.fault(x, y, other.eps())
    if fault is None:
        done = {"k-zero": "keeps nothing", "k-fraction": "0.5 keeps half", "k-too-large": "keeps all"}[name]
        return Verdict(name, "note", done)
    if name == "k-fraction":
        kept = np.count_nonzero(y) / np.count_nonzero(x)
        return Verdict(name, "note", f"0.5 keeps {kept:.0%} of the entries")
    at = (
        f"with k = {k}"
        if probe.with_k is not None
        else f"with {probe.constraint.k - 1} entries to choose from"
    )
    return examine(other, name, "", lambda p, a: (f := against_reference(p, a)) and f"{at}: {f}", [x])


def _with_ties(probe: Probe, x: Array) -> str | None:
    if isinstance(probe.constraint, Stripe) and has_ties(probe, x):
        return probe.constraint.infeasible(x, probe(x), probe.eps())
    return against_reference(probe, x)


def _no_strides(probe: Probe) -> str | None:
    return None if probe.adapter.strides else f"arrays of {probe.adapter.framework} have no strides"


INPUTS = [
    property_check("ties", "ties do not let more through", _with_ties, _tied_inputs, needs=("values",)),
    property_check("zeros", "zeros stay zeros", _zeros, _zero_inputs),
    property_check("negative-zero", "-0.0 is 0.0", _negative_zero, _negative_zero_inputs),
    property_check("large", "large magnitudes do not overflow", _extreme, _large_inputs),
    property_check("tiny", "small magnitudes do not underflow", _extreme, _tiny_inputs),
    Check("denormals", "denormal numbers are numbers", _denormals, needs=("values", "tiny")),
    property_check("non-contiguous", "strides do not matter", _strided, plain, skip=_no_strides),
    *(_dtype_check(dtype) for dtype in DTYPES),
    Check("k-edges", "k = 1, k = all and the like", _k_edges, needs=("values",)),
    *(
        Check(name, name, partial(_policy_of_k, name), needs=("values",))
        for name in ("k-zero", "k-too-large", "k-fraction")
    ),
]
