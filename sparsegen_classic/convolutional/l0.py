"""l0 pursuits over a convolutional dictionary: matching pursuit, OMP and iterative hard thresholding."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning

from sparsegen_classic._kernels.conv_greedy import (
    CAP,
    DEPENDENT,
    EXACT,
    MAX_ITER,
    N_NONZERO,
    TOL,
    pursue,
)
from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.convolutional.counts import COUNTS, windows_of
from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.convolutional.projections import project_l0
from sparsegen_classic.convolutional.sparse_maps import SparseMaps

_REASON = {
    N_NONZERO: "n_nonzero",
    TOL: "tol",
    EXACT: "exact",
    CAP: "cap",
    DEPENDENT: "dependent",
    MAX_ITER: "max_iter",
}
_FAILED = {
    DEPENDENT: "the next atom is linearly dependent on the chosen ones; ask for fewer",
    MAX_ITER: "max_iter is reached; raise it",
}

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class L0Result:
    """What an l0 pursuit found.

    Attributes
    ----------
    maps : SparseMaps
        The code, of shape (n_atoms, *maps_shape).
    objective : float
        Half the squared norm of the residual.
    n_iter : int
        Number of iterations.
    converged : bool
        Whether it ended as asked: with ``n_nonzero`` atoms, at ``tol``, with a residual no atom correlates
        with, where no further atom fits under the cap, or (thresholding) at a fixed point.
    stopped_by : str
        "n_nonzero", "tol", "exact", "cap" or "fixed point"; "dependent" or "max_iter" if not converged.
    """

    maps: SparseMaps
    objective: float
    n_iter: int
    converged: bool
    stopped_by: str


def csc_omp(
    dictionary: ConvDictionary,
    x: ArrayLike,
    n_nonzero: int | None = None,
    tol: float | None = None,
    *,
    cap: int | None = None,
    count: str = "stripe",
) -> L0Result:
    """Code an image by convolutional orthogonal matching pursuit.

    Each step takes the atom that is most correlated with the residual (relative to its norm) and refits the
    coefficients of all atoms chosen so far by least squares.

    Parameters
    ----------
    dictionary : ConvDictionary
        Any stride, padding and boundary; filters of any norm.
    x : array-like of shape (n_channels, *image_shape)
        The image, finite; a single channel may be left out.
    n_nonzero : int, optional
        Largest number of non-zeros, at least 1. At least one of ``n_nonzero``, ``tol`` and ``cap`` is needed.
    tol : float, optional
        Stop as soon as the squared residual norm is at most ``tol``.
    cap : int, optional
        Largest local count of non-zeros, at least 1: atoms that would exceed it anywhere are passed over.
    count : {"needle", "pixel", "stripe"}, default="stripe"
        Which count ``cap`` is for, as in :func:`sparsity_counts`.

    Returns
    -------
    L0Result
        ``maps``, ``objective``, ``n_iter``, ``converged``, ``stopped_by``.

    Raises
    ------
    ValueError
        If the image does not fit the dictionary or is not finite, or a parameter is missing or out of range.

    Warns
    -----
    ConvergenceWarning
        If the next atom was linearly dependent on the chosen ones.

    Notes
    -----
    Computed in float64. The Cholesky factor of the chosen atoms grows row by row and keeps its non-zeros
    only; correlations and residual are updated within reach of the coefficients that changed. Exact recovery
    is guaranteed where the stripe count of the true code is below (1 + 1/mu) / 2, with mu the mutual
    coherence.

    References
    ----------
    V. Papyan, J. Sulam, M. Elad, "Working locally thinking globally: theoretical guarantees for
    convolutional sparse coding", IEEE Trans. Signal Processing 65 (2017).
    E. Plaut, R. Giryes, "A greedy approach to l0,inf-based convolutional sparse coding", SIAM J. Imaging
    Sciences 12 (2019), for pursuits under a cap.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.convolutional import ConvDictionary, csc_omp
    >>> dictionary = ConvDictionary([[[1.0, 2.0, 3.0]], [[1.0, -1.0, 0.0]]])
    >>> maps = np.zeros((2, 8))
    >>> maps[0, 1], maps[1, 5] = 2.0, -3.0
    >>> result = csc_omp(dictionary, dictionary.synthesize(maps), n_nonzero=2)
    >>> result.maps.to_dense()
    array([[ 0.,  2.,  0.,  0.,  0.,  0.,  0.,  0.],
           [ 0.,  0.,  0.,  0.,  0., -3.,  0.,  0.]])
    """
    return _pursue(dictionary, x, n_nonzero, tol, cap, count, -1, True)


def csc_mp(
    dictionary: ConvDictionary,
    x: ArrayLike,
    n_nonzero: int | None = None,
    tol: float | None = None,
    *,
    cap: int | None = None,
    count: str = "stripe",
    max_iter: int = 100_000,
) -> L0Result:
    """Code an image by convolutional matching pursuit.

    Each step takes the atom that is most correlated with the residual and adds that correlation to its
    coefficient; atoms may be taken again. Cheaper than :func:`csc_omp`, and less accurate.

    Parameters
    ----------
    dictionary, x, n_nonzero, tol, cap, count
        As in :func:`csc_omp`. It ends where the best atom would be one more than ``n_nonzero``.
    max_iter : int, default=100000
        Largest number of steps.

    Returns
    -------
    L0Result

    Warns
    -----
    ConvergenceWarning
        If ``max_iter`` was reached.

    References
    ----------
    S. Mallat, Z. Zhang, "Matching pursuits with time-frequency dictionaries", IEEE Trans. Signal
    Processing 41 (1993).

    Examples
    --------
    >>> from sparsegen_classic.convolutional import ConvDictionary, csc_mp
    >>> dictionary = ConvDictionary([[[1.0, 1.0]], [[1.0, -1.0]]])
    >>> csc_mp(dictionary, [0.0, 2.0, 4.0, 0.0], tol=1e-8).maps.to_dense().round(6)
    array([[ 0.,  3.,  0.],
           [ 0., -1.,  0.]])
    """
    return _pursue(dictionary, x, n_nonzero, tol, cap, count, check_integer("max_iter", max_iter, 1), False)


def csc_iht(
    dictionary: ConvDictionary,
    x: ArrayLike,
    n_nonzero: int,
    tol: float | None = None,
    *,
    max_iter: int = 1000,
    callback: Callable[[Floats, float], Any] | None = None,
) -> L0Result:
    """Code an image by iterative hard thresholding.

    ``Z <- H_k(Z + D^T (x - D Z) / L)`` from Z = 0, with H_k keeping the k largest magnitudes and L = ||D||^2:
    the objective never increases.

    Parameters
    ----------
    dictionary : ConvDictionary
        Any stride, padding and boundary.
    x : array-like of shape (n_channels, *image_shape)
        The image, finite; a single channel may be left out.
    n_nonzero : int
        Number of non-zeros k, at least 1.
    tol : float, optional
        Stop as soon as the squared residual norm is at most ``tol``.
    max_iter : int, default=1000
        Largest number of iterations.
    callback : callable, optional
        Called with the maps and their objective after every iteration.

    Returns
    -------
    L0Result
        Converged at ``tol``, or at a fixed point (no entry moves by more than 1e-12 of the largest).

    Warns
    -----
    ConvergenceWarning
        If ``max_iter`` was reached.

    References
    ----------
    T. Blumensath, M. E. Davies, "Iterative thresholding for sparse approximations", J. Fourier Analysis and
    Applications 14 (2008).

    Examples
    --------
    >>> from sparsegen_classic.convolutional import ConvDictionary, csc_iht
    >>> dictionary = ConvDictionary([[[1.0, 1.0]], [[1.0, -1.0]]])
    >>> csc_iht(dictionary, [0.0, 3.0, 3.0, 0.0], 1).maps.to_dense().round(6)
    array([[0., 3., 0.],
           [0., 0., 0.]])
    """
    flat, image = _as_planar(dictionary, x)
    shape = (flat.n_atoms, *flat.maps_shape(image.shape[1:]))
    k = check_integer("n_nonzero", n_nonzero, 1, int(np.prod(shape)))
    target = -1.0 if tol is None else check_real("tol", tol, 0)
    max_iter = check_integer("max_iter", max_iter, 1)
    step = 1 / flat.lipschitz(image.shape[1:])
    maps, residual, stopped_by = np.zeros(shape), image, "max_iter"
    for n_iter in range(1, max_iter + 1):  # noqa: B007
        before = maps
        maps = np.asarray(project_l0((maps + step * flat.analyze(residual))[None], k))[0]
        residual = image - flat.synthesize(maps)
        energy = float(np.vdot(residual, residual))
        if callback is not None:
            callback(_answer(dictionary, maps), energy / 2)
        if energy <= target:
            stopped_by = "tol"
            break
        if np.abs(maps - before).max() <= 1e-12 * np.abs(maps).max():
            stopped_by = "fixed point"
            break
    else:
        _warn(f"no fixed point within max_iter={max_iter} iterations; raise max_iter")
    found = SparseMaps.from_dense(_answer(dictionary, maps))
    return L0Result(found, energy / 2, n_iter, stopped_by != "max_iter", stopped_by)


def _pursue(
    dictionary: ConvDictionary,
    x: Any,
    n_nonzero: Any,
    tol: Any,
    cap: Any,
    count: str,
    max_iter: int,
    orthogonal: bool,
) -> L0Result:
    flat, image = _as_planar(dictionary, x)
    if n_nonzero is None and tol is None and cap is None:
        raise ValueError("n_nonzero, tol or cap must be given: without any there is nothing to stop at")
    corr = flat.analyze(image)
    limit = min(corr.size, image.size) if orthogonal else corr.size
    if n_nonzero is not None:
        limit = min(limit, check_integer("n_nonzero", n_nonzero, 1, corr.size))
    target = -1.0 if tol is None else check_real("tol", tol, 0)
    check_choice("count", count, COUNTS)
    cap = -1 if cap is None else check_integer("cap", cap, 1, remedy="no atom fits under a cap of 0")
    windows = windows_of(count, corr.shape[1:], flat.atom_shape, flat.stride, flat.boundary)
    crop_y, crop_x = (_crops(flat, axis, image.shape[1 + axis], corr.shape[1 + axis]) for axis in (0, 1))
    picks, code = np.zeros((limit, 3), np.int64), np.zeros(limit)
    residual = image.copy()
    n, n_iter, energy, reason = pursue(
        np.ascontiguousarray(np.moveaxis(corr, 0, -1)),
        residual,
        flat.filters,
        np.moveaxis(_inverse_norms(flat, image.shape, corr.shape), 0, -1),
        (*flat.stride, *flat.padding, flat.boundary == "circular"),
        crop_y,
        crop_x,
        np.array([(w.step, w.first, w.last, w.n_windows) for w in windows]),
        cap,
        max_iter,
        target,
        orthogonal,
        picks,
        code,
    )
    if reason in _FAILED:
        _warn(f"stopped with {n} atoms and a squared residual of {energy:.3g}: {_FAILED[reason]}")
    maps = np.zeros(corr.shape)
    maps[picks[:n, 2], picks[:n, 0], picks[:n, 1]] = code[:n]
    found = SparseMaps.from_dense(_answer(dictionary, maps))
    objective = 0.5 * float(np.vdot(residual, residual))
    return L0Result(found, objective, n_iter, reason not in _FAILED, _REASON[reason])


def _as_planar(dictionary: ConvDictionary, x: Any) -> tuple[ConvDictionary, Floats]:
    """Return dictionary and image in float64, a signal as an image of height 1."""
    image = np.asarray(x, np.float64)
    d = len(dictionary.atom_shape)
    if image.ndim == d and dictionary.n_channels == 1:
        image = image[None]
    if image.ndim != d + 1 or len(image) != dictionary.n_channels:
        raise ValueError(
            f"x must be one image of shape (n_channels={dictionary.n_channels}, ...) with {d} spatial axes, "
            f"got shape {np.shape(x)}"
        )
    if not np.isfinite(image).all():
        raise ValueError("x must be finite, got NaN or infinity; remove them first")
    dictionary.maps_shape(image.shape[1:])  # refuses what does not fit, in the caller's own axes
    filters = dictionary.filters.astype(np.float64)
    stride, padding, extra = dictionary.stride, dictionary.padding, dictionary.output_padding
    if d == 1:
        filters, image = filters[:, :, None], image[:, None]
        stride, padding, extra = (1, *stride), (0, *padding), (0, *extra)
    return ConvDictionary(filters, stride, padding, extra, dictionary.boundary), image


def _answer(dictionary: ConvDictionary, maps: Floats) -> Floats:
    """Return maps in the axes and the type of the caller's dictionary."""
    maps = maps[:, 0] if len(dictionary.atom_shape) == 1 else maps
    return maps.astype(dictionary.dtype, copy=False)


