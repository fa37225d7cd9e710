"""Inputs: ordinary ones, whose magnitudes are all different in every dtype, and special ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic.crosscheck.constraints import Constraint, KeepLargest

Array = NDArray[np.float64]
_OCTAVES, _STEPS = 12, 128  # bfloat16 tells 128 numbers apart in every octave
_ROOM = 40  # larger axes cost more than they tell


def ordinary(shape: tuple[int, ...], rng: np.random.Generator, signs: str = "both") -> Array:
    """Draw numbers of mixed size; up to 1536 have different magnitudes in any dtype, bfloat16 included."""
    size = int(np.prod(shape))
    if size <= _OCTAVES * _STEPS:
        octaves = max(3, -(-size // _STEPS))
        pick = rng.permutation(octaves * _STEPS)[:size]
        values = np.ldexp(1 + pick % _STEPS / _STEPS, pick // _STEPS - octaves + 2)
    else:
        values = np.abs(rng.standard_normal(size)) + 1e-3
    if signs == "both":
        values = values * rng.choice([-1.0, 1.0], size)
    return (-values if signs == "negative" else values).reshape(shape)


def mostly_zero(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """As after a ReLU on sparse activations: a fifth of the entries is positive, the rest 0."""
    return np.where(rng.random(shape) < 0.2, ordinary(shape, rng, "positive"), 0.0)


def tied(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Few different magnitudes, of both signs."""
    return rng.choice([-2.0, -1.0, -1.0, 1.0, 1.0, 2.0], shape)


def roomy_shape(constraint: Constraint, small: tuple[int, ...], vary: str) -> tuple[int, ...]:
    """Return a shape with more than k entries along every axis that may vary, to tell axes apart."""
    k = constraint.k if isinstance(constraint, KeepLargest) and isinstance(constraint.k, int) else 0
    if k + 2 > _ROOM:
        return small
    letters = "NC" if constraint.layout == "flat" else constraint.layout
    return tuple(
        2 if a == "N" and a in vary else max(n, k + 2) if a in vary else n
        for a, n in zip(letters, small, strict=True)
    )


def scaled(x: Array, constraint: Constraint) -> Array:
    """Bring ordinary numbers to the scale of a threshold or radius, so that it matters."""
    if constraint.name == "soft-threshold" and constraint.k > 0:
        return x * 2.0 ** np.round(np.log2(constraint.k))
    if constraint.name == "l1-ball" and constraint.k > 0:
        norm = np.abs(constraint.rows(x)).sum(axis=1).mean()
        return x * 2.0 ** np.round(np.log2(2 * constraint.k / norm))
    return x


def small_shape(constraint: Constraint, shape: tuple[int, ...], vary: str) -> tuple[int, ...]:
    """Return a shape with three samples, square, few channels, and room for the constraint to bite."""
    letters = "NC" if constraint.layout == "flat" else constraint.layout
    wish = {"N": 3, "C": 4, "H": 3, "W": 3}
    small = [wish[a] if a in vary else n for a, n in zip(letters, shape, strict=True)]
    if not isinstance(constraint, KeepLargest):
        return tuple(small)
    k = 2 if isinstance(constraint.k, float) else constraint.k
    grow = [a for a in constraint.axes if letters[a] in vary]
    while grow and constraint.size(tuple(small)) < 2 * k + 2:
        step = [min(grow, key=lambda a: small[a])]
        if letters[step[0]] in "HW":  # keep it square
            step = [a for a in grow if letters[a] in "HW"]
        for axis in step:
            small[axis] += max(1, small[axis] // 3)
    return tuple(small)
