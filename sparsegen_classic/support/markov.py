"""A Markov network over supports with factors for atoms and pairs of atoms (Vaksman and Elad, eq. (2))."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import softmax
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsegen_classic._codes import codes_from_states, supports_from_codes
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import check_generators
from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.support._pairwise import count_pairs, fields, log_weights, pair_factors, to_indices
from sparsegen_classic.support.estimation import (
    METHODS,
    check_counts,
    check_group_pairs,
    counted_pairs,
    refine,
)
from sparsegen_classic.support.gibbs import GibbsSampler
from sparsegen_classic.support.groups import count_groups, group_supports
from sparsegen_classic.support.likelihood import pseudo_likelihood
from sparsegen_classic.support.mixture import GroupedNetworks
from sparsegen_classic.support.novelty import matching_rows


class MarkovSupports(GroupedNetworks, BaseEstimator):
    """Probability of a support as a product of factors over its atoms and over its pairs of atoms.

    For a support ``a``, a set of states of the doubled dictionary,

        log P(a) = sum_m theta_m + sum_{m<l} Theta_ml + const,
        theta_m = log(p_m),   Theta_ml = pair_exponent * log((n_ml + smoothing) / (e_ml + smoothing)),

    where n_m and n_ml count the training supports that hold m, and both m and l, p_m = n_m / sum_i |a_i|, and
    e_ml = p_m p_l sum_i |a_i| (|a_i| - 1) is the number of joint uses expected of unrelated atoms. An atom
    never meets itself or its negative. Each unordered pair counts once. The law compares supports of one
    size; how often each size occurs is kept as ``size_counts_``.

    With ``n_groups`` > 1 it is a mixture of such networks: every latent group has factors of single atoms of
    its own, shrunk to those of all supports, and the pairs are shared unless ``group_pair_smoothing`` says
    otherwise. One network over a whole class of images cannot be certain of anything but pairs; a group is a
    family of similar images. What such images have in common makes pairs of atoms frequent as well.
    ``pair_reference`` says whether the pair factors repeat it, or hold only what atoms have to do with each
    other within a group.

    Parameters
    ----------
    smoothing : float, default=0.5
        Pseudo-count of every pair. At 0 (the paper) pairs never seen are impossible, and the sampler may be
        unable to leave its start; a large value makes atoms independent.
    pair_exponent : float in [0, 10], default=1.0
        Power of the pair factors: 0 gives independent atoms, 2 counts every pair in both orders.
    pair_reference : {"auto", "all", "groups"}, default="auto"
        What pairs are counted against. "all": atoms that are independent over all supports, as above.
        "groups": atoms that are independent within each group, e_ml = sum_g p_gm p_gl sum_{i in g} |a_i|
        (|a_i| - 1), where p_g are the factors of the group; the same for one group. "auto" is "groups" where
        supports have more than 16 atoms on average, see Notes.
    min_count : int, default=1
        States used by fewer training supports are left out of the model.
    burn_in : int, default=20
        Gibbs sweeps for each drawn support.
    n_groups : int, default=1
        Latent groups, by EM for a mixture of independent atoms unless ``fit`` is given them; 1 is the paper.
    group_smoothing : float > 0, default=1.0
        Supports with the average atoms of all that are added to every group.
    group_pair_smoothing : float > 0, default=None
        Gives every group pair factors of its own, shrunk to the shared ones as if those had been seen in so
        many expected joint uses: near 0 they are eq. (2) of the group alone, if very large the shared ones.
        None shares the pairs. See Notes.
    method : {"counts", "pseudo-likelihood", "contrastive-divergence"}, default="counts"
        "counts" is eq. (2); the others start there and go on with :func:`fit_pseudo_likelihood` or
        :func:`fit_contrastive_divergence`. Networks of several groups share what these change.
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

    Pair factors of groups are made from ``supports_`` when they are needed, so that nothing has to be kept
    for them. A group has few supports: on MNIST draws are no better than with shared pairs, and take three
    times as long.

    With pairs counted against all supports, what belongs to a group counts in its single factors and again
    in each of k (k - 1) / 2 pairs. Without sketches, few atoms make clearer samples then (MNIST, k = 12:
    Frechet distance 4 instead of 12); many fall onto the modes of the law (faces, k = 28: 40 instead of 4).

    A table takes 8 n_states^2 bytes (2,000 states: 32 MB). Two are kept; another comes and goes while fitting
    and sampling. Everything else that fitting needs is of the size of the supports.

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
        pair_reference: str = "auto",
        min_count: int = 1,
        burn_in: int = 20,
        n_groups: int = 1,
        group_smoothing: float = 1.0,
        group_pair_smoothing: float | None = None,
        method: str = "counts",
        l2: float = 1.0,
        rank: int | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
    ):
        self.smoothing = smoothing
        self.pair_exponent = pair_exponent
        self.pair_reference = pair_reference
        self.min_count = min_count
        self.burn_in = burn_in
        self.n_groups = n_groups
        self.group_smoothing = group_smoothing
        self.group_pair_smoothing = group_pair_smoothing
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
        min_count = check_integer("min_count", self.min_count, 1)
        check_choice("method", self.method, METHODS)
        states = supports_from_codes(validate_data(self, X, accept_sparse="csr"))
        counts = count_groups(states, np.zeros(len(states), np.intp), 1, 2 * self.n_features_in_)[0]
        kept = np.flatnonzero(counts >= min_count)
        indices = to_indices(states, kept) if len(kept) else states
        complete = np.all(indices < len(kept), axis=1)
        check_counts(counts, min_count, complete)
        sizes = (states >= 0).sum(axis=1)
        self.states_ = kept.astype(np.int32)
        self.counts_ = counts[kept]
        self.pair_counts_ = count_pairs(indices, len(kept))
        self.log_factors_ = np.log(self.counts_ / sizes.sum())
        self.supports_ = np.ascontiguousarray(indices[complete, : sizes[complete].max()])
        self.size_counts_ = np.bincount(sizes[complete])
        self.groups_, self.group_shares_, self.log_group_factors_ = group_supports(self, groups, complete)
        check_group_pairs(self)
        self.log_pair_factors_ = counted_pairs(self, sizes, complete)
        if self.method != "counts":
            offsets = self.log_group_factors_ - self.log_factors_  # kept by every group
            self.log_factors_, self.log_pair_factors_, _ = refine(self)
            self.log_group_factors_ = offsets + self.log_factors_
        return self

    def log_weights(self, X: Any, *, group: int | None = None) -> NDArray[np.float64]:
        """Return the unnormalised log-probability of the supports of codes.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_components)
            Signed codes.
        group : int, default=None
            In the network of this group; None takes the atoms as often as in all supports.

        Returns
        -------
        weights : ndarray of shape (n_samples,)
            sum theta + sum Theta, each pair once; 0 for an empty support, -inf for one with a pair that is
            impossible or a state that is not in the model. Compare supports of one size only.
        """
        indices = self._indices(X)
        if group is not None:
            check_integer("group", group, 0, len(self.group_shares_) - 1, "groups are counted from 0")
        return log_weights(self if group is None else self.network(group), indices, self.n_jobs)

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
        group_of, n_groups = self.choose_groups(generators, groups), len(self.group_shares_)
        width = self.supports_.shape[1]
        if size is not None:
            width = check_integer("size", size, 0, len(self.states_), "a support holds each state once")
        states = np.full((len(generators), width), -1, np.int32)
        present = np.unique(group_of)
        table = None if self.has_group_pairs else pair_factors(self.log_pair_factors_)

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
        groups = self._most_probable(indices)
        if not self.has_group_pairs:
            given = self.log_group_factors_, self.log_pair_factors_, self.n_jobs
            return pseudo_likelihood(indices, *given, groups=groups)
        values = np.empty(len(indices))
        for group in np.unique(groups):
            own, theta = groups == group, self.log_group_factors_[group]
            values[own] = pseudo_likelihood(indices[own], theta, self.pair_table(group), self.n_jobs)
        return values

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
        states = supports_from_codes(validate_data(self, X, accept_sparse="csr", reset=False))
        return to_indices(states, self.states_)
