"""Parts of convolutional dictionary learning: images, a low-pass, statistics of codes, the filter step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from sparsegen_classic._kernels.conv_learning import add_statistics, descend_filters
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._validation import check_real
from sparsegen_classic.convolutional.sparse_maps import SparseMaps

Floats = NDArray[np.floating]

_SWEEPS, _STEPS = 3, 5  # over all filters in one filter step, and of gradient on each


def split_lowpass(x: ArrayLike, weight: float = 10.0, mask: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Split images into a smooth part and the rest, which is what convolutional sparse coding is good at.

    Small filters cannot represent what is smooth over more than their size with few atoms: on natural images
    they would all become blobs. The smooth part is the Tikhonov one, ``argmin 1/2 ||x - low||^2 + weight / 2
    ||grad low||^2``, with mirrored borders.

    Parameters
    ----------
    x : array-like of shape (..., h, w)
        Images; float32 stays, anything else becomes float64.
    weight : float, default=10.0
        Strength of the smoothing, greater than 0; the smooth part is an average over about ``sqrt(weight)``
        pixels.
    mask : array-like of bool, default=None
        Which pixels are observed, of a shape that broadcasts to that of ``x``. Others do not count, may be
        NaN, and are 0 in the rest; the smooth part, a weighted average of what is observed, goes on there.

    Returns
    -------
    high, low : ndarray of the shape of ``x``
        ``x`` is their sum where it is observed.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.convolutional import split_lowpass
    >>> high, low = split_lowpass(np.full((16, 16), 0.5))
    >>> bool(np.allclose(high, 0)), bool(np.allclose(low, 0.5))
    (True, True)
    """
    weight = check_real("weight", weight, 0, closed="()")
    images = np.asarray(x)
    images = images.astype(np.float32 if images.dtype == np.float32 else np.float64, copy=False)
    frequencies = (4 * np.sin(np.pi * np.arange(n) / (2 * n)) ** 2 for n in images.shape[-2:])
    response = 1 / (1 + weight * np.add.outer(*frequencies)).astype(images.dtype)

    def smooth(image: Floats) -> Floats:
        return fft.idctn(fft.dctn(image, axes=(-2, -1)) * response, axes=(-2, -1))

    if mask is None:
        low = smooth(images)
        return images - low, low
    observed = np.broadcast_to(np.asarray(mask, bool), images.shape)
    share = np.maximum(smooth(observed.astype(images.dtype)), np.finfo(images.dtype).eps)
    low = smooth(np.where(observed, images, 0)) / share
    return np.where(observed, images - low, 0), low


@dataclass(frozen=True, eq=False)
class Observed:
    """An image (n_channels, h, w), zero where it is not observed, and its mask (None: all observed)."""

    pixels: Floats
    mask: NDArray[np.bool_] | None

    def filled(self, synthesis: Floats) -> Floats:
        """Return the image, with the synthesis where it is not observed."""
        return self.pixels if self.mask is None else np.where(self.mask, self.pixels, synthesis)


def check_observed(
    X: Any, mask: Any, atom_shape: tuple[int, int], dtype: Any, weight: float
) -> list[Observed]:
    """Return the images of an array (n, [n_channels,] h, w) or of a sequence, without their smooth part."""
    if isinstance(X, np.ndarray) and X.ndim not in (3, 4):
        raise ValueError(
            f"X must be images (n, h, w) or (n, n_channels, h, w), or a list of images, got shape {X.shape}; "
            "give a single image as X[numpy.newaxis]"
        )
    images = [np.asarray(image) for image in X]
    if not images:
        raise ValueError("X must hold at least one image, got none")
    if dtype is None:
        dtype = np.float32 if all(image.dtype == np.float32 for image in images) else np.float64
    masks: Any = [None] * len(images)
    if mask is not None:
        masks = np.broadcast_to(mask, X.shape) if isinstance(X, np.ndarray) else list(mask)
    if len(masks) != len(images):
        raise ValueError(f"mask must hold one mask an image, {len(images)}, got {len(masks)}")
    observed = []
    for i, (image, known) in enumerate(zip(images, masks, strict=True)):
        one = _check_one(f"image {i} of X", image, known, atom_shape)
        if weight:
            one = Observed(split_lowpass(one.pixels, weight, one.mask)[0], one.mask)
        observed.append(Observed(np.ascontiguousarray(one.pixels, dtype), one.mask))
    shapes = {one.pixels.shape[0] for one in observed}
    if len(shapes) > 1:
        raise ValueError(f"X must hold images of the same number of channels, got {sorted(shapes)}")
    return observed


