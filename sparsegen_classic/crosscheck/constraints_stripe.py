"""Stripe counts, the l0,inf of convolutional codes: a set with many nearest points, judged by certificate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._validation import check_integer
from sparsegen_classic.convolutional import project_stripe, sparsity_counts
from sparsegen_classic.convolutional.counts import Windows, check_geometry, windows_of
from sparsegen_classic.crosscheck.constraints import LAYOUTS, Array, Constraint, at_worst

_ENOUGH = 0.9  # of what plain greedy choices keep


class Stripe(Constraint):
    """stripe: at most k entries whose atoms overlap any one atom; the rest as it was, as much as possible.

    There is no single right answer, so equality is not asked for: what is kept must be feasible, unchanged,
    and hold at least 90 % of the energy that choosing entries by size under the cap keeps. How far that is
    from the certified bound is a note.
    """

    homogeneous = True

    def __init__(
        self,
        name: str,
        k: Any,
        layout: str,
        axis: int | Sequence[int] | None = None,
        atom_shape: int | Sequence[int] | None = None,
        stride: int | Sequence[int] = 1,
        boundary: str = "zero",
    ):
        if axis is not None or layout == "flat":
            raise ValueError(f"stripes are along the spatial axes: layout='flat' or axis={axis!r} make none")
        if atom_shape is None:
            raise ValueError("atom_shape must be given for the constraint 'stripe', e.g. (5, 5); got None")
        super().__init__(name, k, layout)
        n_axes = len(layout) - 2
        self.options: dict[str, Any] = {
            "atom_shape": (atom_shape,) * n_axes if isinstance(atom_shape, int) else tuple(atom_shape),
            "stride": stride,
            "boundary": boundary,
        }
        self.geometry = check_geometry(self.options["atom_shape"], stride, boundary)
        if len(self.geometry[0]) != n_axes:
            raise ValueError(
                f"atom_shape must have {n_axes} entries for layout={layout!r}, got {atom_shape!r}"
            )

    def check_k(self, k: Any) -> int:
        """Return the cap."""
        return check_integer("k", k, 0, remedy="it is the largest stripe count allowed")

    def maps(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return (n, channels, spatial...)."""
        return np.moveaxis(x, LAYOUTS[self.layout], 1)

    def shuffled(self, x: NDArray[Any], rng: np.random.Generator) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """Other orders of samples and channels; positions have neighbours and stay."""
        channels = LAYOUTS[self.layout]
        samples, maps = rng.permutation(len(x)), rng.permutation(x.shape[channels])
        return lambda a: np.take(a[samples], maps, axis=channels)

    def reference(self, x: Array) -> Array:
        """Return the exact projection of small maps, the greedy one of large ones."""
        maps = self.maps(x)
        kept = np.stack([self._project(sample, self._small(sample)).maps for sample in maps])
        return np.moveaxis(kept, 1, LAYOUTS[self.layout])

    @staticmethod
    def _small(maps: Array) -> bool:
        return maps.ndim == 2 or maps.size <= 400

    def _project(self, maps: Array, exact: bool) -> Any:
        return project_stripe(
            maps,
            self.k,
            self.options["atom_shape"],
            "exact" if exact else "greedy",
            stride=self.options["stride"],
            boundary=self.options["boundary"],
            time_limit=2.0 if exact and maps.ndim == 3 else None,
        )

    def share(self, x: Array, y: Array) -> float:
        """Return the smallest share, of all samples, of the energy that the certificate allows.

        The greedy bound is quick; where it does not settle the matter the exact one is asked.
        """
        shares = [1.0]
        for before, after in zip(self.maps(x), self.maps(y), strict=True):
            energy = float(np.square(after).sum())
            bound = self._project(before, exact=False).bound
            if energy < (1 - 1e-6) * bound and self._small(before):
                bound = self._project(before, exact=True).bound
            shares.append(energy / bound if bound else 1.0)
        return min(shares)

    def fault(self, x: Array, y: Any, eps: float) -> str | None:
        """Feasible, unchanged, and not far below the bound."""
        found = self.altered(x, y, eps) or self.infeasible(x, y, eps)
        if found:
            return found
        for i, (before, after) in enumerate(zip(self.maps(x), self.maps(y), strict=True)):
            energy, easy = float(np.square(after).sum()), self._by_size(before)
            if energy < _ENOUGH * easy:
                return f"keeps {energy / easy:.0%} of the energy that choosing by size keeps in sample {i}"
        return None

    def _by_size(self, maps: Array) -> float:
        """Return the energy of taking entries by size, each unless one of its stripes is full."""
        spatial = maps.shape[1:]
        windows = windows_of("stripe", spatial, *self.geometry, self.options["boundary"])
        near = [self._neighbours(n, w) for n, w in zip(spatial, windows, strict=True)]
        counts, energy = np.zeros(spatial, int), 0.0
        closed, full = np.zeros(spatial, bool), np.full(spatial, self.k == 0)  # stripes, positions
        for entry in np.argsort(-np.abs(maps), axis=None, kind="stable"):
            channel, *at = np.unravel_index(entry, maps.shape)
            value = maps[(channel, *at)]
            if value == 0 or full.all():
                break
            if full[tuple(at)]:
                continue
            energy += float(value) ** 2
            counts[np.ix_(*(table[i] for table, i in zip(near, at, strict=True)))] += 1
            for stripe in np.argwhere((counts >= self.k) & ~closed):
                closed[tuple(stripe)] = True
                full[np.ix_(*(table[i] for table, i in zip(near, stripe, strict=True)))] = True
        return energy

    def _neighbours(self, n: int, window: Windows) -> list[NDArray[np.intp]]:
        """Return for every position of an axis those whose stripe holds it."""
        if window.step == 0:
            return [np.arange(n)] * n
        reach = [np.arange(i + window.first, i + window.last + 1) for i in range(n)]
        if self.options["boundary"] == "circular":
            return [np.unique(r % n) for r in reach]
        return [r[(r >= 0) & (r < n)] for r in reach]

    def infeasible(self, x: Array, y: Any, eps: float) -> str | None:
        """Count."""
        counts = sparsity_counts(self.maps(y), **self.options)
        if counts.stripe <= self.k:
            return None
        at = np.unravel_index(int(np.argmax(counts.stripe_map)), counts.stripe_map.shape)
        where = ", ".join(str(int(i)) for i in at[1:])
        return f"{counts.stripe} non-zeros in the stripe at [{where}] of sample {at[0]}, {self.k} are allowed"

    def altered(self, x: Array, y: Any, eps: float) -> str | None:
        """Compare what is kept with what came in."""
        wrong = (np.abs(y - x) > 8 * eps * np.abs(x)) & (y != 0)
        return at_worst(wrong, np.abs(y - x), x, y, "changed")
