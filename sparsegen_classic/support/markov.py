"""A Markov network over supports with factors for atoms and pairs of atoms (Vaksman and Elad, eq. (2))."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import softmax
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsegen_classic._codes import codes_from_states, states_from_codes
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._validation import check_integer, check_real
from sparsegen_classic.support._chains import check_generators
from sparsegen_classic.support._pairwise import fields, log_weights, pair_factors, to_indices
from sparsegen_classic.support.estimation import check_counts, check_method, log_ratios, refine
from sparsegen_classic.support.gibbs import GibbsSampler
from sparsegen_classic.support.groups import check_groups, group_log_factors, mixture_groups, uses_of
from sparsegen_classic.support.likelihood import pseudo_likelihood
from sparsegen_classic.support.novelty import matching_rows


class MarkovSupports(BaseEstimator):
    """Probability of a support as a product of factors over its atoms and over its pairs of atoms.

    For a support ``a``, a set of states of the doubled dictionary,

        log P(a) = sum_m theta_m + sum_{m<l} Theta_ml + const,
        theta_m = log(n_m / T),   Theta_ml = pair_exponent * log((n_ml + smoothing) / (e_ml + smoothing)),

    where n_m and n_ml count the training supports that hold m, and both m and l, T = sum_i |a_i|, and
    e_ml = n_m n_l sum_i |a_i| (|a_i| - 1) / T^2 is the number of joint uses expected of unrelated atoms. An
    atom never meets itself or its negative. Each unordered pair counts once. The law compares supports of
    one size; how often each size occurs is kept as ``size_counts_``.

    With ``n_groups`` > 1 it is a mixture of such networks: every latent group has factors of single atoms of
    its own, shrunk to those of all supports, and the pairs are shared. One network over a whole class of
    images cannot be certain of anything but pairs; a group is a family of similar images.

    Parameters
    ----------
    smoothing : float, default=0.5
        Pseudo-count of every pair. At 0 (the paper) pairs never seen are impossible, and the sampler may be
        unable to leave its start; a large value makes atoms independent.
    pair_exponent : float in [0, 10], default=1.0
        Power of the pair factors: 0 gives independent atoms, 2 counts every pair in both orders.
    min_count : int, default=1
        States used by fewer training supports are left out of the model.
    burn_in : int, default=20
        Gibbs sweeps for each drawn support.
    n_groups : int, default=1
        Latent groups, learned by EM for a mixture of independent atoms unless ``fit`` is given them. 1 is the
        paper.
    group_smoothing : float > 0, default=1.0
        Supports with the average atoms of all that are added to every group.
    method : {"counts", "pseudo-likelihood", "contrastive-divergence"}, default="counts"
        "counts" is eq. (2); the others start there and go on with :func:`fit_pseudo_likelihood` or
        :func:`fit_contrastive_divergence`, for one group.
    l2 : float, default=1.0
        Precision with which these fits are drawn to eq. (2).
    rank : int, default=None
        Of the change of the pair factors by "pseudo-likelihood"; None is any.
    random_state : int, RandomState, Generator, SeedSequence or None, default=None
        Seed of the search for groups, or of the chains of contrastive divergence.
    n_jobs : int, default=None
        Threads, as in joblib. Results do not depend on it.

    Attributes
    ----------
    states_ : ndarray of shape (n_states,), int32
        The states in use, ascending: m for atom m, ``n_features_in_ + m`` for its negative.
    counts_ : ndarray of shape (n_states,), int64
        n_m, the training supports that hold each state.
    pair_counts_ : ndarray of shape (n_states, n_states), int64
        n_ml; the diagonal is ``counts_``.
    log_factors_ : ndarray of shape (n_states,)
        theta.
    log_pair_factors_ : ndarray of shape (n_states, n_states)
        Theta, symmetric; -inf on the diagonal, for the two signs of one atom and for impossible pairs.
    supports_ : ndarray of shape (n_supports, k_max), int32
        The training supports as indices into ``states_``, ascending, padded with -1; those that hold a
        state left out by ``min_count`` are not among them. Chains start here.
    size_counts_ : ndarray of shape (k_max + 1,), int64
        How many of ``supports_`` have 0, 1, ..., k_max atoms.
    groups_ : ndarray of shape (n_supports,), intp
        Group of each of ``supports_``, counted in the ascending order of labels that were given.
    group_shares_ : ndarray of shape (n_groups,)
        Their shares of ``supports_``.
    log_group_factors_ : ndarray of shape (n_groups, n_states)
        theta of each group.
    n_features_in_ : int
        Number of atoms, n_components.

    Notes
    -----
    Equation (2) writes the pair factor as P(a_i, a_j) / (P(a_i) P(a_j)); with P(a_i) and P(a_i, a_j) counted
    over the ordered variables of all supports this is the ratio above without smoothing. With
    two atoms a support it reproduces the law of the data exactly.

    A table takes 8 n_states^2 bytes (2,000 states: 32 MB). Two are kept; up to three more come and go while
    fitting and sampling.

    References
    ----------
    G. Vaksman and M. Elad, "Image Generation Using a Sparsity Model".

    Examples
    --------
    Atoms 0 and 1 go together, as do 2 and 3; the pairs 0-2 and 1-3 are half as frequent.

    >>> import numpy as np
    >>> from sparsegen_classic.support import MarkovSupports
    >>> X = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    >>> model = MarkovSupports(smoothing=0).fit(X)
    >>> np.exp(model.log_weights([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]])).round(3).tolist()
    [0.167, 0.083, 0.0]
    >>> model.conditional([[1, 0, 0, 0]])[0, :4].round(3).tolist()
    [0.0, 0.667, 0.333, 0.0]
    >>> model.sample(3, random_state=0).toarray().sum(axis=1).tolist()
    [2.0, 2.0, 2.0]
    """

    def __init__(
        self,
        *,
        smoothing: float = 0.5,
        pair_exponent: float = 1.0,
        min_count: int = 1,
        burn_in: int = 20,
        n_groups: int = 1,
        group_smoothing: float = 1.0,
        method: str = "counts",
        l2: float = 1.0,
        rank: int | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
    ):
        self.smoothing = smoothing
        self.pair_exponent = pair_exponent
        self.min_count = min_count
        self.burn_in = burn_in
        self.n_groups = n_groups
        self.group_smoothing = group_smoothing
        self.method = method
        self.l2 = l2
        self.rank = rank
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(self, X: Any, y: Any = None, groups: ArrayLike | None = None) -> Self:
        """Count the atoms and pairs of atoms of codes.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_components)
            Signed codes. Only which entries are non-zero, and their signs, matter; rows may differ in size.
        y : None
            Ignored.
        groups : array-like of int of shape (n_samples,), default=None
            Group of each code, in place of the search for ``n_groups``; ``n_groups`` must be their number.

        Returns
        -------
        self : MarkovSupports

        Raises
        ------
        ValueError
            If a parameter is out of range or if no state, or no training support, is left to model.
        """
        smoothing = check_real("smoothing", self.smoothing, 0.0)
        pair_exponent = check_real("pair_exponent", self.pair_exponent, 0.0, 10.0)
        min_count = check_integer("min_count", self.min_count, 1)
        states, _ = states_from_codes(validate_data(self, X, accept_sparse="csr"))
        counts = np.bincount(states[states >= 0], minlength=2 * self.n_features_in_)
        kept = np.flatnonzero(counts >= min_count)
        indices = to_indices(states, kept) if len(kept) else states
        complete = np.all(indices < len(kept), axis=1)
        check_counts(counts, min_count, complete)
        sizes = (states >= 0).sum(axis=1)
        total, total_pairs = sizes.sum(), (sizes * (sizes - 1)).sum()
        self.states_ = kept.astype(np.int32)
        self.counts_ = counts[kept].astype(np.int64)
        uses = uses_of(indices, len(kept))
        self.pair_counts_ = (uses.T @ uses).toarray()
        self.log_factors_ = np.log(self.counts_ / total)
        expected = np.multiply.outer(self.counts_, self.counts_) * (total_pairs / total**2)
        self.log_pair_factors_ = log_ratios(self.pair_counts_, expected, smoothing, pair_exponent)
        atom = kept % self.n_features_in_
        self.log_pair_factors_[atom[:, None] == atom] = -np.inf
        self.supports_ = np.ascontiguousarray(indices[complete, : sizes[complete].max()])
        self.size_counts_ = np.bincount(sizes[complete])
        if check_method(self.method, self.n_groups) != "counts":
            self.log_factors_, self.log_pair_factors_, _ = refine(self)
        self._fit_groups(indices, complete, groups)
        return self

    def _fit_groups(
        self, indices: NDArray[np.int32], complete: NDArray[np.bool_], groups: ArrayLike | None
    ) -> None:
        """Find the groups, if they are not given, and their factors; supports left out do not count."""
        smoothing = check_real("group_smoothing", self.group_smoothing, 1e-9)
        n = int(complete.sum())
        remedy = f"each needs one of n_samples={n} supports"
        n_groups = check_integer("n_groups", self.n_groups, 1, n, remedy)
        uses = uses_of(indices[complete], len(self.states_))
        if groups is not None:
            self.groups_ = check_groups(groups, len(indices), n_groups)[complete]
        elif n_groups > 1:
            self.groups_, _ = mixture_groups(uses, n_groups, smoothing, self.random_state)
        else:
            self.groups_ = np.zeros(len(self.supports_), np.intp)
        members = np.eye(n_groups)[self.groups_]
        factors = group_log_factors(uses, members, smoothing) if n_groups > 1 else self.log_factors_[None]
        self.log_group_factors_ = factors
        self.group_shares_ = members.mean(axis=0)

    def log_weights(self, X: Any) -> NDArray[np.float64]:
        """Return the unnormalised log-probability of the supports of codes.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_components)
            Signed codes.

        Returns
        -------
        weights : ndarray of shape (n_samples,)
            sum theta + sum Theta, each pair once; 0 for an empty support, -inf for one with a pair that is
            impossible or a state that is not in the model. Compare supports of one size only.
        """
        return log_weights(self, self._indices(X), self.n_jobs)

    def conditional(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each state as the one more atom of given supports.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_components)
            Signed codes whose supports are the atoms given; an empty row gives P(a_i) itself.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, 2 * n_components)
            P(next = m | given) over the doubled dictionary. A row sums to 1, or is all zero where the
            support holds a state that is not in the model or where no atom can be added.
        """
        indices = self._indices(X)
        log_conditional = fields(self, np.where(indices == len(self.states_), -1, indices))
        log_conditional[(indices == len(self.states_)).any(axis=1)] = -np.inf
        possible = np.isfinite(log_conditional).any(axis=1)
        probabilities = np.zeros((len(indices), 2 * self.n_features_in_))
        probabilities[np.ix_(possible, self.states_)] = softmax(log_conditional[possible], axis=1)
        return probabilities

    def draw_groups(self, generators: Sequence[np.random.Generator]) -> NDArray[np.intp]:
        """Draw a group by each generator, as often as in training; with one group nothing is drawn."""
        check_is_fitted(self)
        if len(self.group_shares_) == 1:
            return np.zeros(len(generators), np.intp)
        edges = np.cumsum(self.group_shares_)[:-1]
        return np.array([np.searchsorted(edges, g.random(), side="right") for g in generators], np.intp)

    def sample(
        self,
        n_samples: int = 1,
        random_state: Any = None,
        *,
        size: int | None = None,
        groups: ArrayLike | None = None,
    ) -> sparse.csr_array:
        """Draw supports by Gibbs sampling, a fresh chain from a random training support for each.

        First the group is drawn, then a support of its network, from a training support of the group.

        Parameters
        ----------
        n_samples : int, default=1
            Number of supports; the first m are those of a call with m.
        random_state : int, RandomState, Generator, SeedSequence, None, or list of Generator
            Seed, or one generator for each sample.
        size : int, default=None
            Number of atoms in every support; None draws sizes as in the training supports.
        groups : array-like of int of shape (n_samples,), default=None
            Group of each support; None draws them by :meth:`draw_groups`.

        Returns
        -------
        codes : csr_array of shape (n_samples, n_components)
            Codes with entries +1 and -1.
        """
        check_is_fitted(self)
        generators = check_generators(random_state, n_samples)
        group_of = self.draw_groups(generators) if groups is None else np.asarray(groups)
        n_groups = len(self.group_shares_)
        if group_of.shape != (len(generators),) or not np.isin(group_of, range(n_groups)).all():
            raise ValueError(
                f"groups must be in 0..{n_groups - 1}, one for each of the {len(generators)} samples, "
                f"got {groups!r}"
            )
        width = self.supports_.shape[1]
        if size is not None:
            width = check_integer("size", size, 0, len(self.states_), "a support holds each state once")
        states = np.full((len(generators), width), -1, np.int32)
        table, present = pair_factors(self.log_pair_factors_), np.unique(group_of)

        def work(block: slice) -> None:
            group = present[block.start]
            here = np.flatnonzero(group_of == group)
            law = self.network(group)
            law.pair_factors_ = table
            sampler = GibbsSampler(burn_in=self.burn_in, n_jobs=self.n_jobs if n_groups == 1 else 1)
            drawn = sampler.sample(law, random_state=[generators[i] for i in here.tolist()], size=size)
            states[here, : drawn.shape[1]] = drawn

        for_blocks(work, len(present), 1, self.n_jobs)
        return codes_from_states(states, None, self.n_features_in_)

    def network(self, group: int = 0) -> SimpleNamespace:
        """Return the pairwise network of one group, as :class:`GibbsSampler` and the exact methods take it.

        With one group the estimator itself serves them as well.
        """
        return SimpleNamespace(
            states_=self.states_,
            log_factors_=self.log_group_factors_[group],
            log_pair_factors_=self.log_pair_factors_,
            supports_=self.supports_[self.groups_ == group],
        )

    def pseudo_log_likelihood(self, X: Any) -> NDArray[np.float64]:
        """Return the mean over the atoms of each support of log P(atom | rest), in nats.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_components)
            Signed codes.

        Returns
        -------
        values : ndarray of shape (n_samples,)
            With groups, that of the group in which independent atoms make the support most probable; -inf
            for a support that is impossible or has a state that is not in the model.
        """
        indices = self._indices(X)
        group_of = self.most_probable_groups(X)
        values = np.empty(len(indices))
        for group in np.unique(group_of):
            here = group_of == group
            theta = self.log_group_factors_[group]
            values[here] = pseudo_likelihood(indices[here], theta, self.log_pair_factors_, self.n_jobs)
        return values

    def most_probable_groups(self, X: Any) -> NDArray[np.intp]:
        """Return for each row of codes the group in which independent atoms make its support most probable.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_components)
            Signed codes. States that are not in the model do not count.

        Returns
        -------
        groups : ndarray of shape (n_samples,)
        """
        uses = uses_of(self._indices(X), len(self.states_))
        log_shares = np.log(np.maximum(self.group_shares_, 1e-300))
        return (uses @ self.log_group_factors_.T + log_shares).argmax(axis=1)

    def in_training(self, X: Any) -> NDArray[np.bool_]:
        """Say for each row of codes whether its support equals a training support.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_components)
            Signed codes.

        Returns
        -------
        matches : ndarray of shape (n_samples,), bool
        """
        return matching_rows(self._indices(X), self.supports_)

    def _indices(self, X: Any) -> NDArray[np.int32]:
        check_is_fitted(self)
        states, _ = states_from_codes(validate_data(self, X, accept_sparse="csr", reset=False))
        return to_indices(states, self.states_)
