"""Groups of a mixture of networks: which one a support belongs to, and the network of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from sparsegen_classic.support.estimation import check_group_pairs, table_of_group
from sparsegen_classic.support.groups import most_probable


class GroupedNetworks:
    """What a mixture of pairwise networks does with its groups."""

    states_: NDArray[np.int32]
    supports_: NDArray[np.int32]
    log_pair_factors_: NDArray[np.float64]
    groups_: NDArray[np.intp]
    group_shares_: NDArray[np.float64]
    log_group_factors_: NDArray[np.float64]
    n_jobs: int | None
    _indices: Callable[[Any], NDArray[np.int32]]  # of codes, into states_

    def draw_groups(self, generators: Sequence[np.random.Generator]) -> NDArray[np.intp]:
        """Draw a group by each generator, as often as in training; with one group nothing is drawn."""
        check_is_fitted(self)
        if len(self.group_shares_) == 1:
            return np.zeros(len(generators), np.intp)
        edges = np.cumsum(self.group_shares_)[:-1]
        return np.array([np.searchsorted(edges, g.random(), side="right") for g in generators], np.intp)

    def choose_groups(
        self, generators: Sequence[np.random.Generator], groups: ArrayLike | None = None
    ) -> NDArray[np.intp]:
        """Return the ``groups`` of samples, checked to be one for each generator; None draws them."""
        if groups is None:
            return self.draw_groups(generators)
        check_is_fitted(self)
        group_of, n_groups = np.asarray(groups), len(self.group_shares_)
        if group_of.shape != (len(generators),) or not np.isin(group_of, range(n_groups)).all():
            raise ValueError(
                f"groups must be in 0..{n_groups - 1}, one for each of the {len(generators)} samples, "
                f"got {groups!r}"
            )
        return group_of.astype(np.intp)

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
        return self._most_probable(self._indices(X))

    def network(self, group: int = 0) -> SimpleNamespace:
        """Return the pairwise network of one group, as :class:`GibbsSampler` and the exact methods take it.

        With one group the estimator itself serves them as well.
        """
        return SimpleNamespace(
            states_=self.states_,
            log_factors_=self.log_group_factors_[group],
            log_pair_factors_=self.pair_table(group),
            supports_=self._supports_of(group),
        )

    @property
    def has_group_pairs(self) -> bool:
        """Whether groups have pair factors of their own, made anew by :meth:`pair_table` and not kept."""
        return check_group_pairs(self)

    def pair_table(self, group: int) -> NDArray[np.float64]:
        """Return the pair factors of one group (n_states, n_states): its own, or ``log_pair_factors_``."""
        if not self.has_group_pairs:
            return self.log_pair_factors_
        return table_of_group(self, self._supports_of(group))

    def _supports_of(self, group: int) -> NDArray[np.int32]:
        return self.supports_[self.groups_ == group]

    def _most_probable(self, indices: NDArray[np.int32]) -> NDArray[np.intp]:
        return most_probable(indices, self.log_group_factors_, self.group_shares_, self.n_jobs)
