"""What encoders are held against: certified codes, their objective, and where an encoder exceeds it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from sparsegen_classic.convolutional.coder import ConvSparseCoder
from sparsegen_classic.convolutional.geometry import largest_eigenvalue
from sparsegen_classic.convolutional.l0 import csc_omp
from sparsegen_classic.convolutional.l1 import ConvCode, Lasso, plain_lasso
from sparsegen_classic.convolutional.multilayer import MultiLayerCSC
from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.crosscheck.encoder_run import SMALLEST

Floats = NDArray[np.floating]
_TOL = 1e-6  # relative duality gap of the reference


@dataclass(frozen=True, eq=False)
class Held:
    """Codes of an encoder beside those of the reference; arrays have one entry an image.

    ``objective`` of the encoder and ``reference``; ``lower``, below which no code comes (NaN if nothing is
    known); ``maps`` of the reference; ``iterations`` after which solvers reach the encoder's objective (None:
    more than were run); ``excess_map``, whose sum over an image is ``objective - reference``; ``equals``, the
    solver and iteration whose maps these are, or "".
    """

    objective: Floats
    reference: Floats
    lower: Floats
    maps: Floats
    iterations: dict[str, int | None]
    excess_map: Floats
    equals: str = ""


class LassoReference:
    """min 1/2 ||x - D z||^2 + sum_k threshold_k ||z_k||_1, by coordinate descent with a duality gap."""

    def __init__(self, dictionary: ConvDictionary, thresholds: Floats, positive: bool):
        self.dictionary, self.thresholds, self.positive = dictionary, thresholds, positive

    def problem(self, signal: Floats) -> Lasso:
        """Return the problem of one image in plain form."""
        return plain_lasso(self.dictionary, signal, None, self.thresholds, self.positive)

    def relative_excess(self, signals: Floats, maps: Floats) -> float:
        """Return how far codes are above the optimum, relative, on average and to a few per cent."""
        code = self._solve(signals, tol=1e-2, max_iter=30)
        objective = sum(map(_sums, self.parts(signals, maps)))
        scale = np.maximum(code.objective, SMALLEST)
        return float(np.mean((objective - code.objective + code.duality_gap) / scale))

    def parts(self, signals: Floats, maps: Floats) -> tuple[Floats, Floats]:
        """Return the objective of every image as halved squared residuals of pixels, and as penalties."""
        residual = signals - self.dictionary.synthesize(maps)
        weights = self.thresholds.reshape(-1, *[1] * (maps.ndim - 2))
        return 0.5 * np.square(residual).sum(axis=1), (weights * np.abs(maps)).sum(axis=1)

    def hold(self, signals: Floats, maps: Floats, n_iterations: int, n_jobs: int | None = None) -> Held:
        """Code the signals and compare."""
        code = self._solve(signals, tol=_TOL, n_jobs=n_jobs)
        ours = code.maps.to_dense()
        fit, penalty = self.parts(signals, maps)
        excess = [a - b for a, b in zip((fit, penalty), self.parts(signals, ours), strict=True)]
        objective = _sums(fit) + _sums(penalty)
        iterations, equals = {}, ""
        for name, accelerate in (("ISTA", False), ("FISTA", True)):
            n, same = self._reach(signals[0], maps[0], float(objective[0]), accelerate, n_iterations)
            iterations[name] = n
            if same and not equals:
                equals = f"{name} after {n} iterations"
        excess_map = excess[0] + spread(excess[1], fit.shape[1:])
        lower = code.objective - code.duality_gap
        return Held(objective, code.objective, lower, ours, iterations, excess_map, equals)

    def iterates(self, signal: Floats, accelerate: bool) -> Iterator[tuple[Floats, float]]:
        """Yield the maps (in plain form) and the objective of ISTA or FISTA, after every iteration."""
        problem = self.problem(signal)
        step = 1 / self.dictionary.lipschitz(signal.shape[1:])
        maps: Floats = np.zeros(problem.shape)
        ahead = maps
        residual, t = problem.residual(maps), 1.0
        while True:
            new = problem.shrink(ahead + step * problem.dictionary.analyze(residual), step)
            before, maps = maps, new
            residual = problem.residual(maps)
            yield maps, 0.5 * float(np.vdot(residual, residual)) + problem.penalty(maps) + problem.constant
            ahead = maps
            if accelerate:
                following = (1 + np.sqrt(1 + 4 * t * t)) / 2
                ahead, t = maps + (t - 1) / following * (maps - before), following
                residual = problem.residual(ahead)

    def _solve(self, signals: Floats, **options: Any) -> ConvCode:
        coder = ConvSparseCoder(
            self.dictionary, 1.0, weights=self.thresholds, positive=self.positive, **options
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the gap that was reached is used
            return coder.encode(signals)

    def _reach(
        self, signal: Floats, mine: Floats, target: float, accelerate: bool, n_iterations: int
    ) -> tuple[int | None, bool]:
        """Return after how many iterations the objective is no larger, and whether the maps are the same."""
        if 0.5 * float(np.vdot(signal, signal)) <= target:
            return 0, False
        slack = target * (1 + 1e-6)  # single precision
        steps = zip(range(1, n_iterations + 1), self.iterates(signal, accelerate), strict=False)
        for i, (maps, objective) in steps:
            if objective <= slack:
                off = float(np.abs(maps.reshape(mine.shape) - mine).max())
                return i, off <= 1e-4 * float(np.abs(mine).max())
        return None, False


class GreedyReference:
    """min 1/2 ||x - D z||^2 with at most k non-zeros, by OMP; no lower bound is known but 0."""

    def __init__(self, dictionary: ConvDictionary, k: int):
        self.dictionary, self.k = dictionary, k

    def hold(self, signals: Floats, maps: Floats, n_iterations: int, n_jobs: int | None = None) -> Held:
        """Pursue k atoms in every signal and compare; ``iterations`` has the atoms that OMP needs instead."""
        fit = self._fit(signals, maps)
        objective = _sums(fit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = [csc_omp(self.dictionary, signal, self.k) for signal in signals]
            exact = 1e-12 * _sums(np.square(signals)) + SMALLEST  # all explained but rounding
            reference = np.maximum([one.objective for one in found], exact)
            same = csc_omp(self.dictionary, signals[0], 4 * self.k, 2 * max(objective[0], exact[0]))
        ours = np.stack([one.maps.to_dense() for one in found])
        atoms = same.maps.nnz if same.stopped_by in ("tol", "exact") else None
        return Held(
            objective,
            reference,
            np.full(len(signals), np.nan),
            ours,
            {"OMP": atoms},
            fit - self._fit(signals, ours),
        )

    def _fit(self, signals: Floats, maps: Floats) -> Floats:
        return 0.5 * np.square(signals - self.dictionary.synthesize(maps)).sum(axis=1)


class MultiLayerReference:
    """min 1/2 ||x - D_1 ... D_L z||^2 + sum_i lam_i ||Z_i||_1, by ML-FISTA and then a primal-dual method.

    ML-FISTA ends near the minimum, not at it, and proves nothing. The primal-dual iteration (Condat 2013, Vu
    2013) goes on from there and brings dual variables u_i of the inner layers; with nu = x - D z they give
    the bound c <x, nu> - c^2/2 ||nu||^2 for every c that keeps |c u_i| <= lam_i and, at the deepest layer,
    |c (D^T nu - sum_i A_i^T u_i)| <= lam_L, where Z_i = A_i z.
    """

    def __init__(self, model: MultiLayerCSC, lams: Sequence[float], max_iter: int = 3000):
        self.model, self.lams, self.max_iter = model, list(lams), max_iter

    def hold(self, signals: Floats, maps: Floats, n_iterations: int, n_jobs: int | None = None) -> Held:
        """Solve for every signal and compare; ``maps`` are those of the deepest layer."""
        solved = [self.solve(signal) for signal in signals]
        ours = np.stack([one[0] for one in solved])
        (fit, penalties), (best, least) = self._parts(signals, maps), self._parts(signals, ours)
        objective = _sums(fit) + sum(map(_sums, penalties))
        excess = fit - best
        for mine, theirs in zip(penalties, least, strict=True):
            excess = excess + spread(mine - theirs, fit.shape[1:])
        iterations = {
            name: self._reach(signals[0], objective[0], accelerate, n_iterations)
            for name, accelerate in (("ML-ISTA", False), ("ML-FISTA", True))
        }
        reference = _sums(best) + sum(map(_sums, least))
        return Held(objective, reference, np.array([one[1] for one in solved]), ours, iterations, excess)

    def solve(self, signal: Floats) -> tuple[Floats, float]:
        """Return the deepest maps of the best code found, and a lower bound of the smallest objective."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            z = self.model.basis_pursuit(signal, self.lams, max_iter=300).maps[-1]
        norms = self._norms(signal.shape[1:])
        smooth, duals = norms[0], [np.zeros_like(u) for u in self.model.propagate(z)[:-1]]
        step = 1 / (1.5 * smooth)  # 1/step - sum sigma_i ||A_i||^2 = smooth / 2
        sigmas = [smooth / (len(duals) * norm) for norm in norms[1:]]
        best, value, lower = z, self.model.objective(signal, z, self.lams), -np.inf
        for i in range(self.max_iter):
            point = signal - self.model.synthesize(z)
            pull = self._adjoint(point, duals)
            if i % 20 == 0 or i == self.max_iter - 1:
                found = self.model.objective(signal, z, self.lams)
                best, value = (z, found) if found < value else (best, value)
                lower = max(lower, self._bound(signal, point, pull, duals))
                if value - lower <= _TOL * value:
                    break
            moved = z + step * pull
            new = moved - np.clip(moved, -step * self.lams[-1], step * self.lams[-1])
            ahead = self.model.propagate(2 * new - z)[:-1]
            duals = [
                np.clip(u + sigma * a, -lam, lam)
                for u, sigma, a, lam in zip(duals, sigmas, ahead, self.lams[:-1], strict=True)
            ]
            z = new
        return best, lower

    def _bound(self, signal: Floats, point: Floats, pull: Floats, duals: Sequence[Floats]) -> float:
        needed = [float(np.abs(u).max()) for u in (*duals, pull)]
        largest = min((lam / m for lam, m in zip(self.lams, needed, strict=True) if m > 0), default=np.inf)
        cross, energy = float(np.vdot(signal, point)), float(np.vdot(point, point))
        c = min(max(cross / energy, 0.0), largest) if energy else 0.0
        return c * cross - 0.5 * c * c * energy

    def _adjoint(self, point: Floats, duals: Sequence[Floats]) -> Floats:
        """Return D^T point - sum_i A_i^T u_i at the deepest layer."""
        first, *deeper = self.model.dictionaries
        at = first.analyze(point)
        for layer, u in zip(deeper, duals, strict=True):
            at = layer.analyze(at - u)
        return at

    def _norms(self, image_shape: Sequence[int]) -> list[float]:
        """Return ||D_1 ... D_L||^2 and the ||A_i||^2 = ||D_{i+1} ... D_L||^2, none too small."""
        layers, shape = self.model.dictionaries, tuple(image_shape)
        for layer in layers:
            shape = layer.maps_shape(shape)
        shape = (layers[-1].n_atoms, *shape)

        def normal(first: int, z: Floats) -> Floats:
            z = z.reshape(shape)
            for layer in reversed(layers[first:]):
                z = layer.synthesize(z)
            for layer in layers[first:]:
                z = layer.analyze(z)
            return z.ravel()

        n = int(np.prod(shape))
        return [largest_eigenvalue(partial(normal, i), n) * (1 + 1e-6) for i in range(len(layers))]

    def _parts(self, signals: Floats, maps: Floats) -> tuple[Floats, list[Floats]]:
        layers = self.model.propagate(maps)
        residual = signals - self.model.dictionaries[0].synthesize(layers[0])
        penalties = [lam * np.abs(z).sum(axis=1) for lam, z in zip(self.lams, layers, strict=True)]
        return 0.5 * np.square(residual).sum(axis=1), penalties

    def _reach(self, signal: Floats, target: float, accelerate: bool, n_iterations: int) -> int | None:
        """Bisect: the objective of ML-FISTA falls, but for ripples."""

        def value(n: int) -> float:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                return self.model.basis_pursuit(
                    signal, self.lams, accelerate=accelerate, max_iter=n
                ).objective

        if 0.5 * float(np.vdot(signal, signal)) <= target:
            return 0
        if value(n_iterations) > target * (1 + 1e-9):
            return None
        low, high = 0, n_iterations
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if value(middle) <= target * (1 + 1e-9) else (middle, high)
        return high


def spread(positions: Floats, image_shape: Sequence[int]) -> Floats:
    """Put values (n, *maps_shape) at the pixels (n, *image_shape) they stand for; the sums stay."""
    placed = np.zeros((len(positions), *image_shape))
    at = [
        ((np.arange(n) + 0.5) * size / n).astype(int)
        for n, size in zip(positions.shape[1:], image_shape, strict=True)
    ]
    for values, image in zip(positions, placed, strict=True):
        np.add.at(image, np.ix_(*at), values)
    return placed


def _sums(x: Floats) -> Floats:
    return x.reshape(len(x), -1).sum(axis=1)
