"""The multi-layer convolutional model: x = D_1 Z_1, Z_1 = D_2 Z_2, ..., with every Z_i sparse."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning

from sparsegen_classic._validation import check_integer, check_real
from sparsegen_classic.convolutional.coder import ConvSparseCoder
from sparsegen_classic.convolutional.counts import sparsity_counts
from sparsegen_classic.convolutional.l0 import csc_omp
from sparsegen_classic.convolutional.l1 import ConvCode
from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.convolutional.projections import soft_threshold
from sparsegen_classic.convolutional.sparse_maps import SparseMaps

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class MultiLayerCode:
    """What a multi-layer pursuit found.

    Attributes
    ----------
    maps : list of ndarray
        Z_1 to Z_L, the deepest last, each of shape ([n_images,] n_atoms, *maps_shape); Z_{i-1} = D_i Z_i.
    objective : float
        The value of what the pursuit minimises, summed over a batch.
    n_iter : int
        Number of iterations.
    converged : bool
        Whether it ended as asked.
    """

    maps: list[Floats]
    objective: float
    n_iter: int
    converged: bool


class MultiLayerCSC:
    """Convolutional dictionaries on top of each other, and the pursuits over them.

    Parameters
    ----------
    dictionaries : sequence of ConvDictionary
        D_1 to D_L, the one next to the image first: the channels of D_{i+1} are the atoms of D_i.

    Attributes
    ----------
    dictionaries : tuple of ConvDictionary
        The layers.

    References
    ----------
    V. Papyan, Y. Romano, M. Elad, "Convolutional neural networks analyzed via convolutional sparse coding",
    JMLR 18 (2017).
    J. Sulam, V. Papyan, Y. Romano, M. Elad, "Multilayer convolutional sparse modeling: pursuit and
    dictionary learning", IEEE Trans. Signal Processing 66 (2018).
    J. Sulam, A. Aberdam, A. Beck, M. Elad, "On multi-layer basis pursuit, efficient algorithms and
    convolutional neural networks", IEEE Trans. PAMI 42 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.convolutional import ConvDictionary, MultiLayerCSC
    >>> rng = np.random.default_rng(0)
    >>> first = ConvDictionary(rng.standard_normal((8, 1, 4, 4)), stride=2)
    >>> model = MultiLayerCSC([first, ConvDictionary(rng.standard_normal((5, 8, 3, 3)))])
    >>> deepest = np.zeros((5, 6, 6))
    >>> deepest[2, 3, 3] = 1.0
    >>> [maps.shape for maps in model.propagate(deepest)], model.synthesize(deepest).shape
    ([(8, 8, 8), (5, 6, 6)], (1, 18, 18))
    >>> model.effective_dictionary().atom_shape
    (8, 8)
    """

    def __init__(self, dictionaries: Sequence[ConvDictionary]):
        layers = tuple(dictionaries)
        if not layers or not all(isinstance(layer, ConvDictionary) for layer in layers):
            raise TypeError("dictionaries must be a non-empty sequence of ConvDictionary, the image's first")
        for i, (outer, inner) in enumerate(pairwise(layers), 1):
            if inner.n_channels != outer.n_atoms or len(inner.atom_shape) != len(outer.atom_shape):
                raise ValueError(
                    f"dictionary {i + 1} must have as many channels as dictionary {i} has atoms, in as many "
                    f"dimensions, got {inner.n_channels} channels in {len(inner.atom_shape)}-D for "
                    f"{outer.n_atoms} atoms in {len(outer.atom_shape)}-D"
                )
        self.dictionaries = layers

    def __repr__(self) -> str:
        return f"MultiLayerCSC({list(self.dictionaries)!r})"

    # -- the model

    def propagate(self, deepest: ArrayLike | SparseMaps) -> list[Floats]:
        """Return Z_1 to Z_L of the deepest maps: Z_{i-1} = D_i Z_i."""
        dense = deepest.to_dense() if isinstance(deepest, SparseMaps) else deepest
        maps = [np.asarray(dense, self.dictionaries[-1].dtype)]
        for layer in self.dictionaries[:0:-1]:
            maps.insert(0, layer.synthesize(maps[0]))
        return maps

    def synthesize(self, deepest: ArrayLike | SparseMaps) -> Floats:
        """Return the image D_1 D_2 ... D_L Z_L."""
        return self.dictionaries[0].synthesize(self.propagate(deepest)[0])

    def effective_dictionary(self, layer: int | None = None) -> ConvDictionary:
        """Return D_1 ... D_layer as one dictionary (default: all); its filters are the effective atoms.

        It is exact where no deeper layer has padding, which discards parts of the inner maps at the border.
        """
        n = len(self.dictionaries)
        layer = n if layer is None else check_integer("layer", layer, 1, n)
        return self.dictionaries[0].effective(*self.dictionaries[1:layer])

    # -- pursuits, layer by layer

    def threshold(self, x: ArrayLike, biases: Sequence[ArrayLike], positive: bool = True) -> list[Floats]:
        """Layered thresholding: Z_i = max(D_i^T Z_{i-1} - b_i, 0), the forward pass of a network.

        Parameters
        ----------
        x : array-like of shape ([n_images,] n_channels, *image_shape)
            The image or images.
        biases : sequence of float or array-like of shape (n_atoms,), one a layer
            Thresholds, minus the biases of convolutional layers that are followed by ReLU.
        positive : bool, default=True
            False thresholds softly on both sides; the thresholds must then be at least 0.

        Returns
        -------
        list of ndarray
            Z_1 to Z_L; each explains the one before only approximately.
        """
        maps = [self._image(x)]
        for layer, bias in zip(self.dictionaries, self._per_layer("biases", biases), strict=True):
            level = np.asarray(bias, layer.dtype)
            if level.shape not in ((), (layer.n_atoms,)):
                raise ValueError(
                    f"biases must be numbers or have shape (n_atoms={layer.n_atoms},), got {level.shape}"
                )
            level = level.reshape(*level.shape, *[1] * len(layer.atom_shape)) if level.ndim else level
            correlations = layer.analyze(maps[-1])
            if positive:  # the bias of a network may have either sign
                maps.append(np.maximum(correlations - level, 0))
            else:
                maps.append(soft_threshold(correlations, level))
        return maps[1:]

    def layered_basis_pursuit(
        self, x: ArrayLike, lams: Sequence[float], positive: bool = False, tol: float = 1e-6, **coder: Any
    ) -> list[ConvCode]:
        """Layered basis pursuit: the certified lasso code of x, then that of its maps, and so on.

        Parameters
        ----------
        x : array-like of shape ([n_images,] n_channels, *image_shape)
            The image or images.
        lams : sequence of float, one a layer
            Penalties of the layers, greater than 0.
        positive : bool, default=False
            Whether to keep the codes at 0 or above; :meth:`threshold` is then one step towards them.
        tol : float, default=1e-6
            Relative duality gap of every layer.
        **coder
            Further parameters of :class:`ConvSparseCoder`.

        Returns
        -------
        list of ConvCode
            The code of every layer with its duality gap; ``maps.to_dense()`` is Z_i.
        """
        codes: list[ConvCode] = []
        for layer, lam in zip(self.dictionaries, self._per_layer("lams", lams), strict=True):
            signal = codes[-1].maps.to_dense() if codes else x
            codes.append(ConvSparseCoder(layer, lam, positive=positive, tol=tol, **coder).encode(signal))
        return codes

    # -- pursuits of all layers together

    def basis_pursuit(
        self,
        x: ArrayLike,
        lams: Sequence[float],
        *,
        steps: Sequence[float] | None = None,
        accelerate: bool = True,
        max_iter: int = 10_000,
        tol: float = 1e-6,
    ) -> MultiLayerCode:
        """Multi-layer basis pursuit by ML-FISTA or ML-ISTA.

        Minimises ``1/2 ||x - D_1 ... D_L Z_L||^2 + sum_i lam_i ||Z_i||_1`` with Z_i = D_{i+1} ... D_L Z_L.

        Parameters
        ----------
        x : array-like of shape ([n_images,] n_channels, *image_shape)
            The image or images.
        lams : sequence of float, one a layer
            Weights of the l1 norms, at least 0.
        steps : sequence of float, one a layer, optional
            Steps mu_i; by default 1 / ||D_i||^2, and no more.
        accelerate : bool, default=True
            ML-FISTA; False is ML-ISTA.
        max_iter : int, default=10000
            Largest number of iterations.
        tol : float, default=1e-6
            Stop when no entry of Z_L moves by more than this, relative to the largest.

        Returns
        -------
        MultiLayerCode
            ``maps`` are those of Z_L: consistent, but only Z_L has exact zeros.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` was reached.

        Notes
        -----
        Layer i is thresholded at mu_1 ... mu_i lam_i; with mu_i lam_i, as often written, the iteration solves
        another problem. With one layer this is ISTA or FISTA. With more, each gradient step passes through
        the thresholds above it: the fixed point is the minimiser where these leave the signs alone, close
        to it for small steps otherwise, and the objective need not fall in every iteration.
        """
        weights = [check_real("lams", lam, 0) for lam in self._per_layer("lams", lams)]
        max_iter, tol = check_integer("max_iter", max_iter, 1), check_real("tol", tol, 0)
        image = self._image(x)
        *inner, last = self._maps_shapes(image)
        limits = [1 / layer.lipschitz(s) for layer, s in zip(self.dictionaries, inner, strict=True)]
        if steps is not None:
            given = [check_real("steps", step, 0, closed="()") for step in self._per_layer("steps", steps)]
            if any(step > limit * (1 + 1e-9) for step, limit in zip(given, limits, strict=True)):
                raise ValueError(f"steps must be at most 1 / ||D_i||^2 = {limits}, got {given}")
            limits = given
        thresholds = np.cumprod(limits) * weights
        deepest = np.zeros(
            (*image.shape[: -len(last) - 1], self.dictionaries[-1].n_atoms, *last), image.dtype
        )
        point, momentum, n_iter, converged = deepest, 1.0, 0, False
        while n_iter < max_iter and not converged:
            n_iter += 1
            before, deepest = deepest, self._step(image, point, limits, thresholds)
            change = deepest - before
            converged = bool(np.abs(change).max() <= tol * np.abs(deepest).max())
            if accelerate:
                following = (1 + sqrt(1 + 4 * momentum**2)) / 2
                point, momentum = deepest + (momentum - 1) / following * change, following
            else:
                point = deepest
        if not converged:
            message = f"max_iter={max_iter} iterations end above tol={tol}; raise max_iter"
            warnings.warn(message, ConvergenceWarning, stacklevel=2)
        return MultiLayerCode(
            self.propagate(deepest), self.objective(image, deepest, weights), n_iter, converged
        )

    def objective(self, x: ArrayLike, deepest: ArrayLike, lams: Sequence[float]) -> float:
        """Return the value that :meth:`basis_pursuit` minimises."""
        maps = self.propagate(deepest)
        residual = np.asarray(x) - self.dictionaries[0].synthesize(maps[0])
        penalties = [lam * float(np.abs(z).sum()) for lam, z in zip(lams, maps, strict=True)]
        return 0.5 * float(np.vdot(residual, residual)) + sum(penalties)

    def project(
        self,
        x: ArrayLike,
        caps: Sequence[int | None],
        *,
        n_nonzero: int | None = None,
        tol: float | None = None,
    ) -> MultiLayerCode:
        """Projection pursuit: the richest greedy code whose layers all respect their stripe caps.

        Z_L is the OMP code of x over the effective dictionary with as many atoms as the caps allow on the
        maps Z_i = D_{i+1} ... D_L Z_L. Every atom adds to these, so the number is found by doubling and
        bisection.

        Parameters
        ----------
        x : array-like of shape (n_channels, *image_shape)
            One image.
        caps : sequence of int or None, one a layer
            Largest stripe count of each layer; None leaves it free. They are reachable only if the filters of
            the deeper layers are sparse.
        n_nonzero : int, optional
            Largest number of non-zeros of Z_L.
        tol : float, optional
            Stop as soon as the squared residual norm is at most ``tol``.

        Returns
        -------
        MultiLayerCode
            ``objective`` is half the squared residual norm, ``n_iter`` the number of atoms.

        Raises
        ------
        ValueError
            If a single atom already exceeds the caps, or a deeper layer has padding.
        """
        limits: list[int | None] = [
            None if cap is None else check_integer("caps", cap, 1) for cap in self._per_layer("caps", caps)
        ]
        if any(any(layer.padding) for layer in self.dictionaries[1:]):
            raise ValueError("deeper layers must have padding=0: with it there is no effective dictionary")
        effective = self.effective_dictionary()
        size = effective.n_atoms * int(np.prod(self._maps_shapes(self._image(x))[-1]))
        most = size if n_nonzero is None else check_integer("n_nonzero", n_nonzero, 1, size)
        best, low, high, k = None, 0, most + 1, 1
        while low < most and high - low > 1:
            found = csc_omp(effective, x, k, tol, cap=limits[-1])
            maps = self.propagate(found.maps)
            if self._within(maps, limits):
                low, best = k, MultiLayerCode(maps, found.objective, found.maps.nnz, found.converged)
                if found.maps.nnz < k:
                    break
            else:
                high = k
            k = min(2 * low, most) if high > most else (low + high) // 2
        if best is None:
            raise ValueError(f"caps={list(caps)} leave no room: one atom has {self._stripes(maps)}")
        return best

    # -- the work

    def _step(self, image: Floats, deepest: Floats, steps: Sequence[float], thresholds: Any) -> Floats:
        """One iteration of ML-ISTA from Z_L: every layer looks at the one below as just updated."""
        below, expected = image, self.synthesize(deepest)
        layers = zip(self.dictionaries, self.propagate(deepest), steps, thresholds, strict=True)
        for layer, maps, step, threshold in layers:
            moved = maps - layer.dtype.type(step) * layer.analyze(expected - below)
            below, expected = soft_threshold(moved, threshold), maps
        return below

    def _image(self, x: ArrayLike) -> Floats:
        """Return the image or images with their axis of channels."""
        images, batch = self.dictionaries[0].check_images(x)
        if not np.isfinite(images).all():
            raise ValueError("x must be finite, got NaN or infinity; remove them first")
        return images if batch else images[0]

    def _maps_shapes(self, image: Floats) -> list[tuple[int, ...]]:
        """Return the spatial shapes of the image and of Z_1 to Z_L."""
        shapes = [image.shape[-len(self.dictionaries[0].atom_shape) :]]
        for layer in self.dictionaries:
            shapes.append(layer.maps_shape(shapes[-1]))
        return shapes

    def _per_layer(self, name: str, values: Any) -> list[Any]:
        n = len(self.dictionaries)
        if not hasattr(values, "__len__") or len(values) != n:
            raise ValueError(f"{name} must have one entry for each of {n} layers, got {values!r}")
        return list(values)

    def _stripes(self, maps: Sequence[Floats]) -> list[int]:
        return [
            sparsity_counts(z, layer.atom_shape, layer.stride, layer.boundary).stripe
            for z, layer in zip(maps, self.dictionaries, strict=True)
        ]

    def _within(self, maps: Sequence[Floats], caps: Sequence[int | None]) -> bool:
        counts = self._stripes(maps)
        return all(cap is None or count <= cap for count, cap in zip(counts, caps, strict=True))
