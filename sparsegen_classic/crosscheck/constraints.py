"""What a layer may claim: the nine constraints, each with its reference in float64.

A constraint looks at an array as *rows*: the entries that it counts together are one row. For needles a row
holds the channels of one position, for l0 all entries of one sample, for l0 over the batch there is one row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.convolutional import project_l0, project_needle, project_topk

Array = NDArray[np.float64]
LAYOUTS = {"NCHW": 1, "NHWC": 3, "NCW": 1, "NWC": 2, "flat": 1}  # where the channels are


class Constraint:
    """Base of all constraints.

    Parameters
    ----------
    name : str
        As users spell it.
    k : int or float
        Count, fraction, threshold, radius or weight.
    layout : str
        One of ``LAYOUTS``.
    axis : int, sequence of int or None
        The axes of a row; None: those of the constraint.
    """

    per_sample = True  # what happens to a sample does not depend on the others
    projection = True  # applying it twice is applying it once
    scalar = False  # the answer is a number, not an array
    homogeneous = False  # f(2 x) = 2 f(x)

    def __init__(self, name: str, k: Any, layout: str, axis: int | Sequence[int] | None = None):
        self.name, self.layout = name, layout
        self.k = self.check_k(k)
        self.axes = self._axes(axis)

    def _axes(self, axis: int | Sequence[int] | None) -> tuple[int, ...]:
        n_axes = axes_of(self.layout)
        if axis is None:
            return tuple(range(1, n_axes))
        axes = (axis,) if isinstance(axis, int | np.integer) else tuple(axis)
        axes = tuple(sorted(check_integer("axis", a, -n_axes, n_axes - 1) % n_axes for a in axes))
        if 0 in axes or len(set(axes)) != len(axes) or not axes:
            raise ValueError(
                f"axis must name axes other than that of samples, each once, got {axis!r}; for counts over "
                f"the whole batch there is the constraint 'l0-batch'"
            )
        return axes

    def check_k(self, k: Any) -> Any:
        """Return k, or raise an error that names the rule."""
        if k is None:
            raise ValueError(f"k must be given for the constraint {self.name!r}, got None")
        if isinstance(k, float | np.floating):
            return check_real("k", k, 0, 1, "(]", "a float is a fraction of the entries")
        return check_integer("k", k, 0)

    def rows(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return (n_rows, n_entries): the entries counted together are one row."""
        rest = [a for a in range(x.ndim) if a not in self.axes]
        size = int(np.prod([x.shape[a] for a in self.axes]))
        return x.transpose(*rest, *self.axes).reshape(-1, size)

    def unrows(self, rows: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Undo :meth:`rows`."""
        order = [a for a in range(len(shape)) if a not in self.axes] + list(self.axes)
        return rows.reshape([shape[a] for a in order]).transpose(np.argsort(order))

    def row_name(self, row: int, shape: tuple[int, ...]) -> str:
        """Say in words where a row is."""
        rest = [a for a in range(len(shape)) if a not in self.axes]
        if not rest:
            return "the batch"
        index = np.unravel_index(row, [shape[a] for a in rest])
        letters = "NC" if self.layout == "flat" else self.layout
        names = {"N": "sample", "C": "channel", "H": "row", "W": "column"}
        return ", ".join(f"{names[letters[a]]} {i}" for a, i in zip(rest, index, strict=True))

    def shuffled(self, x: NDArray[Any], rng: np.random.Generator) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """Return a rearrangement that the layer must commute with: whole rows, and entries in all rows."""
        rows = self.rows(x)
        rows_to, entries_to = rng.permutation(len(rows)), rng.permutation(rows.shape[1])
        return lambda a: self.unrows(self.rows(a)[rows_to][:, entries_to], a.shape)

    def size(self, shape: tuple[int, ...]) -> int:
        """Return how many entries a row has."""
        return int(np.prod([shape[a] for a in self.axes]))

    def reference(self, x: Array) -> Any:
        """Return what the layer should return."""
        raise NotImplementedError

    def fault(self, x: Array, y: Any, eps: float) -> str | None:
        """Say how y differs from the reference of x, beyond rounding and the choice among equals."""
        raise NotImplementedError

    def infeasible(self, x: Array, y: Any, eps: float) -> str | None:
        """Say where y breaks the constraint."""
        return None

    def altered(self, x: Array, y: Any, eps: float) -> str | None:
        """Say which magnitudes are not as the constraint leaves them."""
        return None

    def misplaced(self, x: Array, y: Any) -> str | None:
        """Say which entry should have been kept instead of another."""
        return None

    def gradient(self, x: Array, y: Any, grad: Array) -> Array:
        """Return what the derivative of the layer gives for grad, from what the layer kept."""
        return np.where(y != 0, grad, 0.0)

    def wrong_sign(self, x: Array, y: Any) -> str | None:
        """Say which entry has another sign than it came with."""
        if self.scalar:
            return None
        return at_worst((np.sign(y) != np.sign(x)) & (y != 0), np.abs(y), x, y, "changed its sign")


class KeepLargest(Constraint):
    """l0, l0-batch, needle, topk and topk-magnitude: the k largest of every row stay as they are."""

    homogeneous = True

    def __init__(self, name: str, k: Any, layout: str, axis: int | Sequence[int] | None = None):
        if name in ("l0-batch", "needle") and axis is not None:
            raise ValueError(f"axis must be None for the constraint {name!r}, got {axis!r}; use 'topk'")
        super().__init__(name, k, layout, axis)
        self.by_value = name == "topk"
        self.per_sample = name != "l0-batch"
        if name == "l0-batch":
            self.axes = tuple(range(axes_of(layout)))
        elif name == "needle":
            self.axes = (LAYOUTS[layout],)

    def counts(self, size: int) -> tuple[int, ...]:
        """Return how many entries of a row may be kept: one number, but for fractions that are rounded."""
        if isinstance(self.k, float):
            exact = self.k * size
            return tuple(
                sorted({max(1, round(exact)), max(1, floor(exact + 1e-9)), max(1, ceil(exact - 1e-9))})
            )
        return (min(self.k, size),)

    def reference(self, x: Array, k: int | float | None = None) -> Array:
        """Return what the certified projections of ``convolutional`` return, row by row."""
        if k is None:
            k = self.k if isinstance(self.k, float) else self.counts(self.size(x.shape))[0]
        if self.name == "needle":
            return np.asarray(project_needle(x, k, self.layout))
        project = project_topk if self.by_value else project_l0
        return self.unrows(project(self.rows(x), k), x.shape)  # type: ignore[arg-type]

    def keys(self, a: NDArray[Any]) -> NDArray[Any]:
        """Return what is compared."""
        return a if self.by_value else np.abs(a)

    def fault(self, x: Array, y: Any, eps: float) -> str | None:
        """Compare entries with the input and, so that ties are no faults, sorted rows with the reference."""
        changed = self.altered(x, y, eps)
        if changed:
            return changed
        got = np.sort(self.keys(self.rows(np.where(y != 0, x, 0.0))), axis=1)
        faults = []
        for k in self.counts(got.shape[1]):
            wanted = np.sort(self.keys(self.rows(self.reference(x, k))), axis=1)
            bad = np.flatnonzero((got != wanted).any(axis=1))
            if not len(bad):
                return None
            faults.append((len(bad), bad[0], k))
        n_bad, row, k = min(faults)
        found = self.infeasible(x, y, eps) or self.misplaced(x, y)
        if found:
            return found
        n_kept, n_rows = np.count_nonzero(self.rows(y)[row]), len(got)
        return (
            f"{n_kept} entries are left of {self.row_name(row, x.shape)}, the reference leaves "
            f"{np.count_nonzero(self.rows(self.reference(x, k))[row])}"
            + (f"; {n_bad} of {n_rows} rows differ" if n_rows > 1 else "")
        )

    def infeasible(self, x: Array, y: Any, eps: float) -> str | None:
        """Count."""
        counts = np.count_nonzero(self.rows(y), axis=1)
        most = max(self.counts(self.size(x.shape)))
        row = int(np.argmax(counts))
        if counts[row] <= most:
            return None
        return f"{counts[row]} non-zeros in {self.row_name(row, x.shape)}, {most} are allowed"

    def altered(self, x: Array, y: Any, eps: float) -> str | None:
        """Compare what is kept with what came in."""
        slack = 8 * eps * np.abs(x)
        wrong = (np.abs(np.abs(y) - np.abs(x)) > slack) & (y != 0)
        return at_worst(wrong, np.abs(np.abs(y) - np.abs(x)), x, y, "changed") or self.wrong_sign(x, y)

    def misplaced(self, x: Array, y: Any) -> str | None:
        """Compare the smallest entry kept with the largest dropped, row by row."""
        keys, kept = self.keys(self.rows(x)), self.rows(y) != 0
        low = np.where(kept, keys, np.inf).min(axis=1)
        high = np.where(kept | (self.rows(x) == 0), -np.inf, keys).max(axis=1)
        both = np.isfinite(low) & np.isfinite(high)
        gap = np.subtract(high, low, where=both, out=np.full(len(low), -1.0))
        row = int(np.argmax(gap))
        if gap[row] <= 0:
            return None
        values = self.rows(x)[row]
        worst_kept = np.flatnonzero(kept[row] & (keys[row] == low[row]))[0]
        best_lost = np.flatnonzero(~kept[row] & (keys[row] == high[row]))[0]
        return (
            f"keeps {number(values[worst_kept])} and drops {number(values[best_lost])} in "
            f"{self.row_name(row, x.shape)}"
        )


def axes_of(layout: str) -> int:
    """Return how many axes arrays of a layout have."""
    return 2 if layout == "flat" else len(check_choice("layout", layout, tuple(LAYOUTS)))


def number(value: Any) -> str:
    """Write a number briefly."""
    return f"{float(value):.6g}"


def at_worst(wrong: NDArray[Any], by: NDArray[Any], x: Array, y: Array, what: str) -> str | None:
    """Say what happened to the entry that is worst, if any is wrong; NaN is worst."""
    wrong = wrong | np.isnan(y)
    if not wrong.any():
        return None
    worst = np.unravel_index(np.argmax(np.where(wrong, np.nan_to_num(by, nan=np.inf), -1.0)), x.shape)
    n = int(np.count_nonzero(wrong))
    more = f"; {n} entries in all" if n > 1 else ""
    at = ", ".join(str(int(i)) for i in worst)
    return f"the entry at [{at}] {what}: {number(x[worst])} became {number(y[worst])}{more}"
