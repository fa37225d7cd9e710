"""Trainlets: atoms as large as an image, sparse over separable cropped wavelets, learned online (OSDL)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsegen_classic._codes import CodingMixin
from sparsegen_classic._random import seed_sequence
from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.dictionary.osdl import Learner, start
from sparsegen_classic.dictionary.samples import FLOATS, check_samples
from sparsegen_classic.dictionary.sparse_atoms import SparseAtoms
from sparsegen_classic.dictionary.sparse_omp import correlate, sparse_omp_arrays
from sparsegen_classic.dictionary.steps import Course, Run, progress
from sparsegen_classic.dictionary.wavelets import check_image_shape, wavelet_base
from sparsegen_classic.pursuit.omp import check_sparsity, codes_from_arrays

_KEPT = (
    *("components_", "atom_positions_", "atom_values_", "errors_", "n_iter_", "n_replaced_"),
    *("_velocity", "_scale", "_uses", "_n_since_cleaning"),
)


class Trainlets(CodingMixin, BaseEstimator):
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
        Largest number of samples in a mini-batch; the samples given are split into equal batches. Larger
        ones are worked on in blocks of 512, see Notes.
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

    More than half of a step on 512 images, for 1,000 atoms and 40 of them an image, does not depend on the
    number of images. On 12,800 faces, batches of 1,024 or 2,048 reach the same error in about as many passes
    as those of 512, each in less time; 4,096 take about half as many passes more. Blocks of 512 images run
    where ``joblib.parallel_config`` says, also on a cluster, if the images are in files.

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

    errors_: NDArray[np.float64]
    _velocity: NDArray[np.floating] | None

    def fit(self, X: Any, y: Any = None) -> Trainlets:
        """Learn the dictionary from ``X`` (n_samples, n_features) in ``max_iter`` shuffled passes.

        A float memory map, and images in files, are read batch by batch. ``y`` is ignored.
        """
        for _ in self.learn_steps(X):
            pass
        return self

    def learn_steps(self, X: Any, state: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Learn as ``fit`` does, one mini-batch at a time.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.
        state : dict, default=None
            What an earlier call yielded, as for :meth:`KSVD.learn_steps`.

        Yields
        ------
        state : dict
            As :meth:`KSVD.learn_steps` yields.

        Examples
        --------
        >>> import copy
        >>> import numpy as np
        >>> from sparsegen_classic import Trainlets
        >>> X = np.random.default_rng(0).standard_normal((300, 36))
        >>> options = {"n_nonzero_coefs": 3, "batch_size": 100, "max_iter": 2}
        >>> model = Trainlets(20, **options, random_state=0)
        >>> states = [copy.deepcopy(state) for state in model.learn_steps(X)]
        >>> resumed = Trainlets(20, **options)
        >>> len(list(resumed.learn_steps(X, states[3])))
        2
        >>> np.array_equal(resumed.components_, model.components_)
        True
        """
        X = check_samples(self, X)
        check_integer("max_iter", self.max_iter, 1)
        self._check_parameters()
        run = Run(self, X, _KEPT)
        if state is None:
            rng = np.random.default_rng(seed_sequence(self.random_state))
            start(self, X, rng)
            course = Course(rng.bit_generator.state)
        else:
            run.restore(state)
            course = Course(**state["course"])
        learner = Learner(self, X.dtype)
        for rows, active in course.batches(self, len(X), learner.draw_active):
            course.record(self, learner.learn(X, rows, active), len(rows) * X.shape[1])
            yield run.state(course=course.state())
        self._velocity = None  # the momentum of one fit is no concern of a later call

    def partial_fit(self, X: Any, y: Any = None) -> Trainlets:
        """Learn from ``X`` (n_samples, n_features) in one pass, in the given order; ``y`` is ignored.

        The first call chooses the initial atoms and needs at least ``n_components`` non-zero samples. Every
        call makes at least one step, so give a few hundred samples at a time.
        """
        first = not hasattr(self, "components_")
        X = validate_data(self, X, dtype=FLOATS if first else self.components_.dtype, order="C", reset=first)
        self._check_parameters()
        if first:
            start(self, X, np.random.default_rng(seed_sequence(self.random_state)))
        learner, squared_error = Learner(self, X.dtype), 0.0
        batches = np.array_split(np.arange(len(X)), -(-len(X) // self.batch_size))
        with progress(self, len(batches)) as bar:
            for rows in batches:
                squared_error += learner.learn(X, rows)
                bar.update()
        self.errors_ = np.append(self.errors_, np.sqrt(squared_error / X.size))
        self.n_iter_ += 1
        return self

    def transform(self, X: Any) -> sparse.csr_array:
        """Code ``X`` by sparse Batch-OMP; returns CSR codes (n_samples, n_components).

        Warns once (ConvergenceWarning) if signals stopped early at a linearly dependent atom.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
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

    @property
    def atom_codes_(self) -> sparse.csr_array:
        """The atoms over the wavelets, (n_components, n_wavelets)."""
        return self._atoms(self.components_.dtype).to_csr()

    def _check_parameters(self) -> None:
        check_integer("batch_size", self.batch_size, 1)
        check_choice("step", self.step, ("scaled", "exact", "paper"))
        check_real("momentum", self.momentum, 0, 1, "[)")
        check_real("coherence_threshold", self.coherence_threshold, 0, 1, "(]")
        check_integer("min_uses", self.min_uses, 0)
        check_real("drop_atoms", self.drop_atoms, 0, 1, "[)")

    def _atoms(self, dtype: Any) -> SparseAtoms:
        """Return the learned atoms with their base; in their own dtype they share memory."""
        base = wavelet_base(check_image_shape(self.image_shape, self.n_features_in_), self.wavelet, dtype)
        values, components = (
            part.astype(dtype, copy=False) for part in (self.atom_values_, self.components_)
        )
        return SparseAtoms(base, self.atom_positions_, values, components)
