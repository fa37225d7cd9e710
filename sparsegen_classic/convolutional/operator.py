"""The dictionary of a convolutional model as a linear operator and its adjoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._kernels.conv import add_atoms, add_patches, gather_patches
from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.convolutional.geometry import (
    check_batch,
    check_filters,
    circular_norm,
    largest_eigenvalue,
    per_axis,
)
from sparsegen_classic.convolutional.sparse_maps import SparseMaps

_CHUNK = 2**18  # numbers in the columns and the product of one chunk of map rows: they stay in cache

Floats = NDArray[np.floating]


class ConvDictionary:
    """Filters, shifted over the image: synthesis D and analysis D^T, in PyTorch's conventions.

    ``synthesize`` is ``conv_transpose2d(maps, filters, stride, padding, output_padding)`` and ``analyze`` is
    ``conv2d(image, filters, stride, padding)``; each is the exact adjoint of the other. An impulse in map j
    puts filter j, not flipped, into the image.

    Parameters
    ----------
    filters : array-like of shape (n_atoms, n_channels, h, w) or (n_atoms, n_channels, length)
        Filters in PyTorch's weight layout, finite and none of them zero, of any norm. float32 stays, anything
        else becomes float64.
    stride : int or sequence of int, default=1
        Step between atoms, one for all axes or one an axis; at most the size of the filters, so that there
        are no gaps.
    padding : int or sequence of int, default=0
        Pixels cropped from the synthesis at each border; less than the size of the filters.
    output_padding : int or sequence of int, default=0
        Pixels added after the synthesis at the lower right, for image sizes that the stride does not divide;
        less than the stride.
    boundary : {"zero", "circular"}, default="zero"
        "circular" lets atoms continue at the opposite border; it needs an image size that is a multiple of
        the stride, and no padding.

    Attributes
    ----------
    filters : ndarray of shape (n_atoms, n_channels, h, w) or (n_atoms, n_channels, length)
        The filters, read-only.
    n_atoms, n_channels : int
        Their number, and the channels of the images.
    atom_shape : tuple of int
        Size of a filter, (h, w) or (length,).

    Notes
    -----
    Images have shape (n_channels, *image_shape), maps (n_atoms, *maps_shape), both with an optional leading
    axis for a batch; a single-channel image may drop its channel axis. With zero boundary and
    ``padding > 0`` the atoms at the border are cropped and shorter than their filters.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.convolutional import ConvDictionary
    >>> dictionary = ConvDictionary([[[1.0, 2.0, 3.0]], [[1.0, -1.0, 0.0]]])
    >>> dictionary.synthesize([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    array([[0., 1., 2., 3., 0.]])
    >>> dictionary.analyze([0.0, 1.0, 2.0, 3.0, 0.0])
    array([[ 8., 14.,  8.],
           [-1., -1., -1.]])
    """

    def __init__(
        self,
        filters: ArrayLike,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        boundary: str = "zero",
    ):
        self.filters = check_filters(filters)
        self.n_atoms, self.n_channels = self.filters.shape[:2]
        self.atom_shape = self.filters.shape[2:]
        self.boundary = check_choice("boundary", boundary, ("zero", "circular"))
        self.stride = per_axis("stride", stride, 1, self.atom_shape, "a larger stride leaves gaps")
        limit = tuple(size - 1 for size in self.atom_shape)
        self.padding = per_axis("padding", padding, 0, limit, "beyond that whole atoms are cropped")
        limit = tuple(step - 1 for step in self.stride)
        self.output_padding = per_axis(
            "output_padding", output_padding, 0, limit, "it makes up for what the stride leaves over"
        )
        if boundary == "circular" and any(self.padding + self.output_padding):
            raise ValueError(
                f"padding and output_padding must be 0 with boundary='circular', got {self.padding} and "
                f"{self.output_padding}; a circular image has no border to crop"
            )

    def __repr__(self) -> str:
        return (
            f"ConvDictionary(filters {self.filters.shape} {self.dtype}, stride={self.stride}, "
            f"padding={self.padding}, output_padding={self.output_padding}, boundary={self.boundary!r})"
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.filters.dtype

    @property
    def norms(self) -> Floats:
        """Euclidean norms of the filters, shape (n_atoms,)."""
        return np.linalg.norm(self.filters.reshape(self.n_atoms, -1), axis=1)

    def maps_shape(self, image_shape: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial shape of the maps of an image of spatial shape ``image_shape``."""
        shape = self._check_spatial("image_shape", image_shape)
        if any(n < k for n, k in zip(shape, self.atom_shape, strict=True)):
            raise ValueError(f"the image {shape} must be at least as large as the filters {self.atom_shape}")
        if self.boundary == "circular":
            if any(n % s for n, s in zip(shape, self.stride, strict=True)):
                raise ValueError(
                    f"a circular image must be a multiple of the stride {self.stride}, got {shape}; crop it"
                )
            return tuple(n // s for n, s in zip(shape, self.stride, strict=True))
        spare = [n + 2 * p - k for n, p, k in zip(shape, self.padding, self.atom_shape, strict=True)]
        left = tuple(n % s for n, s in zip(spare, self.stride, strict=True))
        if left != self.output_padding:
            raise ValueError(
                f"an image {shape} at stride {self.stride} needs output_padding={left}, not "
                f"{self.output_padding}; set output_padding={left} or crop the image"
            )
        return tuple(n // s + 1 for n, s in zip(spare, self.stride, strict=True))

    def image_shape(self, maps_shape: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial shape of the image of maps of spatial shape ``maps_shape``."""
        shape = self._check_spatial("maps_shape", maps_shape)
        if self.boundary == "circular":
            image = tuple(n * s for n, s in zip(shape, self.stride, strict=True))
        else:
            image = tuple(
                full - 2 * p + extra
                for full, p, extra in zip(
                    self._extended_shape(shape), self.padding, self.output_padding, strict=True
                )
            )
        if any(n < k for n, k in zip(image, self.atom_shape, strict=True)):
            raise ValueError(
                f"maps {shape} make an image {image}, smaller than the filters {self.atom_shape}"
            )
        return image

    def synthesize(self, maps: ArrayLike | SparseMaps) -> Floats:
        """Return D maps: (n_atoms, *maps_shape) to (n_channels, *image_shape), batches likewise.

        ``maps`` may be :class:`SparseMaps`; its zeros then cost nothing.
        """
        if isinstance(maps, SparseMaps):
            return self._synthesize_sparse(maps)
        dense, batch = check_batch("maps", maps, "n_atoms", self.n_atoms, self._ndim, self.dtype)
        images = np.empty((len(dense), self.n_channels, *self.image_shape(dense.shape[2:])), self.dtype)
        for z, image in zip(dense, images, strict=True):
            image[...] = self.fold(self._convolve(z), image.shape[1:])
        return images.reshape(*batch, *images.shape[1:])

    def analyze(self, x: ArrayLike) -> Floats:
        """Return D^T x: (n_channels, *image_shape) to (n_atoms, *maps_shape), batches likewise."""
        images, batch = check_batch("x", x, "n_channels", self.n_channels, self._ndim, self.dtype)
        maps = np.empty((len(images), self.n_atoms, *self.maps_shape(images.shape[2:])), self.dtype)
        for image, z in zip(images, maps, strict=True):
            for rows, correlation in self.correlations(self.extend(image)):
                z.reshape(self.n_atoms, -1, z.shape[-1])[:, rows] = correlation
        return maps.reshape(*batch, *maps.shape[1:])

    def correlations(self, extended: Floats) -> Iterator[tuple[slice, Floats]]:
        """Yield D^T of one extended image a few map rows at a time, as (rows, (n_atoms, rows, width)).

        For what needs the correlations only once: they never fill memory, and are best read from the cache.
        A signal has one row.
        """
        filters, *stride = self._planar()
        image = extended if self._ndim == 2 else extended[:, None]
        sizes = zip(image.shape[1:], filters.shape[2:], stride, strict=True)
        n_rows, n = ((size - k) // step + 1 for size, k, step in sizes)
        matrix = filters.reshape(self.n_atoms, -1)
        for rows in self._chunks(n_rows, n):
            columns = np.empty((*filters.shape[1:], rows.stop - rows.start, n), self.dtype)
            gather_patches(image, rows.start, stride[0], stride[1], columns)
            yield rows, (matrix @ columns.reshape(matrix.shape[1], -1)).reshape(self.n_atoms, -1, n)

    def extend(self, image: Floats) -> Floats:
        """Return one image with its boundary attached: every atom then lies inside, whole.

        Zeros around it (``padding``), or the opposite border repeated at the lower right; what the stride
        leaves over is cut. Its adjoint is :meth:`fold`.
        """
        shape = self._extended_shape(self.maps_shape(image.shape[1:]))
        if self.boundary == "circular":
            extra = [(0, max(m - n, 0)) for m, n in zip(shape, image.shape[1:], strict=True)]
            extended = np.pad(image, [(0, 0), *extra], mode="wrap")
        else:
            extended = np.pad(image, [(0, 0), *((p, p) for p in self.padding)])
        return np.ascontiguousarray(extended[(slice(None), *map(slice, shape))])

    def fold(self, extended: Floats, image_shape: Sequence[int]) -> Floats:
        """Return the adjoint of :meth:`extend`: crop the padding, or add what wrapped around."""
        image = np.zeros((len(extended), *image_shape), extended.dtype)
        if self.boundary == "zero":
            inner = extended[
                (slice(None), *(slice(p, p + n) for p, n in zip(self.padding, image_shape, strict=True)))
            ]
            image[tuple(map(slice, inner.shape))] = inner
            return image
        for axis, n in enumerate(image_shape, 1):
            extended = np.moveaxis(extended, axis, 0)
            wrapped = extended[:n].copy()
            wrapped[: max(len(extended) - n, 0)] += extended[n:]
            extended = np.moveaxis(wrapped, 0, axis)
        image[tuple(map(slice, extended.shape))] = extended
        return image

    def check_images(self, x: ArrayLike) -> tuple[Floats, bool]:
        """Return ``x`` as a batch (n_images, n_channels, *image_shape), and whether it was one."""
        images, batch = check_batch("x", x, "n_channels", self.n_channels, self._ndim, self.dtype)
        return images, bool(batch)

    def as_matrix(self, image_shape: Sequence[int]) -> Floats:
        """Return D as a dense matrix (n_channels * pixels, n_atoms * positions); for small images."""
        shape = (self.n_channels, *self._check_spatial("image_shape", image_shape))
        n = int(np.prod(shape))
        return self.analyze(np.eye(n, dtype=self.dtype).reshape(n, *shape)).reshape(n, -1)

    def local_gram(self) -> Floats:
        """Return the inner products of shifted filters, shape (n_atoms, n_atoms, 2h - 1, 2w - 1).

        Entry (j, k, h - 1 + dy, w - 1 + dx) is <filter j, filter k moved by (dy, dx) pixels>, where nothing
        is cropped; (n_atoms, n_atoms, 2 length - 1) in 1-D.
        """
        padding = [size - 1 for size in self.atom_shape]
        return ConvDictionary(self.filters, padding=padding).analyze(self.filters)

    def mutual_coherence(self) -> float:
        """Return the largest absolute correlation of two different atoms that are not cropped."""
        norms = self.norms
        correlation = np.abs(self.local_gram()) / (norms[:, None] * norms)[(..., *[None] * self._ndim)]
        centre = tuple(size - 1 for size in self.atom_shape)
        each = np.arange(self.n_atoms)
        correlation[(each, each, *centre)] = 0
        shifts = tuple(slice(c % s, None, s) for c, s in zip(centre, self.stride, strict=True))
        return float(correlation[(slice(None), slice(None), *shifts)].max())

    def welch_bound(self) -> float:
        """Return the smallest mutual coherence that filters of this number, size and stride can have.

        sqrt((n_atoms / r - 1) / (n_atoms P - 1)) with r = n_channels * stride^2 and P shifts that overlap;
        the bound of Papyan, Sulam and Elad (2017) in any dimension, with channels and strides.
        """
        shifts = [2 * ((size - 1) // s) + 1 for size, s in zip(self.atom_shape, self.stride, strict=True)]
        pairs = self.n_atoms * int(np.prod(shifts)) - 1
        excess = self.n_atoms / (self.n_channels * int(np.prod(self.stride))) - 1
        return float(np.sqrt(max(excess, 0) / pairs)) if pairs else 0.0

    def lipschitz(self, image_shape: Sequence[int]) -> float:
        """Return ||D||^2 for images of this shape, never too small for a step 1 / ||D||^2.

        Exact with circular boundary (per-frequency eigenvalues). With zero boundary the Lanczos iteration to
        a relative 1e-8, raised by 1e-6, and at most :meth:`lipschitz_bound`.
        """
        bound = self.lipschitz_bound(image_shape)
        if self.boundary == "circular":
            return bound
        shape = (self.n_channels, *image_shape)
        filters = self.filters.astype(np.float64)
        double = ConvDictionary(filters, self.stride, self.padding, self.output_padding)

        def normal(x: Floats) -> Floats:
            return double.synthesize(double.analyze(x.reshape(shape))).ravel()

        return min(largest_eigenvalue(normal, int(np.prod(shape))) * (1 + 1e-6), bound)

    def lipschitz_bound(self, image_shape: Sequence[int]) -> float:
        """Return an upper bound of ||D||^2, quickly: the norm with circular boundary.

        With zero boundary the atoms are those of a circular dictionary on a slightly larger image, cropped.
        """
        maps_shape = self.maps_shape(image_shape)
        if self.boundary == "zero":  # a period large enough that nothing wraps around
            extra = [-(-(k - s) // s) for k, s in zip(self.atom_shape, self.stride, strict=True)]
            maps_shape = tuple(n + e for n, e in zip(maps_shape, extra, strict=True))
        return circular_norm(self.filters, self.stride, maps_shape)

    def effective(self, *deeper: ConvDictionary) -> ConvDictionary:
        """Return the one dictionary equal to this one after the ``deeper`` ones, in that order.

        Its filters have size k1 + s1 (k2 - 1) and its stride is s1 s2. It is exact with zero boundary unless
        a deeper dictionary has ``padding``: that discards parts of the inner maps, near the border only.
        """
        if not deeper:
            return self
        second, *rest = deeper
        if second.n_channels != self.n_atoms or second._ndim != self._ndim:
            raise ValueError(
                f"the maps of the deeper dictionary's synthesis must be maps of this one: it has "
                f"{second.n_channels} channels in {second._ndim}-D, this one {self.n_atoms} atoms in "
                f"{self._ndim}-D"
            )
        if second.boundary != self.boundary:
            raise ValueError(
                f"layers must have the same boundary, got {self.boundary!r} and {second.boundary!r}"
            )
        combined = ConvDictionary(
            ConvDictionary(self.filters, self.stride).synthesize(second.filters),
            [s * t for s, t in zip(self.stride, second.stride, strict=True)],
            [p + s * q for p, s, q in zip(self.padding, self.stride, second.padding, strict=True)],
            [
                o + s * q
                for o, s, q in zip(self.output_padding, self.stride, second.output_padding, strict=True)
            ],
            self.boundary,
        )
        return combined.effective(*rest)

    @property
    def _ndim(self) -> int:
        return len(self.atom_shape)

    def _extended_shape(self, maps_shape: Sequence[int]) -> tuple[int, ...]:
        sizes = zip(maps_shape, self.stride, self.atom_shape, strict=True)
        return tuple((n - 1) * step + size for n, step, size in sizes)

    def _planar(self) -> tuple[Floats, int, int]:
        """Return filters (n_atoms, n_channels, h, w) and strides; a signal is an image of height 1."""
        if self._ndim == 1:
            return self.filters[:, :, None], 1, self.stride[0]
        return self.filters, self.stride[0], self.stride[1]

    def _chunks(self, n_rows: int, n_columns: int) -> list[slice]:
        numbers = (self.filters[0].size + self.n_atoms) * n_columns
        rows = max(1, _CHUNK // numbers)
        return [slice(first, min(first + rows, n_rows)) for first in range(0, n_rows, rows)]

    def _convolve(self, maps: Floats) -> Floats:
        """Return the extended image of maps (n_atoms, *maps_shape)."""
        extended = np.zeros((self.n_channels, *self._extended_shape(maps.shape[1:])), self.dtype)
        filters, *stride = self._planar()
        image = extended if self._ndim == 2 else extended[:, None]
        if self._ndim == 1:
            maps = maps[:, None]
        matrix = filters.reshape(self.n_atoms, -1)
        for rows in self._chunks(*maps.shape[1:]):
            product = matrix.T @ maps[:, rows].reshape(self.n_atoms, -1)
            add_patches(
                product.reshape(*filters.shape[1:], -1, maps.shape[2]),
                rows.start,
                stride[0],
                stride[1],
                image,
            )
        return extended

    def _synthesize_sparse(self, maps: SparseMaps) -> Floats:
        if (
            len(maps.shape) not in (self._ndim + 1, self._ndim + 2)
            or maps.shape[-self._ndim - 1] != self.n_atoms
        ):
            raise ValueError(
                f"maps must have shape ([n_images,] {self.n_atoms}, *maps_shape), got {maps.shape}"
            )
        batch, maps_shape = maps.shape[: -self._ndim - 1], maps.shape[-self._ndim :]
        image_shape, extended_shape = self.image_shape(maps_shape), self._extended_shape(maps_shape)
        filters, *stride = self._planar()
        one = self.n_atoms * int(np.prod(maps_shape))
        images = np.empty((batch[0] if batch else 1, self.n_channels, *image_shape), self.dtype)
        bounds = np.searchsorted(maps.indices, one * np.arange(len(images) + 1))
        for i, image in enumerate(images):
            part = slice(bounds[i], bounds[i + 1])
            atom, *corner = np.unravel_index(maps.indices[part] - one * i, (self.n_atoms, *maps_shape))
            top, left = (np.zeros_like(atom), corner[0]) if self._ndim == 1 else corner
            extended = np.zeros((self.n_channels, *extended_shape), self.dtype)
            target = extended if self._ndim == 2 else extended[:, None]
            values = maps.values[part].astype(self.dtype, copy=False)
            add_atoms(filters, atom, top * stride[0], left * stride[1], values, target)
            image[...] = self.fold(extended, image_shape)
        return images.reshape(*batch, *images.shape[1:])

    def _check_spatial(self, name: str, shape: Sequence[int]) -> tuple[int, ...]:
        if len(shape) != self._ndim:
            raise ValueError(
                f"{name} must have {self._ndim} numbers for filters {self.atom_shape}, got {shape}"
            )
        return tuple(check_integer(name, n, 1) for n in shape)
