"""What a convolutional dictionary needs from its filters alone: checks, and the norm on a circle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator, eigsh

from sparsegen_classic._validation import check_integer

Floats = NDArray[np.floating]


def check_filters(filters: ArrayLike) -> Floats:
    """Return a read-only copy in float32 or float64, or raise an error that says what is wrong."""
    array = np.asarray(filters)
    array = np.array(array, np.float32 if array.dtype == np.float32 else np.float64, order="C")
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise ValueError(
            "filters must have shape (n_atoms, n_channels, h, w) or (n_atoms, n_channels, length), got "
            f"{array.shape}"
        )
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0])
        raise ValueError(f"filters must be finite, but filter {bad} has NaN or infinite entries; remove it")
    zero = np.flatnonzero(~array.reshape(len(array), -1).any(axis=1))
    if len(zero):
        raise ValueError(f"filters must not be zero, but filter {zero[0]} is; remove it")
    array.flags.writeable = False
    return array


def check_batch(
    name: str, value: ArrayLike, what: str, n: int, ndim: int, dtype: np.dtype[Any]
) -> tuple[Floats, tuple[int, ...]]:
    """Return a batch (n_images, n, *shape) of maps or images and its batch axes, () or (n_images,).

    A single image may lack the axis of length ``n``, which errors call ``what``, if ``n`` is 1.
    """
    array = np.ascontiguousarray(value, dtype)
    if array.ndim == ndim and n == 1:
        array = array[None]
    if array.ndim not in (ndim + 1, ndim + 2) or array.shape[-ndim - 1] != n:
        axes = "height, width" if ndim == 2 else "length"
        raise ValueError(f"{name} must have shape ([n_images,] {what}={n}, {axes}), got {np.shape(value)}")
    return array.reshape(-1, *array.shape[-ndim - 1 :]), array.shape[: -ndim - 1]


def per_axis(name: str, value: Any, low: int, high: Sequence[int], remedy: str) -> tuple[int, ...]:
    """Return one integer for every axis, from one for all or a sequence; ``high`` has one limit an axis."""
    values = tuple(value) if isinstance(value, Sequence) else (value,) * len(high)
    if len(values) != len(high):
        raise ValueError(f"{name} must be one integer or {len(high)}, one an axis, got {value!r}")
    return tuple(check_integer(name, v, low, h, remedy) for v, h in zip(values, high, strict=True))


def circular_norm(filters: Floats, stride: Sequence[int], maps_shape: Sequence[int]) -> float:
    """Return ||D||^2 with circular boundary, from the eigenvalues at every frequency of the maps.

    One frequency of the maps feeds prod(stride) frequencies of the image: together they form one block.
    """
    d, n_atoms, n_channels = len(stride), *filters.shape[:2]
    period = [n * s for n, s in zip(maps_shape, stride, strict=True)]
    spectra = np.fft.fftn(filters.astype(np.float64), period, axes=range(2, 2 + d))
    split = [part for n, s in zip(maps_shape, stride, strict=True) for part in (s, n)]
    blocks = spectra.reshape(n_atoms, n_channels, *split)
    blocks = blocks.transpose(*range(3, 3 + 2 * d, 2), 0, 1, *range(2, 2 + 2 * d, 2))
    blocks = blocks.reshape(int(np.prod(maps_shape)), n_atoms, -1)
    if blocks.shape[1] > blocks.shape[2]:
        blocks = blocks.swapaxes(1, 2)
    eigenvalues = np.linalg.eigvalsh(blocks @ blocks.conj().swapaxes(1, 2))
    return float(eigenvalues.max() / np.prod(stride))


def largest_eigenvalue(normal: Callable[[Floats], Floats], n: int) -> float:
    """Return the largest eigenvalue of a symmetric operator on n numbers, by Lanczos to a relative 1e-8."""
    if n <= 2:
        return float(np.linalg.norm(np.stack([normal(row) for row in np.eye(n)]), 2))
    operator = LinearOperator((n, n), matvec=normal, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(n)
    return float(eigsh(operator, 1, which="LA", v0=start, tol=1e-8, return_eigenvectors=False)[0])
