"""Fits of a pairwise model to supports beyond counting: pseudo-likelihood and contrastive divergence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize

from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.support.likelihood import (
    check_group_rows,
    check_rows,
    gradient_sums,
    pseudo_likelihood,
)

Fit = tuple[NDArray[np.float64], NDArray[np.float64], dict[str, NDArray[np.float64]]]


def fit_pseudo_likelihood(
    supports: NDArray[np.integer],
    log_factors: NDArray[np.float64],
    log_pair_factors: NDArray[np.float64],
    *,
    l2: float = 1.0,
    towards: str = "start",
    rank: int | None = None,
    validation: NDArray[np.integer] | None = None,
    patience: int = 5,
    max_iter: int = 100,
    n_jobs: int | None = None,
    groups: NDArray[np.integer] | None = None,
    log_group_factors: NDArray[np.float64] | None = None,
    validation_groups: NDArray[np.integer] | None = None,
) -> Fit:
    """Fit the factors by maximum pseudo-likelihood, from given ones on.

    Maximises sum log P(a_j | rest of a) over the atoms of all supports, less l2 / 2 times the squared
    distance of theta and of Theta (pairs once) from where they are drawn to, by L-BFGS with the exact
    gradient. Concave unless ``rank`` is given. Started from counts, step 0 is equation (2). Pairs that are
    impossible at the start stay so.

    Parameters
    ----------
    supports : ndarray of shape (n, k_max), integer
        Index rows as for :func:`pseudo_likelihood`, each possible under the start.
    log_factors : ndarray of shape (n_states,)
        theta to start from.
    log_pair_factors : ndarray of shape (n_states, n_states)
        Theta to start from.
    l2 : float, default=1.0
        Precision of the Gaussian prior: about as many joint uses make a pair move half of its way.
    towards : {"start", "zero"}, default="start"
        Where the penalty draws the pair factors: to those given, or to independent atoms. theta is always
        drawn to the start.
    rank : int, default=None
        Theta may leave the start only by a symmetric matrix of this rank, U diag(s) U^T with s = +-1 from the
        largest eigenvalues of the first gradient. None fits every pair.
    validation : ndarray of shape (n_validation, k_max), integer, default=None
        Held-out index rows: the fit stops early, and returns the step where their pseudo-likelihood was best.
        Rows that the start makes impossible are left out.
    patience : int, default=5
        Steps without a better held-out value before the fit stops.
    max_iter : int, default=100
        Most steps.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.
    groups : ndarray of shape (n,), integer, default=None
        Latent group of each support, if there are several networks.
    log_group_factors : ndarray of shape (n_groups, n_states), default=None
        Their theta to start from. All are moved alike, by what ``log_factors`` is moved; pairs are shared.
    validation_groups : ndarray of shape (n_validation,), integer, default=None
        Group of each of ``validation``, if there are several networks.

    Returns
    -------
    log_factors : ndarray of shape (n_states,)
    log_pair_factors : ndarray of shape (n_states, n_states)
    history : dict of str to ndarray of shape (n_steps + 1,)
        "objective" (with the penalty, never falls), "train" and, if asked for, "validation": nats an atom.

    Raises
    ------
    ValueError
        If an argument is out of range, if a support is impossible under the start, or if none is left.

    References
    ----------
    J. Besag, "Statistical analysis of non-lattice data", The Statistician 24, 1975.

    Examples
    --------
    >>> from sparsegen_classic.support import MarkovSupports, fit_pseudo_likelihood
    >>> X = [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1], [1, 1, 0, 0], [1, 0, 1, 0]]
    >>> model = MarkovSupports().fit(X)
    >>> start = model.log_factors_, model.log_pair_factors_
    >>> theta, pairs, history = fit_pseudo_likelihood(model.supports_, *start, l2=0.1)
    >>> bool(history["train"][-1] > history["train"][0])
    True
    """
    check_real("l2", l2, 0.0)
    check_choice("towards", towards, ("start", "zero"))
    check_integer("patience", patience, 1)
    check_integer("max_iter", max_iter, 1)
    n_states = len(log_factors)
    rows = possible_rows(supports, log_factors, log_pair_factors, n_jobs)
    order, in_order, offsets = in_groups(len(rows), log_factors, groups, log_group_factors)
    held_out = None
    if validation is not None:
        held_out = _held_out(validation, validation_groups, offsets + log_factors, log_pair_factors, n_jobs)
    start = log_factors, log_pair_factors
    problem = _PseudoLikelihood(rows[order], in_order, offsets, *start, l2, towards, n_jobs)
    if rank is not None:
        check_integer("rank", rank, 1, n_states)
        return _climb(_LowRank(problem, rank), held_out, patience, max_iter)
    return _climb(problem, held_out, patience, max_iter)


class _PseudoLikelihood:
    """The penalised objective over a flat vector: theta, then each free pair once."""

    def __init__(
        self,
        rows: Any,
        groups: Any,
        offsets: Any,
        theta: Any,
        table: Any,
        l2: float,
        towards: str,
        n_jobs: int | None,
    ):
        self.rows, self.start, self.l2, self.n_jobs = rows, (theta, table), l2, n_jobs
        self.groups, self.offsets = groups, offsets
        self.n_atoms = np.count_nonzero(rows >= 0)
        self.full = self
        self.free_states = np.isfinite(theta)
        upper = np.triu(np.ones(table.shape, bool), 1)
        self.free_pairs = np.nonzero(upper & np.isfinite(table))
        self.anchor = self.pack(theta, table)
        self.x0 = self.anchor.copy()
        if towards == "zero":
            self.anchor[np.count_nonzero(self.free_states) :] = 0.0

    def pack(self, theta: Any, table: Any) -> NDArray[np.float64]:
        return np.concatenate([theta[self.free_states], table[self.free_pairs]])

    def unpack(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        theta, table = self.start[0].copy(), self.start[1].copy()
        n_free = np.count_nonzero(self.free_states)
        theta[self.free_states] = x[:n_free]
        table[self.free_pairs] = table[self.free_pairs[::-1]] = x[n_free:]
        return theta, table

    @staticmethod
    def vector(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return x

    def penalty(self, x: NDArray[np.float64]) -> float:
        """Return the penalty, in nats an atom."""
        away = x - self.anchor
        return float(self.l2 / 2 * (away @ away) / self.n_atoms)

    def __call__(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return minus the objective, in nats an atom, and its gradient."""
        theta, table = self.unpack(x)
        of_groups = self.offsets + theta
        value, by_theta, by_table = gradient_sums(self.rows, of_groups, table, self.n_jobs, self.groups)
        gradient = self.pack(by_theta, by_table) - self.l2 * (x - self.anchor)
        return self.penalty(x) - value / self.n_atoms, gradient / -self.n_atoms


