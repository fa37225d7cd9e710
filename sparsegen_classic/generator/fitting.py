"""One model: dictionary, supports and coefficients of the images of a class, and their tone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsegen_classic._validation import check_integer
from sparsegen_classic.generator.defaults import default_n_groups
from sparsegen_classic.images import group_images, tone_curve

_TONE_IMAGES = 1000  # whose reconstructions the tone curve is taken from


def fit_parts(
    images: NDArray[np.floating], parts: list[Any], n_groups: int | None, seed: int
) -> sparse.csr_array:
    """Fit dictionary, supports and coefficients to centred images; return the codes.

    ``n_groups`` families of images become the latent groups; None is their default number, or what
    ``supports`` finds by itself if it is made for that.
    """
    dictionary, supports, coefficients = parts
    dictionary.fit(images)
    codes = dictionary.transform(images)
    if n_groups is None and supports.get_params().get("n_groups") == 1:
        n_groups = default_n_groups(len(images), dictionary.get_params().get("n_nonzero_coefs"))
    groups = None
    if n_groups is not None:
        check_integer("n_groups", n_groups, 1, len(images), "each needs an image")
        groups = group_images(images, n_groups, seed)
        if "n_groups" in supports.get_params():
            supports.set_params(n_groups=int(groups.max()) + 1)
    if groups is not None and groups.any():
        supports.fit(codes, groups=groups)
    else:
        supports.fit(codes)
        groups = supports.most_probable_groups(codes) if n_groups_of(supports) > 1 else None
    coefficients.fit(codes, **({} if groups is None else {"groups": groups}))
    return codes


def n_groups_of(supports: Any) -> int:
    """Return the number of groups of fitted supports, of which there may be no talk."""
    return len(getattr(supports, "group_shares_", (1.0,)))


def fit_tone(
    images: NDArray[np.floating], codes: sparse.csr_array, components: NDArray, mean: NDArray
) -> NDArray[np.float64]:
    """Return the curve from the reconstructions of some centred images to the images themselves."""
    some = np.linspace(0, len(images) - 1, min(len(images), _TONE_IMAGES)).astype(int)
    return tone_curve(codes[some] @ components + mean, images[some] + mean)
