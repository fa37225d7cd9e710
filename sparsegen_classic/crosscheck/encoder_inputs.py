"""What an encoder is asked: the problem, checked, and images to code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._random import spawn_generators
from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.convolutional.multilayer import MultiLayerCSC
from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.crosscheck.encoder_causes import with_filters
from sparsegen_classic.crosscheck.encoder_run import Stack

OBJECTIVES = ("lasso", "l0", "layered-thresholding", "layered-basis-pursuit", "multi-layer-basis-pursuit")

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Question:
    """The problem, in float64: dictionaries with thresholds of shape (n_atoms,), or k; and the images."""

    objective: str
    dictionaries: list[ConvDictionary]
    thresholds: list[Floats]
    k: int | None
    positive: bool
    images: Floats


def ask(
    stack: Stack | None,
    dictionary: Any,
    objective: str,
    images: Any,
    lam: Any,
    k: Any,
    positive: bool | None,
    seed: Any,
) -> Question:
    """Check the parameters of :func:`crosscheck_encoder` and fill in what was left out."""
    layered = check_choice("objective", objective, OBJECTIVES) == "layered-thresholding"
    if layered and positive is not None and not positive:
        raise ValueError("positive must not be False for 'layered-thresholding', which is that of ReLU")
    dictionaries = _dictionaries(stack, dictionary, images)
    if dictionary is None and lam is None and layered and stack is not None:
        lam = stack.thresholds()
    n, single = len(dictionaries), objective in ("lasso", "l0")
    if single and n != 1:
        raise ValueError(f"objective={objective!r} has one dictionary, got {n}; choose a layered one")
    thresholds: list[Floats] = []
    if objective == "l0":
        if k is None or lam is not None:
            raise ValueError(f"objective='l0' needs k and no lam, got k={k!r}, lam={lam!r}")
        k = check_integer("k", k, 1)
    elif lam is None or k is not None:
        raise ValueError(f"objective={objective!r} needs lam and no k, got lam={lam!r}, k={k!r}")
    else:
        given = [lam] if single else _sequence("lam", lam, n)
        one_number = objective == "multi-layer-basis-pursuit"
        thresholds = [
            _threshold(one, d.n_atoms, layered, one_number)
            for one, d in zip(given, dictionaries, strict=True)
        ]
    checked = _planted(dictionaries, seed) if images is None else _images(dictionaries, images)
    return Question(objective, dictionaries, thresholds, k, layered or bool(positive), checked)


def _dictionaries(stack: Stack | None, dictionary: Any, images: Any) -> list[ConvDictionary]:
    if dictionary is None:
        if stack is None or images is None:
            raise ValueError(
                "dictionary=None needs images, and a plain torch Sequential of convolutions, each followed "
                "by ReLU; give the dictionary"
            )
        n_axes = stack.convolutions[0].weight.ndim - 2
        dictionary = stack.dictionaries(np.shape(images)[-n_axes:])
    if hasattr(dictionary, "to_dictionary"):
        dictionary = dictionary.to_dictionary()
    if isinstance(dictionary, MultiLayerCSC):
        dictionary = dictionary.dictionaries
    given = MultiLayerCSC(dictionary if isinstance(dictionary, Sequence) else [dictionary]).dictionaries
    return [with_filters(d, d.filters.astype(np.float64)) for d in given]


def _images(dictionaries: Sequence[ConvDictionary], images: Any) -> Floats:
    checked, _ = dictionaries[0].check_images(images)
    if not len(checked) or not np.isfinite(checked).all():
        raise ValueError(f"images must be finite and at least one, got shape {checked.shape}")
    shape = checked.shape[2:]
    for layer in dictionaries:
        shape = layer.maps_shape(shape)
    return checked


def _sequence(name: str, values: Any, n: int) -> list[Any]:
    if not hasattr(values, "__len__") or len(values) != n:
        raise ValueError(f"{name} must have one entry for each of {n} layers, got {values!r}")
    return list(values)


def _threshold(lam: Any, n_atoms: int, any_sign: bool, one_number: bool) -> Floats:
    """Return thresholds of shape (n_atoms,)."""
    values = np.asarray(lam, np.float64)
    if values.shape != () and (one_number or values.shape != (n_atoms,)):
        shape = "numbers" if one_number else f"numbers or of shape ({n_atoms},)"
        raise ValueError(f"lam must be {shape}, got shape {values.shape}")
    if not np.isfinite(values).all() or not (any_sign or (values > 0).all()):
        raise ValueError(f"lam must be finite{'' if any_sign else ' and greater than 0'}, got {lam!r}")
    return np.broadcast_to(values, (n_atoms,)).copy()


def _planted(dictionaries: Sequence[ConvDictionary], seed: Any) -> Floats:
    """Return four images of few atoms of the deepest layer, and a little noise."""
    (rng,) = spawn_generators(seed, 1)
    last = dictionaries[-1]
    shape = tuple(max(12, 2 * size) for size in last.atom_shape)
    maps: Floats = rng.standard_normal((4, last.n_atoms, *shape))
    maps *= rng.random(maps.shape) < 0.1 / last.n_atoms
    for layer in reversed(dictionaries):
        maps = layer.synthesize(maps)
    return maps + 0.02 * maps.std() * rng.standard_normal(maps.shape)
