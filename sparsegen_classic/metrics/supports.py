"""The supports of sampled codes beside those of real ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsegen_classic._codes import states_from_codes


class SupportMoments(NamedTuple):
    """How often states, pairs and numbers of states occur among sampled and real codes.

    Attributes
    ----------
    states, real_states : ndarray of shape (2 * n_components,)
        Share of codes that use each state of the doubled dictionary [D, -D].
    state_error : float
        Root mean square of their difference.
    state_noise : float
        What it would be if both sets followed one law.
    pair_correlation : float
        Correlation of the shares of all pairs of states; nan if either set has no spread.
    sizes, real_sizes : ndarray of shape (k + 1,)
        Share of codes with 0, 1, ..., k states.
    """

    states: NDArray[np.float64]
    real_states: NDArray[np.float64]
    state_error: float
    state_noise: float
    pair_correlation: float
    sizes: NDArray[np.float64]
    real_sizes: NDArray[np.float64]


def support_moments(codes: Any, real_codes: Any) -> SupportMoments:
    """Compare the first and second moments of the supports of two sets of codes.

    Parameters
    ----------
    codes, real_codes : array-like or sparse array of shape (n, n_components) and (n_real, n_components)
        Signed codes over one dictionary, e.g. sampled ones and those of training images; only which
        entries are positive and negative counts.

    Returns
    -------
    SupportMoments

    Raises
    ------
    ValueError
        If a set is empty or their numbers of components differ.

    Examples
    --------
    >>> from sparsegen_classic.metrics import support_moments
    >>> moments = support_moments([[1.0, 0.0], [2.0, -1.0]], [[1.0, 0.0], [1.0, 0.0]])
    >>> moments.states.tolist(), moments.sizes.tolist(), moments.real_sizes.tolist()
    ([1.0, 0.0, 0.0, 0.5], [0.0, 0.5, 0.5], [0.0, 1.0, 0.0])
    """
    shapes = [np.shape(part) if not sparse.issparse(part) else part.shape for part in (codes, real_codes)]
    if any(len(shape) != 2 or not shape[0] for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise ValueError(
            "codes and real_codes must be (n, n_components) with the same n_components and n at least 1, "
            f"got shapes {shapes[0]} and {shapes[1]}"
        )
    uses = [_indicators(part) for part in (codes, real_codes)]
    shares, real_shares = (np.asarray(part.mean(axis=0)).ravel() for part in uses)
    pairs = [(part.T @ part).toarray() / part.shape[0] for part in uses]
    above = np.triu_indices(len(pairs[0]), 1)
    first, second = (part[above] for part in pairs)
    varied = min(first.std(), second.std()) > 0
    counts = [np.diff(part.indptr) for part in uses]
    sizes, real_sizes = (
        np.bincount(part, minlength=1 + max(map(max, counts))) / len(part) for part in counts
    )
    n, n_real = shapes[0][0], shapes[1][0]
    pooled = (shares * n + real_shares * n_real) / (n + n_real)
    noise = pooled * (1 - pooled) * (1 / n + 1 / n_real)
    return SupportMoments(
        shares,
        real_shares,
        float(np.sqrt(((shares - real_shares) ** 2).mean())),
        float(np.sqrt(noise.mean())),
        float(np.corrcoef(first, second)[0, 1]) if varied else float("nan"),
        sizes,
        real_sizes,
    )


def _indicators(codes: Any) -> sparse.csr_array:
    states, _ = states_from_codes(codes)
    row, position = np.nonzero(states >= 0)
    n_states = 2 * (codes.shape if sparse.issparse(codes) else np.shape(codes))[1]
    entries = (np.ones(len(row)), (row, states[row, position]))
    return sparse.csr_array(entries, shape=(len(states), n_states))
