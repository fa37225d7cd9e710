"""The multivariate normal restricted to the positive orthant."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._kernels.truncated import first_positive, gibbs_positive
from sparsegen_classic._random import RandomState, spawn_generators
from sparsegen_classic._validation import check_integer

N_PROPOSALS = 32


def sample_truncated_normal(
    mean: ArrayLike,
    covariance: ArrayLike,
    n_samples: int = 1,
    random_state: RandomState = None,
    *,
    n_sweeps: int = 50,
) -> NDArray[np.float64]:
    """Draw from N(mean, covariance) restricted to vectors with all entries positive.

    Each sample takes the first positive one of 32 plain proposals. Where there is none it is the end of a
    coordinate Gibbs chain of its own (Geweke 1991): one-dimensional truncated normals by the inverse CDF,
    computed in the log domain, so that means 40 or 10^100 standard deviations below zero do no harm. The
    chain is approximate; strong correlations far in the tail need more sweeps.

    Parameters
    ----------
    mean : array-like of shape (n_features,)
        Mean before truncation.
    covariance : array-like of shape (n_features, n_features)
        Covariance before truncation, positive definite.
    n_samples : int, default=1
        Number of samples; the first m are those of a call with m.
    random_state : int, Generator, RandomState, SeedSequence or None, default=None
        Seed.
    n_sweeps : int, default=50
        Gibbs sweeps of a sample that rejection did not give.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Strictly positive, finite.

    Raises
    ------
    ValueError
        If ``covariance`` is not symmetric positive definite or does not fit ``mean``.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.coefficients import sample_truncated_normal
    >>> x = sample_truncated_normal([0, 0], [[1, 0.5], [0.5, 1]], 20000, random_state=0)
    >>> bool(x.min() > 0)
    True
    >>> expected = 1.5 / (2 * np.sqrt(2 * np.pi)) / (1 / 3)  # of a standard pair with correlation 1/2
    >>> bool(abs(x[:, 0].mean() - expected) < 0.02)
    True
    """
    mean = np.array(mean, dtype=np.float64)
    if mean.ndim != 1 or not np.isfinite(mean).all():
        raise ValueError(f"mean must be a finite vector, got shape {mean.shape}; give one entry per feature")
    covariance = check_covariance("covariance", covariance, len(mean))
    n_samples = check_integer("n_samples", n_samples, 0)
    n_sweeps = check_integer("n_sweeps", n_sweeps, 1)
    generators = spawn_generators(random_state, n_samples)
    draws = [draw_positive(mean, covariance, generator, n_sweeps) for generator in generators]
    return np.array(draws).reshape(n_samples, len(mean))


def draw_positive(
    mean: NDArray[np.float64], covariance: NDArray[np.float64], rng: np.random.Generator, n_sweeps: int = 50
) -> NDArray[np.float64]:
    """Draw one positive vector: rejection, then Gibbs."""
    draw = first_positive(mean, covariance, rng.standard_normal((N_PROPOSALS, len(mean))))
    if draw.min(initial=1) > 0:
        return draw
    return gibbs_positive(mean, covariance, 1 - rng.random((n_sweeps, len(mean))))


def check_covariance(name: str, value: Any, size: int) -> NDArray[np.float64]:
    """Return ``value`` as a symmetric positive definite matrix (size, size), or raise a ValueError."""
    matrix = np.array(value, dtype=np.float64)
    if matrix.shape != (size, size):
        raise ValueError(f"{name} must have shape {(size, size)}, got {matrix.shape}")
    scale = np.sqrt(np.abs(np.diag(matrix)))
    if not (np.abs(matrix - matrix.T) <= 1e-8 * np.outer(scale, scale)).all():
        raise ValueError(f"{name} must be symmetric and finite; use (A + A.T) / 2")
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        lowest = np.linalg.eigvalsh(matrix)[0]
        raise ValueError(
            f"{name} must be positive definite, got smallest eigenvalue {lowest:.3g}; add to its diagonal"
        ) from None
    return matrix
