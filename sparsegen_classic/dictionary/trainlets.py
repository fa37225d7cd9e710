"""Trainlets: atoms as large as an image, sparse over separable cropped wavelets, learned online (OSDL)."""

from __future__ import annotations

import warnings
from math import isqrt, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from sparsegen_classic._random import seed_sequence
from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.dictionary.atoms import atoms_to_replace
from sparsegen_classic.dictionary.sparse_atoms import SparseAtoms, Stepper, empty_atoms, residual_of
from sparsegen_classic.dictionary.sparse_omp import correlate, sparse_omp_arrays
from sparsegen_classic.dictionary.wavelets import wavelet_base
from sparsegen_classic.pursuit.omp import check_sparsity, codes_from_arrays

_FLOATS = (np.float64, np.float32)
_CLEANING = 10  # samples an atom between two cleanings
_LONGEST_LINE = 1024  # features that are still taken as a one-dimensional signal if no shape is given


class Trainlets(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Online dictionary learning with atoms that are sparse over wavelets (OSDL), for whole images.

    The dictionary is ``components_ = atom_codes_ @ Phi^T``: Phi are separable cropped wavelets, fixed and
    fast to apply, and every atom combines at most ``atom_sparsity`` of them. Mini-batches are coded by sparse
    Batch-OMP, and the atoms make one step of normalised iterative hard thresholding (NIHT) on each batch.
    Atoms that are hardly used or nearly equal to another are replaced by badly represented images.

    Signals are taken as they are: subtract the mean image (whole images) or the mean of each (patches)
    first, where they carry most of the energy, and add it afterwards. ``SparseImageGenerator`` does.

    Parameters
    ----------
    n_components : int, default=None
        Number of atoms, at most the number of samples first given. None means ``n_features``.
    n_nonzero_coefs : int, default=None
        Atoms a sample uses, between 1 and ``n_components``. None means ``max(1, n_features // 10)``.
    atom_sparsity : int, default=None
        Wavelets an atom combines. None means ``n_features // 16``, but at least 16 (or all there are).
    image_shape : tuple of ints (height, width) or (height, width, channels), default=None
        Shape of the images in the rows of X. None means square, or one-dimensional if ``n_features`` is no
        square number.
    wavelet : str, default="sym8"
        An orthogonal wavelet of PyWavelets.
    batch_size : int, default=512
        Largest number of samples in a mini-batch; the samples given are split into equal batches.
    max_iter : int, default=10
        Passes of ``fit`` over the data, at least 1.
    step : {"scaled", "exact", "paper"}, default="scaled"
        "exact" steps along the gradient by exact line search. "scaled" does so along the gradient divided by
        the curvature of every atom and wavelet, which learns many times faster. "paper" is the rule in the
        authors' code: the square root of the exact step, on atoms that are not renormalised.
    momentum : float, default=0.7
        Weight in [0, 1) of the steps of earlier batches, which averages out what is special to one batch.
        With "paper" steps add up (the authors used 0.92).
    coherence_threshold : float, default=0.99
        An atom whose absolute correlation with a more used atom exceeds this is replaced; 1 disables.
    min_uses : int, default=4
        An atom that fewer samples used since the last cleaning is replaced; 0 disables. Cleaning takes place
        each time ``10 * n_components`` samples have been seen.
    drop_atoms : float, default=0
        Share in [0, 1) of the atoms that are hidden, at random, from each batch in the first pass of
        ``fit``, so that all of them get used.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the initial atoms and of the order of the samples.
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.
    verbose : int, default=0
        With 1, a progress bar on stderr if that is a terminal.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Atoms of unit norm, float32 for float32 input, else float64.
    atom_codes_ : csr_array of shape (n_components, n_wavelets)
        The same atoms over the wavelets.
    atom_positions_, atom_values_ : ndarray of shape (n_components, atom_sparsity)
        The same as two arrays.
    errors_ : ndarray of shape (n_iter_,)
        Root mean squared error in each pass, every batch coded before it is learned from.
    n_replaced_ : int
        Number of atoms replaced so far.
    n_iter_ : int
        Number of passes; with ``partial_fit``, of calls.
    n_features_in_ : int
        Number of features.

    Raises
    ------
    ValueError
        If there are fewer non-zero samples than atoms, or a parameter is out of range.

    Notes
    -----
    Beside the data, which may be a memory map, memory holds the atoms in both forms and a momentum of
    n_components x n_wavelets (for 64x64 images 9216 wavelets): it does not grow with the number of samples.
    New atoms start from images by three steps of iterative hard thresholding; OMP over the wavelets, which
    the authors use, costs a hundred times more and leads to no better dictionary.

    When to use which: for patches, or clean images that are learned in seconds, K-SVD, which takes about a
    third of the processor time for a pass. For whole images that are noisy, few for the number of atoms, too
    many for memory or a stream, Trainlets: on 64x64 faces their held-out error ends 0.5 to 2 % below K-SVD's.

    References
    ----------
    J. Sulam, B. Ophir, M. Zibulevsky, M. Elad, "Trainlets: dictionary learning in high dimensions", IEEE
    Trans. Signal Processing 64 (2016).

    Examples
    --------
    >>> from sparsegen_classic import open_images
    >>> from sparsegen_classic.dictionary import Trainlets
    >>> X = open_images("digits").images.reshape(-1, 64)
    >>> X = X - X.mean(axis=0)
    >>> model = Trainlets(40, n_nonzero_coefs=5, random_state=0).fit(X)
    >>> model.transform(X).shape
    (1797, 40)
    >>> bool(model.errors_[-1] < model.errors_[0])
    True

    A stream is learned from one batch after the other:

    >>> model = Trainlets(40, n_nonzero_coefs=5, image_shape=(8, 8), random_state=0)
    >>> for start in range(0, len(X), 300):
    ...     model = model.partial_fit(X[start : start + 300])
    >>> model.n_iter_
    6
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        n_nonzero_coefs: int | None = None,
        atom_sparsity: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        wavelet: str = "sym8",
        batch_size: int = 512,
        max_iter: int = 10,
        step: str = "scaled",
        momentum: float = 0.7,
        coherence_threshold: float = 0.99,
        min_uses: int = 4,
        drop_atoms: float = 0.0,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.n_components = n_components
        self.n_nonzero_coefs = n_nonzero_coefs
        self.atom_sparsity = atom_sparsity
        self.image_shape = image_shape
        self.wavelet = wavelet
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.step = step
        self.momentum = momentum
        self.coherence_threshold = coherence_threshold
        self.min_uses = min_uses
        self.drop_atoms = drop_atoms
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    _velocity: NDArray[np.floating] | None

    def fit(self, X: Any, y: Any = None) -> Trainlets:
        """Learn the dictionary from ``X`` (n_samples, n_features) in ``max_iter`` shuffled passes.

        A float memory map is read batch by batch. ``y`` is ignored.
        """
        X = validate_data(self, X, dtype=_FLOATS, order="C")
        check_integer("max_iter", self.max_iter, 1)
        rng = np.random.default_rng(seed_sequence(self.random_state))
        self._start(X, rng)
        n_batches = -(-len(X) // self.batch_size)
        with self._progress(self.max_iter * n_batches) as bar:
            for iteration in range(self.max_iter):
                order = rng.permutation(len(X))
                n_dropped = int(self.drop_atoms * len(self.components_)) if iteration == 0 else 0
                self._pass(X, np.array_split(order, n_batches), bar, rng, n_dropped)
        self._velocity = None  # the momentum of one fit is no concern of a later call
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Trainlets:
        """Learn from ``X`` (n_samples, n_features) in one pass, in the given order; ``y`` is ignored.

        The first call chooses the initial atoms and needs at least ``n_components`` non-zero samples. Every
        call makes at least one step, so give a few hundred samples at a time.
        """
        first = not hasattr(self, "components_")
        X = validate_data(self, X, dtype=_FLOATS if first else self.components_.dtype, order="C", reset=first)
        if first:
            self._start(X, np.random.default_rng(seed_sequence(self.random_state)))
        batches = np.array_split(np.arange(len(X)), -(-len(X) // self.batch_size))
        with self._progress(len(batches)) as bar:
            self._pass(X, batches, bar)
        return self

    def transform(self, X: Any) -> sparse.csr_array:
        """Code ``X`` by sparse Batch-OMP; returns CSR codes (n_samples, n_components).

        Warns once (ConvergenceWarning) if signals stopped early at a linearly dependent atom.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_FLOATS, reset=False)
        atoms = self._atoms(X.dtype)
        k = check_sparsity(self.n_nonzero_coefs, None, self.components_.shape)
        gram = correlate(atoms.components, atoms, self.n_jobs)
        indices, coefficients, n_dependent = sparse_omp_arrays(X, atoms, gram, k, n_jobs=self.n_jobs)
        if n_dependent:
            warnings.warn(
                f"{n_dependent} of {len(X)} signals stopped before n_nonzero_coefs={k} atoms: the next atom "
                "was linearly dependent on the chosen ones; lower n_nonzero_coefs or n_components",
                ConvergenceWarning,
                stacklevel=2,
            )
        return codes_from_arrays(indices, coefficients, len(self.components_))

    def inverse_transform(self, codes: Any) -> NDArray[np.floating]:
        """Return the samples (n_samples, n_features) that ``codes`` (sparse or dense) stand for."""
        check_is_fitted(self)
        return np.asarray(codes @ self.components_)

    @property
    def atom_codes_(self) -> sparse.csr_array:
        """The atoms over the wavelets, (n_components, n_wavelets)."""
        return self._atoms(self.components_.dtype).to_csr()

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _start(self, X: NDArray[np.floating], rng: np.random.Generator) -> None:
        """Check the parameters and choose the initial atoms among the samples."""
        self._check_parameters()
        n_features = X.shape[1]
        base = wavelet_base(_check_shape(self.image_shape, n_features), self.wavelet, X.dtype)
        n = n_features if self.n_components is None else check_integer("n_components", self.n_components, 1)
        check_sparsity(self.n_nonzero_coefs, None, (n, n_features))
        sparsity = min(max(16, n_features // 16), base.n_functions)
        if self.atom_sparsity is not None:
            sparsity = check_integer("atom_sparsity", self.atom_sparsity, 1, base.n_functions)
        energy = np.einsum("ij,ij->i", X, X)
        usable = np.flatnonzero(energy > 1e-12 * energy.max())
        if len(usable) < n:
            raise ValueError(
                f"n_components={n} atoms need at least as many non-zero samples, got {len(usable)} of "
                f"n_samples={len(X)}; lower n_components or give more samples"
            )
        atoms = empty_atoms(base, n, sparsity)
        chosen = np.sort(rng.choice(usable, n, replace=False))
        atoms.approximate(np.arange(n), X[chosen], self.n_jobs)
        self.atom_positions_, self.atom_values_ = atoms.positions, atoms.values
        self.components_ = atoms.components
        self.errors_, self.n_iter_, self.n_replaced_ = np.empty(0), 0, 0
        self._velocity = None
        self._scale = np.ones(n, X.dtype)
        self._uses, self._n_since_cleaning = np.zeros(n, np.int64), 0

    def _check_parameters(self) -> None:
        check_integer("batch_size", self.batch_size, 1)
        check_choice("step", self.step, ("scaled", "exact", "paper"))
        check_real("momentum", self.momentum, 0, 1, "[)")
        check_real("coherence_threshold", self.coherence_threshold, 0, 1, "(]")
        check_integer("min_uses", self.min_uses, 0)
        check_real("drop_atoms", self.drop_atoms, 0, 1, "[)")

    def _pass(
        self,
        X: NDArray[np.floating],
        batches: list[NDArray[np.intp]],
        bar: tqdm,
        rng: np.random.Generator | None = None,
        n_dropped: int = 0,
    ) -> None:
        """Learn from the batches, one step each."""
        atoms = self._atoms(X.dtype)
        n = len(atoms.components)
        k = check_sparsity(self.n_nonzero_coefs, None, atoms.components.shape)
        if self.momentum and self._velocity is None:
            self._velocity = np.zeros((n, atoms.base.n_functions), X.dtype)
        stepper = Stepper(self.step, self.momentum, self._velocity, self._scale)
        squared_error = 0.0
        for batch in batches:
            Y, active = X[np.sort(batch)], None
            if rng is not None and n_dropped:
                active = np.sort(rng.choice(n, max(k, n - n_dropped), replace=False))
            codes, residual = self._code(Y, atoms, k, active)
            if self._n_since_cleaning >= _CLEANING * n:
                self._clean(Y, residual, atoms)
                codes, residual = self._code(Y, atoms, k, active)
            squared_error += float(np.einsum("ij,ij->", residual, residual, dtype=np.float64))
            self._uses += np.bincount(codes.indices, minlength=n)
            self._n_since_cleaning += len(Y)
            stepper.update(atoms, codes, residual, self.n_jobs)
            bar.update()
        self.errors_ = np.append(self.errors_, np.sqrt(squared_error / X.size))
        self.n_iter_ += 1

    def _code(
        self, Y: NDArray[np.floating], atoms: SparseAtoms, k: int, active: NDArray[np.intp] | None
    ) -> tuple[sparse.csr_array, NDArray[np.floating]]:
        gram = correlate(atoms.components, atoms, self.n_jobs)
        indices, coefficients, _ = sparse_omp_arrays(Y, atoms, gram, k, active=active, n_jobs=self.n_jobs)
        codes = codes_from_arrays(indices, coefficients, len(atoms.components))
        return codes, residual_of(Y, codes, atoms.components, self.n_jobs)

    def _clean(self, Y: NDArray[np.floating], residual: NDArray[np.floating], atoms: SparseAtoms) -> None:
        """Replace poor atoms by the worst represented images of the batch; start counting anew."""
        poor = atoms_to_replace(atoms.components, self._uses, self.coherence_threshold, self.min_uses)
        energy = np.einsum("ij,ij->i", residual, residual)
        worst = np.argsort(-energy, kind="stable")[: len(poor)]
        worst = worst[energy[worst] > 1e-12 * np.einsum("ij,ij->i", Y[worst], Y[worst])]
        poor = poor[: len(worst)]
        atoms.approximate(poor, Y[worst], self.n_jobs)
        if self._velocity is not None:
            self._velocity[poor] = 0
        self._scale[poor] = 1
        self._uses[:], self._n_since_cleaning = 0, 0
        self.n_replaced_ += len(poor)

    def _atoms(self, dtype: Any) -> SparseAtoms:
        """Return the learned atoms with their base; in their own dtype they share memory."""
        base = wavelet_base(_check_shape(self.image_shape, self.n_features_in_), self.wavelet, dtype)
        values, components = (
            part.astype(dtype, copy=False) for part in (self.atom_values_, self.components_)
        )
        return SparseAtoms(base, self.atom_positions_, values, components)

    def _progress(self, n_batches: int) -> tqdm:
        return tqdm(total=n_batches, desc="Trainlets", disable=None if self.verbose else True, leave=False)


def _check_shape(image_shape: tuple[int, ...] | None, n_features: int) -> tuple[int, ...]:
    """Return the shape of an image of ``n_features`` values."""
    if image_shape is None:
        side = isqrt(n_features)
        if side**2 == n_features:
            return (side, side)
        if n_features > _LONGEST_LINE:
            raise ValueError(
                f"image_shape must be given for n_features={n_features}, which is no square number; give "
                "(height, width) or (height, width, channels)"
            )
        return (1, n_features)
    shape = tuple(check_integer("image_shape", side, 1) for side in image_shape)
    if len(shape) not in (2, 3) or prod(shape) != n_features:
        raise ValueError(
            f"image_shape must be (height, width) or (height, width, channels) with a product of "
            f"n_features={n_features}, got {image_shape!r}"
        )
    return shape
