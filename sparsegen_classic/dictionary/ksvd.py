"""K-SVD: alternate OMP coding with rank-one updates of one atom at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from sparsegen_classic._kernels.ksvd import FREE, NON_NEGATIVE, ZERO_MEAN, subtract_codes, users_by_atom
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import seed_sequence
from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.dictionary.atom_stage import atom_stage
from sparsegen_classic.dictionary.atoms import (
    allowed,
    atoms_to_replace,
    distinct_rows,
    initial_atoms,
    worst_represented,
)
from sparsegen_classic.dictionary.online import Stream, continued_stream, fresh_stream, learn_batch
from sparsegen_classic.pursuit.masked import check_weights
from sparsegen_classic.pursuit.omp import check_sparsity, check_tol, omp_arrays, orthogonal_mp

_FLOATS = (np.float64, np.float32)
_BLOCK = 1024  # samples a thread takes at a time for the residual


class KSVD(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Dictionary learning by K-SVD.

    Minimises ``||X - codes @ components_||_F^2`` with at most ``n_nonzero_coefs`` atoms a sample, by turns:
    all samples are coded by OMP; then every atom, in random order, is refitted together with the
    coefficients of its users, which never raises the objective. Between iterations, atoms that are hardly
    used or nearly equal to another are replaced by the worst represented samples. Entries may be missing
    and samples weighted (``fit``); a stream of samples is learned batch by batch (``partial_fit``).

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
        Number of iterations, at least 1.
    update : {"approximate", "exact"}, default="approximate"
        "exact" takes the leading singular pair for each atom; "approximate" one step of the power method
        towards it, which is several times faster and ends at about the same error. Where codes or atoms
        are constrained or entries are missing, "exact" makes 30 such steps.
    init : "data", "dct" or array-like of shape (n_components, n_features), default="data"
        Starting atoms: random distinct samples, normalised; the overcomplete cosines of square patches
        (:func:`~sparsegen_classic.dictionary.dct_atoms`); or the rows given here (unit norm).
    warm_start : bool, default=False
        Start from ``components_`` if there are any.
    coherence_threshold : float, default=0.99
        An atom whose absolute correlation with a more used atom exceeds this is replaced; 1 disables.
    min_uses : int, default=4
        An atom with fewer users is replaced; 0 disables.
    batch_size : int, default=512
        Samples between two updates of the atoms in ``partial_fit``.
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
        Root mean squared error of the (observed) training entries after each iteration's atom stage.
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

    References
    ----------
    M. Aharon, M. Elad, A. Bruckstein, "K-SVD: an algorithm for designing overcomplete dictionaries for
    sparse representation", IEEE Trans. Signal Processing 54 (2006).
    R. Rubinstein, M. Zibulevsky, M. Elad, "Efficient implementation of the K-SVD algorithm using batch
    orthogonal matching pursuit", Technion CS-2008-08.
    J. Mairal, M. Elad, G. Sapiro, "Sparse representation for color image restoration", IEEE Trans. Image
    Processing 17 (2008), for missing entries.
    J. Mairal, F. Bach, J. Ponce, G. Sapiro, "Online learning for matrix factorization and sparse coding",
    JMLR 11 (2010), for ``partial_fit``.

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
        self.batch_size = batch_size
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(
        self, X: ArrayLike, y: Any = None, *, mask: Any = None, sample_weight: ArrayLike | None = None
    ) -> KSVD:
        """Learn the dictionary.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : ignored
        mask : None, "nan" or array-like of bool, shape (n_samples, n_features) or (n_features,), default=None
            True = observed. Missing entries may hold anything and do not count in the error; "nan" takes
            exactly the NaN as missing. Without a mask NaN is an error. Every row needs an observed entry.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, at least 0, of the samples in the squared error and in ``min_uses``: 2 is the same as
            giving a sample twice, 0 the same as leaving it out.

        Returns
        -------
        self
        """
        X = np.asarray(validate_data(self, X, dtype=_FLOATS, order="C", ensure_all_finite=mask is None))
        rule = self._check_parameters()
        samples, weights, counts = _weighted(X, mask, sample_weight)
        rng = np.random.default_rng(seed_sequence(self.random_state))
        source = allowed(samples, rule)
        distinct = distinct_rows(source, rng)
        components = self._initial_atoms(source, distinct, rule, rng)
        if sample_weight is not None:
            samples = samples * np.sqrt(counts)[:, None].astype(samples.dtype)
        k = check_sparsity(self.n_nonzero_coefs, self.tol, components.shape)
        tol = None if self.tol is None else check_tol(self.tol, len(samples)) * counts
        observed = 1.0 if weights is None else weights.mean(axis=1, dtype=np.float64)
        share = observed * counts  # of a sample, in the error
        residual, energy = np.empty_like(samples), np.empty(len(samples))
        errors, self.n_replaced_ = [], 0
        for iteration in tqdm(
            range(self.max_iter), desc="K-SVD", disable=None if self.verbose else True, leave=False
        ):
            indices, coefficients, _ = omp_arrays(
                samples, components, k, tol=tol, positive=self.positive, weights=weights, n_jobs=self.n_jobs
            )
            self._compute_residual(samples, components, indices, coefficients, residual)
            start, users = users_by_atom(indices, len(components))
            atom_stage(
                self.dc_atom + rng.permutation(len(components) - self.dc_atom),
                components,
                residual,
                start,
                users,
                coefficients,
                exact=self.update == "exact",
                weights=weights,
                rule=rule,
                positive=self.positive,
            )
            self._compute_energy(residual, weights, energy)
            errors.append(np.sqrt(energy.sum() / (share.sum() * samples.shape[1])))
            if iteration < self.max_iter - 1:  # what is replaced last would never be refitted
                uses = _uses(indices, coefficients, counts, len(components))
                self.n_replaced_ += self._replace_atoms(source, components, uses, energy / share, distinct)
        self.components_ = components
        self.errors_ = np.array(errors)
        self.n_iter_ = self.max_iter
        self.n_seen_ = 0
        self._stream = list(continued_stream(components, indices, coefficients, self.batch_size))
        return self

    def fit_transform(
        self, X: ArrayLike, y: Any = None, *, mask: Any = None, sample_weight: ArrayLike | None = None
    ) -> sparse.csr_array:
        """Learn the dictionary from ``X`` and code it: ``fit(...).transform(X, mask=mask)``."""
        return self.fit(X, mask=mask, sample_weight=sample_weight).transform(X, mask=mask)

    def partial_fit(self, X: ArrayLike, y: Any = None) -> KSVD:
        """Learn from the next samples of a stream.

        Every ``batch_size`` samples the atoms are refitted to the codes of all samples so far, the older
        ones fading (online dictionary learning; atoms of unit norm, codes by OMP). After each call the atoms
        are those of the samples seen, whatever the calls they came in: the same stream gives the same bits.
        The first call needs ``n_components`` distinct samples. Shuffle samples that come sorted.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples without missing entries; any number.
        y : ignored

        Returns
        -------
        self
        """
        first = not hasattr(self, "_stream")
        X = np.asarray(validate_data(self, X, dtype=_FLOATS, order="C", reset=first))
        rule = self._check_parameters()
        if first:
            self._stream = list(fresh_stream(X, self.random_state))
            self.n_seen_ = 0
        stream = Stream(*self._stream)
        samples = np.concatenate([stream.pending, X.astype(stream.pending.dtype, copy=False)])
        n_whole = len(samples) - len(samples) % self.batch_size
        for start in range(0, n_whole, self.batch_size):
            stream = learn_batch(self, stream, samples[start : start + self.batch_size], rule)
        pending = samples[n_whole:]
        self.components_ = (
            learn_batch(self, stream, pending, rule) if len(pending) else stream
        ).atoms.astype(samples.dtype)
        self._stream = list(stream._replace(pending=pending.copy()))
        self.n_seen_ += len(X)
        return self

    def transform(self, X: ArrayLike, *, mask: Any = None) -> sparse.csr_array:
        """Code ``X`` by OMP over the learned atoms; returns CSR codes (n_samples, n_components).

        ``mask`` says what is observed, as in ``fit``; ``inverse_transform`` then fills in the rest.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_FLOATS, reset=False, ensure_all_finite=mask is None)
        return orthogonal_mp(
            X,
            self.components_,
            self.n_nonzero_coefs,
            self.tol,
            self.positive,
            mask=mask,
            n_jobs=self.n_jobs,
        )

    def inverse_transform(self, codes: Any) -> NDArray[np.floating]:
        """Return the samples (n_samples, n_features) that ``codes`` (sparse or dense) stand for."""
        check_is_fitted(self)
        return np.asarray(codes @ self.components_)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _check_parameters(self) -> int:
        """Check what is not checked where it is used; return the rule for atoms."""
        check_integer("max_iter", self.max_iter, 1)
        check_integer("batch_size", self.batch_size, 1)
        check_choice("update", self.update, ("approximate", "exact"))
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

    def _initial_atoms(self, source: Any, distinct: Any, rule: int, rng: Any) -> NDArray[np.floating]:
        init = self.components_ if self.warm_start and hasattr(self, "components_") else self.init
        atoms = allowed(initial_atoms(init, self.n_components, source, distinct, rng), rule)
        if self.dc_atom:
            atoms[0] = 1
        norms = np.linalg.norm(atoms, axis=1, keepdims=True)
        if not norms.all():
            raise ValueError(
                f"starting atom {np.argmin(norms)} has nothing left once it is made "
                f"{'non-negative' if self.positive_atoms else 'of zero mean'}; give others by init"
            )
        return atoms / norms

    def _compute_residual(
        self, X: Any, components: Any, indices: Any, coefficients: Any, residual: NDArray[np.floating]
    ) -> None:
        def compute(block: slice) -> None:
            residual[block] = X[block]
            subtract_codes(residual[block], components, indices[block], coefficients[block])

        for_blocks(compute, len(X), _BLOCK, self.n_jobs)

    def _compute_energy(self, residual: Any, weights: Any, energy: NDArray[np.float64]) -> None:
        def compute(block: slice) -> None:
            r = residual[block]
            energy[block] = np.einsum("ij,ij->i", r if weights is None else r * weights[block], r)

        for_blocks(compute, len(residual), _BLOCK, self.n_jobs)

    def _replace_atoms(self, source: Any, components: Any, uses: Any, energy: Any, distinct: Any) -> int:
        poor = atoms_to_replace(components, uses, self.coherence_threshold, self.min_uses)
        poor = poor[poor >= self.dc_atom]
        fresh = worst_represented(source, energy, distinct, len(poor))
        poor = poor[: len(fresh)]
        components[poor] = fresh
        return len(poor)


