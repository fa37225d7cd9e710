"""Learning the filters of a convolutional model from whole images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import seed_sequence
from sparsegen_classic._validation import check_integer, check_real
from sparsegen_classic.convolutional.coder import ConvSparseCoder
from sparsegen_classic.convolutional.l1 import ConvCode, Floats, Lasso, plain_lasso, strongest_atoms
from sparsegen_classic.convolutional.l1_cd import solve_cd
from sparsegen_classic.convolutional.learning_steps import (
    Observed,
    better_filters,
    blend_statistics,
    check_observed,
    random_patches,
    split_lowpass,
    worst_patches,
)
from sparsegen_classic.convolutional.operator import ConvDictionary

_CLEANING = 10  # non-zeros an atom between two searches for atoms without use
_MAX_PASSES = 50  # of the pursuit over an image


class ConvDictionaryLearning(BaseEstimator):
    """Convolutional dictionary learning: filters whose shifts represent images sparsely.

    Minimises the average over images of ``1/2 ||mask * (x - sum_k z_k * d_k)||^2 + lam sum_k ||z_k||_1`` over
    codes z and filters d of norm at most 1. Mini-batches of images are coded by :class:`ConvSparseCoder`;
    the correlations of the codes with each other and with the images, all that least squares in the filters
    needs, are averaged over the batches, recent ones first; and block coordinate descent on them improves one
    filter after the other. Both steps cost what the non-zeros cost, not what the maps would.

    Parameters
    ----------
    n_atoms : int, default=64
        Number of filters.
    atom_shape : int or tuple (height, width), default=8
        Their size. ``(1, length)`` learns from signals, as images of height 1.
    lam : float, default=None
        Penalty, greater than 0. None means a tenth of ``lambda_max`` at the initial filters, averaged over
        the first ``batch_size`` images.
    lowpass : float, default=0.0
        If greater than 0, :func:`split_lowpass` with this weight takes the smooth part from every image
        first, here and in :meth:`encode`; :meth:`reconstruct` adds it again. 10 suits natural images; 0
        leaves images as they are.
    positive : bool, default=False
        Whether to keep the codes at 0 or above.
    init : array-like of shape (n_atoms, n_channels, height, width), default=None
        Initial filters, finite and not zero, scaled to norm 1. None means random patches of the first images.
    max_iter : int, default=10
        Passes of ``fit`` over the images, at least 1.
    batch_size : int, default=2
        Largest number of images in a mini-batch; those given are split into equal batches.
    decay : float, default=0.6
        Greater than 0, at most 1: the t-th batch enters the averages with weight ``t**-decay``, in ``fit`` at
        least with its share of the images. A batch of all images is thus plain alternation.
    tol : float, default=0.05
        Relative duality gap of the codes while learning, greater than 0.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the initial filters and of the order of the images.
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.
    verbose : int, default=0
        With 1, a progress bar on stderr if that is a terminal.

    Attributes
    ----------
    filters_ : ndarray of shape (n_atoms, n_channels, height, width)
        Filters of norm at most 1, float32 if all images first given are, else float64.
    dictionary_ : ConvDictionary
        The same, as an operator.
    lam_ : float
        The penalty.
    objectives_ : ndarray of shape (n_iter_,)
        Average objective of an image in each pass, every batch coded before it is learned from.
    n_replaced_ : int
        Number of filters that no code used and that were replaced, by patches that are badly represented.
    n_iter_ : int
        Number of passes; with ``partial_fit``, of calls.

    Notes
    -----
    Unobserved pixels are filled with what the codes say there; this majorises the objective, so the filter
    step still never raises it. Atoms end at the border of an image (zero boundary, stride 1, no padding). It
    is a scikit-learn estimator by its parameters, but takes images, not rows.

    References
    ----------
    J. Mairal, F. Bach, J. Ponce, G. Sapiro, "Online learning for matrix factorization and sparse coding",
    JMLR 11 (2010). J. Liu, C. Garcia-Cardona, B. Wohlberg, W. Yin, "First- and second-order methods for
    online convolutional dictionary learning", SIAM J. Imaging Sciences 11 (2018).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.convolutional import ConvDictionaryLearning
    >>> from sparsegen_classic.images import open_images
    >>> digits = open_images("digits").images[:40]
    >>> model = ConvDictionaryLearning(8, 5, batch_size=40, max_iter=5, random_state=0).fit(digits)
    >>> model.filters_.shape, bool((np.diff(model.objectives_) < 0).all())
    ((8, 1, 5, 5), True)
    >>> model.encode(digits).maps.shape
    (40, 8, 4, 4)

    A stream is learned from one batch after the other:

    >>> for start in range(0, 40, 10):
    ...     model = model.partial_fit(digits[start : start + 10])
    >>> model.n_iter_
    9
    """

    lam_: float
    _gram: Any  # ndarrays while learning, else None
    _cross: Any

    def __init__(
        self,
        n_atoms: int = 64,
        atom_shape: int | tuple[int, int] = 8,
        *,
        lam: float | None = None,
        lowpass: float = 0.0,
        positive: bool = False,
        init: Any = None,
        max_iter: int = 10,
        batch_size: int = 2,
        decay: float = 0.6,
        tol: float = 0.05,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.n_atoms = n_atoms
        self.atom_shape = atom_shape
        self.lam = lam
        self.lowpass = lowpass
        self.positive = positive
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.decay = decay
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, mask: Any = None) -> ConvDictionaryLearning:
        """Learn the filters from images.

        Parameters
        ----------
        X : array-like of shape (n, h, w) or (n, n_channels, h, w), list or iterator
            A list holds images (h, w) or (n_channels, h, w) of any sizes. An iterator of such images, e.g.
            over the files of a folder, is read once, batch by batch, whatever ``max_iter`` says; anything
            else is passed over ``max_iter`` times.
        y : None
            Ignored.
        mask : array-like of bool, or list of them, default=None
            Which pixels are observed, of a shape that broadcasts to ``X``; for a list one an image. Values of
            ``X`` elsewhere are ignored and may be NaN. Not for iterators.
        """
        check_integer("max_iter", self.max_iter, 1)
        self._check_parameters()
        for name in ("filters_", "lam_"):
            if hasattr(self, name):
                delattr(self, name)
        if isinstance(X, Iterator):
            if mask is not None:
                raise ValueError("mask must be None for an iterator; give a list of images and one of masks")
            return self._stream(X)
        rng = np.random.default_rng(seed_sequence(self.random_state))
        images = self._images(X, mask)
        self._start(images, rng)
        n_batches = -(-len(images) // self.batch_size)
        with self._progress(self.max_iter * n_batches) as bar:
            for _ in range(self.max_iter):
                batches = np.array_split(rng.permutation(len(images)), n_batches)
                self._pass([[images[i] for i in np.sort(batch)] for batch in batches], bar, 1 / n_batches)
        self._gram = self._cross = None  # large, and the memory of one fit is no concern of a later call
        return self

    def partial_fit(self, X: Any, y: Any = None, mask: Any = None) -> ConvDictionaryLearning:
        """Learn from images in one pass, in the given order; parameters as of :meth:`fit`, no iterators."""
        self._check_parameters()
        images = self._images(X, mask)
        if not hasattr(self, "filters_"):
            self._start(images, np.random.default_rng(seed_sequence(self.random_state)))
        batches = np.array_split(np.arange(len(images)), -(-len(images) // self.batch_size))
        with self._progress(len(batches)) as bar:
            self._pass([[images[i] for i in batch] for batch in batches], bar)
        return self

    def encode(
        self, X: Any, mask: Any = None, *, lam: float | None = None, tol: float = 1e-4, solver: str = "cd"
    ) -> ConvCode:
        """Code images of one size; returns the :class:`ConvCode` of :meth:`ConvSparseCoder.encode`.

        ``X`` and ``mask`` are as for :meth:`fit`; the smooth part is taken off first if ``lowpass`` says so.
        ``lam`` is that of learning by default; ``tol`` and ``solver`` are those of :class:`ConvSparseCoder`.
        """
        check_is_fitted(self)
        images = self._images(X, mask)
        shapes = {image.pixels.shape for image in images}
        if len(shapes) > 1:
            raise ValueError(f"X must hold images of one size, got {sorted(shapes)}; encode them one by one")
        known: list[Any] = [image.mask for image in images]
        options: dict[str, Any] = {"tol": tol, "positive": self.positive, "n_jobs": self.n_jobs}
        coder = ConvSparseCoder(self.dictionary_, self.lam_ if lam is None else lam, solver, **options)
        return coder.encode(
            np.stack([image.pixels for image in images]), None if mask is None else np.stack(known)
        )

    def reconstruct(self, X: Any, mask: Any = None, *, tol: float = 1e-4) -> Floats:
        """Return what the model says of images: synthesis of their codes plus the smooth part.

        With ``mask``, ``np.where(mask, X, model.reconstruct(X, mask))`` inpaints. Of the shape of ``X``.
        """
        synthesis = self.dictionary_.synthesize(self.encode(X, mask, tol=tol).maps).reshape(np.shape(X))
        if self.lowpass:
            synthesis += split_lowpass(X, self.lowpass, mask)[1].astype(synthesis.dtype)
        return synthesis

    @property
    def dictionary_(self) -> ConvDictionary:
        """The filters as an operator."""
        check_is_fitted(self, "filters_")
        return ConvDictionary(self.filters_)

    def _check_parameters(self) -> None:
        check_integer("n_atoms", self.n_atoms, 1)
        self._size()
        if self.lam is not None:
            check_real("lam", self.lam, 0, closed="()", remedy="None chooses a tenth of lambda_max")
        check_real("lowpass", self.lowpass, 0)
        check_integer("batch_size", self.batch_size, 1)
        check_real("decay", self.decay, 0, 1, "(]")
        check_real("tol", self.tol, 0, closed="()")

    def _size(self) -> tuple[int, int]:
        sides = self.atom_shape if isinstance(self.atom_shape, tuple | list) else (self.atom_shape,) * 2
        if len(sides) != 2:
            raise ValueError(f"atom_shape must be an int or (height, width), got {self.atom_shape!r}")
        return check_integer("atom_shape", sides[0], 1), check_integer("atom_shape", sides[1], 1)

    def _images(self, X: Any, mask: Any) -> list[Observed]:
        fitted = getattr(self, "filters_", None)
        dtype = None if fitted is None else fitted.dtype
        images = check_observed(X, mask, self._size(), dtype, self.lowpass)
        if fitted is not None and len(images[0].pixels) != fitted.shape[1]:
            raise ValueError(
                f"X must have {fitted.shape[1]} channels as the filters have, got {len(images[0].pixels)}"
            )
        return images

    def _start(self, images: list[Observed], rng: np.random.Generator) -> None:
        """Choose the initial filters and the penalty."""
        first = images[0].pixels
        shape = (self.n_atoms, len(first), *self._size())
        if self.init is None:
            filters = random_patches(images, self.n_atoms, self._size(), rng)
        else:
            given = ConvDictionary(self.init)
            if given.filters.shape != shape:
                raise ValueError(f"init must have shape {shape}, got {given.filters.shape}")
            filters = (given.filters / given.norms[:, None, None, None]).astype(first.dtype)
        self.filters_ = filters
        if self.lam is not None:
            self.lam_ = float(self.lam)
        else:
            chosen = [image for image in images if image.pixels.any()][: self.batch_size] or images[:1]
            problems = [self._problem(image, 1.0) for image in chosen]
            self.lam_ = 0.1 * float(np.mean([strongest_atoms(p, p.image)[0].max() for p in problems]))
            if self.lam_ == 0:
                del self.filters_
                raise ValueError("X must have pixels that are not zero; give other images, or lam")
        self.objectives_, self.n_iter_, self.n_replaced_ = np.empty(0), 0, 0
        self._gram = self._cross = None
        self._uses, self._n_batches = np.zeros(self.n_atoms, np.int64), 0

    def _pass(self, batches: list[list[Observed]], bar: tqdm, share: float = 0.0) -> None:
        results = []
        for batch in batches:
            results += self._learn(batch, share)
            bar.update()
        self._end_pass(results)

    def _end_pass(self, results: list[tuple[float, bool]]) -> None:
        objectives, converged = zip(*results, strict=True)
        self.objectives_ = np.append(self.objectives_, np.mean(objectives))
        self.n_iter_ += 1
        message = ""
        if not np.any(self._cross):
            message = (
                f"lam={self.lam_} is at least lambda_max of every image: all codes are zero and the filters "
                "stay; lower lam"
            )
        elif not all(converged):
            message = (
                f"the codes of {converged.count(False)} of {len(converged)} images did not reach a relative "
                f"duality gap of tol={self.tol} in {_MAX_PASSES} passes; raise lam={self.lam_:.3g} or tol"
            )
        if message:
            warnings.warn(message, ConvergenceWarning, stacklevel=4)

    def _learn(self, batch: list[Observed], share: float) -> list[tuple[float, bool]]:
        """Code a batch, improve the filters; return objectives before that, and whether codes converged."""
        dictionary = self.dictionary_
        results: list[Any] = [None] * len(batch)

        def code(block: slice) -> None:
            for i in range(block.start, block.stop):
                results[i] = solve_cd(self._problem(batch[i], self.lam_), self.tol, _MAX_PASSES)

        for_blocks(code, len(batch), 1, self.n_jobs)
        codes = [result.maps for result in results]
        syntheses = [dictionary.synthesize(maps) for maps in codes]
        targets = [image.filled(made) for image, made in zip(batch, syntheses, strict=True)]
        if self._gram is None:
            h, w = dictionary.atom_shape
            self._gram = np.zeros((self.n_atoms, self.n_atoms, 2 * h - 1, 2 * w - 1))
            self._cross, self._n_batches = np.zeros(self.filters_.shape), 0
        self._n_batches += 1
        weight = max(self._n_batches**-self.decay, share)
        blend_statistics(self._gram, self._cross, targets, codes, weight, self.n_jobs)
        self.filters_ = better_filters(self._gram, self._cross, self.filters_)
        for maps in codes:
            self._uses += np.bincount(maps.coordinates[0], minlength=self.n_atoms)
        if self._uses.sum() >= _CLEANING * self.n_atoms:
            self._replace([target - made for target, made in zip(targets, syntheses, strict=True)])
        return [(result.objective, result.converged) for result in results]

    def _replace(self, residuals: list[Floats]) -> None:
        """Replace the filters without use by what is represented worst; start counting anew."""
        unused = np.flatnonzero(self._uses == 0)
        fresh = worst_patches(residuals, len(unused), self._size())
        unused = unused[: len(fresh)]
        self.filters_[unused] = fresh
        for part in (self._gram, self._cross):
            part[unused] = 0
        self._gram[:, unused] = 0
        self._uses[:] = 0
        self.n_replaced_ += len(unused)

    def _problem(self, image: Observed, lam: float) -> Lasso:
        threshold = np.full(self.n_atoms, lam)
        return plain_lasso(self.dictionary_, image.pixels, image.mask, threshold, self.positive)

    def _stream(self, images: Iterator[Any]) -> ConvDictionaryLearning:
        """Learn from an iterator, one batch in memory at a time."""
        results: list[tuple[float, bool]] = []
        while chunk := list(islice(images, self.batch_size)):
            batch = self._images(chunk, None)
            if not results:
                self._start(batch, np.random.default_rng(seed_sequence(self.random_state)))
            results += self._learn(batch, 0.0)
        if not results:
            raise ValueError("X must hold at least one image, got none")
        self._end_pass(results)
        self._gram = self._cross = None
        return self

    def _progress(self, n_batches: int) -> tqdm:
        return tqdm(
            total=n_batches, desc="filters", unit="batch", disable=None if self.verbose else True, leave=False
        )