class _LowRank:
    """The same objective over theta and U, where Theta = start + U diag(signs) U^T."""

    def __init__(self, full: _PseudoLikelihood, rank: int):
        self.full = full
        gradient = full.unpack(-full(full.x0)[1])[1]
        values, vectors = np.linalg.eigh(np.where(np.isfinite(gradient), gradient, 0.0))
        largest = np.argsort(-np.abs(values), kind="stable")[:rank]
        self.signs = np.where(values[largest] < 0, -1.0, 1.0)
        self.n_free = np.count_nonzero(full.free_states)
        self.x0 = np.concatenate([full.x0[: self.n_free], 0.1 * vectors[:, largest].ravel()])

    def _factor(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return x[self.n_free :].reshape(-1, len(self.signs))

    def vector(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the vector of the full problem."""
        change = (self._factor(x) * self.signs) @ self._factor(x).T
        pairs = self.full.x0[self.n_free :] + change[self.full.free_pairs]
        return np.concatenate([x[: self.n_free], pairs])

    def __call__(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = self.full(self.vector(x))
        by_table = np.zeros_like(self.full.start[1])
        by_table[self.full.free_pairs] = by_table[self.full.free_pairs[::-1]] = gradient[self.n_free :]
        by_factor = by_table @ self._factor(x) * self.signs
        return value, np.concatenate([gradient[: self.n_free], by_factor.ravel()])


def _climb(problem: Any, held_out: Any, patience: int, max_iter: int) -> Fit:
    """Minimise ``problem`` by L-BFGS; with held-out rows return its best step on them."""
    full = problem.full
    steps: list[tuple[float, ...]] = []
    best: list[Any] = [-np.inf, full.start, 0]  # value, factors, number of steps

    def record(x: NDArray[np.float64], value: float) -> None:
        theta, table = full.unpack(problem.vector(x))
        step = [-value, full.penalty(problem.vector(x)) - value]
        if held_out is not None:
            rows, groups = held_out
            values = pseudo_likelihood(rows, full.offsets + theta, table, full.n_jobs, groups)
            step.append(float(np.average(values, weights=(rows >= 0).sum(axis=1))))  # all atoms alike
        steps.append(tuple(step))
        if held_out is None or step[2] > best[0]:
            best[:] = [step[-1], (theta, table), len(steps)]

    def callback(intermediate_result: OptimizeResult) -> None:
        record(intermediate_result.x, intermediate_result.fun)
        if len(steps) - best[2] >= patience:
            raise StopIteration

    record(problem.x0, problem(problem.x0)[0])
    options = {"maxiter": max_iter}
    minimize(problem, problem.x0, jac=True, method="L-BFGS-B", callback=callback, options=options)
    columns = np.array(steps).T
    history = dict(zip(("objective", "train", "validation"), columns, strict=False))
    return *best[1], history


def _held_out(
    validation: Any, groups: Any, thetas: NDArray[np.float64], table: NDArray[np.float64], n_jobs: int | None
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Return the validation rows that the start makes possible, and the group of each."""
    rows = check_rows(validation, len(table), "validation")
    if groups is None and len(thetas) > 1:
        raise ValueError(
            "validation_groups must be given where groups are, got None; say whose rows they are"
        )
    groups = np.zeros(len(rows), np.intp) if groups is None else groups
    groups = check_group_rows(groups, len(rows), len(thetas), "validation_groups")
    values = pseudo_likelihood(rows, thetas, table, n_jobs, groups)
    possible = np.isfinite(values) & (rows >= 0).any(axis=1)
    if not possible.any():
        raise ValueError("validation must hold a support that the start makes possible; got none")
    return rows[possible], groups[possible]


def in_groups(
    n: int, log_factors: NDArray[np.float64], groups: Any, log_group_factors: Any
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return an order of ``n`` supports by group, the groups in it, and what each adds to theta."""
    if groups is None and log_group_factors is None:
        return np.arange(n), np.zeros(n, np.intp), np.zeros((1, len(log_factors)))
    tables = np.asarray(log_group_factors, np.float64)
    if tables.ndim != 2 or tables.shape[1] != len(log_factors):
        raise ValueError(
            f"log_group_factors must be of shape (n_groups, {len(log_factors)}), got {tables.shape}; give it "
            "and groups together"
        )
    groups = check_group_rows(groups, n, len(tables))
    order = np.argsort(groups, kind="stable")
    offsets = np.zeros_like(tables)
    np.subtract(tables, log_factors, out=offsets, where=np.isfinite(log_factors))
    return order, groups[order], offsets


def possible_rows(supports: Any, theta: Any, table: Any, n_jobs: int | None) -> NDArray[np.int32]:
    """Return checked index rows, all of them possible under the factors."""
    rows = check_rows(supports, len(theta))
    impossible = np.flatnonzero(np.isneginf(pseudo_likelihood(rows, theta, table, n_jobs)))
    if len(impossible):
        raise ValueError(
            f"supports must be possible under the start, got {rows[impossible[0]].tolist()} in row"
            f" {impossible[0]}; leave such rows out, or start from counts with smoothing > 0"
        )
    if not (rows >= 0).any():
        raise ValueError("supports must hold at least one atom, got none; give codes with non-zero entries")
    return rows