def _inverse_norms(flat: ConvDictionary, image_shape: Any, maps_shape: Any) -> Floats:
    """1 / norm of every atom as cropped at the border, 0 where nothing remains of it."""
    if not any(flat.padding):
        return np.broadcast_to(1 / flat.norms[:, None, None], maps_shape)
    squares = ConvDictionary(
        (flat.filters**2).sum(axis=1, keepdims=True), flat.stride, flat.padding, flat.output_padding
    )
    norms = np.sqrt(squares.analyze(np.ones(image_shape[1:])))
    inverse = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
    inverse.flags.writeable = False  # as the other: one type, one compilation
    return inverse


def _crops(flat: ConvDictionary, axis: int, n_pixels: int, n_positions: int) -> NDArray[np.int64]:
    """For every position of an axis: how its atoms are cropped (0 = not), first and last + 1 pixel left."""
    size, padding = flat.atom_shape[axis], flat.padding[axis]
    first = np.arange(n_positions) * flat.stride[axis] - padding
    if flat.boundary == "circular":
        first = np.zeros_like(first)
    low, high = np.maximum(-first, 0), np.minimum(n_pixels - first, size)
    kind = np.where(low > 0, low, np.where(high < size, padding + size - high, 0))
    return np.stack([kind, low, high], axis=1)


def _warn(message: str) -> None:
    warnings.warn(message, ConvergenceWarning, stacklevel=4)
