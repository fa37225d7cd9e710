"""What denoising and inpainting share: images in and out, and patches as their codes have them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft
from scipy.stats import chi2

from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.dictionary import KSVD, dct_atoms
from sparsegen_classic.images.patches import PatchGrid
from sparsegen_classic.images.pixels import check_pixels
from sparsegen_classic.pursuit.omp import check_components, codes_from_arrays, omp_arrays

BLOCK = 2**15  # patches worked on at a time
_QUANTILE = chi2.cdf(64 * 1.15**2, 64)  # of the energy of noise: C = 1.15 for 64 pixels, as published


def check_image(image: ArrayLike, observed: NDArray[np.bool_] | None = None) -> NDArray[np.floating]:
    """Return a grey (h, w) or colour (h, w, c) image as float32 or float64, or raise.

    Integers and bool are scaled to [0, 1] by their type. Floats may leave [0, 1], as noise does, but must be
    finite (where ``observed``) and of that scale: their mean must lie in [0, 1].
    """
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        raise ValueError(f"image must be (h, w) or (h, w, c) and not empty, found shape {pixels.shape}")
    if pixels.dtype.kind != "f":
        check_pixels("image", pixels)
        highest = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
        return pixels.astype(np.float32) / np.float32(highest)
    pixels = pixels if pixels.dtype in (np.float32, np.float64) else pixels.astype(np.float32)
    known = pixels if observed is None else pixels[observed]
    bad = np.count_nonzero(~np.isfinite(known))
    if bad:
        raise ValueError(
            f"image must be finite, found {bad} values that are NaN or infinite; "
            + ("fill them by inpaint(image, mask)" if observed is None else "mark them False in mask")
        )
    if not 0 <= known.mean() <= 1:
        raise ValueError(
            f"image of floats must be on the scale [0, 1], found a mean of {known.mean():.6g}; divide by the "
            "largest possible value (image / 255)"
        )
    return pixels


def channels_to_planes(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the planes (c, h, w) of an image: for three channels grey, red - blue, green against both.

    This is the orthonormal DCT over channels: white noise stays white, of the same strength.
    """
    if pixels.ndim == 2:
        return pixels[np.newaxis].astype(np.float64)
    planes = fft.dct(pixels.astype(np.float64), axis=2, norm="ortho")
    return np.ascontiguousarray(np.moveaxis(planes, 2, 0))


def planes_to_channels(planes: NDArray[np.float64], like: NDArray[np.floating]) -> NDArray[np.floating]:
    """Undo :func:`channels_to_planes` and clip to [0, 1], in shape and dtype of ``like``."""
    pixels = planes[0] if like.ndim == 2 else fft.idct(np.moveaxis(planes, 0, 2), axis=2, norm="ortho")
    return np.clip(pixels, 0, 1).astype(like.dtype)


def start_atoms(dictionary: Any, grid: PatchGrid, n_components: int) -> tuple[NDArray[Any], bool]:
    """Return the atoms that ``dictionary`` stands for, and if they are a start to learn from."""
    if isinstance(dictionary, str):
        check_choice("dictionary", dictionary, ("image", "dct"))
        height, width = grid.patch_shape
        return dct_atoms(
            (height, width), check_integer("n_components", n_components, 1)
        ), dictionary == "image"
    atoms = check_components(dictionary)
    if atoms.shape[1] != grid.n_features:
        raise ValueError(
            f"dictionary must have {grid.n_features} features, one for each pixel of a patch of "
            f"{grid.patch_shape}, found shape {atoms.shape}; give the patch_shape it was learned from"
        )
    return atoms, False


def learned_atoms(
    X: NDArray[Any], start: NDArray[Any], tol: Any, n_nonzero_coefs: int, *, mask: Any = None, **options: Any
) -> NDArray[Any]:
    """Return ``start`` refitted to rows by K-SVD with a bound on every row's error."""
    if not len(X):
        return start
    k = min(n_nonzero_coefs, len(start))
    return KSVD(n_nonzero_coefs=k, tol=tol, init=start, **options).fit(X, mask=mask).components_


def approximate(
    X: NDArray[Any],
    atoms: NDArray[Any],
    tol: NDArray[np.float64],
    n_nonzero_coefs: int,
    weights: NDArray[Any] | None = None,
    n_jobs: int | None = None,
) -> NDArray[Any]:
    """Return rows as their codes have them."""
    k = min(n_nonzero_coefs, len(atoms))
    indices, coefficients, _ = omp_arrays(X, atoms, k, tol=tol, weights=weights, n_jobs=n_jobs)
    return np.asarray(codes_from_arrays(indices, coefficients, len(atoms)) @ atoms)


def noise_energy(n_pixels: Any, sigma: float) -> Any:
    """Return the squared error that the noise of so many pixels rarely exceeds."""
    return chi2.ppf(_QUANTILE, n_pixels) * sigma**2
