"""Codes drawn from their posterior given a sketch of the image, which is drawn first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsegen_classic._codes import codes_from_states
from sparsegen_classic._kernels.sketched_codes import run_sketched_chains
from sparsegen_classic._listed_codes import list_states, state_moments, without_duplicates
from sparsegen_classic._parallel import for_blocks, single_threaded_blas
from sparsegen_classic._random import RandomState, check_generators
from sparsegen_classic._validation import check_integer, check_real
from sparsegen_classic.sketches.moments import group_means, principal_atoms

_BLOCK = 32  # codes that a thread draws at a time


class SketchedCodes(BaseEstimator):
    """P(code) by way of a sketch: a coarse, noisy view of the image, of which the code is the explanation.

    With b_m = V d_m, the atoms seen through the first principal components V of the images, the sketch of a
    code c is y = sum_m c_m b_m + e with white noise e. To draw a code,

    1. draw the sketch, from the smoothed bootstrap of those of a latent group;
    2. draw support and coefficients from their posterior given y: Gibbs sampling where the prior of supports
       is a Markov network, coefficients of a state are normal, and y is the evidence.

    The network alone draws atoms that go together in pairs but not as a whole, often several for one stroke;
    given a sketch they compete to explain it. Noise makes the law of sketches smooth and easy to learn, and
    leaves to the posterior what it can do best: strokes.

    Parameters
    ----------
    n_components : int, default=50
        Principal components of a sketch.
    noise : float > 0, default=0.4
        Standard deviation of the noise, in root mean square coefficients. The less, the closer codes follow
        the sketch.
    bandwidth : float > 0, default=1.0
        Of the smoothed bootstrap: a sketch is that of a training code of the group, plus normal variation of
        ``bandwidth`` times their spread, both shrunk so that mean and covariance are those of the group. The
        less, the closer it is to a training code; a very large one makes it normal.
    shrinkage : float >= 0, default=5.0
        Training codes with the covariance within all groups that are added to each group.
    burn_in : int, default=5
        Gibbs sweeps for each code, from a random training support of the group. On MNIST 3 to 40 draw alike.
    n_jobs : int, default=None
        Threads, as in joblib. Results do not depend on it.

    Attributes
    ----------
    atoms_ : ndarray of shape (n_atoms, n_components_)
        b: the atoms in the principal components of the images.
    positions_ : ndarray of shape (n_samples, n_components_), float32
        Sketches of the training codes, without noise.
    groups_ : ndarray of shape (n_samples,), intp
        Group of each.
    means_ : ndarray of shape (n_groups, n_components_)
        Mean of each group.
    spread_ : ndarray of shape (n_components_, n_components_)
        A square root S of the covariance within groups, S @ S.T.
    state_means_, state_variances_ : ndarray of shape (2 * n_atoms,)
        Mean and variance of the magnitudes of each state of the doubled dictionary, NaN if no training code
        uses it. A state with one code takes the variance of all about their means; none is below 1e-6 of the
        mean square.
    noise_variance_ : float
        Variance of the noise.
    n_features_in_ : int
        Number of atoms.

    Notes
    -----
    The sampler leaves the posterior of (support, coefficients) unchanged and is tested against its
    enumeration. A magnitude may come out negative: then the code has the opposite state. To draw a noisy
    view from a smooth law and an image given the view is walk-jump sampling; posteriors of sparse codes
    under a Boltzmann prior are those of Peleg, Eldar and Elad, here with coefficients whose mean is not 0.

    References
    ----------
    T. Peleg, Y. C. Eldar, M. Elad, "Exploiting statistical dependencies in sparse representations for signal
    recovery", IEEE Trans. Signal Processing 60, 2012. S. Saremi, A. Hyvarinen, "Neural empirical Bayes",
    JMLR 20, 2019. B. W. Silverman, "Density estimation for statistics and data analysis", 1986, section 6.4.

    Examples
    --------
    Atoms 0 and 1 are used together, as are 2 and 3.

    >>> import numpy as np
    >>> from sparsegen_classic.sketches import SketchedCodes
    >>> from sparsegen_classic.support import MarkovSupports
    >>> rng = np.random.default_rng(0)
    >>> codes = np.zeros((200, 4))
    >>> codes[:100, :2], codes[100:, 2:] = rng.normal([3, 5], 0.2, (100, 2)), rng.normal(2, 0.2, (100, 2))
    >>> network = MarkovSupports().fit(codes)
    >>> draws = SketchedCodes().fit(codes).sample(network, 3, random_state=0).toarray()
    >>> (draws != 0).sum(axis=1).tolist()
    [2, 2, 2]
    """

    def __init__(
        self,
        n_components: int = 50,
        *,
        noise: float = 0.4,
        bandwidth: float = 1.0,
        shrinkage: float = 5.0,
        burn_in: int = 5,
        n_jobs: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.noise = noise
        self.bandwidth = bandwidth
        self.shrinkage = shrinkage
        self.burn_in = burn_in
        self.n_jobs = n_jobs

    def fit(
        self, X: Any, y: Any = None, *, components: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> SketchedCodes:
        """Learn the law of sketches from training codes.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_atoms)
            Signed codes.
        y : None
            Ignored.
        components : array-like of shape (n_atoms, n_features), default=None
            The atoms, in rows; None takes codes for signals.
        groups : array-like of int of shape (n_samples,), default=None
            Latent group of each code, 0, 1, ...; None is one group.

        Returns
        -------
        SketchedCodes
            The fitted object.

        Raises
        ------
        ValueError
            If a parameter is out of range, or shapes do not fit.
        """
        self._check_parameters()
        codes = sparse.csr_array(validate_data(self, X, accept_sparse="csr", dtype=np.float64))
        codes = without_duplicates(codes)
        n, n_atoms = codes.shape
        atoms = np.eye(n_atoms) if components is None else np.asarray(components, np.float64)
        if atoms.ndim != 2 or len(atoms) != n_atoms:
            raise ValueError(f"components must be {n_atoms} atoms in rows, got shape {atoms.shape}")
        self.groups_ = np.zeros(n, np.intp) if groups is None else np.asarray(groups, np.intp)
        if self.groups_.shape != (n,) or self.groups_.min(initial=0) < 0:
            raise ValueError(f"groups must be {n} integers of at least 0, got shape {self.groups_.shape}")
        with single_threaded_blas():
            self.atoms_ = principal_atoms(codes, atoms, self.n_components)
            positions = codes @ self.atoms_
            self.means_, self.spread_ = group_means(positions, self.groups_)
        self.positions_ = positions.astype(np.float32)
        listed = list_states(codes)
        self.state_means_, self.state_variances_ = state_moments(listed, listed.data, np.ones(n), 0.0)
        energy = float(np.mean(codes.data**2)) if codes.nnz else 1.0
        self.noise_variance_ = self.noise**2 * energy
        return self

    def sample(
        self,
        network: Any,
        n_samples: int = 1,
        random_state: RandomState | Sequence[np.random.Generator] = None,
        *,
        groups: ArrayLike | None = None,
    ) -> sparse.csr_array:
        """Draw codes.

        Parameters
        ----------
        network : MarkovSupports
            Prior of the supports, fitted to the same codes and groups.
        n_samples : int, default=1
            Number of codes; the first m are those of a call with m.
        random_state : int, RandomState, Generator, SeedSequence, None, or list of Generator
            Seed, or one generator for each code.
        groups : array-like of int of shape (n_samples,), default=None
            Group of each code; None draws them as often as in training.

        Returns
        -------
        codes : csr_array of shape (n_samples, n_atoms)
            Signed codes.

        Raises
        ------
        TypeError, ValueError
            If the network is of other atoms or groups, or ``groups`` or the generators do not fit.
        """
        check_is_fitted(self)
        self._check_parameters()
        generators = check_generators(random_state, n_samples)
        self._check_network(network)
        group_of = network.choose_groups(generators, groups)
        return self._explain(network, generators, group_of, self._sketches(generators, group_of))

    def sample_like(
        self,
        network: Any,
        X: Any,
        random_state: RandomState | Sequence[np.random.Generator] = None,
        *,
        groups: ArrayLike | None = None,
    ) -> sparse.csr_array:
        """Draw codes by way of the sketches of given codes: variations of their images.

        Parameters
        ----------
        network : MarkovSupports
            As for :meth:`sample`.
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_atoms)
            Signed codes, seen in training or not.
        random_state : int, RandomState, Generator, SeedSequence, None, or list of Generator
            Seed, or one generator for each code.
        groups : array-like of int of shape (n_samples,), default=None
            Group of each code; None takes the most probable ones.

        Returns
        -------
        codes : csr_array of shape (n_samples, n_atoms)
            Signed codes.

        Raises
        ------
        TypeError, ValueError
            If the codes or the network are of other atoms, or ``groups`` or the generators do not fit.
        """
        check_is_fitted(self)
        self._check_parameters()
        self._check_network(network)
        codes = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        codes = without_duplicates(sparse.csr_array(codes))
        generators = check_generators(random_state, codes.shape[0])
        group_of = network.choose_groups(
            generators, network.most_probable_groups(codes) if groups is None else groups
        )
        pairs = zip(codes @ self.atoms_, generators, strict=True)
        sketches = np.stack([self._noisy(position, generator) for position, generator in pairs])
        return self._explain(network, generators, group_of, sketches)

    def _explain(
        self,
        network: Any,
        generators: Sequence[np.random.Generator],
        group_of: NDArray[np.intp],
        sketches: NDArray[np.float64],
    ) -> sparse.csr_array:
        """Draw a code for each sketch."""
        supports, sizes = self._starts(network, generators, group_of)
        coefficients = np.zeros(supports.shape)
        if supports.shape[1]:
            self._run(network, generators, group_of, sketches, supports, sizes, coefficients)
        states = np.where(supports < 0, -1, network.states_[supports])
        codes = codes_from_states(states, coefficients, self.n_features_in_)
        codes.eliminate_zeros()
        return codes

    def _sketches(
        self, generators: Sequence[np.random.Generator], group_of: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Return a sketch for each generator, of its group."""
        share = 1 / np.hypot(1, self.bandwidth)  # of the training code that a sketch starts from
        sketches = np.empty((len(generators), self.atoms_.shape[1]))
        present = np.unique(group_of)

        def draw(block: slice) -> None:
            group = present[block.start]
            members = np.flatnonzero(self.groups_ == group)
            deviations = self.positions_[members] - self.means_[group]
            scale = np.sqrt(max(len(members) + self.shrinkage, 1e-300))
            for i in np.flatnonzero(group_of == group).tolist():
                own, common = (generators[i].standard_normal(size) for size in deviations.shape)
                normal = (own @ deviations + np.sqrt(self.shrinkage) * (self.spread_ @ common)) / scale
                start = deviations[generators[i].integers(len(members))]
                blurred = share * start + np.sqrt(1 - share**2) * normal
                sketches[i] = self._noisy(self.means_[group] + blurred, generators[i])

        for_blocks(draw, len(present), 1, self.n_jobs)
        return sketches

    def _noisy(self, position: NDArray[np.floating], generator: np.random.Generator) -> NDArray[np.float64]:
        return position + np.sqrt(self.noise_variance_) * generator.standard_normal(len(position))

    def _starts(
        self, network: Any, generators: Sequence[np.random.Generator], group_of: NDArray[np.intp]
    ) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
        """Return for each generator a training support of its group, as indices, and how many it has."""
        supports = np.empty((len(generators), network.supports_.shape[1]), np.int32)
        for group in np.unique(group_of):
            members = np.flatnonzero(network.groups_ == group)
            for i in np.flatnonzero(group_of == group).tolist():
                supports[i] = network.supports_[members[generators[i].integers(len(members))]]
        return supports, (supports >= 0).sum(axis=1)

    def _run(self, network, generators, group_of, sketches, supports, sizes, coefficients):
        """Run the chains of all codes, in place."""
        states = network.states_.astype(np.intp)
        atoms = states % self.n_features_in_
        signs = np.where(states < self.n_features_in_, 1.0, -1.0)
        means, variances = self.state_means_[states], self.state_variances_[states]
        flips = self.burn_in * supports.shape[1]
        coefficients[:] = np.where(supports < 0, 0.0, means[supports])
        with single_threaded_blas():
            gram = self.atoms_ @ self.atoms_.T

        if network.has_group_pairs:
            parts = [np.flatnonzero(group_of == group) for group in np.unique(group_of)]
        else:
            parts = np.split(np.arange(len(supports)), np.arange(_BLOCK, len(supports), _BLOCK))

        def run(part: slice) -> None:
            rows = parts[part.start]
            own = [generators[i] for i in rows.tolist()]
            table = np.ascontiguousarray(network.pair_table(group_of[rows[0]]))
            # one by one: a product of all would round by how many there are
            correlations = np.stack([self.atoms_ @ sketch for sketch in sketches[rows]])
            uniforms = np.stack([generator.random(flips) for generator in own])
            normals = np.stack([generator.standard_normal(flips) for generator in own])
            drawn, values = supports[rows], coefficients[rows]
            run_sketched_chains(
                correlations, gram, atoms, signs, network.log_group_factors_[group_of[rows]],
                table, means, variances, self.noise_variance_,
                drawn, sizes[rows], values, uniforms, normals,
            )  # fmt: skip
            supports[rows], coefficients[rows] = drawn, values

        for_blocks(run, len(parts), 1, self.n_jobs)

    def _check_network(self, network: Any) -> None:
        check_is_fitted(network)
        n_groups = len(network.group_shares_)
        if network.n_features_in_ != self.n_features_in_ or n_groups != len(self.means_):
            raise ValueError(
                f"network must have n_atoms={self.n_features_in_} and n_groups={len(self.means_)}, got "
                f"{network.n_features_in_} and {n_groups}; fit both to the same codes and groups"
            )
        unseen = network.states_[np.isnan(self.state_means_[network.states_])]
        if len(unseen):
            raise ValueError(
                f"network must have states that the codes of the sketches have, got {unseen.tolist()}; fit "
                "both to the same codes"
            )

    def _check_parameters(self) -> None:
        check_integer("n_components", self.n_components, 1)
        check_real("noise", self.noise, 0.0, closed="(]")
        check_real("bandwidth", self.bandwidth, 0.0, closed="(]")
        check_real("shrinkage", self.shrinkage, 0.0)
        check_integer("burn_in", self.burn_in, 0)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
