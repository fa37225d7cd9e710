"""Four counts of the non-zeros of a convolutional code: global, needle, pixel and stripe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.convolutional.sparse_maps import SparseMaps

COUNTS = ("needle", "pixel", "stripe")


@dataclass(frozen=True, eq=False)
class SparsityCounts:
    """What :func:`sparsity_counts` returns: the largest counts of all images, and where they come from.

    Attributes
    ----------
    global_ : int
        Most non-zeros of an image (the underscore because ``global`` is a keyword).
    needle, pixel, stripe : int
        Largest number of non-zeros at one position, touching one pixel, and overlapping one atom.
    per_image : ndarray of shape (4,) or (n_images, 4), int64
        The four counts of every image: global, needle, pixel, stripe.
    needle_map, pixel_map, stripe_map : ndarray of shape (*maps_shape) or (*image_shape), int64
        The counts at every position (needle, stripe) or pixel of the uncropped image (pixel), with the axis
        of images in front for a batch.
    """

    global_: int
    needle: int
    pixel: int
    stripe: int
    per_image: NDArray[np.int64]
    needle_map: NDArray[np.int64]
    pixel_map: NDArray[np.int64]
    stripe_map: NDArray[np.int64]

    def __repr__(self) -> str:
        return (
            f"SparsityCounts(global_={self.global_}, needle={self.needle}, pixel={self.pixel}, "
            f"stripe={self.stripe})"
        )


@dataclass(frozen=True)
class Windows:
    """The windows that a count is taken over, along one axis.

    Position i of the maps lies in the windows ``step * i + first`` to ``step * i + last`` of ``n_windows``;
    outside there are none (zero boundary), or they wrap around (circular).
    """

    step: int
    first: int
    last: int
    n_windows: int


def windows_of(
    count: str,
    maps_shape: Sequence[int],
    atom_shape: Sequence[int],
    stride: Sequence[int],
    boundary: str,
) -> list[Windows]:
    """Return the windows of a count, one entry an axis."""
    axes = []
    for n, length, step in zip(maps_shape, atom_shape, stride, strict=True):
        reach = (length - 1) // step if count == "stripe" else 0
        if boundary == "circular" and 2 * reach + 1 > n:  # every position overlaps every other
            axes.append(Windows(0, 0, 0, 1))
        elif count == "pixel":
            n_pixels = n * step if boundary == "circular" else (n - 1) * step + length
            axes.append(Windows(step, 0, length - 1, n_pixels))
        else:
            axes.append(Windows(1, -reach, reach, n))
    return axes


def count_in_windows(needles: NDArray[Any], windows: Sequence[Windows], circular: bool) -> NDArray[Any]:
    """Sum (..., *maps_shape) over the windows, one axis after the other."""
    lead = needles.ndim - len(windows)
    for axis, w in enumerate(windows, lead):
        z = np.moveaxis(needles, axis, -1)
        n, width = z.shape[-1], w.last - w.first + 1
        if w.step == 0:
            summed = z.sum(-1, keepdims=True)
        else:  # place the positions where their first window is, then sum the `width` entries up to each
            full = np.zeros((*z.shape[:-1], (n - 1) * w.step + width), z.dtype)
            full[..., : (n - 1) * w.step + 1 : w.step] = z
            total = np.cumsum(full, axis=-1)
            total[..., width:] -= total[..., :-width].copy()
            if circular:
                summed = total[..., : w.n_windows].copy()
                wrapped = total.shape[-1] - w.n_windows
                if wrapped > 0:
                    summed[..., :wrapped] += total[..., w.n_windows :]
                summed = np.roll(summed, w.first, axis=-1)
            else:
                summed = total[..., -w.first : -w.first + w.n_windows]
        needles = np.moveaxis(summed, -1, axis)
    return needles


def sparsity_counts(
    maps: ArrayLike | SparseMaps,
    atom_shape: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    boundary: str = "zero",
) -> SparsityCounts:
    """Count the non-zeros of a convolutional code: in all, and at the places where they crowd.

    Parameters
    ----------
    maps : array-like of shape (n_atoms, *maps_shape) or (n_images, n_atoms, *maps_shape), or SparseMaps
        The code, with as many spatial axes as ``atom_shape`` has entries.
    atom_shape : int or sequence of int
        Size of the filters: a length for signals, (height, width) for images.
    stride : int or sequence of int, default=1
        Step between neighbouring atoms, in pixels.
    boundary : {"zero", "circular"}, default="zero"
        Whether atoms continue at the opposite border.

    Returns
    -------
    SparsityCounts
        ``global_``, ``needle``, ``pixel`` and ``stripe`` (largest of all images), ``per_image``, and the
        counts at every position.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or the maps are not finite.

    Notes
    -----
    For filters of length n at stride 1: *needle*, the non-zeros at one position; *pixel*, those whose atoms
    touch one pixel (n positions); *stripe*, those whose atoms overlap the atom at one position (2n - 1
    positions), the l0,inf of Papyan, Sulam and Elad. With a stride s these windows have at most ceil(n / s)
    and 2 floor((n - 1) / s) + 1 positions. Always needle <= pixel <= stripe <= global.

    References
    ----------
    V. Papyan, J. Sulam, M. Elad, "Working locally thinking globally: theoretical guarantees for
    convolutional sparse coding", IEEE Trans. Signal Processing 65 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.convolutional import sparsity_counts
    >>> maps = np.zeros((2, 12))
    >>> maps[:, 0] = maps[0, [2, 3, 4, 8]] = 1
    >>> sparsity_counts(maps, 3, boundary="circular")
    SparsityCounts(global_=6, needle=2, pixel=3, stripe=5)
    """
    atom_shape, stride = check_geometry(atom_shape, stride, boundary)
    dense, batch = check_maps(maps, atom_shape, stride, boundary)
    spatial = dense.shape[2:]
    needles = np.count_nonzero(dense, axis=1).astype(np.int64)
    at = {"needle": needles}
    for count in ("pixel", "stripe"):
        windows = windows_of(count, spatial, atom_shape, stride, boundary)
        at[count] = count_in_windows(needles, windows, boundary == "circular")
        if boundary == "circular":  # one window for a whole axis stands for all of its positions
            full = [n * s if count == "pixel" else n for n, s in zip(spatial, stride, strict=True)]
            at[count] = np.broadcast_to(at[count], (len(needles), *full))
    n = len(needles)
    flat = [at[count].reshape(n, -1) for count in COUNTS]
    per_image = np.stack([flat[0].sum(1), *(f.max(1) for f in flat)], axis=1)
    positions = [at[count].reshape(*batch, *at[count].shape[1:]) for count in COUNTS]
    total, needle, pixel, stripe = (int(most) for most in per_image.max(axis=0))
    return SparsityCounts(total, needle, pixel, stripe, per_image.reshape(*batch, 4), *positions)


def check_geometry(atom_shape: Any, stride: Any, boundary: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the atom shape and the stride, one entry an axis."""
    check_choice("boundary", boundary, ("zero", "circular"))
    sizes = (atom_shape,) if isinstance(atom_shape, Integral) else tuple(atom_shape)
    if len(sizes) not in (1, 2):
        raise ValueError(f"atom_shape must be a length or (height, width), got {atom_shape!r}")
    steps = (stride,) * len(sizes) if isinstance(stride, Integral) else tuple(stride)
    if len(steps) != len(sizes):
        raise ValueError(f"stride must be one number or one an axis of {sizes}, got {stride!r}")
    sizes = tuple(check_integer("atom_shape", size, 1) for size in sizes)
    remedy = "a larger stride leaves gaps between the atoms"
    return sizes, tuple(
        check_integer("stride", s, 1, size, remedy) for s, size in zip(steps, sizes, strict=True)
    )


def check_maps(
    maps: Any, atom_shape: tuple[int, ...], stride: tuple[int, ...], boundary: str
) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Return maps as a batch (n, n_atoms, *maps_shape), float32 or float64, and the leading shape."""
    dense = maps.to_dense() if isinstance(maps, SparseMaps) else np.asarray(maps)
    d = len(atom_shape)
    if dense.ndim not in (d + 1, d + 2) or 0 in dense.shape:
        raise ValueError(
            f"maps must have shape (n_atoms, ...) or (n_images, n_atoms, ...) with {d} spatial axes for "
            f"atom_shape={atom_shape}, got shape {dense.shape}"
        )
    if dense.dtype != np.float32:
        dense = dense.astype(np.float64)
    if not np.isfinite(dense).all():
        raise ValueError("maps must be finite, got NaN or infinity; remove them first")
    spatial = dense.shape[-d:]
    if boundary == "circular" and any(n * s < k for n, s, k in zip(spatial, stride, atom_shape, strict=True)):
        raise ValueError(f"circular maps {spatial} make an image smaller than the atoms {atom_shape}")
    batch = dense.shape[: dense.ndim - d - 1]
    return dense.reshape(-1, *dense.shape[-d - 1 :]), batch
