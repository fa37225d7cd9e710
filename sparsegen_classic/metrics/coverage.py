"""Precision and recall, density and coverage: how two sets fill each other's neighbourhoods."""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._validation import check_integer
from sparsegen_classic.metrics._rows import centred, for_distances, two_sets


class Coverage(NamedTuple):
    """Four numbers that tell quality from variety.

    Attributes
    ----------
    precision : float in [0, 1]
        Share of samples within the neighbourhood of some reference: quality.
    recall : float in [0, 1]
        Share of references within the neighbourhood of some sample: variety. Widely scattered samples have
        large neighbourhoods and flatter it.
    density : float
        In how many neighbourhoods of references a sample lies, over ``n_neighbors``; 1 for equal laws, above
        it for samples that crowd where references are dense.
    coverage : float in [0, 1]
        Share of references whose neighbourhood holds a sample: variety that outliers cannot flatter.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall(
    samples: ArrayLike, references: ArrayLike, *, n_neighbors: int = 5, n_jobs: int | None = None
) -> Coverage:
    """Measure how samples fill the neighbourhoods of references, and the reverse.

    The neighbourhood of a row is the open ball that reaches to its ``n_neighbors``-th nearest other row of
    its own set.

    Parameters
    ----------
    samples, references : array-like of shape (n, ...) and (n_references, ...)
        Feature rows or images, more than ``n_neighbors`` each; equally many, if recall is to mean much.
    n_neighbors : int, default=5
        Size of the neighbourhoods.
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.

    Returns
    -------
    Coverage
        ``precision``, ``recall``, ``density`` and ``coverage``.

    References
    ----------
    T. Kynkaanniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", NeurIPS
    2019. M. F. Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.metrics import precision_recall
    >>> rows = np.random.default_rng(0).normal(size=(50, 2))
    >>> precision_recall(rows + 100, rows)
    Coverage(precision=0.0, recall=0.0, density=0.0, coverage=0.0)
    """
    check_integer("n_neighbors", n_neighbors, 1)
    one, other = two_sets(samples, references, least=n_neighbors + 1)
    centre = other.mean(axis=0, dtype=np.float64)
    rows, others = centred(one, centre), centred(other, centre)
    radii = _squared_radii(rows, n_neighbors, n_jobs)
    other_radii = _squared_radii(others, n_neighbors, n_jobs)
    balls = np.zeros(len(rows), np.int64)
    covered, recalled = np.zeros(len(others), bool), np.zeros(len(others), bool)
    writing = Lock()

    def visit(block: slice, part: slice, squared: NDArray[np.float64]) -> None:
        inside = squared < other_radii[part]
        balls[block] += inside.sum(axis=1)
        found, reached = inside.any(axis=0), (squared < radii[block, np.newaxis]).any(axis=0)
        with writing:
            covered[part] |= found
            recalled[part] |= reached

    for_distances(rows, others, visit, n_jobs)
    return Coverage(
        float((balls > 0).mean()),
        float(recalled.mean()),
        float(balls.mean() / n_neighbors),
        float(covered.mean()),
    )


def _squared_radii(rows: NDArray[np.float64], n_neighbors: int, n_jobs: int | None) -> NDArray[np.float64]:
    """Return the squared distance of every row to its ``n_neighbors``-th nearest other."""
    nearest = np.full((len(rows), n_neighbors), np.inf)

    def visit(block: slice, part: slice, squared: NDArray[np.float64]) -> None:
        own = np.arange(max(block.start, part.start), min(block.stop, part.stop))
        squared[own - block.start, own - part.start] = np.inf
        candidates = np.concatenate([nearest[block], squared], axis=1)
        nearest[block] = np.partition(candidates, n_neighbors - 1, axis=1)[:, :n_neighbors]

    for_distances(rows, rows, visit, n_jobs)
    return nearest.max(axis=1)
