"""Patches of images: where they lie, taking them out, putting them back.

A patch is one row of numbers, ``patch.ravel()`` of its pixels (channels last), so patches go straight into
``KSVD`` and ``orthogonal_mp``. Axes beyond ``patch_shape`` are taken whole: for an image (h, w, 3) and
patches (8, 8) a row holds 192 numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._kernels.patches import add_patches
from sparsegen_classic._random import seed_sequence
from sparsegen_classic._validation import check_choice, check_integer

MEANS = ("none", "patch")


class PatchGrid:
    """Where the patches of an image lie.

    Along each axis patches start at 0, ``stride``, 2 ``stride``, ... as long as they fit; where the last one
    does not end at the border, one more does. So every pixel is covered as long as ``stride`` is at most the
    side of the patch.

    Parameters
    ----------
    image_shape : tuple of int
        (h, w), (h, w, c), or any number of axes.
    patch_shape : tuple of int or int
        Sides of a patch; later axes of the image (channels) are taken whole. An int means a square.
    stride : int or tuple of int, default=1
        Step from patch to patch, one for all axes or one each, at least 1.

    Attributes
    ----------
    image_shape, patch_shape : tuple of int
        As many axes each; the channels of the image are part of the patch.
    starts : tuple of ndarray
        First index of the patches along every axis; patches are numbered in C order over these.
    n_patches, n_features : int
        Number of patches, and of values in one.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.images import PatchGrid
    >>> grid = PatchGrid((5, 6), (2, 3), stride=2)
    >>> grid.starts
    (array([0, 2, 3]), array([0, 2, 3]))
    >>> image = np.arange(30.0).reshape(5, 6)
    >>> patches = grid.extract(image)
    >>> patches.shape
    (9, 6)
    >>> np.array_equal(grid.assemble(patches), image)
    True
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        patch_shape: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
    ):
        self.image_shape = tuple(check_integer("image_shape", side, 1) for side in image_shape)
        sides = check_patch_shape(patch_shape)
        if len(sides) > len(self.image_shape):
            raise ValueError(
                f"patch_shape={sides} has more axes than the image of shape {self.image_shape}; "
                "give one side for each axis that patches slide along"
            )
        for side, length in zip(sides, self.image_shape, strict=False):
            if side > length:
                raise ValueError(
                    f"patch_shape={sides} is larger than the image of shape {self.image_shape}; "
                    "give smaller patches or a larger image"
                )
        steps = stride if isinstance(stride, tuple | list) else (stride,) * len(sides)
        if len(steps) != len(sides):
            raise ValueError(
                f"stride must be an integer or one for each of patch_shape={sides}, got {stride!r}"
            )
        steps = tuple(check_integer("stride", step, 1) for step in steps)
        self.patch_shape = sides + self.image_shape[len(sides) :]
        self.starts = tuple(
            _starts(length - side, step)
            for length, side, step in zip(
                self.image_shape, self.patch_shape, steps + (1,) * len(self.image_shape), strict=False
            )
        )
        self.n_patches = prod(map(len, self.starts))
        self.n_features = prod(self.patch_shape)

    def extract(self, image: NDArray[Any], block: slice | NDArray[Any] | None = None) -> NDArray[Any]:
        """Return patches (n, n_features) of ``image``, in its dtype.

        ``block`` chooses patches by number (a slice or an index array; by default all). Nothing else is
        copied, so that an image can be worked through block by block.
        """
        if image.shape != self.image_shape:
            raise ValueError(f"image must have shape {self.image_shape}, found {image.shape}")
        view = sliding_window_view(image, self.patch_shape)
        return view[self._indices(block)].reshape(-1, self.n_features)

    def blocks(self, image: NDArray[Any], size: int = 2**14) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield ``(slice, patches)`` for ``size`` patches at a time."""
        for start in range(0, self.n_patches, size):
            block = slice(start, min(start + size, self.n_patches))
            yield block, self.extract(image, block)

    def add(
        self,
        total: NDArray[np.floating],
        patches: NDArray[np.floating],
        block: slice | NDArray[Any] | None = None,
        weights: ArrayLike = 1.0,
    ) -> None:
        """Add patches, times ``weights``, to the image ``total`` (C-contiguous) where they lie.

        The adjoint of :meth:`extract`. ``weights`` is one number, one a patch (n,), one a value
        (1, n_features), or both (n, n_features); ``patches`` of shape (1, n_features) is used for all.
        """
        w = np.asarray(weights, total.dtype)
        w = w.reshape(-1, 1) if w.ndim < 2 else w
        origin = np.ravel_multi_index(self._indices(block), self.image_shape)
        inside = np.ravel_multi_index(np.indices(self.patch_shape), self.image_shape).ravel()
        for array, name, rows in ((patches, "patches", len(origin)), (w, "weights", len(origin))):
            if array.shape[0] not in (1, rows) or array.shape[1] not in (1, self.n_features):
                raise ValueError(
                    f"{name} must have {rows} rows and {self.n_features} columns, found shape {array.shape}"
                )
        add_patches(total.reshape(-1), origin, inside, patches, w)

    def assemble(self, patches: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.floating]:
        """Return the image in which every pixel is the weighted mean of the patches over it.

        A pixel without weight is NaN. The dtype is that of ``patches`` if floating, else float64.
        """
        rows = np.asarray(patches)
        rows = rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64)
        if rows.shape != (self.n_patches, self.n_features):
            raise ValueError(
                f"patches must have shape (n_patches, n_features)={(self.n_patches, self.n_features)} for an "
                f"image of shape {self.image_shape} and patches {self.patch_shape}, found {rows.shape}"
            )
        total, weight = np.zeros(self.image_shape, rows.dtype), np.zeros(self.image_shape, rows.dtype)
        weights = 1.0 if weights is None else weights
        self.add(total, rows, weights=weights)
        self.add(weight, np.ones((1, self.n_features), rows.dtype), weights=weights)
        with np.errstate(invalid="ignore"):
            return total / weight

    def _indices(self, block: slice | NDArray[Any] | None) -> tuple[NDArray[np.intp], ...]:
        """Return the first index of the chosen patches along every axis."""
        numbers = np.arange(self.n_patches)[slice(None) if block is None else block]
        at = np.unravel_index(numbers, [len(starts) for starts in self.starts])
        return tuple(starts[i] for starts, i in zip(self.starts, at, strict=True))


def extract_patches(
    image: ArrayLike, patch_shape: int | tuple[int, ...], stride: int | tuple[int, ...] = 1
) -> NDArray[Any]:
    """Return all patches of an image as rows.

    Parameters
    ----------
    image : array-like of shape (h, w), (h, w, c) or with more axes
        Of any dtype, which is kept.
    patch_shape, stride
        As for :class:`PatchGrid`, which also takes patches out block by block.

    Returns
    -------
    ndarray of shape (n_patches, n_features)

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.images import extract_patches
    >>> extract_patches(np.arange(9).reshape(3, 3), 2)
    array([[0, 1, 3, 4],
           [1, 2, 4, 5],
           [3, 4, 6, 7],
           [4, 5, 7, 8]])
    """
    pixels = np.asarray(image)
    return PatchGrid(pixels.shape, patch_shape, stride).extract(pixels)


def assemble_patches(
    patches: ArrayLike,
    image_shape: tuple[int, ...],
    patch_shape: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    weights: ArrayLike | None = None,
) -> NDArray[np.floating]:
    """Put patches back: every pixel is the weighted mean of the patches over it.

    Parameters
    ----------
    patches : array-like of shape (n_patches, n_features)
        As :func:`extract_patches` returns them.
    image_shape : tuple of int
        Shape of the image.
    patch_shape, stride
        As they were taken out.
    weights : array-like, optional
        One weight a patch (n_patches,), one a value of a patch (1, n_features) (a window), or both
        (n_patches, n_features). By default all the same.

    Returns
    -------
    ndarray of shape image_shape
        In the dtype of ``patches`` if floating, else float64; NaN where no weight lies.
    """
    return PatchGrid(image_shape, patch_shape, stride).assemble(patches, weights)


def sample_patches(
    images: Iterable[NDArray[Any]],
    n_patches: int,
    patch_shape: int | tuple[int, ...],
    random_state: Any = None,
) -> NDArray[Any]:
    """Return random distinct patches, every position of every image being equally likely.

    One pass over any iterable of images, of any sizes; only the chosen patches are kept. If there are fewer
    positions than ``n_patches``, all are returned. Images smaller than a patch are passed over.

    Parameters
    ----------
    images : iterable of ndarray (h, w) or (h, w, c)
        E.g. an array of images, a list, or :func:`iterate_images` over a folder.
    n_patches : int
        How many.
    patch_shape : tuple of int or int
        Sides of a patch.
    random_state : int, RandomState, Generator or None, default=None
        Seed. The same images in the same order give the same patches.

    Returns
    -------
    ndarray of shape (n, n_features)
        In random order, in the dtype of the images.

    Notes
    -----
    Every position gets a uniform key, and the ``n_patches`` smallest keys win. Of an image with N positions
    only the keys below the largest one kept so far, t, matter: Binomial(N, t) many.
    """
    n_patches = check_integer("n_patches", n_patches, 1)
    sides = check_patch_shape(patch_shape)
    rng = np.random.default_rng(seed_sequence(random_state))
    kept: NDArray[Any] | None = None
    keys, limit = np.empty(0), 1.0
    for image in images:
        if any(side > length for side, length in zip(sides, image.shape, strict=False)):
            continue
        grid = PatchGrid(image.shape, sides)
        fresh = rng.random(rng.binomial(grid.n_patches, limit)) * limit
        positions = rng.choice(grid.n_patches, len(fresh), replace=False)
        if len(fresh) > n_patches:
            best = np.argpartition(fresh, n_patches - 1)[:n_patches]
            fresh, positions = fresh[best], positions[best]
        patches = grid.extract(image, positions)
        kept = patches if kept is None else np.concatenate([kept, patches])
        keys = np.concatenate([keys, fresh])
        if len(keys) > n_patches:
            best = np.argpartition(keys, n_patches - 1)[:n_patches]
            kept, keys = kept[best], keys[best]
        if len(keys) == n_patches:
            limit = keys.max()
    if kept is None:
        raise ValueError(f"no image is as large as patch_shape={sides}; give smaller patches")
    return kept[np.argsort(keys, kind="stable")]


def split_means(
    patches: NDArray[np.floating], mean: str = "patch", n_channels: int = 1
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return patches less their means, and the means (n, n_channels), all 0 for ``mean="none"``.

    "patch" takes from every patch its own mean, one for each channel; :func:`add_means` puts it back.
    """
    check_choice("mean", mean, MEANS)
    if mean == "none":
        return patches, np.zeros((len(patches), n_channels), patches.dtype)
    pixels = patches.reshape(len(patches), -1, n_channels)
    means = pixels.mean(axis=1)
    return (pixels - means[:, np.newaxis]).reshape(patches.shape), means


def add_means(patches: NDArray[np.floating], means: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return patches with the means (n, n_channels) of :func:`split_means` added."""
    pixels = patches.reshape(len(patches), -1, means.shape[1])
    return (pixels + means[:, np.newaxis]).reshape(patches.shape)


def check_patch_shape(patch_shape: Any) -> tuple[int, ...]:
    """Return the sides of a patch, each at least 1; an int means a square."""
    sides = patch_shape if isinstance(patch_shape, tuple | list) else (patch_shape, patch_shape)
    if not sides:
        raise ValueError("patch_shape must have at least one side, got ()")
    return tuple(check_integer("patch_shape", side, 1) for side in sides)


def _starts(last: int, step: int) -> NDArray[np.intp]:
    starts = np.arange(0, last + 1, step)
    return starts if starts[-1] == last else np.append(starts, last)
