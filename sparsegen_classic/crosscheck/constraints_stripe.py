"""Stripe counts, the l0,inf of convolutional codes: a set with many nearest points, judged by certificate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._validation import check_integer
from sparsegen_classic.convolutional import project_stripe, sparsity_counts
from sparsegen_classic.crosscheck.constraints import LAYOUTS, Array, Constraint, at_worst

_ENOUGH = 0.9  # of the bound: greedy choices reach it, per-needle shortcuts do not


class Stripe(Constraint):
    """stripe: at most k entries whose atoms overlap any one atom; the rest as it was, as much as possible.

    There is no single right answer, so equality is not asked for: what is kept must be feasible, unchanged,
    and hold at least 90 % of the energy that the certificate of the reference allows.
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
        sparsity_counts(np.zeros((1, *[64] * n_axes)), **self.options)  # raises if the geometry is wrong

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
        kept = np.stack([self._project(sample).maps for sample in maps])
        return np.moveaxis(kept, 1, LAYOUTS[self.layout])

    def _project(self, maps: Array) -> Any:
        exact = maps.ndim == 2 or maps.size <= 400
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
        """Return the smallest share, of all samples, of the energy that the certificate allows."""
        shares = [1.0]
        for before, after in zip(self.maps(x), self.maps(y), strict=True):
            bound = self._project(before).bound
            shares.append(float(np.square(after).sum()) / bound if bound else 1.0)
        return min(shares)

    def fault(self, x: Array, y: Any, eps: float) -> str | None:
        """Feasible, unchanged, and not far below the bound."""
        found = self.altered(x, y, eps) or self.infeasible(x, y, eps)
        if found:
            return found
        share = self.share(x, y)
        if share >= _ENOUGH:
            return None
        return (
            f"keeps {share:.0%} of the energy that the certified bound allows; greedy choices keep over 90 %"
        )

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
