"""Coefficients given a support: a Gaussian per support, learned from the overlapping training codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsegen_classic._codes import codes_from_states, states_from_codes
from sparsegen_classic._kernels.em import SINGULAR, em_gaussian, group_patterns
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import RandomState, spawn_generators
from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.coefficients.truncated import draw_positive

BLOCK = 16  # supports per block
MEMORY = 6  # past EM steps that the acceleration mixes


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
        (maximum likelihood) EM diverges where overlaps are few.
    draw : {"truncated", "gaussian", "clip"}, default="truncated"
        "truncated" draws from the Gaussian restricted to positive coefficients. "gaussian" draws plainly: a
        negative coefficient flips the sign of its atom. "clip" sets negative ones to zero.
    min_overlap : int, default=1
        Training codes that share fewer states with the support are left out.
    max_iter : int, default=300
        Most EM steps per support. Reaching it is not an error: the moments of that step are used.
    tol : float, default=1e-7
        EM stops when its objective gains at most this much per row in one step.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Attributes
    ----------
    magnitudes_ : csc_array of shape (n_samples, 2 * n_components)
        The training codes over the doubled dictionary; by columns, it lists the samples that use a state.
    state_means_ : ndarray of shape (2 * n_components,)
        Mean coefficient of each state, NaN if no training code uses it.
    state_variances_ : ndarray of shape (2 * n_components,)
        Its variance, NaN likewise. A state seen once takes the variance of all coefficients about their
        states' means; none is less than 1e-6 of the mean squared coefficient.
    n_features_in_ : int
        Number of atoms (n_components).

    Notes
    -----
    EM fits the moments of the coefficients as observed, which are positive already; truncating the fitted
    Gaussian once more moves the mean upward, the more so the closer it is to zero in standard deviations.
    "clip" has less of this bias and gives exact zeros. EM is accelerated (Anderson mixing; the objective
    still never decreases). The cost of a support depends on the training codes that share states with it,
    not on the size of the training set.

    References
    ----------
    G. Vaksman and M. Elad, "Image generation using a sparsity model".

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
    ) -> None:
        self.prior_strength = prior_strength
        self.draw = draw
        self.min_overlap = min_overlap
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: None = None) -> GaussianCoefficients:
        """Keep the training codes, listed by state.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_components)
            Signed codes.
        y : None
            Ignored.

        Returns
        -------
        GaussianCoefficients
            The fitted object.
        """
        self._check_parameters()
        X = validate_data(self, X, accept_sparse="csc", dtype=np.float64)
        X = sparse.csc_array(X, copy=True)
        doubled = sparse.hstack([X.maximum(0), (-X).maximum(0)], format="csc")
        doubled.eliminate_zeros()
        doubled.sort_indices()
        index = np.int32 if doubled.nnz < 2**31 else np.int64  # the kernel is compiled for each
        doubled.indices, doubled.indptr = doubled.indices.astype(index), doubled.indptr.astype(index)
        self.magnitudes_ = doubled

        n_uses = np.diff(doubled.indptr).astype(np.float64)
        values, state = doubled.data, np.repeat(np.arange(len(n_uses)), np.diff(doubled.indptr))
        n_uses[n_uses == 0] = np.nan
        self.state_means_ = np.bincount(state, values, len(n_uses)) / n_uses
        squares = (values - self.state_means_[state]) ** 2
        floor = 1e-6 * (values**2).sum() / max(len(values), 1)
        pooled = squares.sum() / max(len(values), 1)
        variances = np.where(n_uses == 1, pooled, np.bincount(state, squares, len(n_uses)) / n_uses)
        self.state_variances_ = np.maximum(variances, floor)
        return self

    def conditional(self, support: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean and covariance of the coefficients on one support.

        Parameters
        ----------
        support : array-like of int of shape (k,)
            States: m for atom m with a positive coefficient, ``n_components + m`` with a negative one.

        Returns
        -------
        mean : ndarray of shape (k,)
            Mean of the magnitudes, in the order of ``support``.
        covariance : ndarray of shape (k, k)
            Their covariance, positive definite.

        Raises
        ------
        ValueError
            If a state does not exist or is in no training code, an atom comes twice, or EM diverges.
        """
        check_is_fitted(self)
        self._check_parameters()
        states = self._check_states(np.asarray(support)[np.newaxis])[0]
        states = states[states >= 0]
        return self._moments(states, np.full(self.magnitudes_.shape[0], -1, np.int32))

    def sample(
        self, supports: Any, random_state: RandomState | Sequence[np.random.Generator] = None
    ) -> sparse.csr_array:
        """Draw coefficients on given supports.

        Parameters
        ----------
        supports : array-like or sparse matrix of shape (n_samples, n_components)
            Its non-zero entries are the supports, their signs the signs of the coefficients.
        random_state : int, Generator, RandomState, SeedSequence, None or list of Generator, default=None
            Seed, or one generator per support. The first m codes are those of the first m supports alone.

        Returns
        -------
        csr_array of shape (n_samples, n_components)
            Signed codes, float64. An empty support gives an empty row.

        Raises
        ------
        ValueError
            If a support has a state that no training code has, or EM diverges.
        """
        check_is_fitted(self)
        supports = validate_data(self, supports, reset=False, accept_sparse="csr", dtype=np.float64)
        states, _ = states_from_codes(supports)
        codes = codes_from_states(states, self.sample_states(states, random_state), self.n_features_in_)
        codes.eliminate_zeros()
        return codes

    def sample_states(
        self, states: ArrayLike, random_state: RandomState | Sequence[np.random.Generator] = None
    ) -> NDArray[np.float64]:
        """Draw magnitudes on supports given as states.

        Parameters
        ----------
        states : array-like of int of shape (n_samples, k)
            Distinct states per row, in 0..2 * n_components - 1, padded on the right with -1.
        random_state : int, Generator, RandomState, SeedSequence, None or list of Generator, default=None
            Seed, or one generator per support.

        Returns
        -------
        ndarray of shape (n_samples, k)
            Magnitudes, 0 at the padding. Negative ones can occur with ``draw="gaussian"`` only.
        """
        check_is_fitted(self)
        self._check_parameters()
        supports = self._check_states(states)
        generators = _generators(random_state, len(supports))
        magnitudes = np.zeros(supports.shape)

        def draw_block(block: slice) -> None:
            row_of_sample = np.full(self.magnitudes_.shape[0], -1, np.int32)
            for i in range(block.start, block.stop):
                support = supports[i, supports[i] >= 0]
                mean, covariance = self._moments(support, row_of_sample)
                magnitudes[i, supports[i] >= 0] = _draw(self.draw, mean, covariance, generators[i])

        for_blocks(draw_block, len(supports), BLOCK, self.n_jobs)
        return magnitudes

    def _moments(self, support, row_of_sample):
        """Return mean and covariance."""
        codes, strength = self.magnitudes_, float(self.prior_strength)
        mean, prior = self.state_means_[support], np.diag(self.state_variances_[support])
        patterns = group_patterns(
            support, codes.indptr, codes.indices, codes.data, self.min_overlap, row_of_sample
        )
        if len(patterns[0]) == 0:
            return mean, prior
        mean, covariance, _, _, status = em_gaussian(
            *patterns, mean, prior, strength, prior, False, MEMORY, self.max_iter, float(self.tol)
        )
        if status == SINGULAR:
            raise ValueError(
                f"EM diverged on support {support.tolist()}: too few training codes share its states; "
                f"set prior_strength > {strength:g}"
            )
        return mean, covariance

    def _check_parameters(self):
        check_real("prior_strength", self.prior_strength, 0)
        check_choice("draw", self.draw, ("truncated", "gaussian", "clip"))
        check_integer("min_overlap", self.min_overlap, 1)
        check_integer("max_iter", self.max_iter, 1)
        check_real("tol", self.tol, 0)

    def _check_states(self, states: ArrayLike) -> NDArray[np.int64]:
        states = np.array(states)
        n_states = 2 * self.n_features_in_
        if states.ndim != 2 or (states.size and not np.issubdtype(states.dtype, np.integer)):
            raise ValueError(
                f"supports must be rows of integer states, got {states.dtype} of shape {states.shape}"
            )
        states = states.astype(np.int64)
        if states.size and not (states.min() >= -1 and states.max() < n_states):
            raise ValueError(f"states must be in 0..{n_states - 1}, got {states.min()}..{states.max()}")
        atoms = np.sort(np.where(states >= 0, states % self.n_features_in_, -1 - np.arange(states.shape[1])))
        repeated = (atoms[:, 1:] == atoms[:, :-1]).any(axis=1)
        if repeated.any():
            i = int(np.argmax(repeated))
            raise ValueError(f"support {i} must use each atom once, got states {states[i].tolist()}")
        unseen = (states >= 0) & np.isnan(self.state_means_)[states]
        if unseen.any():
            i, position = np.argwhere(unseen)[0].tolist()
            state = int(states[i, position])
            sign = "-" if state >= self.n_features_in_ else "+"
            raise ValueError(
                f"support {i} has state {state} ({sign} atom {state % self.n_features_in_}), which no "
                f"training code uses; remove it or fit on codes that use it"
            )
        return states

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _draw(draw, mean, covariance, rng):
    if len(mean) == 0:
        return mean
    if draw == "truncated":
        return draw_positive(mean, covariance, rng)
    draws = mean + np.linalg.cholesky(covariance) @ rng.standard_normal(len(mean))
    return np.maximum(draws, 0) if draw == "clip" else draws


def _generators(random_state, n):
    if not isinstance(random_state, list | tuple):
        return spawn_generators(random_state, n)
    if len(random_state) != n or not all(isinstance(rng, np.random.Generator) for rng in random_state):
        raise ValueError(f"random_state must be a seed or a list of {n} Generators, one per support")
    return random_state
