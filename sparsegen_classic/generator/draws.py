"""What a draw is made of."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsegen_classic._classes import choose_models
from sparsegen_classic._parallel import map_blocks
from sparsegen_classic.generator.fitting import n_groups_of

_BLOCK = 128  # images that a worker draws at a time
_FEW = 128  # whose coefficients are drawn between two steps of the progress bar


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


def draw_here(
    generator: Any, generators: list[np.random.Generator], class_: NDArray[Any] | None, clip: bool
) -> Draws:
    """Draw an image by each random generator: its model, its group, its code, by way of a sketch or not."""
    model_of = choose_models(generator.classes_, generator.class_prior_, class_, generators)
    groups = np.zeros(len(generators), np.intp)

    def generators_of(rows: NDArray[np.intp]) -> list[np.random.Generator]:
        return [generators[i] for i in rows]

    def in_groups(model: int, rows: NDArray[np.intp]) -> dict[str, Any]:
        """Return what the samplers of a model are told of groups: nothing if there is one."""
        return {} if n_groups_of(generator.supports_[model]) == 1 else {"groups": groups[rows]}

    def draw_groups(model: int, rows: NDArray[np.intp]) -> dict[str, Any]:
        if in_groups(model, rows):
            groups[rows] = generator.supports_[model].draw_groups(generators_of(rows))
        return in_groups(model, rows)

    def draw_sketched(model: int, rows: NDArray[np.intp]) -> sparse.csr_array:
        given, network = draw_groups(model, rows), generator.supports_[model]
        return generator._with_own_jobs(generator.sketches_[model]).sample(
            network, len(rows), generators_of(rows), **given
        )

    def draw_supports(model: int, rows: NDArray[np.intp]) -> sparse.csr_array:
        given = draw_groups(model, rows)
        return generator._with_own_jobs(generator.supports_[model]).sample(
            len(rows), generators_of(rows), **given
        )

    def draw_coefficients(model: int, rows: NDArray[np.intp]) -> sparse.csr_array:
        given = in_groups(model, rows)
        return generator._with_own_jobs(generator.coefficients_[model]).sample(
            supports[rows], generators_of(rows), **given
        )

    if generator.sketches_ is not None:
        supports = codes = generator._per_model(model_of, draw_sketched, "codes", _FEW)
    else:
        supports = generator._per_model(model_of, draw_supports, "supports")
        codes = generator._per_model(model_of, draw_coefficients, "coefficients", _FEW)
    in_training = np.zeros(len(generators), bool)
    for model in np.unique(model_of):
        here = np.flatnonzero(model_of == model)
        in_training[here] = generator.supports_[model].in_training(supports[here])
    labels = None if generator.classes_ is None else generator.classes_[model_of]
    images = generator._synthesize(codes, model_of, clip, drawn=True)
    return Draws(images, labels, codes, in_training, groups)


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
    return draw_here(generator, generators[block], None if class_ is None else class_[block], clip)
