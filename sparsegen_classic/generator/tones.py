"""How sums of atoms become pixels: along curves learned from training images, or clipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import PCA

from sparsegen_classic._parallel import single_threaded_blas
from sparsegen_classic.images import apply_tone, contrast_and_curve, flat_curve, tone_curve
from sparsegen_classic.metrics import frechet_distance

_IMAGES, _VALUES = 1000, 4_096_000  # whose reconstructions, and likes, the curves are taken from, at most
_COMPONENTS = 50  # that they are compared in


@dataclass(frozen=True)
class Tones:
    """What is done to reconstructions, and to draws by sketches; None is clipping."""

    curve: NDArray[np.float64] | None = None
    draw_curve: NDArray[np.float64] | None = None
    draw_contrast: float | None = None


def n_toned(n_images: int, n_features: int) -> int:
    """Return how many images the curves are taken from."""
    return min(n_images, _IMAGES, max(100, _VALUES // n_features))


def fit_tones(
    tone: str, images: Any, codes: sparse.csr_array, parts: list[Any], mean: NDArray[np.floating], seed: int
) -> Tones:
    """Return what brings reconstructions, and draws, of centred images nearest to them.

    The draws are by sketches of the same images: others would show other images, and be compared for it. Only
    they are given contrast; reconstructions stay as near to their image as they can.
    """
    if tone == "clip":
        return Tones()
    some = np.linspace(0, len(images) - 1, n_toned(*images.shape)).astype(int)
    components, targets = parts[0].components_, images[some] + mean
    distance = _distance_to(targets) if tone == "auto" else None
    sums = codes[some] @ components
    curve = _nearer(distance, 1.0, tone_curve(sums + mean, targets), sums, mean, targets)[1]
    if len(parts) == 3:
        return Tones(curve)
    sums = parts[3].sample_like(parts[1], codes[some], seed) @ components
    contrast, draw_curve = _nearer(distance, *contrast_and_curve(sums, mean, targets), sums, mean, targets)
    return Tones(curve, draw_curve, contrast)


def _nearer(
    distance: Callable[[NDArray], float] | None,
    contrast: float,
    curve: NDArray[np.float64],
    sums: NDArray[np.floating],
    mean: NDArray[np.floating],
    targets: NDArray[np.floating],
) -> tuple[float, NDArray[np.float64]]:
    """Return contrast and curve if they bring images nearer to the targets than clipping does, else that."""
    if distance is None:
        return contrast, curve
    clipped = flat_curve(targets.min(), targets.max())
    found, plain = apply_tone(contrast * sums + mean, curve), apply_tone(sums + mean, clipped)
    return (contrast, curve) if distance(found) < distance(plain) else (1.0, clipped)


def _distance_to(targets: NDArray[np.floating]) -> Callable[[NDArray], float]:
    """Return the Frechet distance to the targets as a function of images, in the targets' components."""
    with single_threaded_blas():
        components = PCA(min(_COMPONENTS, *targets.shape), random_state=0).fit(targets)
        references = components.transform(targets)

    def distance(images: NDArray[np.floating]) -> float:
        with single_threaded_blas():
            return frechet_distance(components.transform(images), references)

    return distance
