"""Checks of the backward pass: against the stated rule, at zeros, and by finite differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic.crosscheck.checks import Check, has_ties, property_check
from sparsegen_classic.crosscheck.checks_inputs import _zero_inputs
from sparsegen_classic.crosscheck.checks_values import typical
from sparsegen_classic.crosscheck.constraints import number
from sparsegen_classic.crosscheck.constraints_l1 import L1Ball, SoftThreshold
from sparsegen_classic.crosscheck.probe import Probe

Array = NDArray[np.float64]
_STEP = {"float32": 2.0**-8, "float64": 2.0**-20}  # the layers are piecewise linear: large steps are exact


def gradient_checks(rule: str | None) -> list[Check]:
    """Return the checks for ``gradient``: "mask", "straight-through" or None."""

    def follows_rule(probe: Probe, x: Array) -> str | None:
        y, grad = probe(x), np.ones(x.shape) if probe.constraint.scalar else upstream(x.shape)
        got = probe.vjp(x, grad)
        if rule == "straight-through":
            expected, judged = grad, np.ones(x.shape, bool)
        else:
            judged = smooth(probe, x, y)
            expected = probe.constraint.gradient(x, y, grad)
        error = np.abs(got - expected)
        wrong = judged & ~(error <= 32 * probe.eps() * np.abs(grad).max(initial=1))
        if not wrong.any():
            return None
        worst = np.unravel_index(np.argmax(np.where(wrong, np.nan_to_num(error, nan=np.inf), -1)), x.shape)
        where = ", ".join(str(int(i)) for i in worst)
        fate = "" if probe.constraint.scalar else " removed" if y[worst] == 0 else " kept"
        return (
            f"the gradient of the{fate} entry [{where}] is {number(got[worst])}, "
            f"{number(expected[worst])} would be right; {np.count_nonzero(wrong)} entries in all"
        )

    def skip(probe: Probe) -> str | None:
        if rule is None:
            return "gradient=None: nothing is stated about it"
        if not probe.adapter.has_gradient:
            return f"{probe.adapter.framework} layers have no gradient"
        return None

    def no_differences(probe: Probe) -> str | None:
        if rule == "straight-through":
            return "a straight-through gradient is not the derivative, on purpose"
        return skip(probe)

    return [
        property_check(
            "gradient", f"the gradient follows the rule {rule!r}", follows_rule, typical, skip=skip
        ),
        property_check(
            "gradient-at-zeros", "the gradient is finite at zeros", _finite, _zero_inputs, skip=skip
        ),
        property_check(
            "finite-differences",
            "the gradient is the derivative",
            _differences,
            typical,
            skip=no_differences,
        ),
    ]


def upstream(shape: tuple[int, ...]) -> Array:
    """Return whole numbers from -5 to 5 without 0, the same for the same shape."""
    numbers = np.arange(int(np.prod(shape))) * 7 % 10 - 5
    return np.where(numbers >= 0, numbers + 1, numbers).reshape(shape).astype(np.float64)


def smooth(probe: Probe, x: Array, y: Array) -> NDArray[np.bool_]:
    """Mark the entries at which the derivative is unique: no ties, no zeros, no kinks."""
    constraint, margin = probe.constraint, 64 * probe.eps()
    if isinstance(constraint, SoftThreshold):
        return np.abs(np.abs(x) - constraint.k) > margin * (np.abs(x) + constraint.k)
    if isinstance(constraint, L1Ball):
        rows, out = np.abs(constraint.rows(x)), np.abs(constraint.rows(y))
        norm = rows.sum(axis=1)
        level = np.where(out != 0, rows - out, 0.0).max(axis=1, keepdims=True)
        scale = np.maximum(norm, constraint.k)
        good = (np.abs(norm - constraint.k) > margin * scale) & (
            (np.abs(rows - level) > margin * scale[:, None]) | (level == 0)
        ).all(axis=1)
        return constraint.unrows(np.broadcast_to(good[:, None], rows.shape), x.shape) & (x != 0)
    return np.broadcast_to((x != 0) & (not has_ties(probe, x)), x.shape)


def _finite(probe: Probe, x: Array) -> str | None:
    got = probe.vjp(x, upstream(x.shape))
    if not np.isfinite(got).all():
        return f"{np.count_nonzero(~np.isfinite(got))} entries of the gradient are not finite"
    if probe.constraint.scalar:
        most = np.abs(probe.constraint.gradient(np.ones(x.shape), None, np.array(1.0))).max()
        if (np.abs(got) > most * (1 + 32 * probe.eps())).any():
            return (
                f"the gradient at 0 is {number(np.abs(got).max())}, a subgradient is at most {number(most)}"
            )
    return None


def _differences(probe: Probe, x: Array) -> str | None:
    dtype = "float64" if "float64" in probe.adapter.dtypes else "float32"
    if dtype not in probe.adapter.dtypes:
        return None
    y = probe(x, dtype)
    if not smooth(probe, x, y).all():
        return None
    grad = upstream(x.shape)
    smallest = np.abs(x[x != 0]).min(initial=np.inf)
    step = _STEP[dtype] * smallest * np.where(upstream(x.shape)[..., ::-1] > 0, 1.0, -0.5)
    if not np.isfinite(smallest):
        return None
    high, low = x + step, x - step
    above, below = probe(probe.quantised(high, dtype), dtype), probe(probe.quantised(low, dtype), dtype)
    if not np.array_equal(above != 0, below != 0) or not np.array_equal(above != 0, y != 0):
        return None  # a kink in between
    moved = probe.quantised(high, dtype) - probe.quantised(low, dtype)
    weights = np.array(1.0) if probe.constraint.scalar else grad
    secant = float((weights * (above - below)).sum())
    slope = float((probe.vjp(x, grad, dtype) * moved).sum())
    scale = float((np.abs(weights) * (np.abs(above) + np.abs(below))).sum())
    size = float(np.abs(grad * moved).sum())
    if abs(secant - slope) <= 1e-3 * size + 64 * probe.eps(dtype) * (scale + np.abs(x).sum()):
        return None
    return f"along a small step the layer changes by {number(secant)}, its gradient says {number(slope)}"
