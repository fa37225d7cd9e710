"""Input checks whose errors name the parameter, the rule, the value and the remedy."""

from __future__ import annotations

from math import isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np


def check_integer(name: str, value: Any, low: int, high: int | None = None, remedy: str = "") -> int:
    """Return ``value`` as an int in [low, high], or raise a TypeError or ValueError that says why not."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}")
    return int(_check_range(name, value, low, high, "[]", remedy))


def check_real(
    name: str,
    value: Any,
    low: float | None = None,
    high: float | None = None,
    closed: str = "[]",
    remedy: str = "",
) -> float:
    """Return ``value`` as a finite float in the interval; ``closed`` spells its ends, e.g. ``"(]"``."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, got {value!r} of type {type(value).__name__}")
    if not isfinite(value):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return float(_check_range(name, value, low, high, closed, remedy))


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    """Return ``value`` if it is one of ``choices``, or raise a ValueError listing them."""
    if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def _check_range(name: str, value: Any, low: Any, high: Any, closed: str, remedy: str) -> Any:
    below = low is not None and (value < low if closed[0] == "[" else value <= low)
    above = high is not None and (value > high if closed[1] == "]" else value >= high)
    if below or above:
        lower = "" if low is None else f"{'at least' if closed[0] == '[' else 'greater than'} {low}"
        upper = "" if high is None else f"{'at most' if closed[1] == ']' else 'less than'} {high}"
        rule = " and ".join(part for part in (lower, upper) if part)
        raise ValueError(f"{name} must be {rule}, got {value!r}" + (f"; {remedy}" if remedy else ""))
    return value
