"""Number of statistically different bins: where samples are too many or too few."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr
from scipy.stats import norm
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from sparsegen_classic._random import spawn_generators
from sparsegen_classic._validation import check_integer, check_real
from sparsegen_classic.metrics._rows import as_rows, two_sets
from sparsegen_classic.metrics.neighbours import nearest_images

_LARGE_Z = 4.0
_ITERATIONS = 30  # of k-means; bins need no optimum


class NDB(NamedTuple):
    """How the shares of bins differ.

    Attributes
    ----------
    different : int
        Bins whose shares differ at the level ``alpha``; about ``alpha * n_bins`` for equal laws.
    far : int
        Bins whose shares differ by more than four standard errors.
    js : float
        Jensen-Shannon divergence of the shares in nats, at most log 2.
    js_null : float
        What ``js`` is on average for equal laws, ``(n_bins - 1) / 8 * (1 / n_training + 1 / n)``.
    z : ndarray of shape (n_bins,)
        Difference of the shares, samples less training, in standard errors.
    """

    different: int
    far: int
    js: float
    js_null: float
    z: NDArray[np.float64]


class TrainingBins:
    """Bins around the k-means centres of training images, into which samples are put.

    Parameters
    ----------
    training : array-like of shape (n_training, ...)
        Images or feature rows; some 500 for each bin make the test sharp.
    n_bins : int, default=100
        Number of centres, from 2 to the number of training images.
    whiten : bool, default=False
        Divide every dimension by its standard deviation first, as is done for photographs.
    random_state : int, RandomState, Generator or None, default=0
        Seed of k-means.
    n_jobs : int, default=None
        Threads of the search for the nearest centre, as in joblib.

    Attributes
    ----------
    counts : ndarray of shape (n_bins,)
        Training images of each bin.

    References
    ----------
    E. Richardson and Y. Weiss, "On GANs and GMMs", NeurIPS 2018.
    """

    def __init__(
        self,
        training: ArrayLike,
        n_bins: int = 100,
        *,
        whiten: bool = False,
        random_state: Any = 0,
        n_jobs: int | None = None,
    ):
        rows = as_rows("training", training, 2)
        check_integer("n_bins", n_bins, 2, len(rows), "use fewer bins than training images")
        spread = rows.std(axis=0, dtype=np.float64) if whiten else np.ones(rows.shape[1])
        self.n_jobs = n_jobs
        self._scale = (1 / np.where(spread > 0, spread, 1)).astype(rows.dtype)
        (rng,) = spawn_generators(random_state, 1)
        kmeans = KMeans(n_bins, n_init=1, max_iter=_ITERATIONS, random_state=int(rng.integers(2**31)))
        with threadpool_limits(1):  # sums over threads would change the bits with their number
            self._centres = kmeans.fit(rows * self._scale).cluster_centers_
        self.counts = np.bincount(kmeans.labels_, minlength=n_bins)

    def compare(self, samples: ArrayLike, alpha: float = 0.05) -> NDB:
        """Test every bin for equal shares among samples and training images.

        Parameters
        ----------
        samples : array-like of shape (n, ...)
            As large as the training images.
        alpha : float in (0, 1), default=0.05
            Level of the two-sided test of each bin.

        Returns
        -------
        NDB
        """
        check_real("alpha", alpha, 0, 1, "()")
        rows, _ = two_sets(samples, self._centres, ("samples", "training images"))
        nearest, _ = nearest_images(rows * self._scale, self._centres, n_jobs=self.n_jobs)
        return compare_counts(np.bincount(nearest, minlength=len(self.counts)), self.counts, alpha)


def ndb(
    samples: ArrayLike, training: ArrayLike, n_bins: int = 100, alpha: float = 0.05, **options: Any
) -> NDB:
    """Count the bins of training images that samples fill too much or too little.

    It measures the proportions of modes, not sharpness: copies of the training images have the best value.

    Parameters
    ----------
    samples, training : array-like of shape (n, ...) and (n_training, ...)
        Images or feature rows.
    n_bins : int, default=100
        Number of k-means centres.
    alpha : float in (0, 1), default=0.05
        Level of the test of each bin.
    **options
        ``whiten``, ``random_state`` and ``n_jobs`` of :class:`TrainingBins`.

    Returns
    -------
    NDB

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.metrics import ndb
    >>> training = np.random.default_rng(0).normal(size=(2000, 2))
    >>> ndb(training[:500], training, n_bins=10).far
    0
    """
    return TrainingBins(training, n_bins, **options).compare(samples, alpha)


def compare_counts(counts: ArrayLike, training_counts: ArrayLike, alpha: float = 0.05) -> NDB:
    """Compare the counts of bins by pooled tests of two proportions.

    Parameters
    ----------
    counts, training_counts : array-like of shape (n_bins,)
        How many samples, and how many training images, fall into each bin.
    alpha : float in (0, 1), default=0.05
        Level of each test.

    Returns
    -------
    NDB

    Examples
    --------
    >>> from sparsegen_classic.metrics import compare_counts
    >>> round(float(compare_counts([65, 435], [100, 900]).z[0]), 4)
    1.7505
    """
    few, many = np.asarray(counts, np.float64), np.asarray(training_counts, np.float64)
    if few.shape != many.shape or few.ndim != 1 or few.sum() == 0 or many.sum() == 0:
        raise ValueError(
            "counts and training_counts must be two rows of the same length with positive sums, "
            f"got shapes {few.shape} and {many.shape}, sums {few.sum():g} and {many.sum():g}"
        )
    n, n_training = few.sum(), many.sum()
    p, q, pooled = few / n, many / n_training, (few + many) / (n + n_training)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / n_training))
    z = np.divide(p - q, error, out=np.zeros_like(error), where=error > 0)
    middle = (p + q) / 2
    return NDB(
        int((np.abs(z) > norm.isf(alpha / 2)).sum()),
        int((np.abs(z) > _LARGE_Z).sum()),
        float((rel_entr(p, middle) + rel_entr(q, middle)).sum() / 2),
        float((len(p) - 1) / 8 * (1 / n + 1 / n_training)),
        z,
    )
