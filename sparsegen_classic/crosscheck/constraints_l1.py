"""The constraints that shrink: soft threshold, l1 ball and l1 penalty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsegen_classic._validation import check_choice, check_real
from sparsegen_classic.convolutional import project_l1, soft_threshold
from sparsegen_classic.crosscheck.constraints import Array, Constraint, at_worst, number


class SoftThreshold(Constraint):
    """soft-threshold: sign(x) max(|x| - k, 0), the proximal operator of the l1 norm."""

    projection = False

    def __init__(self, name: str, k: Any, layout: str, axis: int | Sequence[int] | None = None):
        if axis is not None:
            raise ValueError(f"axis must be None for {name!r}, which takes entries one by one, got {axis!r}")
        super().__init__(name, k, layout)

    def check_k(self, k: Any) -> float:
        """Return the threshold."""
        return _check_level(self.name, k, "threshold")

    def reference(self, x: Array) -> Array:
        """Shrink every entry by k."""
        return soft_threshold(x, self.k)

    def fault(self, x: Array, y: Any, eps: float) -> str | None:
        """Compare entry by entry."""
        wanted = self.reference(x)
        error = np.abs(y - wanted)
        found = at_worst(error > 8 * eps * (np.abs(x) + self.k), error, x, y, "went wrong")
        return found and f"{found}, {number(self.reference(x).flat[_worst(error)])} would be right"

    def infeasible(self, x: Array, y: Any, eps: float) -> str | None:
        """Look for what is not 0 though at most k in magnitude, and for what is 0 though above."""
        alive = (np.abs(x) < self.k * (1 - 8 * eps)) & (y != 0)
        dead = (np.abs(x) > self.k * (1 + 8 * eps)) & (y == 0)
        return at_worst(alive, np.abs(y), x, y, "is below the threshold but not 0") or at_worst(
            dead, np.abs(x), x, y, "is above the threshold but 0"
        )

    def altered(self, x: Array, y: Any, eps: float) -> str | None:
        """Look for what is not zero and has not lost k."""
        wrong = (np.abs(np.abs(y) + self.k - np.abs(x)) > 8 * eps * (np.abs(x) + self.k)) & (y != 0)
        return at_worst(wrong, np.abs(np.abs(y) + self.k - np.abs(x)), x, y, f"did not shrink by {self.k:g}")


class L1Ball(Constraint):
    """l1-ball: the nearest point of every row with sum(abs(.)) <= k."""

    def check_k(self, k: Any) -> float:
        """Return the radius."""
        return _check_level(self.name, k, "radius")

    def reference(self, x: Array) -> Array:
        """Project row by row."""
        return self.unrows(project_l1(self.rows(x), self.k), x.shape)

    def _slack(self, x: Array, eps: float) -> Array:
        """Return the rounding of the level: that of a running sum over a row, shared by its entries."""
        rows = np.abs(self.rows(x))
        slack = 8 * eps * (rows.max(axis=1) + self.k + np.sqrt(rows.shape[1]) * rows.mean(axis=1))
        return np.broadcast_to(slack[:, None], rows.shape)

    def fault(self, x: Array, y: Any, eps: float) -> str | None:
        """Compare entry by entry."""
        error = np.abs(y - self.reference(x))
        slack = self.unrows(self._slack(x, eps), x.shape)
        found = at_worst(error > slack, error, x, y, "went wrong")
        return found and f"{found}, {number(self.reference(x).flat[_worst(error)])} would be right"

    def infeasible(self, x: Array, y: Any, eps: float) -> str | None:
        """Sum the magnitudes."""
        norms = np.abs(self.rows(y)).sum(axis=1)
        row = int(np.argmax(norms))
        size = np.sqrt(self.size(x.shape))
        if norms[row] <= self.k + size * self._slack(x, eps)[row, 0]:
            return None
        return f"the l1 norm of {self.row_name(row, x.shape)} is {number(norms[row])}, the radius {self.k:g}"

    def altered(self, x: Array, y: Any, eps: float) -> str | None:
        """All that is not zero in a row must have lost the same, nothing if the row was in the ball."""
        rows, out = np.abs(self.rows(x)), np.abs(self.rows(y))
        lost, kept = rows - out, out != 0
        inside = rows.sum(axis=1, keepdims=True) <= self.k
        low = np.where(kept, lost, np.inf).min(axis=1, keepdims=True)
        level = np.where(inside | ~np.isfinite(low), 0.0, low)
        wrong = (np.abs(lost - level) > 2 * self._slack(x, eps)) & (kept | inside)
        error = self.unrows(np.abs(lost - level), x.shape)
        text = "lost another amount than its neighbours in the row"
        return at_worst(self.unrows(wrong, x.shape), error, x, y, text)

    def gradient(self, x: Array, y: Any, grad: Array) -> Array:
        """Return grad_S - s mean(s grad_S) on what is left of a row outside the ball, grad inside."""
        rows, out, g = self.rows(x), self.rows(y), self.rows(grad)
        signs = np.sign(out)
        n_left = np.maximum(np.count_nonzero(out, axis=1, keepdims=True), 1)
        outside = (signs != 0) * (g - signs * (signs * g).sum(axis=1, keepdims=True) / n_left)
        inside = np.abs(rows).sum(axis=1, keepdims=True) <= self.k
        return self.unrows(np.where(inside, g, outside), x.shape)


class L1Penalty(Constraint):
    """l1-penalty: k times the l1 norm, a number: averaged over the samples, over all entries, or summed."""

    projection, scalar, homogeneous = False, True, True

    def __init__(
        self,
        name: str,
        k: Any,
        layout: str,
        axis: int | Sequence[int] | None = None,
        reduction: str = "batchmean",
    ):
        if axis is not None:
            raise ValueError(f"axis must be None for {name!r}, got {axis!r}; see reduction")
        self.reduction = check_choice("reduction", reduction, ("batchmean", "mean", "sum"))
        super().__init__(name, 1.0 if k is None else k, layout)

    def check_k(self, k: Any) -> float:
        """Return the weight."""
        return _check_level(self.name, k, "weight")

    def divisor(self, shape: tuple[int, ...]) -> int:
        """Return what the sum is divided by."""
        return {"batchmean": shape[0], "mean": int(np.prod(shape)), "sum": 1}[self.reduction]

    def reference(self, x: Array) -> Array:
        """Sum and divide."""
        return np.array(self.k * np.abs(x).sum() / self.divisor(x.shape))

    def fault(self, x: Array, y: Any, eps: float) -> str | None:
        """Compare two numbers."""
        wanted = float(self.reference(x))
        if abs(float(y) - wanted) <= 8 * eps * np.sqrt(x.size) * wanted:
            return None
        return f"the penalty is {number(y)}, {number(wanted)} would be right"

    def gradient(self, x: Array, y: Any, grad: Array) -> Array:
        """Return the signs, weighted."""
        return self.k * np.sign(x) * grad / self.divisor(x.shape)


def _check_level(name: str, k: Any, what: str) -> float:
    if k is None:
        raise ValueError(f"k must be given for the constraint {name!r}, got None; it is the {what}")
    return check_real("k", k, 0, remedy=f"it is the {what}")


def _worst(error: Array) -> int:
    return int(np.argmax(np.nan_to_num(error, nan=np.inf)))
