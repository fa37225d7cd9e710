"""Factors of a pairwise model from training supports: counted as in eq. (2), or fitted from there on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from sparsegen_classic._parallel import single_threaded_blas
from sparsegen_classic._validation import check_choice, check_real
from sparsegen_classic.support._pairwise import count_pairs, to_indices
from sparsegen_classic.support.contrastive import fit_contrastive_divergence
from sparsegen_classic.support.fitting import Fit, fit_pseudo_likelihood

METHODS = "counts", "pseudo-likelihood", "contrastive-divergence"
_MOST_ATOMS_COUNTED_TWICE = 16  # of a support, on average, whose groups may count in singles and in pairs


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


def counted_pairs(model: Any, sizes: NDArray[np.integer], complete: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the pair factors of counts, held against unrelated atoms of all supports or of each group.

    ``sizes`` (n,) are those of all supports, of which the ``complete`` ones are in groups.
    """
    smoothing = check_real("smoothing", model.smoothing, 0.0)
    exponent = check_real("pair_exponent", model.pair_exponent, 0.0, 10.0)
    reference = check_choice("pair_reference", model.pair_reference, ("auto", "all", "groups"))
    if reference == "auto":
        reference = "groups" if sizes.mean() > _MOST_ATOMS_COUNTED_TWICE else "all"
    counts, log_shares, group_of = model.pair_counts_, model.log_factors_[None], np.zeros_like(sizes)
    if reference == "groups" and len(model.group_shares_) > 1:
        log_shares, group_of, sizes = model.log_group_factors_, model.groups_, sizes[complete]
        counts = counts if complete.all() else count_pairs(model.supports_, len(model.states_))
    n_pairs = np.bincount(group_of, sizes * (sizes - 1), len(log_shares))
    table = log_ratios(counts, expected_pairs(np.exp(log_shares), n_pairs), smoothing, exponent)
    atom = model.states_ % model.n_features_in_
    table[atom[:, None] == atom] = -np.inf
    return table


def expected_pairs(shares: NDArray[np.float64], n_pairs: NDArray[Any]) -> NDArray[np.float64]:
    """Return how many supports are expected to hold two states that have nothing to do with each other.

    ``shares`` (n_groups, n_states) are P(atom | group); ``n_pairs`` (n_groups,) says how many ordered pairs
    the supports of a group have.
    """
    scaled = shares * np.sqrt(n_pairs)[:, None]
    with single_threaded_blas():
        return scaled.T @ scaled


def log_ratios(
    counts: NDArray[np.int64], expected: NDArray[np.float64], smoothing: float, exponent: float
) -> NDArray[np.float64]:
    """Return exponent * log((counts + smoothing) / (expected + smoothing)) with 0 / 0 = 0 and 0^0 = 1.

    ``expected`` is used up.
    """
    expected += smoothing
    ratio = counts + smoothing
    np.divide(ratio, expected, out=ratio, where=expected > 0)
    ratio[expected == 0] = 0.0
    return xlogy(exponent, ratio, out=ratio)


def check_group_pairs(model: Any) -> bool:
    """Return whether groups have pair factors of their own; check how they are smoothed."""
    if model.group_pair_smoothing is not None:
        check_real("group_pair_smoothing", model.group_pair_smoothing, 1e-9)
    return model.group_pair_smoothing is not None and len(model.group_shares_) > 1 and model.pair_exponent > 0


def table_of_group(model: Any, supports: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the pair factors of a group with these supports, shrunk to the shared ones.

    Joint uses are Poisson of mean e_ml rho_ml, where e_ml are those expected of atoms that are independent in
    the group. rho_ml is Gamma with the shared ratio for its mean, as if that had been seen in
    ``group_pair_smoothing`` expected joint uses. Where the group does not use both atoms of a pair, none are
    expected, and nothing changes.
    """
    used = np.unique(supports[supports >= 0])
    counts = count_pairs(to_indices(supports, used), len(used))
    uses, sizes = np.diag(counts), (supports >= 0).sum(axis=1)
    expected = expected_pairs((uses / uses.sum())[None], np.array([sizes @ (sizes - 1)]))
    own, prior, exponent = np.ix_(used, used), model.group_pair_smoothing, model.pair_exponent
    shared, table = model.log_pair_factors_[own], model.log_pair_factors_.copy()
    with np.errstate(divide="ignore"):
        evidence = np.where(np.isneginf(shared), -np.inf, np.log(counts))
    log_rho = np.logaddexp(evidence, np.log(prior) + shared / exponent) - np.log(expected + prior)
    table[own] = exponent * log_rho
    return table


def refine(model: Any) -> Fit:
    """Return factors and history of the fit that ``model.method`` names, from the counted factors on."""
    start = model.supports_, model.log_factors_, model.log_pair_factors_
    options = {"l2": model.l2, "n_jobs": model.n_jobs}
    if len(model.group_shares_) > 1:
        options |= {"groups": model.groups_, "log_group_factors": model.log_group_factors_}
    if model.method == "pseudo-likelihood":
        return fit_pseudo_likelihood(*start, rank=model.rank, **options)
    return fit_contrastive_divergence(*start, random_state=model.random_state, **options)
