"""K-SVD: alternate OMP coding with rank-one updates of one atom at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from sparsegen_classic._kernels.ksvd import subtract_codes, update_atoms, users_by_atom
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import seed_sequence
from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.dictionary.atoms import atoms_from_data, atoms_to_replace, worst_represented
from sparsegen_classic.pursuit.omp import check_components, check_sparsity, omp_arrays, orthogonal_mp

_FLOATS = (np.float64, np.float32)
_BLOCK = 1024  # samples a thread takes at a time for the residual


class KSVD(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Dictionary learning by K-SVD.

    Minimises ``||X - codes @ components_||_F^2`` with at most ``n_nonzero_coefs`` atoms a sample, by turns:
    all samples are coded by OMP; then every atom, in random order, is refitted together with the
    coefficients of its users, which never raises the objective. Between iterations, atoms that are hardly
    used or nearly equal to another are replaced by the worst represented samples.

    Parameters
    ----------
    n_components : int, default=None
        Number of atoms, at most the number of samples. None means ``n_features``.
    n_nonzero_coefs : int, default=None
        Atoms a sample uses, between 1 and ``n_components``. None means ``max(1, n_features // 10)``.
    max_iter : int, default=10
        Number of iterations, at least 1.
    update : {"approximate", "exact"}, default="approximate"
        "exact" takes the leading singular pair for each atom; "approximate" one step of the power method
        towards it, which is several times faster and ends at about the same error.
    init : "data" or array-like of shape (n_components, n_features), default="data"
        Starting atoms: random distinct samples, normalised, or the rows given here (unit norm).
    coherence_threshold : float, default=0.99
        An atom whose absolute correlation with a more used atom exceeds this is replaced; 1 disables.
    min_uses : int, default=4
        An atom with fewer users is replaced; 0 disables.
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
        Root mean squared error of the training samples after each iteration's atom stage.
    n_replaced_ : int
        Number of atoms replaced over all iterations.
    n_iter_ : int
        Number of iterations run.
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

    def __init__(
        self,
        n_components: int | None = None,
        *,
        n_nonzero_coefs: int | None = None,
        max_iter: int = 10,
        update: str = "approximate",
        init: str | ArrayLike = "data",
        coherence_threshold: float = 0.99,
        min_uses: int = 4,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.n_components = n_components
        self.n_nonzero_coefs = n_nonzero_coefs
        self.max_iter = max_iter
        self.update = update
        self.init = init
        self.coherence_threshold = coherence_threshold
        self.min_uses = min_uses
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: Any = None) -> KSVD:
        """Learn the dictionary from ``X`` (n_samples, n_features); ``y`` is ignored."""
        X = validate_data(self, X, dtype=_FLOATS, order="C")
        check_integer("max_iter", self.max_iter, 1)
        check_choice("update", self.update, ("approximate", "exact"))
        check_real("coherence_threshold", self.coherence_threshold, 0, 1, "(]")
        check_integer("min_uses", self.min_uses, 0)
        rng = np.random.default_rng(seed_sequence(self.random_state))
        components = self._initial_atoms(X, rng)
        k = check_sparsity(self.n_nonzero_coefs, None, components.shape)
        errors, self.n_replaced_ = [], 0
        for iteration in tqdm(
            range(self.max_iter), desc="K-SVD", disable=None if self.verbose else True, leave=False
        ):
            indices, coefficients, _ = omp_arrays(X, components, k, n_jobs=self.n_jobs)
            residual = self._residual(X, components, indices, coefficients)
            start, users = users_by_atom(indices, len(components))
            order = rng.permutation(len(components))
            if self.update == "exact":
                _update_atoms_exactly(order, components, residual, start, users, coefficients)
            else:
                update_atoms(order, components, residual, start, users, coefficients)
            energy = np.einsum("ij,ij->i", residual, residual, dtype=np.float64)
            errors.append(np.sqrt(energy.sum() / X.size))
            if iteration < self.max_iter - 1:  # what is replaced last would never be refitted
                self.n_replaced_ += self._replace_atoms(X, components, np.diff(start), energy)
        self.components_ = components
        self.errors_ = np.array(errors)
        self.n_iter_ = self.max_iter
        return self

    def transform(self, X: ArrayLike) -> sparse.csr_array:
        """Code ``X`` by OMP over the learned atoms; returns CSR codes (n_samples, n_components)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_FLOATS, reset=False)
        return orthogonal_mp(X, self.components_, self.n_nonzero_coefs, n_jobs=self.n_jobs)

    def inverse_transform(self, codes: Any) -> NDArray[np.floating]:
        """Return the samples (n_samples, n_features) that ``codes`` (sparse or dense) stand for."""
        check_is_fitted(self)
        return np.asarray(codes @ self.components_)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _initial_atoms(self, X: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.floating]:
        if isinstance(self.init, str):
            check_choice("init", self.init, ("data",))
            n = X.shape[1] if self.n_components is None else self.n_components
            return atoms_from_data(X, check_integer("n_components", n, 1), rng)
        atoms = check_components(self.init, X.dtype).copy()
        expected = (len(atoms) if self.n_components is None else self.n_components, X.shape[1])
        if atoms.shape != expected:
            raise ValueError(f"init must have shape (n_components, n_features)={expected}, got {atoms.shape}")
        return atoms

    def _residual(self, X: Any, components: Any, indices: Any, coefficients: Any) -> NDArray[np.floating]:
        residual = X.copy()

        def subtract(block: slice) -> None:
            subtract_codes(residual[block], components, indices[block], coefficients[block])

        for_blocks(subtract, len(X), _BLOCK, self.n_jobs)
        return residual

    def _replace_atoms(self, X: Any, components: Any, uses: Any, energy: NDArray[np.float64]) -> int:
        poor = atoms_to_replace(components, uses, self.coherence_threshold, self.min_uses)
        fresh = worst_represented(X, energy, len(poor))
        poor = poor[: len(fresh)]
        components[poor] = fresh
        return len(poor)


def _update_atoms_exactly(
    order: Any, components: Any, residual: Any, start: Any, users: Any, coefficients: Any
) -> None:
    """One sweep in which each atom becomes the leading right singular vector of its users' error E."""
    k = coefficients.shape[1]
    flat = coefficients.reshape(-1)
    for j in order:
        w = users[start[j] : start[j + 1]]
        if not len(w):
            continue
        rows = w // k
        error = residual[rows] + np.outer(flat[w], components[j])
        atom = _leading_right_singular_vector(error)
        if atom is None:
            continue
        flat[w] = error @ atom
        components[j] = atom
        residual[rows] = error - np.outer(flat[w], atom)


def _leading_right_singular_vector(error: NDArray[np.floating]) -> NDArray[np.floating] | None:
    """By the eigenvector of the smaller Gram matrix, in float64; None if the error is zero."""
    error = error.astype(np.float64, copy=False)
    wide = error.shape[0] < error.shape[1]
    gram = error @ error.T if wide else error.T @ error
    top = len(gram) - 1
    vector = linalg.eigh(gram, subset_by_index=(top, top), check_finite=False)[1][:, 0]
    vector = vector @ error if wide else vector
    norm = np.linalg.norm(vector)
    return vector / norm if norm > 0 else None
