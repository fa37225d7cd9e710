"""The convolutional lasso: one problem that every solver solves, its duality gap, and the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._kernels.conv_cd import strongest
from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.convolutional.sparse_maps import SparseMaps

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class ConvCode:
    """A convolutional code and its certificate. For a batch every number is an array (n_images,).

    Attributes
    ----------
    maps : SparseMaps
        The code; ``maps.to_dense()`` has shape ([n_images,] n_atoms, *maps_shape).
    objective : float
        1/2 ||mask * (x - D maps)||^2 + sum_k lam weights_k ||maps_k||_1.
    duality_gap : float
        The objective is at most this far above the smallest possible one.
    n_iter : int
        Iterations: passes over the whole image for "cd", steps for "fista" and "admm", rounds for "lobcod".
    converged : bool
        Whether ``duality_gap <= tol * objective``.
    message : str
        What happened, in words.
    history : ndarray of shape (n_checks, 3)
        Seconds, objective and duality gap at every check. For a batch a list of them.
    """

    maps: SparseMaps
    objective: Any
    duality_gap: Any
    n_iter: Any
    converged: Any
    message: Any
    history: Any = field(repr=False)


@dataclass(frozen=True, eq=False)
class Lasso:
    """min 1/2 ||mask * (image - D maps)||^2 + sum_k threshold_k ||maps_k||_1 for one image, in plain form.

    Plain: two-dimensional, without padding. ``plain_lasso`` brings every problem to it: a signal becomes an
    image of height 1, and cropped borders become unobserved pixels.
    """

    dictionary: ConvDictionary
    image: Floats  # (n_channels, height, width), zero where not observed
    mask: Floats | None  # same shape, ones and zeros; None = all observed
    threshold: Floats  # (n_atoms,), positive
    positive: bool
    constant: float  # energy of pixels that no atom reaches
    spatial: tuple[int, ...]  # shape of the maps before plain form

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the maps, (n_atoms, height, width)."""
        return self.dictionary.n_atoms, *self.dictionary.maps_shape(self.image.shape[1:])

    def residual(self, maps: Floats | SparseMaps) -> Floats:
        """Return mask * (image - D maps)."""
        synthesis = self.dictionary.synthesize(maps)
        return self.image - (synthesis if self.mask is None else synthesis * self.mask)

    def shrink(self, maps: Floats, step: float = 1.0) -> Floats:
        """Return the proximal point: soft thresholding by step * threshold, cut at 0 if positive."""
        level = (step * self.threshold)[:, None, None].astype(maps.dtype)
        if self.positive:
            return np.maximum(maps - level, 0)
        return maps - np.clip(maps, -level, level)

    def ratio(self, correlation: Floats) -> float:
        """Return the largest correlation in units of its threshold; a residual is dual feasible if <= 1."""
        if not self.positive:
            correlation = np.abs(correlation)
        return float((correlation.max(axis=(1, 2)) / self.threshold).max())

    def certify(self, l1: float, residual: Floats, ratio: float) -> tuple[float, float]:
        """Return objective and duality gap of maps with this weighted l1 norm, residual and ``ratio``.

        The dual point is the residual, scaled: by the best factor that keeps it feasible.
        """
        r = residual.ravel().astype(np.float64)
        energy, cross = float(r @ r), float(r @ self.image.ravel())
        factor = cross / energy if energy > 0 else 0.0
        largest = 1 / ratio if ratio > 0 else np.inf
        factor = min(max(factor, 0.0 if self.positive else -largest), largest)
        objective = 0.5 * energy + l1
        dual = factor * cross - 0.5 * factor**2 * energy
        return objective + self.constant, max(objective - dual, 0.0)

    def penalty(self, maps: Floats) -> float:
        """Return sum_k threshold_k ||maps_k||_1 of dense maps."""
        return float(np.abs(maps).sum(axis=(1, 2), dtype=np.float64) @ self.threshold)


def plain_lasso(
    dictionary: ConvDictionary,
    image: Floats,
    mask: NDArray[np.bool_] | None,
    threshold: Floats,
    positive: bool,
) -> Lasso:
    """Bring the problem of one image (n_channels, *image_shape) to the plain form."""
    filters, stride, before = dictionary.filters, dictionary.stride, image.shape[1:]
    image = image if mask is None else np.where(mask, image, 0).astype(image.dtype)
    observed = None if mask is None else mask.astype(image.dtype)
    if observed is None and any(dictionary.padding):
        observed = np.ones_like(image)
    constant = 0.0
    if dictionary.boundary == "zero":
        energy = float(np.vdot(image, image))
        image = dictionary.extend(image)
        observed = None if observed is None else dictionary.extend(observed)
        if any(dictionary.output_padding):
            constant = 0.5 * max(energy - float(np.vdot(image, image)), 0.0)
    if len(stride) == 1:
        filters, image, stride = filters[:, :, None], image[:, None], (1, *stride)
        observed = None if observed is None else observed[:, None]
    spatial = dictionary.maps_shape(before)
    plain = ConvDictionary(filters, stride, boundary=dictionary.boundary)
    return Lasso(plain, image, observed, threshold, positive, constant, spatial)


def strongest_atoms(problem: Lasso, residual: Floats) -> tuple[Floats, NDArray[np.int32]]:
    """Return at every position the largest ratio of correlation to threshold, and its atom."""
    shape = problem.shape[1:]
    ratio, atom = np.empty(shape, residual.dtype), np.empty(shape, np.int32)
    scale = (1 / problem.threshold).astype(residual.dtype)
    extended = problem.dictionary.extend(residual)
    for rows, correlation in problem.dictionary.correlations(extended):
        strongest(correlation, scale, problem.positive, ratio[rows], atom[rows])
    return ratio, atom


class Progress:
    """Checks of one run: time, objective and gap, and whether the gap is small enough."""

    def __init__(self, problem: Lasso, tol: float):
        self.problem = problem
        self.tol = tol
        self.start = perf_counter()
        self.all_zero = False
        self.history: list[tuple[float, float, float]] = []

    def done(self, l1: float, residual: Floats, ratio: float) -> bool:
        """Certify, remember, and return True if the gap is at most tol times the objective."""
        objective, gap = self.problem.certify(l1, residual, ratio)
        if not self.history:
            self.all_zero = ratio <= 1  # the first check is that of zero codes
        self.history.append((perf_counter() - self.start, objective, gap))
        return gap <= self.tol * objective

    def done_dense(self, maps: Floats) -> bool:
        """Do the same from dense maps."""
        residual = self.problem.residual(maps)
        ratio = self.problem.ratio(self.problem.dictionary.analyze(residual))
        return self.done(self.problem.penalty(maps), residual, ratio)

    def result(self, maps: Floats | SparseMaps, n_iter: int) -> ConvCode:
        """Return the answer as of the last check."""
        if not isinstance(maps, SparseMaps):
            maps = SparseMaps.from_dense(maps)
        _, objective, gap = self.history[-1]
        converged = gap <= self.tol * objective
        message = (
            "lam is at least lambda_max: all codes are zero"
            if self.all_zero
            else (
                f"relative duality gap {gap / objective if objective else 0:.3g} after {n_iter} iterations, "
                f"asked for {self.tol:.3g}"
            )
        )
        maps = SparseMaps((maps.shape[0], *self.problem.spatial), maps.indices, maps.values)
        return ConvCode(maps, objective, gap, n_iter, converged, message, np.array(self.history))
