"""The tone curve, a monotone map that gives values the distribution of others, and the contrast before it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

N_LEVELS = 1025
_CONTRASTS = (0.5, 2.0)  # least and largest that are looked at


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


def flat_curve(low: float, high: float) -> NDArray[np.float64]:
    """Return the curve that clips to ``low`` and ``high`` and changes nothing between them."""
    return np.tile(np.linspace(low, high, N_LEVELS), (2, 1))


def contrast_and_curve(
    deviations: ArrayLike, centre: ArrayLike, targets: ArrayLike
) -> tuple[float, NDArray[np.float64]]:
    """Return the contrast, and the tone curve after it, with which images vary as much as others.

    A tone curve matches all pixels taken together. Images whose pixels are right may still differ from each
    other less than real ones do, where they keep near to their mean.

    Parameters
    ----------
    deviations : array-like of shape (n_images, n_features)
        Of images from ``centre``.
    centre : array-like of shape (n_features,)
        Their mean.
    targets : array-like of shape (n_targets, n_features)
        Images to be like.

    Returns
    -------
    contrast : float in [0.5, 2]
        With it, ``apply_tone(centre + contrast * deviations, curve)`` has the variance of ``targets``, summed
        over the pixels; to 1 %. It is 1 if none does.
    curve : ndarray of shape (2, 1025), float64
        The :func:`tone_curve` of the images with this contrast.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.images import contrast_and_curve
    >>> rng = np.random.default_rng(0)
    >>> centre, deviations = np.linspace(0, 3, 50), rng.normal(size=(200, 50))
    >>> contrast, curve = contrast_and_curve(deviations / 1.5, centre, centre + deviations)
    >>> round(contrast, 1)
    1.5
    """
    deviations, centre, targets = (np.asarray(part, np.float64) for part in (deviations, centre, targets))
    wanted = targets.var(axis=0).sum()

    def excess(contrast: float) -> float:
        values = centre + contrast * deviations
        return float(apply_tone(values, tone_curve(values, targets)).var(axis=0).sum() - wanted)

    low, high = (excess(contrast) for contrast in _CONTRASTS)
    contrast = brentq(excess, *_CONTRASTS, xtol=0.01) if low < 0 < high else 1.0
    return contrast, tone_curve(centre + contrast * deviations, targets)
