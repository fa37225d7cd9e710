"""From what the user passes to a layer that can be called, and to the same layer for another k."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Any

from sparsegen_classic.crosscheck.adapters import Adapter
from sparsegen_classic.crosscheck.probe import guarded

Make = Callable[[Any], Adapter]


def open_layer(layer: Any, k: Any, adapt: Make) -> tuple[Adapter, Make | None]:
    """Return the layer for k, and a maker for other k if there can be others.

    A class with parameters is given k, by name if it has a parameter of that name, else as the first; a class
    without is made as it is. A function with a parameter ``k`` besides its input is given k. Everything else
    is a finished layer.
    """
    new: Callable[..., Any] = layer
    if inspect.isfunction(layer) and "k" in list(inspect.signature(layer).parameters)[1:]:
        return adapt(functools.partial(new, k=k)), lambda other: adapt(functools.partial(new, k=other))
    if not inspect.isclass(layer):
        return adapt(layer), None
    named = [
        p.name
        for p in inspect.signature(layer).parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]

    def build(k: Any) -> Adapter:
        with guarded([]):
            made = new(k=k) if "k" in named else new(k) if named else new()
        return adapt(made)

    return build(k), build if named else None


def name_of(layer: Any) -> str:
    """Return what to call a layer."""
    if isinstance(layer, str | os.PathLike):
        return os.path.basename(os.fspath(layer))
    while isinstance(layer, functools.partial):
        layer = layer.func
    return getattr(layer, "__name__", type(layer).__name__)
