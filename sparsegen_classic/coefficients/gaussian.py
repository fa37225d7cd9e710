"""Coefficients given a support: a Gaussian per support, learned from the overlapping training codes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from sparsegen_classic._codes import codes_from_states, states_from_codes
from sparsegen_classic._listed_codes import list_states, state_moments, without_duplicates
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import RandomState
from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.coefficients.checks import (
    check_generators,
    check_group_choice,
    check_groups,
    check_states,
)
from sparsegen_classic.coefficients.draws import EXPONENTS, draw_magnitudes, log_density, to_scale
from sparsegen_classic.coefficients.moments import Moments, SupportMoments

BLOCK = 16  # supports per block


class GaussianCoefficients(BaseEstimator):
    """P(coefficients | support) of Vaksman and Elad: one Gaussian per support, by EM with missing data.

    Codes are read over the doubled dictionary [D, -D], where every coefficient is positive: entry (i, m) is
    *state* m of sample i if positive, state ``n_components + m`` if negative. For a support, every training
    code that shares states with it is one row of data, in which the states it lacks are missing. EM
    (maximum a posteriori) gives the mean and covariance of the support's coefficients, which are then drawn.

    Parameters
    ----------
    prior_strength : float, default=3.0
        Pseudo-observations of the prior, whose covariance is the diagonal of the states' variances. With 0
        (maximum likelihood) EM diverges where overlaps are few. On a support of a group they are complete
        observations with the mean and covariance that all codes together give.
    draw : {"truncated", "gaussian", "clip"}, default="truncated"
        "truncated" draws from the Gaussian restricted to positive coefficients. "gaussian" draws plainly: a
        negative coefficient flips the sign of its atom. "clip" sets negative ones to zero. All three on the
        scale of ``scale``; without effect on that of logarithms.
    method : {"em", "pooled"}, default="em"
        "pooled" takes the mean of each state and the covariance of each pair over the codes that have them
        (as slices of one Gaussian over all states), shrunk by the prior and made positive definite. It is
        two to three times faster and close to "em" where overlaps are plentiful.
    scale : {"linear", "sqrt", "cbrt", "log"}, default="linear"
        What is Gaussian: coefficients, their square or cube roots, or their logarithms (log-normal draws).
        Coefficients are skewed; cube roots of gamma variates are nearly normal (Wilson and Hilferty 1931).
    min_overlap : int, default=1
        Training codes that share fewer states with the support are left out.
    overlap_power : float, default=0.0
        Training codes that share j of the k states of the support weigh (j / k) ** overlap_power.
    group_weight : float in [0, 1], default=0.0
        What codes of other groups weigh for a support of a group; see ``fit``. With 1 groups do not matter.
    max_iter : int, default=300
        Most E steps per support. Reaching it is not an error: the moments of that step are used.
    tol : float, default=1e-7
        EM stops when its objective gains at most this much per row in each of two steps.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Attributes
    ----------
    magnitudes_ : csc_array of shape (n_samples, 2 * n_components)
        The training codes over the doubled dictionary; by columns, it lists the samples that use a state.
    sample_weight_ : ndarray of shape (n_samples,)
        Weight of each training code.
    groups_ : ndarray of shape (n_samples,) or None
        Group of each training code.
    state_means_ : ndarray of shape (2 * n_components,)
        Mean of each state on the scale of ``scale``, NaN if no training code uses it.
    state_variances_ : ndarray of shape (2 * n_components,)
        Its variance, NaN likewise. A state seen once takes the variance of all coefficients about their
        states' means; none is less than 1e-6 of the mean squared coefficient (or than 1e-6).
    n_features_in_ : int
        Number of atoms (n_components).

    Notes
    -----
    EM fits the moments of the coefficients as observed, which are positive already; truncating the fitted
    Gaussian once more moves the mean upward, the more so the closer it is to zero in standard deviations.
    "clip" has less of this bias and gives exact zeros. The objective of EM is climbed by quasi-Newton steps
    (L-BFGS on the gradient that the E step gives, in the symmetric root of the covariance) and never falls:
    plain EM moves a covariance by the share of rows that see the pair, and takes thousands of steps. The cost
    of a support depends on the training codes that share states with it, not on the size of the training set.

    References
    ----------
    G. Vaksman and M. Elad, "Image generation using a sparsity model". M. Jamshidian and R. I. Jennrich,
    "Acceleration of the EM Algorithm by Using Quasi-Newton Methods", JRSS B 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.coefficients import GaussianCoefficients
    >>> rng = np.random.default_rng(0)
    >>> codes = np.zeros((500, 4))
    >>> codes[:250, :2] = rng.normal([3, -5], 0.1, (250, 2))
    >>> codes[250:, 1:3] = rng.normal([-4, 2], 0.1, (250, 2))
    >>> model = GaussianCoefficients().fit(codes)
    >>> mean, covariance = model.conditional([0, 5])  # atom 0, and atom 1 with a minus sign
    >>> mean.round(1), covariance.shape
    (array([3. , 4.5]), (2, 2))
    >>> model.sample([[1, -1, 0, 0]], random_state=0).shape
    (1, 4)
    """

    def __init__(
        self,
        prior_strength: float = 3.0,
        draw: str = "truncated",
        min_overlap: int = 1,
        max_iter: int = 300,
        tol: float = 1e-7,
        n_jobs: int | None = None,
        *,
        method: str = "em",
        scale: str = "linear",
        overlap_power: float = 0.0,
        group_weight: float = 0.0,
    ) -> None:
        self.prior_strength = prior_strength
        self.draw = draw
        self.method = method
        self.scale = scale
        self.min_overlap = min_overlap
        self.overlap_power = overlap_power
        self.group_weight = group_weight
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs

    def fit(
        self, X: Any, y: None = None, sample_weight: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> GaussianCoefficients:
        """Keep the training codes, listed by state.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_components)
            Signed codes. The arrays of a CSR matrix may be memory maps; they are read twice, by blocks.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            What each code counts, at least 0; 2 is as if it came twice. None = 1 each.
        groups : array-like of int of shape (n_samples,), default=None
            Group of each code. On a support of a group, codes of other groups then weigh
            ``group_weight``, and ``prior_strength`` observations stand for all codes together. States that
            no code of the group has are no obstacle.

        Returns
        -------
        GaussianCoefficients
            The fitted object.
        """
        self._check_parameters()
        X = sparse.csr_array(validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32)))
        X = without_duplicates(X)
        self.magnitudes_ = list_states(X)
        self.sample_weight_ = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True, copy=True
        )
        self.groups_ = None if groups is None else check_groups(groups, X.shape[0])
        self.state_means_, self.state_variances_ = state_moments(
            self.magnitudes_, self._values(), self.sample_weight_, 1e-6 if self.scale == "log" else 0.0
        )
        return self

    def conditional(self, support: ArrayLike, group: int | None = None) -> Moments:
        """Return the mean and covariance of the coefficients on one support.

        Parameters
        ----------
        support : array-like of int of shape (k,)
            States: m for atom m with a positive coefficient, ``n_components + m`` with a negative one.
        group : int, default=None
            One of the groups of ``fit``; None = all training codes alike.

        Returns
        -------
        mean : ndarray of shape (k,)
            Mean of the magnitudes on the scale of ``scale``, in the order of ``support``.
        covariance : ndarray of shape (k, k)
            Their covariance, positive definite.

        Raises
        ------
        ValueError
            If a state does not exist or is in no training code, an atom comes twice, there is no such group,
            or EM diverges.

        Warns
        -----
        UserWarning
            If ``prior_strength`` is 0 and some states of the support never occur together.
        """
        support, (group,) = self._one_support(support, group)
        moments, identified = self._moments()(support, group)
        self._warn_of_unseen_pairs([] if identified else [(0, support, group)])
        return moments

    def pair_counts(self, support: ArrayLike, group: int | None = None) -> NDArray[np.float64]:
        """Return how many training codes have both states, for each pair of states of a support.

        Parameters
        ----------
        support : array-like of int of shape (k,)
            States, as for :meth:`conditional`.
        group : int, default=None
            One of the groups of ``fit``; codes of other groups count ``group_weight``.

        Returns
        -------
        ndarray of shape (k, k)
            Their weight; where it is 0 nothing but the prior tells a covariance. The diagonal belongs to the
            single states.
        """
        support, (group,) = self._one_support(support, group)
        return self._moments().pair_counts(support, group)

    def sample(
        self,
        supports: Any,
        random_state: RandomState | Sequence[np.random.Generator] = None,
        groups: ArrayLike | None = None,
    ) -> sparse.csr_array:
        """Draw coefficients on given supports.

        Parameters
        ----------
        supports : array-like or sparse matrix of shape (n_samples, n_components)
            Its non-zero entries are the supports, their signs the signs of the coefficients.
        random_state : int, Generator, RandomState, SeedSequence, None or list of Generator, default=None
            Seed, or one generator per support. The first m codes are those of the first m supports alone.
        groups : array-like of int of shape (n_samples,) or int, default=None
            Group of each support; None = all training codes alike.

        Returns
        -------
        csr_array of shape (n_samples, n_components)
            Signed codes, float64. An empty support gives an empty row.

        Raises
        ------
        ValueError
            If a support has a state that no training code has, there is no such group, or EM diverges.
        """
        check_is_fitted(self)
        supports = validate_data(self, supports, reset=False, accept_sparse="csr", dtype=np.float64)
        states, _ = states_from_codes(supports)
        magnitudes = self.sample_states(states, random_state, groups)
        codes = codes_from_states(states, magnitudes, self.n_features_in_)
        codes.eliminate_zeros()
        return codes

    def sample_states(
        self,
        states: ArrayLike,
        random_state: RandomState | Sequence[np.random.Generator] = None,
        groups: ArrayLike | None = None,
    ) -> NDArray[np.float64]:
        """Draw magnitudes on supports given as states.

        Parameters
        ----------
        states : array-like of int of shape (n_samples, k)
            Distinct states per row, in 0..2 * n_components - 1, padded on the right with -1.
        random_state : int, Generator, RandomState, SeedSequence, None or list of Generator, default=None
            Seed, or one generator per support.
        groups : array-like of int of shape (n_samples,) or int, default=None
            Group of each support; None = all training codes alike.

        Returns
        -------
        ndarray of shape (n_samples, k)
            Magnitudes, 0 at the padding. Negative ones can occur with ``draw="gaussian"`` only.
        """
        check_is_fitted(self)
        self._check_parameters()
        supports = check_states(states, self.n_features_in_, self._seen())
        generators = check_generators(random_state, len(supports))
        magnitudes = np.zeros(supports.shape)

        def draw(i: int, moments: Moments) -> None:
            magnitudes[i, supports[i] >= 0] = draw_magnitudes(*moments, generators[i], self.draw, self.scale)

        self._for_supports(draw, supports, groups)
        return magnitudes

    def score_samples(self, X: Any, groups: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the log-density of the coefficients of codes, given their supports.

        It is that of the fitted law over the magnitudes, before ``draw`` truncates or clips.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_components)
            Signed codes. A training code is scored with itself among the data.
        groups : array-like of int of shape (n_samples,) or int, default=None
            Group of each code; None = all training codes alike.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-densities; 0 for an empty code, -inf where a state is in no training code.
        """
        check_is_fitted(self)
        self._check_parameters()
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=np.float64)
        states, magnitudes = states_from_codes(X)
        seen = ((states < 0) | self._seen()[states]).all(axis=1)
        supports = check_states(np.where(seen[:, None], states, -1), self.n_features_in_, self._seen())
        density = np.where(seen, 0.0, -np.inf)

        def score(i: int, moments: Moments) -> None:
            density[i] += log_density(magnitudes[i, supports[i] >= 0], *moments, self.scale)

        self._for_supports(score, supports, groups)
        return density

    def _for_supports(self, function, supports, groups):
        """Call ``function(i, moments)`` for every support, in blocks."""
        groups = check_group_choice(groups, len(supports), self.groups_)
        moments, unidentified = self._moments(), []

        def visit(block: slice) -> None:
            moments_of = replace(moments)  # with scratch space of its own
            for i in range(block.start, block.stop):
                support = supports[i, supports[i] >= 0]
                fitted, identified = moments_of(support, groups[i])
                function(i, fitted)
                if not identified:
                    unidentified.append((i, support, groups[i]))

        for_blocks(visit, len(supports), BLOCK, self.n_jobs)
        self._warn_of_unseen_pairs(unidentified)

    def _moments(self):
        return SupportMoments(
            self.magnitudes_,
            self._values(),
            self.sample_weight_,
            self.groups_,
            self.state_means_,
            self.state_variances_,
            self.get_params(deep=False),
        )

    def _values(self):
        return to_scale(self.magnitudes_.data, self.scale)

    def _warn_of_unseen_pairs(self, unidentified):
        if unidentified:
            i, support, group = min(unidentified, key=lambda item: item[0])
            counts = self._moments().pair_counts(support, group)
            a, b = support[np.argwhere(counts == 0)[0]].tolist()
            warnings.warn(
                f"{len(unidentified)} supports have states that no training code has together, support {i} "
                f"for one: {a} and {b} (see pair_counts); the data do not tell the covariance, set "
                "prior_strength > 0",
                UserWarning,
                stacklevel=4,
            )

    def _check_parameters(self):
        check_real("prior_strength", self.prior_strength, 0)
        check_choice("draw", self.draw, ("truncated", "gaussian", "clip"))
        check_choice("method", self.method, ("em", "pooled"))
        check_choice("scale", self.scale, tuple(EXPONENTS))
        check_integer("min_overlap", self.min_overlap, 1)
        check_real("overlap_power", self.overlap_power, 0)
        check_real("group_weight", self.group_weight, 0, 1)
        check_integer("max_iter", self.max_iter, 1)
        check_real("tol", self.tol, 0)

    def _one_support(self, support, group):
        check_is_fitted(self)
        self._check_parameters()
        states = check_states(np.asarray(support)[np.newaxis], self.n_features_in_, self._seen())[0]
        return states[states >= 0], check_group_choice(group, 1, self.groups_)

    def _seen(self):
        return np.isfinite(self.state_means_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