def _weighted(X: NDArray[np.floating], mask: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """Return the samples that count, 0 where missing; the weights of their entries, or None; their own."""
    weights = None if mask is None else check_weights(X, mask, None)
    if weights is not None:
        X, weights = np.where(weights > 0, X, 0), np.ascontiguousarray(weights, X.dtype)
    if sample_weight is None:
        return X, weights, np.ones(len(X))
    sample_weight = np.asarray(sample_weight, np.float64)
    if sample_weight.shape != (len(X),):
        raise ValueError(f"sample_weight must have shape (n_samples,)=({len(X)},), got {sample_weight.shape}")
    bad = sample_weight[~(np.isfinite(sample_weight) & (sample_weight >= 0))]
    if len(bad):
        raise ValueError(f"sample_weight must be finite and at least 0, got {bad[0]}")
    kept = sample_weight > 0
    if not kept.any():
        raise ValueError("every sample_weight is zero; give at least one sample a positive weight")
    return X[kept], None if weights is None else weights[kept], sample_weight[kept]


def _uses(indices: Any, coefficients: Any, sample_weight: Any, n_components: int) -> NDArray[Any]:
    """Return how many samples, each counting as often as its weight says, use every atom."""
    counts = np.broadcast_to(sample_weight[:, None], indices.shape)
    used = coefficients != 0
    return np.bincount(indices[used], counts[used], n_components)
