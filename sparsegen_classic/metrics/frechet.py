"""The Frechet distance between two sets, each seen as a Gaussian."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from sparsegen_classic._parallel import single_threaded_blas
from sparsegen_classic.metrics._rows import centred, two_sets

_BLOCK = 4096


def frechet_distance(samples: ArrayLike, references: ArrayLike) -> float:
    """Return the squared Frechet distance of the Gaussians with the moments of two sets.

    In the features of an Inception network this is the FID; in those of :class:`DigitNetwork` it measures
    digits. It falls with the number of samples for any generator, so compare at the same number only.

    Parameters
    ----------
    samples, references : array-like of shape (n, ...) and (n_references, ...)
        Feature rows, or images, at least two each.

    Returns
    -------
    distance : float, at least 0
        ``|m1 - m2|**2 + tr(C1 + C2 - 2 (C1 C2)**0.5)``, with covariances over n - 1.

    Raises
    ------
    ValueError
        If a set has fewer than two rows, values that are not finite, or another width than the other.

    References
    ----------
    M. Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
    NeurIPS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.metrics import frechet_distance
    >>> rows = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    >>> round(frechet_distance(rows + [3.0, 0.0], rows), 6)
    9.0
    """
    one, other = two_sets(samples, references, least=2)
    return frechet_from_moments(*_moments(one), *_moments(other))


def frechet_from_moments(
    mean: ArrayLike, covariance: ArrayLike, mean2: ArrayLike, covariance2: ArrayLike
) -> float:
    """Return the squared Frechet distance of two Gaussians.

    Parameters
    ----------
    mean, mean2 : array-like of shape (n_features,)
    covariance, covariance2 : array-like of shape (n_features, n_features)
        Symmetric and positive semi-definite, of any rank.

    Returns
    -------
    distance : float, at least 0

    Examples
    --------
    >>> from sparsegen_classic.metrics import frechet_from_moments
    >>> frechet_from_moments([0.0], [[1.0]], [3.0], [[4.0]])
    10.0
    """
    difference = np.subtract(mean, mean2, dtype=np.float64)
    first, second = (np.asarray(part, np.float64) for part in (covariance, covariance2))
    # tr (C1 C2)**0.5 is the sum of the singular values of L1' L2 where C = L L'. No root of a product that
    # is not symmetric is taken, and singular covariances are as good as others
    with single_threaded_blas():
        overlap = linalg.svdvals(_root(first).T @ _root(second)).sum()
    distance = difference @ difference + np.trace(first) + np.trace(second) - 2 * overlap
    return max(float(distance), 0.0)


def _moments(rows: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and covariance, in two passes and blocks."""
    mean, covariance = rows.mean(axis=0, dtype=np.float64), np.zeros((rows.shape[1],) * 2)
    with single_threaded_blas():
        for start in range(0, len(rows), _BLOCK):
            part = centred(rows[start : start + _BLOCK], mean)
            covariance += part.T @ part
    return mean, covariance / (len(rows) - 1)


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0))
