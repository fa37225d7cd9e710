"""Separable cropped wavelets: an image-sized frame without the borders of a plain wavelet transform."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil, isqrt, log2, prod
from typing import Any

import numpy as np
import pywt
from numpy.typing import NDArray
from scipy.fft import dct

from sparsegen_classic._validation import check_choice, check_integer, check_real

_LONGEST_LINE = 1024  # features that are still taken as a one-dimensional signal if no shape is given


def cropped_wavelets(n: int, wavelet: str = "sym8", threshold: float = 1e-3) -> NDArray[np.float64]:
    """Return wavelets of length ``n`` that were cut out of a longer signal.

    The orthonormal, periodic, full-depth wavelet transform of a signal at least twice as long is cropped to
    its ``n`` central samples. Wavelets that (nearly) vanish there are dropped, the others normalised. The
    result is overcomplete, and free of the wrap-around of periodic wavelets.

    Parameters
    ----------
    n : int
        Number of samples, at least 1.
    wavelet : str, default="sym8"
        Name of an orthogonal wavelet of PyWavelets (``pywt.wavelist(kind="discrete")``).
    threshold : float, default=1e-3
        A wavelet is dropped if what cropping leaves of its unit norm is at most this; in [0, 1).

    Returns
    -------
    phi : ndarray of shape (n, n_wavelets)
        Wavelets of unit norm as columns, from coarse to fine.

    References
    ----------
    J. Sulam, B. Ophir, M. Zibulevsky, M. Elad, "Trainlets: dictionary learning in high dimensions", IEEE
    Trans. Signal Processing 64 (2016).

    Examples
    --------
    >>> from sparsegen_classic.dictionary import cropped_wavelets
    >>> cropped_wavelets(64, "haar").shape
    (64, 66)
    >>> cropped_wavelets(64).shape
    (64, 96)
    """
    phi, norms = _crop(check_integer("n", n, 1), wavelet, check_real("threshold", threshold, 0, 1, "[)"))
    return phi / norms


def _crop(n: int, wavelet: str, threshold: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the kept columns as cropping left them, and their norms."""
    size = 2 ** (ceil(log2(n)) + 1)
    start = (size - n) // 2
    cropped = _synthesis(size, wavelet)[start : start + n]
    norms = np.linalg.norm(cropped, axis=0)
    kept = norms > threshold
    return cropped[:, kept], norms[kept]


def _synthesis(size: int, wavelet: str) -> NDArray[np.float64]:
    """Return all wavelets of a periodic signal, down to one coefficient, as orthonormal columns."""
    check_choice("wavelet", wavelet, _orthogonal_wavelets())
    unit = np.eye(size)
    columns = unit[:1]
    while len(columns) < size:
        columns = pywt.idwt(columns, unit[len(columns) : 2 * len(columns)], wavelet, "periodization", axis=0)
    return columns


@cache
def _orthogonal_wavelets() -> tuple[str, ...]:
    return tuple(name for name in pywt.wavelist(kind="discrete") if pywt.Wavelet(name).orthogonal)


@dataclass(frozen=True, eq=False)
class SeparableBase:
    """The base Phi = left (x) right on images seen as matrices; never formed as one matrix.

    Attributes
    ----------
    left, right : ndarray of shape (height, n_left), (width, n_right)
        Base functions along the columns and along the rows of an image, of unit norm.
    weights : ndarray of shape (n_left * n_right,)
        Squared norms the base functions had when they formed a tight frame: ``Phi diag(weights) Phi^T = I``
        (up to the threshold of the cropping).
    """

    left: NDArray[np.floating]
    right: NDArray[np.floating]
    weights: NDArray[np.floating]

    @property
    def n_functions(self) -> int:
        """Number of base functions."""
        return self.left.shape[1] * self.right.shape[1]

    def synthesize(self, codes: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return rows ``phi Z phi^T`` (n, height * width) of rows ``Z`` (n, n_functions)."""
        return _separable(self.left, codes, self.right.T)

    def analyze(self, images: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return rows ``phi^T Y phi`` (n, n_functions), the adjoint of :meth:`synthesize`."""
        return _separable(self.left.T, images, self.right)

    def analyze_columns(self, images: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the same as columns (n_functions, n), contiguous for products with sparse atoms."""
        n = len(images)
        halfway = self.left.T @ np.ascontiguousarray(images.T).reshape(len(self.left), -1)
        return np.matmul(self.right.T, halfway.reshape(-1, len(self.right), n)).reshape(-1, n)


def _separable(
    left: NDArray[np.floating], rows: NDArray[np.floating], right: NDArray[np.floating]
) -> NDArray[np.floating]:
    matrices = rows.reshape(len(rows), left.shape[1], right.shape[0])
    return np.matmul(np.matmul(left, matrices), right).reshape(len(rows), -1)


def wavelet_base(image_shape: tuple[int, ...], wavelet: str, dtype: Any = np.float64) -> SeparableBase:
    """Return the base of cropped wavelets for images (height, width[, channels]).

    Channels are joined to the width and transformed by an orthonormal DCT: for RGB brightness and two
    contrasts of colour.
    """
    height, width, *channels = image_shape
    left, left_norms = _crop(height, wavelet, 1e-3)
    right, right_norms = _crop(width, wavelet, 1e-3)
    left, right = left / left_norms, right / right_norms
    if channels:
        colours = dct(np.eye(prod(channels)), axis=0, norm="ortho").T
        right, right_norms = np.kron(right, colours), np.repeat(right_norms, len(colours))
    weights = np.outer(left_norms, right_norms).reshape(-1) ** 2
    return SeparableBase(*(np.ascontiguousarray(part, dtype) for part in (left, right, weights)))


def check_image_shape(image_shape: tuple[int, ...] | None, n_features: int) -> tuple[int, ...]:
    """Return the shape of an image of ``n_features`` values; None = square or, if short, a line."""
    if image_shape is None:
        side = isqrt(n_features)
        if side**2 == n_features:
            return (side, side)
        if n_features > _LONGEST_LINE:
            raise ValueError(
                f"image_shape must be given for n_features={n_features}, which is no square number; give "
                "(height, width) or (height, width, channels)"
            )
        return (1, n_features)
    shape = tuple(check_integer("image_shape", side, 1) for side in image_shape)
    if len(shape) not in (2, 3) or prod(shape) != n_features:
        raise ValueError(
            f"image_shape must be (height, width) or (height, width, channels) with a product of "
            f"n_features={n_features}, got {image_shape!r}"
        )
    return shape
