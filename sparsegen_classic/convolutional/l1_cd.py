"""Coordinate descent on a working set, the default solver of the convolutional lasso."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._kernels.conv_cd import entry_norms, sweep
from sparsegen_classic.convolutional.l1 import ConvCode, Floats, Lasso, Progress, strongest_atoms
from sparsegen_classic.convolutional.sparse_maps import SparseMaps

Places = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]  # atom, top, left

_LANES = 8  # the kernels' vector length
_MAX_SWEEPS = 200
_DEPTH = 5  # sweeps between two extrapolations


def solve_cd(problem: Lasso, tol: float, max_iter: int) -> ConvCode:
    """Alternate passes over the whole image with sweeps over a working set.

    A pass computes all correlations of the residual, a few rows at a time, by matrix products; it certifies
    the gap and finds, at every position, the atom that violates optimality most. These are tried in order of
    their violation; those that become non-zero join the working set. Then coordinate descent sweeps over the
    set; every visit costs one patch of the residual image. Entries that become zero leave.
    """
    progress = Progress(problem, tol)
    state = _WorkingSet(problem)
    n_iter = 0
    while True:
        n_iter += 1
        residual = problem.residual(state.maps())
        ratio, atom = strongest_atoms(problem, residual)
        l1 = float(np.abs(state.value) @ problem.threshold[state.atom])
        if progress.done(l1, residual, float(ratio.max())) or n_iter > max_iter:
            return progress.result(state.maps(), n_iter - 1)
        state.load(residual)
        state.try_entries(ratio.ravel(), atom.ravel())
        state.descend(min(1 + 2 * n_iter, _MAX_SWEEPS))


class _WorkingSet:
    """Entries in order of position, and the residual image that belongs to their values."""

    def __init__(self, problem: Lasso):
        self.problem = problem
        filters = problem.dictionary.filters
        spare = -filters.shape[3] % _LANES
        self.filters = np.pad(filters, [(0, 0), (0, 0), (0, 0), (0, spare)])
        dtype = filters.dtype
        self.threshold = problem.threshold.astype(dtype)
        self.size = (*problem.image.shape[1:], filters.shape[3])
        self.residual = np.pad(problem.image, [(0, 0), (0, 0), (0, spare)])
        empty = np.empty((0, 0, 0), dtype)
        self.mask = empty if problem.mask is None else np.pad(problem.mask, [(0, 0), (0, 0), (0, spare)])
        self.norms = (problem.dictionary.norms**2).astype(dtype)
        self._keep(np.empty(0, np.int64), np.empty(0, dtype), np.empty(0, dtype))

    def _keep(self, key: NDArray[np.int64], value: Floats, squared: Floats) -> None:
        self.key, self.value, self.squared = key, value, squared  # key = position * n_atoms + atom
        self.places = self.atom, *_ = self._places(key)

    def maps(self) -> SparseMaps:
        n_atoms, *shape = self.problem.shape
        index = self.atom * int(np.prod(shape)) + self.key // n_atoms
        order = np.argsort(index)
        return SparseMaps(self.problem.shape, index[order], self.value[order])

    def load(self, residual: Floats) -> None:
        self.residual[..., : residual.shape[2]] = residual

    def try_entries(self, ratio: Floats, atom: NDArray[np.int32]) -> None:
        """Descend once along the violators, the strongest first; keep what becomes non-zero."""
        position = np.flatnonzero(ratio > 1)
        position = position[np.argsort(-ratio[position], kind="stable")]
        key = position * self.problem.shape[0] + atom[position]
        key = key[~np.isin(key, self.key, kind="sort")]
        places = self._places(key)
        value, squared = np.zeros(len(key), self.value.dtype), self._squared(places)
        self._sweep(places, squared, value)
        key = np.concatenate([self.key, key])
        order = np.argsort(key)
        value, squared = np.concatenate([self.value, value]), np.concatenate([self.squared, squared])
        self._keep(key[order], value[order], squared[order])

    def descend(self, n_sweeps: int) -> None:
        """Sweep over the set, until a sweep gains a thousandth of what the first one did.

        Every few sweeps Anderson extrapolation (Bertrand, Massias 2021) combines the last iterates; the
        residual is linear in the values, so that of the combination costs nothing. It is taken if it is
        better.
        """
        first = 0.0
        trail = [self._copy()]
        for _ in range(n_sweeps):
            decrease = self._sweep(self.places, self.squared, self.value)
            first = first or decrease
            if decrease <= 1e-3 * first:
                break
            trail.append(self._copy())
            if len(trail) > _DEPTH:
                self._extrapolate(*map(np.stack, zip(*trail, strict=True)))
                trail = [self._copy()]
        kept = np.flatnonzero(self.value)
        self._keep(self.key[kept], self.value[kept], self.squared[kept])

    def _copy(self) -> tuple[Floats, Floats]:
        return self.value.copy(), self.residual.copy()

    def _extrapolate(self, values: Floats, residuals: Floats) -> None:
        steps = np.diff(values, axis=0)
        gram = (steps @ steps.T).astype(np.float64)
        gram += np.eye(len(gram)) * (1e-10 * np.trace(gram))
        if not gram.any():
            return
        weights = np.linalg.solve(gram, np.ones(len(gram)))
        weights = (weights / weights.sum()).astype(values.dtype)
        value, residual = weights @ values[1:], np.tensordot(weights, residuals[1:], 1)
        if self._objective(value, residual) < self._objective(self.value, self.residual):
            self.value, self.residual = value, residual

    def _objective(self, value: Floats, residual: Floats) -> float:
        energy = np.vdot(residual, residual)
        return 0.5 * float(energy) + float(np.abs(value) @ self.threshold[self.atom])

    def _places(self, key: NDArray[np.int64]) -> Places:
        n_atoms, _, width = self.problem.shape
        position, atom = np.divmod(key, n_atoms)
        y, x = np.divmod(position, width)
        step_y, step_x = self.problem.dictionary.stride
        return atom, y * step_y, x * step_x

    def _squared(self, places: Places) -> Floats:
        squared = self.norms[places[0]]
        if self.problem.mask is not None:
            atom, top, left = places
            entry_norms(self.filters, self.mask, self.size, atom, top, left, squared)
        return squared

    def _sweep(self, places: Places, squared: Floats, value: Floats) -> float:
        image = self.residual, self.filters, self.mask, self.size
        return sweep(*image, self.threshold, self.problem.positive, *places, squared, value)
