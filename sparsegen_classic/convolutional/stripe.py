"""The projection onto a cap on stripe counts, the l0,inf of convolutional codes, with its certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.optimize import LinearConstraint, linprog, milp

from sparsegen_classic._kernels.conv_greedy import take_under_cap
from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.convolutional.counts import (
    Windows,
    check_geometry,
    check_maps,
    count_in_windows,
    windows_of,
)
from sparsegen_classic.convolutional.sparse_maps import SparseMaps

_N_PRICES = 200  # subgradient steps for the bound of the greedy method


@dataclass(frozen=True, eq=False)
class StripeProjection:
    """What :func:`project_stripe` returns.

    Attributes
    ----------
    maps : ndarray of shape (n_atoms, *maps_shape)
        The projected maps: every entry is kept as it is, or 0.
    energy : float
        Sum of the squares of what is kept; the squared distance is the energy of the maps less this.
    bound : float
        No maps under the cap keep more than this.
    optimal : bool
        Whether ``energy`` reaches ``bound`` (to a relative 1e-6): then no projection is nearer.
    status : str
        How it was found, in words.
    """

    maps: NDArray[np.floating]
    energy: float
    bound: float
    optimal: bool
    status: str


def project_stripe(
    maps: ArrayLike | SparseMaps,
    cap: int,
    atom_shape: int | Sequence[int],
    method: str = "exact",
    *,
    stride: int | Sequence[int] = 1,
    boundary: str = "zero",
    time_limit: float | None = None,
) -> StripeProjection:
    """Project a code onto {stripe count <= cap}: keep the most energy under the cap.

    A stripe holds all entries whose atoms overlap one atom. Zeroing the smallest entries of each stripe, or
    of each needle, is not this projection; the papers call it hard and use needles instead.

    Parameters
    ----------
    maps : array-like of shape (n_atoms, *maps_shape), or SparseMaps
        The code of one image, finite.
    cap : int
        Largest stripe count allowed, at least 0.
    atom_shape : int or sequence of int
        Size of the filters: a length for signals, (height, width) for images.
    method : {"exact", "greedy"}, default="exact"
        "exact" solves a linear program for signals with zero boundary (its constraints are intervals, so its
        vertices are integral) and an integer program otherwise, for moderate sizes: some thousand non-zeros.
        "greedy" takes entries by size, and again by size less the prices of the stripes they fill, keeps the
        better, and reports an upper bound from those prices.
    stride : int or sequence of int, default=1
        Step between neighbouring atoms, in pixels.
    boundary : {"zero", "circular"}, default="zero"
        Whether atoms continue at the opposite border.
    time_limit : float, optional
        Seconds the integer program may take; its best answer so far and its bound are then returned.

    Returns
    -------
    StripeProjection
        ``maps``, kept ``energy``, upper ``bound``, whether it is ``optimal``, and ``status``.

    Raises
    ------
    ValueError
        If ``cap`` is negative, shapes do not fit, or the maps are not finite.
    RuntimeError
        If the solver fails, or finds nothing within ``time_limit``.

    Notes
    -----
    Equal energies may be kept in more than one way; which, is not defined.

    Examples
    --------
    >>> from sparsegen_classic.convolutional import project_stripe
    >>> maps = [[3.0, 0.0, 4.0, 0.0, 3.0]]
    >>> project_stripe(maps, 1, 2).maps
    array([[3., 0., 0., 0., 3.]])
    >>> greedy = project_stripe([[3.0, 0.0, 4.0, 0.0, 0.0]], 1, 2, method="greedy")
    >>> greedy.energy, greedy.optimal
    (16.0, True)
    """
    check_choice("method", method, ("exact", "greedy"))
    cap = check_integer("cap", cap, 0, remedy="a count cannot be negative")
    if time_limit is not None:
        time_limit = check_real("time_limit", time_limit, 0, closed="()")
    atom_shape, stride = check_geometry(atom_shape, stride, boundary)
    dense, batch = check_maps(maps, atom_shape, stride, boundary)
    if batch:
        raise ValueError(f"maps must be the code of one image, got a batch of {batch[0]}; call it for each")
    dense = dense[0]
    windows = windows_of("stripe", dense.shape[1:], atom_shape, stride, boundary)
    problem = _Problem(dense, cap, windows, boundary == "circular")
    if not len(problem.weights):
        taken, bound, status = np.zeros(0, bool), 0.0, "nothing to choose"
    elif method == "greedy":
        taken, bound = problem.greedy()
        status = "greedy, bounded by prices"
    elif len(atom_shape) == 1 and boundary == "zero":
        taken, bound, status = problem.linear_program()
    else:
        taken, bound, status = problem.integer_program(time_limit)
    if problem.counts(taken).max() > cap:
        raise RuntimeError("the solver returned a code over the cap; use method='greedy'")
    projected = np.zeros_like(dense)
    kept = tuple(axis[taken] for axis in problem.coordinates)
    projected[kept] = dense[kept]
    energy = float(problem.weights[taken].sum())
    bound = max(bound, energy)
    return StripeProjection(projected, energy, bound, energy >= bound * (1 - 1e-6), status)


class _Problem:
    """Choose entries of the largest total weight, at most ``cap`` in every window."""

    def __init__(self, maps: NDArray[np.floating], cap: int, windows: list[Windows], circular: bool):
        self.cap, self.windows, self.circular = cap, windows, circular
        self.shape = maps.shape[1:]
        # No needle can hold more than cap entries, so only its cap largest are candidates.
        order = np.argsort(-np.abs(maps), axis=0, kind="stable")[:cap]
        size = np.take_along_axis(maps, order, axis=0)
        nonzero = np.nonzero(size)
        self.coordinates = (order[nonzero], *nonzero[1:])
        self.weights = size[nonzero].astype(np.float64) ** 2
        self.positions = np.ravel_multi_index(self.coordinates[1:], self.shape)

    def linear_program(self) -> tuple[NDArray[np.bool_], float, str]:
        """Signals: a flow of cap units along the positions; an entry moves one unit past its windows at once.

        Arc i -> i + 1 carries what is free, arc i -> i + width one entry at i. Flow problems have integral
        vertices, and the simplex method ends at a vertex.
        """
        n, n_entries = self.shape[0], len(self.weights)
        width = 2 * self.windows[0].last + 1 if self.windows[0].step else n
        tail = np.concatenate([self.positions, np.arange(n)])
        head = np.concatenate([np.minimum(self.positions + width, n), np.arange(1, n + 1)])
        arcs = np.arange(len(tail))
        incidence = sparse.coo_array(
            (np.repeat([1.0, -1.0], len(arcs)), (np.concatenate([tail, head]), np.tile(arcs, 2))),
            shape=(n + 1, len(arcs)),
        ).tocsr()
        supply = np.zeros(n + 1)
        supply[0], supply[-1] = self.cap, -self.cap
        scale = self.weights.max()
        cost = np.concatenate([-self.weights / scale, np.zeros(n)])
        upper = np.concatenate([np.ones(n_entries), np.full(n, self.cap)])
        bounds = np.stack([np.zeros_like(upper), upper], axis=1)
        answer = linprog(cost, A_eq=incidence, b_eq=supply, bounds=bounds, method="highs-ds")
        if answer.x is None:
            raise RuntimeError(f"the linear program failed: {answer.message}")
        potentials = answer.eqlin.marginals
        reduced = cost - incidence.T @ potentials
        bound = -scale * float(supply @ potentials + np.minimum(reduced, 0) @ upper)  # any potentials bound
        return answer.x[:n_entries] > 0.5, bound, "linear program, integral"

    def integer_program(self, time_limit: float | None) -> tuple[NDArray[np.bool_], float, str]:
        """Images and circles: a binary variable an entry, a row a window that can exceed the cap."""
        rows = self._rows()
        scale = self.weights.max()
        answer = milp(
            -self.weights / scale,
            integrality=np.ones(len(self.weights)),
            bounds=(0, 1),
            constraints=LinearConstraint(rows, ub=np.full(rows.shape[0], self.cap))
            if rows.shape[0]
            else None,
            options={"mip_rel_gap": 0, **({} if time_limit is None else {"time_limit": time_limit})},
        )
        if answer.x is None:
            raise RuntimeError(f"the integer program failed: {answer.message}; use method='greedy'")
        status = "integer program" if answer.status == 0 else "integer program, stopped by time_limit"
        return answer.x > 0.5, -scale * answer.mip_dual_bound, status

    def greedy(self) -> tuple[NDArray[np.bool_], float]:
        """By weight and by weight less prices; the prices of a subgradient method give the bound."""
        best = self._take(self.weights)
        lower = self.weights[best].sum()
        prices = np.zeros([w.n_windows for w in self.windows])
        bound = np.inf
        for _ in range(_N_PRICES):
            value = self.weights - self._prices_of_entries(prices)
            chosen = value > 0
            total = value[chosen].sum() + self.cap * prices.sum()
            if total < bound:
                bound, best_value = total, value
            if bound <= lower * (1 + 1e-9):
                break
            excess = self.counts(chosen) - self.cap  # minus the subgradient
            norm = float(np.vdot(excess, np.where((prices > 0) | (excess > 0), excess, 0)))
            if norm == 0:
                break
            prices = np.maximum(prices + (total - lower) / norm * excess, 0)
        second = self._take(best_value)
        return (second if self.weights[second].sum() > lower else best), float(bound)

    def _take(self, value: NDArray[np.float64]) -> NDArray[np.bool_]:
        order = np.argsort(-value, kind="stable")
        plane = (1, *self.shape) if len(self.shape) == 1 else self.shape
        positions = np.stack(np.unravel_index(self.positions, plane), axis=1)
        windows = [Windows(1, 0, 0, 1), *self.windows][-2:]
        table = np.array([(w.step, w.first, w.last, w.n_windows) for w in windows])
        taken = np.zeros(len(value), bool)
        take_under_cap(order, positions, table, self.cap, self.circular, plane, taken)
        return taken

    def counts(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the stripe counts of the chosen entries."""
        needles = np.bincount(self.positions[chosen], minlength=int(np.prod(self.shape)))
        return count_in_windows(needles.reshape(self.shape), self.windows, self.circular)

    def _prices_of_entries(self, prices: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum the prices of the windows that hold each entry; stripes are symmetric, so by the same sums."""
        total = prices
        for axis, (n, w) in enumerate(zip(self.shape, self.windows, strict=True)):
            if w.step == 0:
                total = np.repeat(total, n, axis=axis)
        own = [w if w.step else Windows(1, 0, 0, n) for n, w in zip(self.shape, self.windows, strict=True)]
        return count_in_windows(total, own, self.circular).ravel()[self.positions]

    def _rows(self) -> Any:
        """Return the windows with more than cap entries as rows of 0 and 1, without repetitions."""
        entry = np.arange(len(self.weights))
        where = np.zeros((1, len(entry)), np.int64)
        for axis, w in enumerate(self.windows):
            index = np.unravel_index(self.positions, self.shape)[axis]
            along = w.step * index + np.arange(w.first, w.last + 1)[:, None]
            outside = (along < 0) | (along >= w.n_windows)
            along = along % w.n_windows
            if not self.circular:
                along[outside] = -(10**9)
            where = (where[:, None] * w.n_windows + along[None]).reshape(-1, len(entry))
        inside = where >= 0
        column = np.broadcast_to(entry, where.shape)[inside]
        n_windows = int(np.prod([w.n_windows for w in self.windows]))
        rows = sparse.csr_array(
            (np.ones(len(column)), (where[inside], column)), shape=(n_windows, len(entry))
        )
        rows = rows[np.diff(rows.indptr) > self.cap]
        rows.sort_indices()
        distinct = {rows.indices[a:b].tobytes(): i for i, (a, b) in enumerate(pairwise(rows.indptr))}
        return rows[sorted(distinct.values())]
