"""Projections that make activations sparse, as layers of a network would: numpy in, numpy out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._kernels.needle import keep_in_needles
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._validation import check_choice, check_integer, check_real

_STRIP = 1024  # positions of one image that a thread takes at a time
_LAYOUTS = {"NCHW": (4, 1), "NHWC": (4, 3), "NCW": (3, 1), "NWC": (3, 2), "flat": (2, 1)}  # axes, channels

Floats = NDArray[np.floating]


def project_l0(
    x: ArrayLike, k: int | float, per: str = "sample", *, return_mask: bool = False
) -> Floats | tuple[Floats, NDArray[np.bool_]]:
    """Keep the k largest magnitudes of every sample, or of the whole batch; the rest becomes 0.

    Parameters
    ----------
    x : array-like of shape (n_samples, ...)
        Activations, finite; float32 stays, anything else becomes float64.
    k : int or float
        Entries to keep: an integer from 0 to the size of a sample (or batch), or a fraction of it in (0, 1],
        rounded, at least 1. 1 keeps one entry, 1.0 keeps all.
    per : {"sample", "batch"}, default="sample"
        What k counts.
    return_mask : bool, default=False
        Also return which entries were kept. The gradient of a projection layer, as automatic differentiation
        gives it for ``x * mask``, is ``grad * mask``.

    Returns
    -------
    projected : ndarray of the shape of ``x``
    mask : ndarray of bool, if ``return_mask``
        Exactly k entries are kept, zeros included if there are fewer non-zeros.

    Raises
    ------
    ValueError
        If ``x`` is not finite, has no axis of samples, or ``k`` is out of range.

    Notes
    -----
    Among equal entries the one that comes first in ``x`` (C order) stays. The projection is idempotent.

    References
    ----------
    R. Ganz, M. Elad, "Improved image generation via sparsity" (2021).

    Examples
    --------
    >>> from sparsegen_classic.convolutional import project_l0
    >>> project_l0([[3.0, -1.0, 2.0, -4.0]], 2)
    array([[ 3.,  0.,  0., -4.]])
    """
    checked = _check_x(x)
    check_choice("per", per, ("sample", "batch"))
    rows = checked.reshape(len(checked) if per == "sample" else 1, -1)
    keep = _largest(np.abs(rows), _check_k(k, rows.shape[1])).reshape(checked.shape)
    return _answer(np.where(keep, checked, checked.dtype.type(0)), keep, return_mask)


def project_topk(
    x: ArrayLike, k: int | float, by: str = "value", *, return_mask: bool = False
) -> Floats | tuple[Floats, NDArray[np.bool_]]:
    """Keep the k largest entries of every sample; the rest becomes 0.

    The TopK layer of sparse-activation generators takes the largest *values*, so that negative entries go
    first; with ``by="magnitude"`` this is :func:`project_l0`.

    Parameters
    ----------
    x : array-like of shape (n_samples, ...)
        Activations, finite; float32 stays, anything else becomes float64.
    k : int or float
        Entries to keep, or their fraction, as in :func:`project_l0`.
    by : {"value", "magnitude"}, default="value"
        What is compared.
    return_mask : bool, default=False
        Also return which entries were kept; the gradient of the layer is ``grad * mask``.

    Returns
    -------
    projected : ndarray of the shape of ``x``
    mask : ndarray of bool, if ``return_mask``

    Notes
    -----
    Among equal entries the one that comes first in ``x`` (C order) stays. By value, k entries stay even where
    they are negative, and a second application may take zeros instead: only after a ReLU, or by magnitude, is
    the projection idempotent.

    References
    ----------
    X. Xing, S.-C. Zhu, Y. N. Wu, "Inducing sparse coding and And-Or grammar from generator network" (2019).

    Examples
    --------
    >>> from sparsegen_classic.convolutional import project_topk
    >>> project_topk([[3.0, -1.0, 2.0, -4.0]], 2)
    array([[3., 0., 2., 0.]])
    """
    check_choice("by", by, ("value", "magnitude"))
    if by == "magnitude":
        return project_l0(x, k, return_mask=return_mask)
    checked = _check_x(x)
    rows = checked.reshape(len(checked), -1)
    keep = _largest(rows, _check_k(k, rows.shape[1])).reshape(checked.shape)
    return _answer(np.where(keep, checked, checked.dtype.type(0)), keep, return_mask)


def project_needle(
    x: ArrayLike,
    k: int | float,
    layout: str = "NCHW",
    *,
    return_mask: bool = False,
    n_jobs: int | None = None,
) -> Floats | tuple[Floats, NDArray[np.bool_]]:
    """Keep the k largest magnitudes at every position; the rest becomes 0.

    A needle is all channels at one position. This is the exact projection onto {needle count <= k}, which
    Ganz and Elad use as their l0,inf; for the l0,inf of stripes see :func:`project_stripe`.

    Parameters
    ----------
    x : array-like
        Activations, finite; float32 stays, anything else becomes float64.
    k : int or float
        Entries to keep in a needle: an integer from 0 to the number of channels, or a fraction of it in
        (0, 1], rounded, at least 1.
    layout : {"NCHW", "NHWC", "NCW", "NWC", "flat"}, default="NCHW"
        Where the channels are; "flat" has shape (n_needles, n_channels).
    return_mask : bool, default=False
        Also return which entries were kept; the gradient of the layer is ``grad * mask``.
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.

    Returns
    -------
    projected : ndarray of the shape of ``x``
    mask : ndarray of bool, if ``return_mask``
        Exactly k entries of every needle are kept, zeros included if there are fewer non-zeros.

    Raises
    ------
    ValueError
        If ``x`` is not finite, does not have the axes of its layout, or ``k`` is out of range.

    Notes
    -----
    Among equal entries the lower channel stays. The projection is idempotent.

    Examples
    --------
    >>> from sparsegen_classic.convolutional import project_needle
    >>> project_needle([[3.0, -1.0, 2.0], [-0.5, 1.0, 1.0]], 1, layout="flat")
    array([[3., 0., 0.],
           [0., 1., 0.]])
    """
    n_axes, channels = _LAYOUTS[check_choice("layout", layout, tuple(_LAYOUTS))]
    checked = np.ascontiguousarray(_check_x(x))
    if checked.ndim != n_axes:
        raise ValueError(f"x must have {n_axes} axes for layout={layout!r}, got shape {checked.shape}")
    n_channels = checked.shape[channels]
    k = _check_k(k, n_channels)
    out, keep = np.empty_like(checked), np.empty(checked.shape, bool)
    integer = np.dtype(f"i{checked.dtype.itemsize}")
    arrays = [
        a.reshape(len(a), n_channels, -1) if channels == 1 else a.reshape(1, -1, n_channels).swapaxes(1, 2)
        for a in (checked.view(integer), out.view(integer), keep)
    ]
    n_positions = arrays[0].shape[2]
    n_strips = -(-n_positions // _STRIP)
    magnitude = integer.type(np.iinfo(integer).max)

    def project(unit: slice) -> None:
        image, strip = divmod(unit.start, n_strips)
        bits, out_bits, kept = (a[image] for a in arrays)
        last = min((strip + 1) * _STRIP, n_positions)
        keep_in_needles(bits, strip * _STRIP, last, k, magnitude, out_bits, kept)

    for_blocks(project, len(arrays[0]) * n_strips, 1, n_jobs)
    return _answer(out, keep, return_mask)


def project_l1(x: ArrayLike, radius: float) -> Floats:
    """Project every sample onto the l1 ball: the nearest point with ``sum(abs(.)) <= radius``.

    Parameters
    ----------
    x : array-like of shape (n_samples, ...)
        Points, finite; float32 stays, anything else becomes float64.
    radius : float
        Radius of the ball, at least 0.

    Returns
    -------
    ndarray of the shape of ``x``

    Notes
    -----
    The projection is a soft threshold whose level meets the radius (exact, by sorting). Where a sample lies
    outside the ball its gradient is, with S the non-zeros of the result and s their signs,
    ``grad_S - s * mean(s * grad_S)`` on S and 0 elsewhere.

    References
    ----------
    J. Duchi, S. Shalev-Shwartz, Y. Singer, T. Chandra, "Efficient projections onto the l1-ball for learning
    in high dimensions", ICML 2008.

    Examples
    --------
    >>> from sparsegen_classic.convolutional import project_l1
    >>> project_l1([[3.0, -1.0, 0.5], [0.1, 0.2, 0.0]], 2.0)
    array([[2. , 0. , 0. ],
           [0.1, 0.2, 0. ]])
    """
    checked = _check_x(x)
    radius = check_real("radius", radius, 0)
    rows = checked.reshape(len(checked), -1)
    magnitudes = -np.sort(-np.abs(rows.astype(np.float64)), axis=1)
    excess = np.cumsum(magnitudes, axis=1) - radius
    level = (excess / np.arange(1, rows.shape[1] + 1)).max(axis=1, keepdims=True)
    projected = soft_threshold(rows, np.maximum(level, 0).astype(checked.dtype))
    return projected.reshape(checked.shape)


def soft_threshold(
    x: ArrayLike, threshold: ArrayLike, positive: bool = False, *, return_mask: bool = False
) -> Any:
    """Shrink towards zero: ``sign(x) * max(abs(x) - threshold, 0)``.

    The proximal operator of ``threshold * l1``; with ``positive``, of the same plus non-negativity, which is
    a ReLU with bias ``-threshold``.

    Parameters
    ----------
    x : array-like
        Any shape, finite; float32 stays, anything else becomes float64.
    threshold : float or array-like that broadcasts to the shape of ``x``
        At least 0.
    positive : bool, default=False
        Return ``max(x - threshold, 0)``.
    return_mask : bool, default=False
        Also return where the result is not zero; the gradient is ``grad * mask``.

    Returns
    -------
    shrunk : ndarray of the shape of ``x``
    mask : ndarray of bool, if ``return_mask``

    Examples
    --------
    >>> from sparsegen_classic.convolutional import soft_threshold
    >>> soft_threshold([3.0, -2.0, 0.5], 1.0)
    array([ 2., -1.,  0.])
    """
    checked = _check_x(x, samples=False)
    level = np.asarray(threshold, checked.dtype)
    if not np.isfinite(level).all() or (level < 0).any():
        raise ValueError(f"threshold must be finite and at least 0, got {threshold!r}")
    if np.broadcast_shapes(level.shape, checked.shape) != checked.shape:
        raise ValueError(f"threshold of shape {level.shape} does not broadcast to x of shape {checked.shape}")
    shrunk = np.maximum(checked - level, 0)
    if not positive:
        shrunk += np.minimum(checked + level, 0)
    return _answer(shrunk, shrunk != 0, return_mask)


def _largest(keys: Floats, k: int) -> NDArray[np.bool_]:
    """Mark the k largest of every row, the earlier one among equals."""
    if k == 0:
        return np.zeros(keys.shape, bool)
    threshold = np.partition(keys, keys.shape[1] - k, axis=1)[:, [keys.shape[1] - k]]
    keep = keys >= threshold
    for row in np.flatnonzero(np.count_nonzero(keep, axis=1) > k):
        equal = np.flatnonzero(keys[row] == threshold[row])
        keep[row, equal[k - np.count_nonzero(keep[row]) :]] = False
    return keep


def _check_x(x: Any, samples: bool = True) -> Floats:
    checked = np.asarray(x)
    if checked.dtype != np.float32:
        checked = checked.astype(np.float64, copy=False)
    if samples and checked.ndim < 2:
        raise ValueError(
            f"x must have an axis of samples in front, got shape {checked.shape}; use x[None] for one sample"
        )
    if 0 in checked.shape:
        raise ValueError(f"x must not be empty, got shape {checked.shape}")
    if not np.isfinite(checked).all():
        raise ValueError("x must be finite, got NaN or infinity; there is no largest entry then")
    return checked


def _check_k(k: Any, size: int) -> int:
    if isinstance(k, float | np.floating):
        return max(1, round(check_real("k", k, 0, 1, "(]", "a float is a fraction of the entries") * size))
    return check_integer("k", k, 0, size, f"there are {size} entries to choose from")


def _answer(projected: Floats, keep: NDArray[np.bool_], return_mask: bool) -> Any:
    return (projected, keep) if return_mask else projected
