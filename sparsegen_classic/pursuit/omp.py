"""Orthogonal matching pursuit, signed and non-negative, over blocks of signals."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array

from sparsegen_classic._kernels.csr import compress_rows
from sparsegen_classic._kernels.nn_omp import nn_omp_block
from sparsegen_classic._kernels.omp import omp_block, screened_omp_block
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._validation import check_integer
from sparsegen_classic.pursuit.masked import check_weights, masked_omp_arrays

_FLOATS: Any = (np.float64, np.float32)
_BLOCK_BYTES = 2**21  # correlations of one block: the caches of a core hold them
_SCREENED_FEATURES = 256  # from here on float64 finds its atoms in float32; below it would gain nothing


def orthogonal_mp(
    X: ArrayLike,
    components: ArrayLike,
    n_nonzero_coefs: int | None = None,
    tol: float | ArrayLike | None = None,
    positive: bool = False,
    *,
    mask: ArrayLike | str | None = None,
    sample_weight: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> sparse.csr_array:
    """Code signals by orthogonal matching pursuit (textbook OMP).

    Each step takes the atom most correlated with the residual and refits all chosen coefficients by least
    squares. Equal correlations are settled by the lower index.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals, float32 or float64 (anything else is converted to float64).
    components : array-like of shape (n_components, n_features)
        Dictionary with atoms as rows of unit norm (to within 1e-2).
    n_nonzero_coefs : int, default=None
        Largest number of atoms a signal may use, between 1 and ``n_components``. None means
        ``max(1, n_features // 10)`` without ``tol`` and ``min(n_features, n_components)`` with it.
    tol : float or array-like of shape (n_samples,), default=None
        Stop as soon as the squared residual norm is at most ``tol`` (one for all, or one a sample). Computed
        in float64.
    positive : bool, default=False
        Non-negative OMP: atoms are picked by their signed correlation and refitted by non-negative least
        squares, so every coefficient is at least 0. Computed in float64.
    mask : None, "nan" or array-like of bool, shape (n_samples, n_features) or (n_features,), default=None
        True = observed. Missing entries of ``X`` may hold anything; "nan" takes exactly the NaN as missing.
        Without a mask NaN is an error. Every row needs an observed entry.
    sample_weight : array-like of shape (n_samples, n_features) or (n_features,), default=None
        Weights, at least 0, of the entries of ``X`` in the squared error; 0 is the same as missing.
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.

    Returns
    -------
    codes : scipy.sparse.csr_array of shape (n_samples, n_components)
        ``X ~ codes @ components``, in the dtype of ``X``; exact zeros are left out.

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, atoms are not of unit norm, or a parameter is out of
        range.

    Notes
    -----
    With ``w`` the weights of a signal (0 or 1 from a mask), least squares, ``tol`` and the pick all use the
    weighted error ``sum(w * (x - code @ components)**2)``: the pick is the atom with the largest
    ``|sum(w * residual * atom)| / sqrt(sum(w * atom**2))``, that is OMP on the signal and the atoms times
    ``sqrt(w)``, renormalised. Atoms with less than 1e-6 of their energy observed are not picked.

    Signals of float64 with at least 256 features, coded to a number of atoms, find their atoms in float32:
    those closer to the largest correlation than its rounding error are compared in float64, and a signal
    for which that does not decide is coded in float64 from the start. Supports are those of float64.

    Warns
    -----
    ConvergenceWarning
        Once a call, if signals stopped early because their next atom was linearly dependent on the chosen.

    References
    ----------
    Y. C. Pati, R. Rezaiifar, P. S. Krishnaprasad, "Orthogonal matching pursuit", Asilomar 1993.
    R. Rubinstein, M. Zibulevsky, M. Elad, "Efficient implementation of the K-SVD algorithm using batch
    orthogonal matching pursuit", Technion CS-2008-08.
    A. M. Bruckstein, M. Elad, M. Zibulevsky, "On the uniqueness of nonnegative sparse solutions to
    underdetermined systems of equations", IEEE Trans. Information Theory 54 (2008).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic import orthogonal_mp
    >>> atoms = np.array([[1, 0], [0, 1], [2**-0.5, 2**-0.5]])
    >>> orthogonal_mp([[3.0, 1.0], [2.0, 2.0]], atoms, n_nonzero_coefs=2).toarray().round(6)
    array([[3.      , 1.      , 0.      ],
           [0.      , 0.      , 2.828427]])
    """
    X = np.asarray(check_array(X, dtype=_FLOATS, input_name="X", ensure_all_finite=mask is None))
    components = check_components(components, X.dtype)
    check_features(X, components)
    weights = None if mask is None and sample_weight is None else check_weights(X, mask, sample_weight)
    n_components = len(components)
    k = check_sparsity(n_nonzero_coefs, tol, components.shape)
    indices, coefficients, n_dependent = omp_arrays(
        X,
        components,
        k,
        tol=check_tol(tol, len(X)),
        positive=positive,
        weights=weights,
        n_jobs=n_jobs,
    )
    if n_dependent:
        warnings.warn(
            f"{n_dependent} of {len(X)} signals stopped before n_nonzero_coefs={k} atoms: the next atom was "
            "linearly dependent on the chosen ones; remove duplicate atoms or lower n_nonzero_coefs",
            ConvergenceWarning,
            stacklevel=2,
        )
    return codes_from_arrays(indices, coefficients, n_components)


def omp_arrays(
    X: NDArray[np.floating],
    components: NDArray[np.floating],
    n_nonzero_coefs: int,
    *,
    tol: NDArray[np.float64] | None = None,
    positive: bool = False,
    weights: NDArray[Any] | None = None,
    n_jobs: int | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.floating], int]:
    """Code checked signals; return indices and coefficients in the order of the picks.

    The work behind :func:`orthogonal_mp`, for callers that code again and again: no checks, no CSR. Indices
    (n_samples, n_nonzero_coefs) int32 are padded with -1, coefficients with 0. The last value counts the
    signals that stopped at a dependent atom.
    """
    # Error targets and NNLS need double precision: the residual recursion cancels.
    dtype: Any = np.dtype(
        np.float32 if X.dtype == np.float32 and tol is None and not positive else np.float64
    )
    components = np.ascontiguousarray(components, dtype)
    shape = (len(X), n_nonzero_coefs)
    indices, coefficients = np.full(shape, -1, np.int32), np.zeros(shape, dtype)
    if weights is not None:
        targets = np.full(len(X), -1.0) if tol is None else tol
        given = X, components, weights, targets, _floor(dtype), positive, n_jobs, indices, coefficients
        stopped = masked_omp_arrays(*given)
        return indices, coefficients.astype(X.dtype, copy=False), stopped
    gram = gram_matrix(components, n_jobs)
    screened = dtype == np.float64 and not positive and tol is None and X.shape[1] >= _SCREENED_FEATURES
    tol = np.full(len(X), -1.0) if tol is None else tol
    rounded = (components.astype(np.float32), gram.astype(np.float32)) if screened else None
    n_dependent: list[int] = []

    def code(block: slice) -> None:
        x = np.ascontiguousarray(X[block], dtype)
        if rounded is not None:
            out = indices[block], coefficients[block]
            n_dependent.append(_code_screened(x, components, gram, *rounded, *out))
            return
        alpha = x @ components.T
        energy = np.einsum("ij,ij->i", x, x)
        given = alpha, gram, energy, tol[block], x, components, indices[block], coefficients[block]
        n_dependent.append(code_block(*given, positive=positive))

    itemsize = 4 if screened else dtype.itemsize
    block_size = max(64, min(1024, _BLOCK_BYTES // (len(components) * itemsize)))
    for_blocks(code, len(X), block_size, n_jobs)
    return indices, coefficients.astype(X.dtype, copy=False), sum(n_dependent)


def code_block(
    alpha: NDArray[np.floating],
    gram: NDArray[np.floating],
    energy: NDArray[np.floating],
    tol: NDArray[np.float64],
    x: NDArray[np.floating],
    components: NDArray[np.floating],
    indices: NDArray[np.int32],
    coefficients: NDArray[np.floating],
    *,
    positive: bool = False,
) -> int:
    """Run the kernel on one block, given its correlations; arguments as in ``_kernels.omp.omp_block``."""
    alpha, floor = np.ascontiguousarray(alpha), _floor(alpha.dtype)
    if positive:
        return nn_omp_block(alpha, gram, energy, tol, x, components, floor, indices, coefficients)
    given = gram, energy, tol, x, components, floor, indices, coefficients
    return omp_block(alpha, *_as_bits(alpha), *given)


def _code_screened(
    x: NDArray[np.floating],
    components: NDArray[np.floating],
    gram: NDArray[np.floating],
    rounded_components: NDArray[np.floating],
    rounded_gram: NDArray[np.floating],
    indices: NDArray[np.int32],
    coefficients: NDArray[np.floating],
) -> int:
    """Code one block to a number of atoms, finding them in float32; what that cannot prove, in float64."""
    energy = np.einsum("ij,ij->i", x, x)
    norms = np.sqrt(energy)
    unit = np.zeros(x.shape, np.float32)
    np.divide(x, norms[:, None], out=unit, where=norms[:, None] > 0, casting="same_kind")
    alpha = unit @ rounded_components.T
    given = gram, rounded_gram, x, norms, components, indices, coefficients
    rest = np.flatnonzero(screened_omp_block(alpha, *_as_bits(alpha), *given))
    if not len(rest):
        return 0
    chosen, values = np.full_like(indices[rest], -1), np.zeros_like(coefficients[rest])
    x = x[rest]
    no_tol = np.full(len(rest), -1.0)
    n_dependent = code_block(x @ components.T, gram, energy[rest], no_tol, x, components, chosen, values)
    indices[rest], coefficients[rest] = chosen, values
    return n_dependent


def _as_bits(alpha: NDArray[np.floating]) -> tuple[NDArray[Any], Any]:
    """Return the array seen as integers, and the mask of every bit but the sign."""
    integer = np.dtype(f"i{alpha.itemsize}")
    return alpha.view(integer), integer.type(np.iinfo(integer).max)


def _floor(dtype: Any) -> NDArray[np.floating]:
    """Return the smallest relative correlation and the smallest squared pivot that count."""
    return np.full(2, 8 * np.finfo(dtype).eps, dtype)


def gram_matrix(components: NDArray[np.floating], n_jobs: int | None) -> NDArray[np.floating]:
    """Return ``components @ components.T``, its lower half by blocks and the upper half mirrored."""
    gram = np.empty((len(components), len(components)), components.dtype)

    def fill(rows: slice) -> None:
        part = components[rows] @ components[: rows.stop].T
        gram[rows, : rows.stop] = part
        gram[: rows.start, rows] = part[:, : rows.start].T

    for_blocks(fill, len(components), 256, n_jobs)
    return gram


def codes_from_arrays(
    indices: NDArray[np.int32], coefficients: NDArray[np.floating], n_components: int
) -> sparse.csr_array:
    """Return CSR codes with sorted indices; padding and exact zeros are left out."""
    integer = np.int32 if indices.size < 2**31 else np.int64
    indptr, columns = np.empty(len(indices) + 1, integer), np.empty(indices.size, integer)
    data = np.empty(indices.size, coefficients.dtype)
    compress_rows(indices, coefficients, indptr, columns, data)
    n = indptr[-1]
    return sparse.csr_array((data[:n], columns[:n], indptr), shape=(len(indices), n_components))


def check_components(components: ArrayLike, dtype: Any = np.float64) -> NDArray[np.floating]:
    """Return the dictionary as a C-contiguous array if its rows are finite and of unit norm."""
    checked = check_array(components, dtype=dtype, order="C", input_name="components")
    norms = np.linalg.norm(checked, axis=1)
    worst = int(np.argmax(np.abs(norms - 1)))
    if abs(norms[worst] - 1) > 1e-2:
        raise ValueError(
            f"components must have rows of unit norm (to within 1e-2), but row {worst} has norm "
            f"{norms[worst]:.6g}; divide each row by its norm"
        )
    return checked


def check_features(X: NDArray[np.floating], components: NDArray[np.floating]) -> None:
    """Raise unless the signals are as long as the atoms."""
    if X.shape[1] != components.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} features but components has {components.shape[1]}; "
            "rows of X are signals and rows of components are atoms"
        )


def check_sparsity(n_nonzero_coefs: int | None, tol: Any, shape: tuple[int, ...]) -> int:
    """Return the number of atoms a signal may use, resolving the default from the dictionary's shape."""
    n_components, n_features = shape
    if n_nonzero_coefs is None:
        return min(n_components, n_features if tol is not None else max(1, n_features // 10))
    return check_integer(
        "n_nonzero_coefs",
        n_nonzero_coefs,
        1,
        n_components,
        f"a signal cannot use more atoms than the dictionary has (n_components={n_components})",
    )


def check_tol(tol: Any, n_samples: int) -> NDArray[np.float64] | None:
    """Return one squared error target for each sample, or None."""
    if tol is None:
        return None
    checked = np.asarray(tol, np.float64)
    if checked.shape not in ((), (n_samples,)):
        raise ValueError(
            f"tol must be one number or one a sample, shape ({n_samples},), got shape {checked.shape}"
        )
    if not np.all(np.isfinite(checked)) or np.any(checked < 0):
        raise ValueError(f"tol is a squared residual norm and must be finite and at least 0, got {tol!r}")
    return np.ascontiguousarray(np.broadcast_to(checked, n_samples))