def _check_one(name: str, image: NDArray[Any], mask: Any, atom_shape: tuple[int, int]) -> Observed:
    image = image[np.newaxis] if image.ndim == 2 else image
    if image.ndim != 3 or image.dtype.kind not in "buif":
        raise ValueError(
            f"{name} must be real numbers of shape (h, w) or (n_channels, h, w), got shape {image.shape} of "
            f"{image.dtype}"
        )
    if any(side < length for side, length in zip(image.shape[1:], atom_shape, strict=True)):
        raise ValueError(
            f"{name} must be at least as large as atom_shape={atom_shape}, got {image.shape[1:]}; give "
            "larger images or smaller atoms"
        )
    known = None if mask is None else np.broadcast_to(np.asarray(mask, bool), image.shape)
    if known is not None:
        if not known.any():
            raise ValueError(
                f"mask must leave at least one pixel of every image observed, but {name} has none"
            )
        image = np.where(known, image, 0)
    if not np.isfinite(image).all():
        raise ValueError(f"{name} must be finite, but has NaN or infinite pixels; mask them")
    return Observed(image, known)


def blend_statistics(
    gram: NDArray[np.float64],
    cross: NDArray[np.float64],
    images: list[Floats],
    codes: list[SparseMaps],
    weight: float,
    n_jobs: Any = None,
) -> None:
    """Give the averages over these images this weight in gram and cross, and what was there the rest.

    Threads share the atoms, so that the sums do not depend on them.
    """
    prepared = [_entries(code) for code in codes]

    def work(atoms: slice) -> None:
        gram[atoms] *= 1 - weight
        cross[atoms] *= 1 - weight
        for image, (entries, value, start, by_row) in zip(images, prepared, strict=True):
            first, last = np.searchsorted(entries[:, 0], (atoms.start, atoms.stop))
            factor = weight / len(images)
            add_statistics(entries, value, start, by_row, image, factor, first, last, gram, cross)

    for_blocks(work, len(gram), max(1, len(gram) // 16), n_jobs)


def better_filters(gram: NDArray[np.float64], cross: NDArray[np.float64], filters: Floats) -> Floats:
    """Return filters of norm at most 1 that fit these statistics better, never worse."""
    better = filters.astype(np.float64)
    for _ in range(_SWEEPS):
        descend_filters(gram, cross, _STEPS, better)
    return better.astype(filters.dtype)


def _entries(
    code: SparseMaps,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the non-zeros as ``add_statistics`` wants them."""
    entries = np.stack(code.coordinates, axis=1)
    by_row = np.lexsort((entries[:, 2], entries[:, 1]))
    start = np.searchsorted(entries[by_row, 1], np.arange(code.shape[1] + 1))
    return entries, code.values.astype(np.float64), start, by_row


def random_patches(
    images: list[Observed], n: int, shape: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """Return ``n`` random patches (n, n_channels, h, w) of unit norm, noise where a patch is zero."""
    h, w = shape
    first = images[0].pixels
    patches = np.empty((n, len(first), h, w), first.dtype)
    for patch, i in zip(patches, rng.integers(len(images), size=n), strict=True):
        pixels = images[i].pixels
        top, left = rng.integers(pixels.shape[1] - h + 1), rng.integers(pixels.shape[2] - w + 1)
        patch[...] = pixels[:, top : top + h, left : left + w]
        if not patch.any():
            patch[...] = rng.standard_normal(patch.shape)
    return patches / np.linalg.norm(patches.reshape(n, -1), axis=1)[:, None, None, None]


def worst_patches(residuals: list[Floats], n: int, shape: tuple[int, int]) -> Floats:
    """Return up to ``n`` patches of unit norm, which do not overlap, where the residuals are largest."""
    h, w = shape
    tiles = []
    for residual in residuals:
        rows, columns = residual.shape[1] // h, residual.shape[2] // w
        cut = residual[:, : rows * h, : columns * w].reshape(len(residual), rows, h, columns, w)
        tiles.append(cut.transpose(1, 3, 0, 2, 4).reshape(rows * columns, len(residual), h, w))
    patches = np.concatenate(tiles)
    norms = np.linalg.norm(patches.reshape(len(patches), -1), axis=1)
    worst = np.argsort(-norms, kind="stable")[:n]
    worst = worst[norms[worst] > 0]
    return patches[worst] / norms[worst][:, None, None, None]
