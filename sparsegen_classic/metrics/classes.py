"""What a classifier says of samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

_CONFIDENT = 0.9


class ClassStatistics(NamedTuple):
    """Statistics of the class probabilities of a set of samples.

    Attributes
    ----------
    shares : ndarray of shape (n_classes,)
        Share of samples whose most probable class this is.
    class_confidence : ndarray of shape (n_classes,)
        Mean probability of that class among them; nan for a class without samples.
    confidence : float
        Mean of the largest probability; blurred or broken images lower it.
    confident_share : float
        Share of samples with a largest probability above 0.9.
    entropy : float
        Entropy of ``shares`` in nats; the logarithm of the number of classes if all are equally frequent.
    score : float
        exp of the mean divergence of the probabilities from their mean ("Inception score"), at most the
        number of classes.
    accuracy : float
        Share of samples whose most probable class is the label they were drawn with; nan without labels.
    """

    shares: NDArray[np.float64]
    class_confidence: NDArray[np.float64]
    confidence: float
    confident_share: float
    entropy: float
    score: float
    accuracy: float


def class_statistics(probabilities: ArrayLike, labels: ArrayLike | None = None) -> ClassStatistics:
    """Summarise the class probabilities of samples.

    Parameters
    ----------
    probabilities : array-like of shape (n, n_classes)
        Rows that sum to 1, e.g. of :meth:`DigitNetwork.probabilities`.
    labels : array-like of shape (n,), int, optional
        The classes the samples were drawn for, in [0, n_classes).

    Returns
    -------
    ClassStatistics

    Raises
    ------
    ValueError
        If rows are no probabilities, or there is not one label for each.

    Examples
    --------
    >>> from sparsegen_classic.metrics import class_statistics
    >>> statistics = class_statistics([[0.95, 0.05], [0.2, 0.8]], labels=[0, 0])
    >>> statistics.confidence, statistics.confident_share, statistics.accuracy
    (0.875, 0.5, 0.5)
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or not len(p) or not (p >= 0).all() or not np.allclose(p.sum(axis=1), 1, atol=1e-4):
        raise ValueError(
            "probabilities must be (n, n_classes), n at least 1, not negative, with rows that sum to 1, "
            f"got shape {p.shape}"
        )
    best, largest = p.argmax(axis=1), p.max(axis=1)
    counts = np.bincount(best, minlength=p.shape[1])
    sums = np.bincount(best, weights=largest, minlength=p.shape[1])
    shares = counts / len(p)
    accuracy = float("nan")
    if labels is not None:
        targets = np.asarray(labels)
        if targets.shape != best.shape:
            raise ValueError(
                f"labels must be one for each of the {len(p)} samples, got shape {targets.shape}"
            )
        accuracy = float((best == targets).mean())
    information = entr(p.mean(axis=0)).sum() - entr(p).sum(axis=1).mean()
    return ClassStatistics(
        shares,
        np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0),
        float(largest.mean()),
        float((largest > _CONFIDENT).mean()),
        float(entr(shares).sum()),
        float(np.exp(information)),
        accuracy,
    )
