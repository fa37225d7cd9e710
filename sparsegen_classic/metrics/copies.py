"""The copy test: whether samples are nearer to the training images than unseen images are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import betabinom, mannwhitneyu, rankdata

from sparsegen_classic._validation import check_real
from sparsegen_classic.metrics.neighbours import nearest_images

_NEAR = 0.01  # a sample nearer than this share of held-out images is a near copy


class CopyTest(NamedTuple):
    """The distances to the training images of samples against those of held-out images.

    Attributes
    ----------
    probability : float in [0, 1]
        P[a sample is further from its nearest training image than a held-out image is], ties counted half.
        0.5 is ideal, 0 is a copier.
    standard_error : float
        Of ``probability``, after DeLong.
    p_value : float
        Of the two-sided Mann-Whitney test of equal distances.
    near_copies : float in [0, 1]
        Share of samples nearer to a training image than all but 1 % of the held-out images: 0.01 is ideal. It
        finds a few copies among many samples that ``probability`` does not show.
    near_copies_p : float
        Probability of as many near copies, or more, where samples and held-out images follow one law. With
        few held-out images it says whether their share is more than chance.
    distances, held_out_distances : ndarray of shape (n,) and (n_held_out,)
        Distances to the nearest training image.
    nearest : ndarray of shape (n,), intp
        The nearest training image of each sample.
    """

    probability: float
    standard_error: float
    p_value: float
    near_copies: float
    near_copies_p: float
    distances: NDArray[np.float64]
    held_out_distances: NDArray[np.float64]
    nearest: NDArray[np.intp]


def copy_test(
    samples: ArrayLike, held_out: ArrayLike, training: Any, *, n_jobs: int | None = None
) -> CopyTest:
    """Hold the nearest-neighbour distances of samples against those of images the model has not seen.

    All three sets must have gone through the same projection: images of a model of low rank are nearer to
    the training images merely because they lack the noise of real ones, and look like copies.
    :func:`evaluate` projects everything onto the principal components of the training images.

    Parameters
    ----------
    samples : array-like of shape (n, ...)
        Images or feature rows, at least two.
    held_out : array-like of shape (n_held_out, ...)
        Real images, not used in training, at least two.
    training : array-like, memory map or image store of shape (n_training, ...)
        What the model was fitted on; read part by part, as by :func:`nearest_images`.
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.

    Returns
    -------
    CopyTest

    References
    ----------
    C. Meehan, K. Chaudhuri and S. Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative
    Models", AISTATS 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.metrics import copy_test
    >>> rows = np.random.default_rng(0).normal(size=(300, 3))
    >>> copy_test(rows[:100], rows[200:], rows[:200]).probability
    0.0
    """
    nearest, distances = nearest_images(samples, training, n_jobs=n_jobs)
    _, held_out_distances = nearest_images(held_out, training, n_jobs=n_jobs)
    return compare_distances(distances, held_out_distances, nearest)


def compare_distances(
    distances: ArrayLike, held_out_distances: ArrayLike, nearest: ArrayLike | None = None, near: float = _NEAR
) -> CopyTest:
    """Return the copy test of distances that are known; parameters are its attributes of these names.

    ``near`` is the share of held-out images that a near copy must undercut, in [0, 1].
    """
    one, other = (np.asarray(part, np.float64) for part in (distances, held_out_distances))
    for name, part in (("distances", one), ("held_out_distances", other)):
        if part.ndim != 1 or len(part) < 2 or not np.isfinite(part).all():
            raise ValueError(f"{name} must be at least two finite numbers in a row, got shape {part.shape}")
    check_real("near", near, 0, 1)
    # for every sample the share of held-out images that are nearer, and the reverse: ranks among all less
    # ranks among their own
    both = rankdata(np.concatenate([one, other]))
    nearer = (both[: len(one)] - rankdata(one)) / len(other)
    further = 1 - (both[len(one) :] - rankdata(other)) / len(one)
    n_near = int((one < np.quantile(other, near)).sum())
    rank = min(int(near * (len(other) - 1)) + 2, len(other))  # they are below this smallest held-out distance
    variance = nearer.var(ddof=1) / len(one) + further.var(ddof=1) / len(other)
    return CopyTest(
        float(nearer.mean()),
        float(np.sqrt(variance)),
        float(mannwhitneyu(one, other, method="asymptotic").pvalue),
        n_near / len(one),
        float(betabinom.sf(n_near - 1, len(one), rank, len(other) + 1 - rank)),
        one,
        other,
        np.zeros(len(one), np.intp) if nearest is None else np.asarray(nearest),
    )
