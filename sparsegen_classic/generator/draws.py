"""What a draw is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


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
