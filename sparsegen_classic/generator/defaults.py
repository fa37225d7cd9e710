"""The parts of a generator, set up for the number and the size of the images at hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from sparsegen_classic.coefficients import GaussianCoefficients
from sparsegen_classic.dictionary import KSVD
from sparsegen_classic.sketches import SketchedCodes
from sparsegen_classic.support import MarkovSupports


def default_n_components(n_images: int) -> int:
    """Return one atom for eight images, up to 800, but never less than 2.5 sqrt(n_images)."""
    return min(max(5, round(2.5 * np.sqrt(n_images)), min(n_images // 8, 800)), n_images)


def default_n_nonzero_coefs(n_features: int) -> int:
    """Return 0.3 sqrt(n_features), at least 5 (or all there are): 8 for MNIST, 19 for 64x64."""
    return min(max(5, round(0.3 * np.sqrt(n_features))), n_features)


def default_n_groups(n_images: int) -> int:
    """Return one group for 30 images, at most 250."""
    return min(max(1, round(n_images / 30)), 250)


def make_parts(
    dictionary: Any,
    supports: Any,
    coefficients: Any,
    sketches: Any,
    image_shape: tuple[int, ...],
    n_images: int,
    shared: dict[str, Any],
) -> list[Any]:
    """Return fresh copies of the parts with the parameters ``shared`` that they know.

    Parts that are None become the default ones, sizes of a dictionary that are None the default ones. Without
    sketches ("none") there are three parts.
    """
    parts = [
        KSVD() if dictionary is None else clone(dictionary),
        MarkovSupports(pair_exponent=0.4) if supports is None else clone(supports),
        GaussianCoefficients(prior_strength=1.0, draw="clip")
        if coefficients is None
        else clone(coefficients),
    ]
    if not isinstance(sketches, str):
        parts.append(SketchedCodes() if sketches is None else clone(sketches))
    for part in parts:
        known = part.get_params(deep=False)
        part.set_params(**{name: value for name, value in shared.items() if name in known})
    sizes = parts[0].get_params(deep=False)
    if sizes.get("image_shape", 0) is None and len(image_shape) > 1:
        parts[0].set_params(image_shape=image_shape)
    if sizes.get("n_components", 0) is None:
        parts[0].set_params(n_components=default_n_components(n_images))
    if sizes.get("n_nonzero_coefs", 0) is None:
        most = parts[0].get_params()["n_components"]
        k = default_n_nonzero_coefs(int(np.prod(image_shape)))
        parts[0].set_params(n_nonzero_coefs=min(k, most))
    return parts
