"""The sliced Wasserstein distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import spawn_generators
from sparsegen_classic._validation import check_integer, check_real
from sparsegen_classic.metrics._rows import two_sets

_BLOCK = 8  # directions at a time


def sliced_wasserstein(
    samples: ArrayLike,
    references: ArrayLike,
    *,
    n_projections: int = 200,
    p: float = 2.0,
    random_state: Any = 0,
    n_jobs: int | None = None,
) -> float:
    """Return the Wasserstein distance of two sets along random directions.

    Parameters
    ----------
    samples, references : array-like of shape (n, ...) and (n_references, ...)
        Feature rows or images. The numbers may differ; the distances along a direction are exact.
    n_projections : int, default=200
        Number of directions, uniform on the sphere.
    p : float, default=2
        Order, at least 1.
    random_state : int, RandomState, Generator or None, default=0
        Seed of the directions; compare values of one seed.
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.

    Returns
    -------
    distance : float
        The mean over the directions of the distances to the power ``p``, to the power ``1 / p``.

    References
    ----------
    N. Bonneel et al., "Sliced and Radon Wasserstein Barycenters of Measures", JMIV 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.metrics import sliced_wasserstein
    >>> rows = np.random.default_rng(0).normal(size=(100, 1))
    >>> round(sliced_wasserstein(rows + 2, rows), 6)
    2.0
    """
    one, other = two_sets(samples, references)
    check_integer("n_projections", n_projections, 1)
    check_real("p", p, 1)
    (rng,) = spawn_generators(random_state, 1)
    directions = rng.standard_normal((one.shape[1], n_projections))
    directions /= np.linalg.norm(directions, axis=0)
    powers = np.empty(n_projections)
    # the quantile functions are steps; between two steps of either they differ by a constant
    steps = np.union1d(*(np.arange(1, len(part) + 1) / len(part) for part in (one, other)))
    steps = steps[np.diff(steps, prepend=0) > 1e-12]  # equal fractions that rounding tells apart
    widths, middles = np.diff(steps, prepend=0), steps - np.diff(steps, prepend=0) / 2

    def quantiles(rows: NDArray[np.floating], block: slice) -> NDArray[np.float64]:
        ordered = np.sort(rows @ directions[:, block].astype(rows.dtype), axis=0)
        return ordered[np.minimum((middles * len(rows)).astype(np.intp), len(rows) - 1)].astype(np.float64)

    def work(block: slice) -> None:
        powers[block] = widths @ np.abs(quantiles(one, block) - quantiles(other, block)) ** p

    for_blocks(work, n_projections, _BLOCK, n_jobs)
    return float(powers.mean() ** (1 / p))
