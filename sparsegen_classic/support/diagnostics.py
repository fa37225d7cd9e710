"""Have the chains mixed, and how many independent draws are they worth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri
from scipy.stats import rankdata

from sparsegen_classic._validation import check_choice


def split_rhat(draws: ArrayLike) -> float:
    """Return the rank-normalised split R-hat of a number followed along several chains.

    Each chain is cut in two; R-hat compares the spread between the pieces with that inside them, for the
    ranks of the draws and for the ranks of their distances from the median, and the larger is
    returned. 1 is what mixed chains tend to; above 1.01 run them longer.

    Parameters
    ----------
    draws : array-like of shape (n_chains, n_draws)
        At least 4 draws a chain, such as ``model.log_weights(...)`` of a :meth:`GibbsSampler.trace`.

    Returns
    -------
    rhat : float
        At least about 1; NaN if all draws are equal, inf if every piece is constant but they differ.

    References
    ----------
    A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Buerkner, "Rank-normalization, folding, and
    localization: an improved R-hat for assessing convergence of MCMC", Bayesian Analysis 16, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.support import split_rhat
    >>> draws = np.random.default_rng(0).normal(size=(4, 1000))
    >>> round(split_rhat(draws), 2), split_rhat(draws + [[0], [0], [0], [3]]) > 1.1
    (1.0, True)
    """
    pieces = _split(_check_draws(draws))
    folded = np.abs(pieces - np.median(pieces))
    return max(_rhat(_normal_scores(pieces)), _rhat(_normal_scores(folded)), key=lambda r: (r == r, r))


def effective_sample_size(draws: ArrayLike, kind: str = "bulk") -> float:
    """Return the number of independent draws that would tell as much.

    Autocorrelations of all chains together, summed by Geyer's initial monotone sequence.

    Parameters
    ----------
    draws : array-like of shape (n_chains, n_draws)
        A number followed along several chains; at least 4 draws a chain.
    kind : {"bulk", "mean", "tail"}, default="bulk"
        "bulk": of normal scores of the ranks; "mean": of the draws themselves, what the standard error of
        their mean divides by; "tail": the smaller one for the quantiles of 5 and 95 %.

    Returns
    -------
    size : float
        NaN if all draws (or, for "tail", all beside a quantile) are equal. Above the number of draws for
        chains that alternate.

    References
    ----------
    A. Vehtari and others, as for :func:`split_rhat`. C. J. Geyer, "Practical Markov chain Monte Carlo",
    Statistical Science 7, 1992.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.support import effective_sample_size
    >>> independent = np.random.default_rng(0).normal(size=(4, 1000))
    >>> walk = np.cumsum(independent, axis=1)
    >>> effective_sample_size(independent) > 3000, effective_sample_size(walk) < 30
    (True, True)
    """
    draws = _check_draws(draws)
    check_choice("kind", kind, ("bulk", "mean", "tail"))
    if kind == "tail":
        below = [draws <= np.quantile(draws, q) for q in (0.05, 0.95)]
        return float(np.min([_ess(_split(part.astype(float))) for part in below]))
    pieces = _split(draws)
    return _ess(_normal_scores(pieces) if kind == "bulk" else pieces)


def _check_draws(draws: Any) -> NDArray[np.float64]:
    values = np.asarray(draws, np.float64)
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 4:
        raise ValueError(
            "draws must have shape (n_chains, n_draws) with at least 4 draws a chain, got"
            f" {values.shape}; draw longer chains"
        )
    if not np.isfinite(values).all():
        raise ValueError(
            "draws must be finite, got NaN or infinity; give the log-weight of possible supports"
        )
    return values


def _split(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return first and second halves (2 n_chains, n_draws // 2); of an odd number the middle is dropped."""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])


def _normal_scores(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    ranks = rankdata(draws, axis=None).reshape(draws.shape)
    return ndtri((ranks - 0.375) / (draws.size + 0.25))


def _variances(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean variance within chains and the estimate of the whole variance."""
    n = draws.shape[1]
    within = float(draws.var(axis=1, ddof=1).mean())
    return within, within * (n - 1) / n + float(draws.mean(axis=1).var(ddof=1))


def _rhat(draws: NDArray[np.float64]) -> float:
    within, whole = _variances(draws)
    if within == 0:
        return np.inf if whole > 0 else np.nan
    return float(np.sqrt(whole / within))


def _ess(draws: NDArray[np.float64]) -> float:
    n_chains, n = draws.shape
    within, whole = _variances(draws)
    if whole == 0:
        return np.nan
    length = next_fast_len(2 * n, real=True)
    centred = draws - draws.mean(axis=1, keepdims=True)
    spectrum = rfft(centred, length, axis=1)
    covariance = irfft(spectrum * spectrum.conj(), length, axis=1)[:, :n].mean(axis=0) / (n - 1)
    correlation = 1 - (within - covariance) / whole
    correlation[0] = 1.0
    pairs = correlation[: n // 2 * 2].reshape(-1, 2).sum(axis=1)  # lags 0 + 1, 2 + 3, ...: positive in theory
    stop = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs)
    time = 2 * np.minimum.accumulate(pairs[:stop]).sum() - 1
    return float(n_chains * n / max(time, 1 / np.log10(n_chains * n)))
