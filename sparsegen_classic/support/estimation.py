"""Factors of a pairwise model from training supports: counted as in eq. (2), or fitted from there on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from sparsegen_classic._validation import check_choice
from sparsegen_classic.support.contrastive import fit_contrastive_divergence
from sparsegen_classic.support.fitting import Fit, fit_pseudo_likelihood


def check_counts(counts: NDArray[np.int64], min_count: int, complete: NDArray[np.bool_]) -> None:
    """Refuse codes of which ``min_count`` leaves no state, or no support in one piece (``complete``)."""
    if counts.max(initial=0) < min_count:
        remedy = "lower min_count" if counts.any() else "give codes with non-zero entries"
        raise ValueError(
            f"no state is used at least min_count={min_count} times (at most {counts.max()}); {remedy}"
        )
    if not complete.any():
        raise ValueError(
            f"every training support uses a state with fewer than min_count={min_count} uses, so that no"
            " chain can start; lower min_count"
        )


def log_ratios(
    counts: NDArray[np.int64], expected: NDArray[np.float64], smoothing: float, exponent: float
) -> NDArray[np.float64]:
    """Return exponent * log((counts + smoothing) / (expected + smoothing)) with 0 / 0 = 0 and 0^0 = 1."""
    expected += smoothing
    ratio = np.divide(counts + smoothing, expected, out=np.zeros_like(expected), where=expected > 0)
    return xlogy(exponent, ratio)


def refine(model: Any) -> Fit:
    """Return factors and history of the fit that ``model.method`` names, from the counted factors on."""
    start = model.supports_, model.log_factors_, model.log_pair_factors_
    options = {"l2": model.l2, "n_jobs": model.n_jobs}
    if model.method == "pseudo-likelihood":
        return fit_pseudo_likelihood(*start, rank=model.rank, **options)
    return fit_contrastive_divergence(*start, random_state=model.random_state, **options)


def check_method(method: str, n_groups: int) -> str:
    """Refuse unknown methods, and fits of several networks at once."""
    check_choice("method", method, ("counts", "pseudo-likelihood", "contrastive-divergence"))
    if method != "counts" and n_groups > 1:
        raise ValueError(
            f"method={method!r} fits one network, got n_groups={n_groups}; set n_groups=1 or method='counts'"
        )
    return method
