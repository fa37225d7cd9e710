"""The tone curve: a monotone map that gives values the distribution of others."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

N_LEVELS = 1025


def tone_curve(values: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Match the quantiles of ``values`` to those of ``targets`` (histogram specification).

    Parameters
    ----------
    values, targets : array-like of numbers of any shape, finite, not empty
        E.g. sums of atoms, and the pixels that they stand for.

    Returns
    -------
    curve : ndarray of shape (2, 1025), float64
        Equally spaced quantiles of both, lowest to highest.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.images import apply_tone, tone_curve
    >>> curve = tone_curve(np.linspace(-1, 1, 101), np.linspace(0, 1, 101) ** 2)
    >>> apply_tone(np.array([-2.0, 0.0, 0.5, 1.0]), curve).round(4).tolist()
    [0.0, 0.25, 0.5625, 1.0]
    """
    levels = np.linspace(0.0, 1.0, N_LEVELS)
    return np.stack([np.quantile(np.asarray(part, np.float64), levels) for part in (values, targets)])


def apply_tone(values: ArrayLike, curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map values along a curve of :func:`tone_curve`; what lies outside it goes to its ends.

    Parameters
    ----------
    values : array-like of numbers
        Of any shape.
    curve : ndarray of shape (2, n_levels)
        Abscissae and ordinates, both non-decreasing.

    Returns
    -------
    ndarray of the shape of ``values``, float64
        In the range of ``curve[1]``, non-decreasing in ``values``.
    """
    return np.interp(np.asarray(values), *curve)
