"""What a check is, and how one is carried out: inputs, a fault, and the smallest input that shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic.crosscheck.constraints import at_worst, number
from sparsegen_classic.crosscheck.probe import LayerError, Probe
from sparsegen_classic.crosscheck.shrink import shrink
from sparsegen_classic.crosscheck.verdicts import Example, Verdict

Array = NDArray[np.float64]
Fault = Callable[[Probe, Array], "str | None"]
Inputs = Callable[[Probe, np.random.Generator], Iterable[Array]]


@dataclass(frozen=True)
class Check:
    """A question with a verdict.

    Attributes
    ----------
    name, question : str
        What the report calls it, and what is asked.
    judge : callable
        (probe, rng) -> Verdict.
    needs : tuple of str
        Checks whose failure makes this one pointless.
    """

    name: str
    question: str
    judge: Callable[[Probe, np.random.Generator], Verdict]
    needs: tuple[str, ...] = ()


def property_check(
    name: str,
    question: str,
    fault: Fault,
    inputs: Inputs,
    needs: tuple[str, ...] = (),
    skip: Callable[[Probe], str | None] = lambda probe: None,
) -> Check:
    """Return the check that no input has a fault."""

    def judge(probe: Probe, rng: np.random.Generator) -> Verdict:
        why = skip(probe)
        if why:
            return Verdict(name, "skip", why)
        return examine(probe, name, question, fault, inputs(probe, rng))

    return Check(name, question, judge, needs)


def examine(
    probe: Probe, name: str, question: str, fault: Fault, inputs: Iterable[Array], dtype: str | None = None
) -> Verdict:
    """Try all inputs; of those with a fault report the one with the largest error, and shrink it."""
    dtype = dtype or probe.dtype

    def message_of(x: Array) -> tuple[str | None, bool]:
        try:
            return fault(probe, x), False
        except LayerError as error:
            return str(error), True

    def fails_alike(x: Array, raises: bool) -> bool:
        """Keep a wrong answer from shrinking to no answer, and the other way round."""
        message, raised = message_of(x)
        return message is not None and raised == raises

    failing = []
    for given in inputs:
        x = probe.quantised(given, dtype)
        message, _ = message_of(x)
        if message:
            failing.append(example(probe, x, message, dtype))
    if not failing:
        return Verdict(name, "pass", question)
    worst = max(failing, key=_error)

    raises = message_of(worst.x)[1]
    start = time.perf_counter()
    vary = tuple(i for i, letter in enumerate(probe.letters()) if letter in probe.vary)
    with np.errstate(all="ignore"):
        small = shrink(
            worst.x,
            lambda x: fails_alike(x, raises),
            vary,
            lambda x: probe.quantised(x, dtype),
            seconds=min(1.0, probe.patience),
        )
    probe.patience -= time.perf_counter() - start
    message = message_of(small)[0] or worst.message  # a layer that is not deterministic may recover
    return Verdict(name, "fail", worst.message, worst, example(probe, small, message, dtype))


def example(probe: Probe, x: Array, message: str, dtype: str) -> Example:
    """Return an input with the answers of the layer and of the reference."""
    try:
        got = probe(x, dtype)
    except LayerError:
        got = None
    return Example(x, got, probe.reference(x), dtype, message)


def _error(example: Example) -> float:
    if example.got is None or example.expected is None:
        return np.inf
    with np.errstate(invalid="ignore"):
        return float(np.nan_to_num(np.abs(example.got - example.expected), nan=np.inf).max(initial=0))


def against_reference(probe: Probe, x: Array, dtype: str | None = None) -> str | None:
    """Compare the answer with the reference."""
    return probe.constraint.fault(x, probe(x, dtype), probe.eps(dtype))


def differ(probe: Probe, x: Array, got: Array, expected: Array, what: str) -> str | None:
    """Compare two answers of the layer; ``what`` says how the first came about."""
    if has_ties(probe, x):  # then both may be right
        return None
    scale = np.abs(x).max(initial=0) if not probe.constraint.scalar else np.abs(expected).max()
    error = np.abs(got - expected)
    wrong = ~(error <= 64 * probe.eps() * scale) & ~(np.isnan(got) & np.isnan(expected))
    if not wrong.any():
        return None
    if probe.constraint.scalar:
        return f"{what}: {number(got)} instead of {number(expected)}"
    return f"{what}: {at_worst(wrong, error, expected, got, 'differs')}"


def has_ties(probe: Probe, x: Array) -> bool:
    """Say whether entries of a row have equal magnitudes, zeros aside."""
    rows = np.sort(np.abs(probe.constraint.rows(x)), axis=1)
    return bool(((rows[:, 1:] == rows[:, :-1]) & (rows[:, 1:] != 0)).any())
