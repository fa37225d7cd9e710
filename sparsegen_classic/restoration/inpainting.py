"""Filling in missing pixels over a sparse dictionary (Mairal, Elad, Sapiro 2008)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._random import spawn_generators
from sparsegen_classic._validation import check_integer, check_real
from sparsegen_classic.images.patches import PatchGrid, check_patch_shape
from sparsegen_classic.restoration.denoising import NOISY_WEIGHT
from sparsegen_classic.restoration.planes import (
    BLOCK,
    approximate,
    channels_to_planes,
    check_image,
    learned_atoms,
    noise_energy,
    planes_to_channels,
    start_atoms,
)

_MODEL_ERROR = 3 / 255  # what a sparse code leaves of a patch without noise, as a standard deviation

_SHARE = 0.75  # of the median: patches with fewer known pixels wait for the next pass


def inpaint(
    image: ArrayLike,
    mask: ArrayLike | str,
    sigma: float = 0.0,
    *,
    dictionary: str | ArrayLike = "image",
    patch_shape: int | tuple[int, int] = 12,
    n_components: int = 256,
    max_iter: int = 10,
    n_training: int = 10_000,
    stride: int = 1,
    random_state: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> NDArray[np.floating]:
    """Fill in missing pixels by sparse coding of what is observed of all overlapping patches.

    Every patch, less the mean of its observed pixels, is coded by OMP over them alone; the code says what the
    others are. Patches are averaged, each counting by the number of its observed pixels. The dictionary is
    learned by K-SVD from the observed pixels of the image, unless another is given. Holes wider than a patch
    are filled from their border inwards.

    Parameters
    ----------
    image : array-like of shape (h, w) or (h, w, c)
        On the scale [0, 1]; uint8, uint16 and bool are scaled by their type. Missing pixels may hold
        anything. Channels are treated as by :func:`denoise`.
    mask : array-like of bool, shape (h, w) or (h, w, c), or "nan"
        True = observed. "nan": what is NaN is missing. Where pixels lack some of their channels only, every
        channel is filled in by itself from its own pixels; a mask whose channels agree is that of (h, w).
    sigma : float, default=0.0
        Standard deviation of white noise in the observed pixels, on the scale of the image. With 0 they come
        back as they are; else they are denoised too.
    dictionary : "image", "dct" or array-like of shape (n_atoms, n_features), default="image"
        As for :func:`denoise`.
    patch_shape : int or (int, int), default=12
        Sides of a patch. The fewer pixels are observed, the larger it should be.
    n_components, max_iter, n_training, stride, random_state, n_jobs, verbose
        As for :func:`denoise`.

    Returns
    -------
    ndarray of the shape of ``image``
        In [0, 1]; float64 for float64 images, else float32.

    Raises
    ------
    ValueError
        If no pixel is observed, an observed one is NaN, ``sigma`` is negative, or as for :func:`denoise`.

    Notes
    -----
    A patch is coded to the error that noise of ``max(sigma, 3/255)`` would leave, or by at most an eighth as
    many atoms as it has pixels.

    References
    ----------
    J. Mairal, M. Elad, G. Sapiro, "Sparse representation for color image restoration", IEEE Trans. Image
    Processing 17 (2008).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.restoration import inpaint
    >>> y, x = np.mgrid[:48, :48]
    >>> image = 0.5 + 0.4 * np.sin(x / 3) * np.cos(y / 4)
    >>> mask = np.random.default_rng(0).random(image.shape) < 0.5
    >>> restored = inpaint(np.where(mask, image, np.nan), "nan", random_state=0)
    >>> bool(np.std(restored - image) < 0.03)
    True
    """
    observed = _check_mask(image, mask)
    pixels = check_image(image, observed)
    sigma = check_real("sigma", sigma, 0, 1, "[]", "give the standard deviation of the noise, 0 for none")
    sides = check_patch_shape(patch_shape)
    grid = PatchGrid(pixels.shape[:2], sides, check_integer("stride", stride, 1, min(sides)))
    check_integer("n_training", n_training, 1)
    start, learn = start_atoms(dictionary, grid, n_components)
    options = {"max_iter": check_integer("max_iter", max_iter, 1), "n_jobs": n_jobs, "verbose": verbose}
    known = np.where(observed if pixels.ndim == observed.ndim else observed[..., np.newaxis], pixels, 0)
    if observed.ndim == 2:
        planes = channels_to_planes(known)
        masks = np.broadcast_to(observed, planes.shape)
    else:  # a channel less its neighbours means nothing where they are not all known
        planes = np.moveaxis(known, 2, 0).astype(np.float64, order="C")
        masks = np.moveaxis(observed, 2, 0)
    generators = spawn_generators(random_state, len(planes))
    for plane, seen, rng in zip(planes, masks, generators, strict=True):
        atoms = start
        if learn and (sigma > 0 or not seen.all()):
            X, known_pixels, tol = _training_patches(plane, seen, grid, n_training, sigma, rng)
            k = _most_atoms(grid)
            atoms = learned_atoms(X, start, tol, k, mask=known_pixels, random_state=rng, **options)
        plane[:] = _inpaint_plane(plane, seen, grid, atoms, sigma, n_jobs)
    if observed.ndim == 2:
        return planes_to_channels(planes, pixels)
    return np.clip(np.moveaxis(planes, 0, 2), 0, 1).astype(pixels.dtype, order="C")


def _check_mask(image: ArrayLike, mask: Any) -> NDArray[np.bool_]:
    """Return what is observed: (h, w) where all channels agree, else (h, w, c)."""
    pixels = np.asarray(image)
    if isinstance(mask, str):
        if mask != "nan":
            raise ValueError(f"mask must be 'nan' or a boolean array (True = observed), got {mask!r}")
        observed = ~np.isnan(pixels)
    else:
        observed = np.asarray(mask)
        if observed.dtype != bool:
            raise TypeError(
                f"mask must be boolean (True = observed), got an array of {observed.dtype}; compare it, e.g. "
                "mask > 0"
            )
    if observed.shape not in (pixels.shape, pixels.shape[:2]):
        raise ValueError(
            f"mask must have the shape (h, w)={pixels.shape[:2]} of the image, found {observed.shape}; only "
            "the mask of a colour image may have its channels too"
        )
    if not observed.any(axis=(0, 1)).all():
        raise ValueError(
            "mask must mark at least one pixel as observed (True), in every channel, found none; is it "
            "inverted?"
        )
    common = observed.ndim == 3 and (observed == observed[..., :1]).all()
    return observed[..., 0] if common else observed


def _training_patches(
    plane: NDArray[np.float64], observed: NDArray[np.bool_], grid: PatchGrid, n: int, sigma: float, rng: Any
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.float64]]:
    """Return random patches that need an atom, what is observed of them, and their error targets."""
    chosen = rng.permutation(grid.n_patches)[:n]
    seen = grid.extract(observed, chosen)
    X, _ = _split_means(grid.extract(plane, chosen), seen)
    count = seen.sum(axis=1)
    tol = _targets(count, sigma)
    useful = (count >= _most_atoms(grid)) & (np.einsum("ij,ij->i", X, X) > tol)
    return X[useful], seen[useful], tol[useful]


def _inpaint_plane(
    plane: NDArray[np.float64],
    observed: NDArray[np.bool_],
    grid: PatchGrid,
    atoms: NDArray[Any],
    sigma: float,
    n_jobs: int | None,
) -> NDArray[np.float64]:
    """Return the plane filled in; what a pass cannot reach is filled by the next, from what it filled."""
    lowest, highest = plane[observed].min(), plane[observed].max()
    total, weight = np.zeros(plane.shape), np.zeros(plane.shape)
    if sigma > 0:
        total += NOISY_WEIGHT / sigma * observed * plane
        weight += NOISY_WEIGHT / sigma * observed
    known, filled = observed, plane
    while True:
        count = np.concatenate([seen.sum(axis=1) for _, seen in grid.blocks(known, BLOCK)])
        holed = (count > 0) & (count < grid.n_features)
        useful = holed & (count >= _SHARE * np.median(count[holed])) if holed.any() else holed
        if sigma > 0 and known is observed:
            useful |= count == grid.n_features
        numbers = np.flatnonzero(useful)
        for start in range(0, len(numbers), BLOCK):
            block = numbers[start : start + BLOCK]
            seen = grid.extract(known, block)
            X, means = _split_means(grid.extract(filled, block), seen)
            tol = _targets(count[block], sigma)
            X = approximate(X, atoms, tol, _most_atoms(grid), seen, n_jobs)
            share = count[block] / grid.n_features
            grid.add(total, np.clip(X + means, lowest, highest), block, share)
            grid.add(weight, np.ones((1, grid.n_features)), block, share)
        fresh = (weight > 0) & (~known | (sigma > 0))
        filled = np.divide(total, weight, out=filled.copy(), where=fresh)
        before, known = known, known | fresh
        if known.all():
            return filled
        if np.array_equal(before, known):
            raise ValueError(
                f"patch_shape={grid.patch_shape} and this stride leave pixels missing that share no patch "
                "with an observed one; give larger patches or a smaller stride"
            )
        total[:], weight[:] = 0, 0


def _split_means(
    X: NDArray[np.float64], seen: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return patches less the mean (n, 1) of what is seen of them, 0 elsewhere."""
    means = X.sum(axis=1, keepdims=True, where=seen) / np.maximum(seen.sum(axis=1, keepdims=True), 1)
    return np.where(seen, X - means, 0), means


def _targets(count: NDArray[np.integer], sigma: float) -> NDArray[np.float64]:
    return np.asarray(noise_energy(np.maximum(count, 1), max(sigma, _MODEL_ERROR)))


def _most_atoms(grid: PatchGrid) -> int:
    return max(1, grid.n_features // 8)
