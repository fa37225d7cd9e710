"""The smallest input that still shows a fault: fewer samples, channels and pixels, simpler numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def shrink(
    x: Array,
    fails: Callable[[Array], bool],
    vary: tuple[int, ...],
    snap: Callable[[Array], Array] = np.asarray,
    max_calls: int = 400,
    seconds: float = 1.0,
) -> Array:
    """Return an input that still fails and that no single step makes simpler.

    Parameters
    ----------
    x : ndarray
        An input that fails.
    fails : callable
        Says whether an input still fails; it may raise nothing.
    vary : tuple of int
        Axes whose size may change.
    snap : callable, optional
        Rounds numbers to what may be given, for example to the nearest float16.
    max_calls : int, default=400
        Ask ``fails`` at most so often.
    seconds : float, default=1.0
        Stop after that time with the best so far.

    Returns
    -------
    ndarray
        Never larger than ``x`` and never with more different numbers; fails if ``x`` does.
    """
    deadline, calls = time.perf_counter() + seconds, 0

    def still(candidate: Array) -> bool:
        nonlocal calls
        calls += 1
        return fails(candidate)

    improved = True
    while improved:
        improved = False
        for steps in (_smaller, _simpler):
            again = True
            while again:
                again = False
                for candidate in steps(x, vary):
                    if calls >= max_calls or time.perf_counter() > deadline:
                        return x
                    candidate = snap(candidate)
                    if _cost(candidate) < _cost(x) and still(candidate):
                        x, again, improved = candidate, True, True
                        break
    return x


def _smaller(x: Array, vary: tuple[int, ...]) -> Iterator[Array]:
    """Cut axes: first halves, then quarters, then single slices."""
    for axis in sorted(vary, key=lambda a: -x.shape[a]):
        n = x.shape[axis]
        length = n // 2
        while length >= 1:
            for start in range(0, n, length):
                rest = np.delete(x, slice(start, start + length), axis=axis)
                if rest.shape[axis]:
                    yield rest
            length //= 2


def _simpler(x: Array, vary: tuple[int, ...]) -> Iterator[Array]:
    """Make all numbers simpler at once: ranks, whole numbers; then one by one."""
    finite = np.isfinite(x)
    order = np.unique(np.abs(x[finite & (x != 0)]))
    ranks = np.where(finite, np.sign(x) * (np.searchsorted(order, np.abs(x)) + 1), x)
    yield from (ranks, np.round(x), np.round(x * 4) / 4, np.abs(x))
    if x.size > 256:
        return
    for index in np.ndindex(x.shape):
        value = float(x[index])
        for simple in dict.fromkeys((0.0, 1.0, float(np.round(value)), float(f"{value:.0e}"), abs(value))):
            if _entry_cost(simple) < _entry_cost(value):
                candidate = x.copy()
                candidate[index] = simple
                yield candidate


def _cost(x: Array) -> float:
    """Return how hard the numbers are to read; every step makes it smaller, so shrinking ends."""
    return x.size + sum(_entry_cost(v) for v in x.ravel().tolist())


def _entry_cost(value: float) -> float:
    if value == 0 or not np.isfinite(value):
        return 0.0 if value == 0 else 0.5
    digits = len(f"{abs(value):.7g}")
    return digits + 0.25 * (value < 0) + (0.5 if value not in (1.0, -1.0) else 0.0)
