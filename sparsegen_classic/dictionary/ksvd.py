"""K-SVD: alternate OMP coding with rank-one updates of one atom at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsegen_classic._codes import CodingMixin
from sparsegen_classic._kernels.ksvd import FREE, NON_NEGATIVE, ZERO_MEAN
from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.dictionary.atoms import allowed, initial_atoms
from sparsegen_classic.dictionary.batch import batch_steps
from sparsegen_classic.dictionary.online import learn_stream, online_steps
from sparsegen_classic.dictionary.samples import FLOATS, check_entry_weight, check_samples, weighted_samples
from sparsegen_classic.pursuit.omp import orthogonal_mp


class KSVD(CodingMixin, BaseEstimator):
    """Dictionary learning by K-SVD.

    Minimises ``||X - codes @ components_||_F^2`` with at most ``n_nonzero_coefs`` atoms a sample, by turns:
    all samples are coded by OMP; then every atom, in random order, is refitted together with the
    coefficients of its users, which never raises the objective. Between iterations, atoms that are hardly
    used or nearly equal to another are replaced by the worst represented samples. Entries may be missing
    or weighted, and samples too; with ``online`` the atoms are refitted after each mini-batch, and
    ``partial_fit`` learns a stream in the same way.

    Parameters
    ----------
    n_components : int, default=None
        Number of atoms, at most the number of distinct non-zero samples. None means ``n_features``, or
        that number if it is smaller.
    n_nonzero_coefs : int, default=None
        Most atoms a sample uses, between 1 and ``n_components``. None means ``max(1, n_features // 10)``
        without ``tol`` and ``min(n_features, n_components)`` with it.
    tol : float or array-like of shape (n_samples,), default=None
        Code each sample until its squared residual norm is at most this. One a sample applies to ``fit``.
    positive : bool, default=False
        Codes are non-negative (non-negative OMP).
    positive_atoms : bool, default=False
        Atoms are non-negative; not together with ``dc_atom``.
    dc_atom : bool, default=False
        Atom 0 is constant and stays so, all others have zero mean.
    max_iter : int, default=10
        Number of iterations, or with ``online`` of passes over the samples, at least 1.
    update : {"approximate", "exact"}, default="approximate"
        "exact" takes the leading singular pair for each atom; "approximate" one step of the power method
        towards it, which is several times faster and ends at about the same error. Where codes or atoms
        are constrained or entries are missing, "exact" makes 30 such steps. Online there is no choice.
    init : "data", "dct" or array-like of shape (n_components, n_features), default="data"
        Starting atoms: random distinct samples, normalised; the overcomplete cosines of square patches
        (:func:`~sparsegen_classic.dictionary.dct_atoms`); or the rows given here (unit norm).
    warm_start : bool, default=False
        Start from ``components_`` if there are any.
    coherence_threshold : float, default=0.99
        An atom whose absolute correlation with a more used atom exceeds this is replaced; 1 disables.
    min_uses : int, default=4
        An atom with fewer users is replaced; 0 disables.
    online : bool, default=False
        ``fit`` makes passes over shuffled mini-batches instead of iterations over all samples, and needs
        only a mini-batch of the data in memory. See Notes for when to use it.
    batch_size : int, default=512
        Samples between two updates of the atoms, with ``online`` and in ``partial_fit``.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the initial atoms and of the order of the updates.
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.
    verbose : int, default=0
        With 1, a progress bar on stderr if that is a terminal.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Atoms of unit norm, float32 for float32 input, else float64.
    errors_ : ndarray of shape (n_iter_,)
        Root mean squared error of the (observed) training entries after each iteration's atom stage; of a
        pass, when every mini-batch is coded before it is learned from.
    n_replaced_ : int
        Number of atoms replaced over all iterations.
    n_iter_ : int
        Number of iterations run.
    n_seen_ : int
        Number of samples ``partial_fit`` has seen since the last ``fit``.
    n_features_in_ : int
        Number of features.

    Raises
    ------
    ValueError
        If there are fewer non-zero samples than atoms, or a parameter is out of range.

    Notes
    -----
    Online learning keeps two moments of all codes so far, n_components**2 and n_components * n_features
    numbers, from which it refits the atoms. Use it for many samples: on 100,000 8x8 patches one pass, which
    takes an eighth of the time, ends below ten iterations. For few it is no worse. A mini-batch costs
    n_components**2 * n_features beside its coding, which is much for whole images: take
    :class:`~sparsegen_classic.Trainlets` for those. Missing entries enter the moments as the codes fill them
    in, and weighted ones in part: what is minimised lies above the weighted error and touches it at the
    atoms of that time (Mairal 2013). Exact moments would take n_features * n_components**2 numbers.

    References
    ----------
    M. Aharon, M. Elad, A. Bruckstein, "K-SVD: an algorithm for designing overcomplete dictionaries for
    sparse representation", IEEE Trans. Signal Processing 54 (2006).
    R. Rubinstein, M. Zibulevsky, M. Elad, "Efficient implementation of the K-SVD algorithm using batch
    orthogonal matching pursuit", Technion CS-2008-08.
    J. Mairal, M. Elad, G. Sapiro, "Sparse representation for color image restoration", IEEE Trans. Image
    Processing 17 (2008), for missing entries.
    J. Mairal, F. Bach, J. Ponce, G. Sapiro, "Online learning for matrix factorization and sparse coding",
    JMLR 11 (2010), for ``online`` and ``partial_fit``.
    J. Mairal, "Stochastic majorization-minimization algorithms for large-scale optimization", NIPS 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic import KSVD
    >>> rng = np.random.default_rng(0)
    >>> codes = rng.standard_normal((500, 12)) * (rng.random((500, 12)) < 0.15)
    >>> X = codes @ rng.standard_normal((12, 8))
    >>> model = KSVD(n_components=12, n_nonzero_coefs=2, random_state=0).fit(X)
    >>> model.transform(X).shape
    (500, 12)
    >>> bool(model.errors_[-1] < model.errors_[0])
    True
    """

    _stream: list[Any]  # a Stream, in a form that model files hold

    def __init__(
        self,
        n_components: int | None = None,
        *,
        n_nonzero_coefs: int | None = None,
        tol: float | ArrayLike | None = None,
        positive: bool = False,
        positive_atoms: bool = False,
        dc_atom: bool = False,
        max_iter: int = 10,
        update: str = "approximate",
        init: str | ArrayLike = "data",
        warm_start: bool = False,
        coherence_threshold: float = 0.99,
        min_uses: int = 4,
        online: bool = False,
        batch_size: int = 512,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.n_components = n_components
        self.n_nonzero_coefs = n_nonzero_coefs
        self.tol = tol
        self.positive = positive
        self.positive_atoms = positive_atoms
        self.dc_atom = dc_atom
        self.max_iter = max_iter
        self.update = update
        self.init = init
        self.warm_start = warm_start
        self.coherence_threshold = coherence_threshold
        self.min_uses = min_uses
        self.online = online
        self.batch_size = batch_size
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        mask: Any = None,
        sample_weight: ArrayLike | None = None,
        entry_weight: ArrayLike | None = None,
    ) -> KSVD:
        """Learn the dictionary.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples. Images in files are read batch by batch with ``online``, and else at once.
        y : ignored
        mask : None, "nan" or array-like of bool, shape (n_samples, n_features) or (n_features,), default=None
            True = observed. Missing entries may hold anything and do not count in the error; "nan" takes
            exactly the NaN as missing. Without a mask NaN is an error. Every row needs an observed entry.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, at least 0, of the samples in the squared error and in ``min_uses``: 2 is the same as
            giving a sample twice, 0 the same as leaving it out.
        entry_weight : array-like of shape (n_samples, n_features) or (n_features,), default=None
            Weights, at least 0, of the entries in the squared error, also in that of coding (what
            :func:`~sparsegen_classic.orthogonal_mp` calls ``sample_weight``); 0 is the same as missing.

        Returns
        -------
        self
        """
        weights = {"mask": mask, "sample_weight": sample_weight, "entry_weight": entry_weight}
        for _ in self.learn_steps(X, **weights):
            pass
        return self

    def learn_steps(
        self,
        X: Any,
        state: dict[str, Any] | None = None,
        *,
        mask: Any = None,
        sample_weight: ArrayLike | None = None,
        entry_weight: ArrayLike | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Learn as ``fit`` does, one step at a time: an iteration, or with ``online`` a mini-batch.

        Parameters
        ----------
        X, mask, sample_weight, entry_weight
            As for ``fit``.
        state : dict, default=None
            What an earlier call yielded for the same data and parameters, maybe in another process: learning
            goes on from there and ends with the same bits. None starts.

        Yields
        ------
        state : dict
            Where learning is after the step: arrays, numbers, None, and dicts of such that JSON can hold.
            The next step changes the arrays: save or copy them at once.

        Examples
        --------
        >>> import copy
        >>> import numpy as np
        >>> from sparsegen_classic import KSVD
        >>> X = np.random.default_rng(0).standard_normal((300, 8))
        >>> states = [copy.deepcopy(state) for state in KSVD(12, random_state=0).learn_steps(X)]
        >>> resumed = KSVD(12)
        >>> len(list(resumed.learn_steps(X, states[3])))
        6
        >>> np.array_equal(resumed.components_, KSVD(12, random_state=0).fit(X).components_)
        True
        """
        X = check_samples(self, X, in_memory=not self.online, ensure_all_finite=mask is None)
        rule = self._check_parameters()
        samples = weighted_samples(X, mask, sample_weight, entry_weight, self.tol)
        for name in ("_stream", "_pending_weights"):  # of an earlier fit
            self.__dict__.pop(name, None)
        yield from (online_steps if self.online else batch_steps)(self, samples, rule, state)

    def fit_transform(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        mask: Any = None,
        sample_weight: ArrayLike | None = None,
        entry_weight: ArrayLike | None = None,
    ) -> sparse.csr_array:
        """Learn the dictionary from ``X`` by ``fit``, and code it by ``transform``."""
        self.fit(X, mask=mask, sample_weight=sample_weight, entry_weight=entry_weight)
        return self.transform(X, mask=mask, entry_weight=entry_weight)

    def partial_fit(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        mask: Any = None,
        sample_weight: ArrayLike | None = None,
        entry_weight: ArrayLike | None = None,
    ) -> KSVD:
        """Learn from the next samples of a stream.

        Every ``batch_size`` samples the atoms are refitted to the codes of all samples so far, the older
        ones fading (online dictionary learning; atoms of unit norm, codes by OMP). After each call the atoms
        are those of the samples seen, whatever the calls they came in: the same stream gives the same bits.
        The first call needs ``n_components`` distinct samples. Shuffle samples that come sorted.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples; any number.
        y : ignored
        mask, sample_weight, entry_weight
            As for ``fit``.

        Returns
        -------
        self
        """
        first = not hasattr(self, "_stream")
        X = check_samples(self, X, in_memory=True, reset=first, ensure_all_finite=mask is None)
        rule = self._check_parameters()
        learn_stream(self, weighted_samples(X, mask, sample_weight, entry_weight, self.tol), rule)
        return self

    def transform(
        self, X: ArrayLike, *, mask: Any = None, entry_weight: ArrayLike | None = None
    ) -> sparse.csr_array:
        """Code ``X`` by OMP over the learned atoms; returns CSR codes (n_samples, n_components).

        ``mask`` says what is observed and ``entry_weight`` how much it counts, as in ``fit``;
        ``inverse_transform`` then fills in the rest.
        """
        check_is_fitted(self)
        X = np.asarray(validate_data(self, X, dtype=FLOATS, reset=False, ensure_all_finite=mask is None))
        return orthogonal_mp(
            X,
            self.components_,
            self.n_nonzero_coefs,
            self.tol,
            self.positive,
            mask=mask,
            sample_weight=check_entry_weight(entry_weight, X.shape),
            n_jobs=self.n_jobs,
        )

    def _check_parameters(self) -> int:
        """Check what is not checked where it is used; return the rule for atoms."""
        check_integer("max_iter", self.max_iter, 1)
        check_integer("batch_size", self.batch_size, 1)
        check_choice("update", self.update, ("approximate", "exact"))
        check_choice("online", self.online, (False, True))
        check_real("coherence_threshold", self.coherence_threshold, 0, 1, "(]")
        check_integer("min_uses", self.min_uses, 0)
        if self.positive_atoms and self.dc_atom:
            raise ValueError(
                "positive_atoms=True and dc_atom=True exclude each other: beside a constant atom the others "
                "have zero mean; choose one"
            )
        if self.dc_atom and self.n_features_in_ < 2:
            raise ValueError("dc_atom=True needs at least 2 features, got n_features=1; set dc_atom=False")
        return NON_NEGATIVE if self.positive_atoms else ZERO_MEAN if self.dc_atom else FREE

    def _initial_atoms(self, X: Any, distinct: Any, rule: int, rng: Any) -> NDArray[np.floating]:
        init = self.components_ if self.warm_start and hasattr(self, "components_") else self.init
        atoms = allowed(initial_atoms(init, self.n_components, X, distinct, rng, rule), rule)
        if self.dc_atom:
            atoms[0] = 1
        norms = np.linalg.norm(atoms, axis=1, keepdims=True)
        if not norms.all():
            raise ValueError(
                f"starting atom {np.argmin(norms)} has nothing left once it is made "
                f"{'non-negative' if self.positive_atoms else 'of zero mean'}; give others by init"
            )
        return atoms / norms
