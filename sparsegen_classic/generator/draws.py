"""What a draw is made of."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsegen_classic._parallel import map_blocks

_BLOCK = 128  # images that a worker draws at a time


@dataclass(frozen=True)
class Draws:
    """Images drawn from a generator, with what they were made of.

    Attributes
    ----------
    images : ndarray of shape (n, h, w[, c]), float32
        The images, clipped unless that was declined.
    labels : ndarray of shape (n,) or None
        Their classes, for a model per class.
    codes : csr_array of shape (n, n_components)
        Their signed codes; each row refers to the dictionary of its class.
    in_training : ndarray of shape (n,), bool
        Whether the support drawn equals that of a training image.
    groups : ndarray of shape (n,), int
        Latent group, within the model of the class, that the support was drawn from.
    """

    images: NDArray[np.float32]
    labels: NDArray[Any] | None
    codes: sparse.csr_array
    in_training: NDArray[np.bool_]
    groups: NDArray[np.intp]


def draw_remotely(
    generator: Any, generators: list[np.random.Generator], class_: NDArray[Any] | None, clip: bool
) -> Draws:
    """Let workers draw, block by block; each gets the model once."""
    quiet = copy.copy(generator).set_params(verbose=0)
    given = quiet, generators, class_, clip
    blocks = list(map_blocks(_draw_block, len(generators), _BLOCK, generator.n_jobs, *given))
    return Draws(
        np.concatenate([block.images for block in blocks]),
        None if generator.classes_ is None else np.concatenate([block.labels for block in blocks]),
        sparse.vstack([block.codes for block in blocks], format="csr"),
        np.concatenate([block.in_training for block in blocks]),
        np.concatenate([block.groups for block in blocks]),
    )


def _draw_block(
    block: slice,
    generator: Any,
    generators: list[np.random.Generator],
    class_: NDArray[Any] | None,
    clip: bool,
) -> Draws:
    return generator._draw(generators[block], None if class_ is None else class_[block], clip)
