"""What a wrong layer seems to compute: known mistakes, tried one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic.crosscheck.checks_values import roomy, typical
from sparsegen_classic.crosscheck.constraints import Constraint, KeepLargest
from sparsegen_classic.crosscheck.constraints_l1 import L1Ball, L1Penalty, SoftThreshold
from sparsegen_classic.crosscheck.probe import LayerError, Probe

Array = NDArray[np.float64]
Suspect = tuple[str, Callable[[Array], Array]]


def diagnose(probe: Probe, rng: np.random.Generator) -> str:
    """Return what the layer does instead, in words, or "" if no suspect gives all of its answers."""
    cases = []
    for x in chain(typical(probe, rng), roomy(probe, rng)):
        x = probe.quantised(x)
        try:
            cases.append((x, probe(x)))
        except LayerError:
            return ""
    for name, compute in suspects(probe.constraint):
        if all(_same(compute(x), y, x, probe.eps()) for x, y in cases):
            return name
    return ""


def _same(expected: Array, got: Array, x: Array, eps: float) -> bool:
    if expected.shape != got.shape:
        return False
    scale = np.abs(x).max() if got.ndim else np.abs(expected)
    return bool((np.abs(expected - got) <= 64 * eps * scale).all())


def suspects(constraint: Constraint) -> Iterator[Suspect]:
    """Yield known mistakes for a constraint, with what they compute."""
    yield "the identity: the input comes back as it is", lambda x: x
    if not constraint.scalar:
        yield "nothing but zeros", np.zeros_like
    if isinstance(constraint, KeepLargest):
        yield from _of_ranks(constraint)
    elif isinstance(constraint, SoftThreshold):
        yield from _of_thresholds(constraint.k)
    elif isinstance(constraint, L1Ball):
        yield from _of_balls(constraint)
    elif isinstance(constraint, L1Penalty):
        yield from _of_penalties(constraint)


def _of_ranks(constraint: KeepLargest) -> Iterator[Suspect]:
    letters = "NC" if constraint.layout == "flat" else constraint.layout
    names = {"N": "samples", "C": "channels", "H": "rows", "W": "columns"}
    keys: dict[str, Callable[[Array], Array]] = {
        "value": lambda a: a,
        "magnitude": np.abs,
        "smallness": lambda a: -np.abs(a),
        "negative value": lambda a: -a,
    }
    own = "value" if constraint.by_value else "magnitude"
    all_axes = tuple(range(len(letters)))
    groups = [constraint.axes, all_axes[1:], all_axes, *((a,) for a in all_axes)]
    spatial = tuple(a for a in all_axes if letters[a] in "HW")
    groups += [spatial] if spatial else []
    for shift in (0, -1, 1):
        for key in sorted(keys, key=lambda name: name != own):
            for axes in dict.fromkeys(groups):
                if shift == 0 and key == own and axes == constraint.axes:
                    continue
                over = (
                    "the whole batch" if axes == all_axes else " and ".join(names[letters[a]] for a in axes)
                )
                k = "k" if not shift else f"k {shift:+d}"
                yield f"the {k} largest by {key} over {over}", _ranker(constraint, keys[key], axes, shift)


def _ranker(
    constraint: KeepLargest, key: Callable[[Array], Array], axes: tuple[int, ...], shift: int
) -> Callable[[Array], Array]:
    def compute(x: Array) -> Array:
        rest = [a for a in range(x.ndim) if a not in axes]
        moved = x.transpose(*rest, *axes)
        rows = moved.reshape(-1, int(np.prod([x.shape[a] for a in axes])))
        k = int(np.clip(constraint.counts(rows.shape[1])[0] + shift, 0, rows.shape[1]))
        ranks = np.argsort(np.argsort(-key(rows), axis=1, kind="stable"), axis=1)
        kept = np.where(ranks < k, rows, 0.0)
        return kept.reshape(moved.shape).transpose(np.argsort([*rest, *axes]))

    return compute


def _of_thresholds(k: float) -> Iterator[Suspect]:
    yield "a hard threshold: what is above k stays as it is", lambda x: np.where(np.abs(x) > k, x, 0.0)
    yield "a ReLU with bias -k: negative entries are lost", lambda x: np.maximum(x - k, 0)
    yield "magnitudes without their signs", lambda x: np.maximum(np.abs(x) - k, 0)
    yield "x - sign(x) k without the cut at 0", lambda x: x - np.sign(x) * k
    for factor in (0.5, 2.0):
        yield f"the threshold {factor:g} k", _soft(factor * k)
    yield (
        "a firm shrinkage x (1 - k / |x|)^2",
        lambda x: x * np.maximum(1 - k / np.maximum(np.abs(x), k), 0) ** 2,
    )


def _soft(level: float) -> Callable[[Array], Array]:
    return lambda x: np.sign(x) * np.maximum(np.abs(x) - level, 0)


def _of_balls(constraint: L1Ball) -> Iterator[Suspect]:
    k, layout = constraint.k, constraint.layout

    def norms(x: Array) -> Array:
        rows = constraint.rows(x)
        return constraint.unrows(
            np.broadcast_to(np.abs(rows).sum(axis=1, keepdims=True), rows.shape), x.shape
        )

    yield (
        "scaling by k / ||x||_1 instead of projecting",
        lambda x: x * k / np.maximum(norms(x), max(k, 1e-300)),
    )
    yield "scaling to the sphere, also from inside", lambda x: x * k / np.maximum(norms(x), 1e-300)
    yield "a soft threshold at k", _soft(k)
    yield "clipping to [-k, k]", lambda x: np.clip(x, -k, k)

    def whole(x: Array) -> Array:
        return L1Ball("l1-ball", k, "flat").reference(x.reshape(1, -1)).reshape(x.shape)

    yield "one ball for the whole batch", whole
    for axis in range(1, len(layout) if layout != "flat" else 2):
        other = L1Ball("l1-ball", k, layout, axis)
        if other.axes != constraint.axes:
            letter = ("NC" if layout == "flat" else layout)[axis]
            yield f"a ball for every line along {letter}", other.reference


def _of_penalties(constraint: L1Penalty) -> Iterator[Suspect]:
    k = constraint.k
    for weight, factor in (("", k), (" without its weight", 1.0), (" with the weight squared", k * k)):
        for reduction in ("batchmean", "mean", "sum"):
            if not (reduction == constraint.reduction and factor == k):
                other = L1Penalty("l1-penalty", factor, constraint.layout, reduction=reduction)
                yield f"the penalty of reduction={reduction!r}{weight}", other.reference
    yield (
        "the sum of squares, not of magnitudes",
        lambda x: np.array(k * np.square(x).sum() / constraint.divisor(x.shape)),
    )
    yield "the sum of values, without abs", lambda x: np.array(k * x.sum() / constraint.divisor(x.shape))
