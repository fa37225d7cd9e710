"""The estimator: fit dictionary, supports, coefficients and tone; draw codes and turn them into images."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sparsegen_classic._classes import choose_models, models_of, split_classes, wanted_models
from sparsegen_classic._parallel import workers_are_remote
from sparsegen_classic._random import spawn_generators
from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.coefficients import GaussianCoefficients
from sparsegen_classic.generator.coding import ImageCodes
from sparsegen_classic.generator.combinations import combine_at_random
from sparsegen_classic.generator.draws import Draws, draw_here, draw_remotely
from sparsegen_classic.generator.fitting import fit_models, n_groups_of
from sparsegen_classic.generator.sources import check_images, open_stages
from sparsegen_classic.images import ImageStore
from sparsegen_classic.support import MarkovSupports


class SparseImageGenerator(ImageCodes, BaseEstimator):
    """Generate images by drawing sparse codes over a learned dictionary (Vaksman and Elad).

    ``fit`` learns a dictionary, codes the training images and fits the probability of a code: a Markov
    network for its support and, given the support, normal coefficients. ``sample`` draws a code by Gibbs
    sampling, multiplies by the dictionary and brings the result to the range of the pixels. In the paper,
    and with ``sketches="none"``, a support is drawn first, and then coefficients from the Gaussian fitted to
    the training codes that meet it (EM with missing data).

    Three things go beyond the paper, whose own model is :meth:`paper`. Similar images form latent *groups*,
    each with a network of its own: one network over a whole class knows pairs of atoms only, and draws
    strokes that do not belong together. A *sketch*, a coarse and noisy view of the image, is drawn before
    support and coefficients, which are then drawn together from what explains it (:class:`SketchedCodes`):
    without it the atoms of a support often add up to what is no image. And contrast and a *tone
    curve* give sums of a few soft atoms the variance and the pixels of real images, where that brings them
    nearer.

    Parameters
    ----------
    dictionary : estimator, default=None
        Learns ``components_`` and codes by ``transform``, e.g. :class:`KSVD` or, for large images,
        :class:`Trainlets`. None means ``KSVD()``. Sizes that are None are chosen here (see Notes).
    supports : estimator, default=None
        Probability of supports. None means ``MarkovSupports(pair_exponent=0.4)``.
    coefficients : estimator, default=None
        Probability of the coefficients. None means ``GaussianCoefficients(prior_strength=1, draw="clip")``.
        It draws where there are no sketches.
    sketches : estimator or "none", default=None
        Draws codes by way of sketches, with ``fit``, ``sample`` and ``sample_like`` as those of
        :class:`SketchedCodes`, which None means; "none" draws the support by ``supports`` and then
        ``coefficients`` on it, as the paper does.
    mean : {"pixel", "none"}, default="pixel"
        "pixel" subtracts the mean image (of the class) before coding and adds it after drawing; it carries
        what all images share, so that a few images suffice. "none" codes the images as they are.
    tone : {"auto", "match", "clip"}, default="auto"
        "match" maps the sums of atoms by the curve that gives them the distribution of the pixels of
        training images, and draws by sketches are given the contrast first with which they vary as much;
        "clip" clips to the range of the pixels (the paper). "auto" does what brings draws by the sketches of
        1,000 training images (for reconstructions, these) nearer to the images, by the Frechet distance in
        50 principal components: for digits this is the curve, for photographs clipping.
    n_groups : int, default=None
        Latent groups in each model, found by k-means on its images; 1 is the paper. None is chosen here (see
        Notes), unless ``supports`` has its own ``n_groups`` > 1, which it then finds among the codes.
    per_class : bool, default=False
        Fit one model for each label in ``y``. Otherwise ``y`` is ignored.
    random_state : int, RandomState, Generator or None, default=None
        Seed of ``fit``; passed on to the dictionary.
    n_jobs : int, default=None
        Number of threads, as in joblib; passed on to all parts. The result does not depend on it.
    verbose : int, default=0
        With 1, progress bars on stderr if that is a terminal.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,) or None
        The labels, for a model per class.
    class_prior_ : ndarray of shape (n_models,)
        Share of each class among the training images.
    dictionaries_, supports_, coefficients_ : list of estimators
        The fitted parts, one of each for every class (or just one).
    sketches_ : list of estimators or None
        Likewise, if there are sketches.
    means_ : ndarray of shape (n_models, n_features), float32
        What is subtracted before coding.
    tone_curves_ : ndarray of shape (n_models, 2, n_levels) or None
        The curves to pixels, learned from reconstructions of training images; see
        :func:`sparsegen_classic.images.tone_curve`. None is ``tone="clip"``.
    draw_curves_ : ndarray of shape (n_models, 2, n_levels) or None
        Likewise, learned from draws by sketches and applied to such draws.
    draw_contrasts_ : ndarray of shape (n_models,) or None
        What these draws' sums of atoms are multiplied by before the mean is added and the curve applied; with
        it they vary as much as training images. See
        :func:`sparsegen_classic.images.contrast_and_curve`.
    image_shape_ : ndarray
        Shape of one image; (n_features,) if fitted on rows.
    pixel_range_ : ndarray of shape (2,)
        What draws are clipped to: [0, 1] if the training values lie in it, else their extremes.
    n_features_in_ : int
        Number of values of an image.

    Notes
    -----
    With ``n`` images (in the smallest class) of ``n_features`` values, the default dictionary has ``n / 8``
    atoms, at least ``2.5 sqrt(n)`` and at most 800 unless that is more; an image has
    ``0.3 sqrt(n_features)`` of them, at least 5 or ``n_features`` (8 for MNIST, 19 for 64x64 faces); and
    there is a group for 30 images, at most 250. Atoms, ``pair_exponent`` and that there are groups were
    chosen by samples, on MNIST, faces and colour images; atoms an image, groups and the settings of sketches
    on MNIST, as training images set aside have it, and looked at on the others. :func:`select_settings`
    chooses groups, pairs, tone, and whether there are sketches, for yours.

    References
    ----------
    G. Vaksman and M. Elad, "Image Generation Using a Sparsity Model", 2017.

    Examples
    --------
    >>> from sparsegen_classic import SparseImageGenerator, open_images
    >>> digits = open_images("digits")
    >>> threes = digits.images[digits.labels == 3]
    >>> generator = SparseImageGenerator(random_state=0).fit(threes)
    >>> generator.sample(4, random_state=1).shape
    (4, 8, 8)
    """

    def __init__(
        self,
        dictionary: Any = None,
        supports: Any = None,
        coefficients: Any = None,
        *,
        sketches: Any = None,
        mean: str = "pixel",
        tone: str = "auto",
        n_groups: int | None = None,
        per_class: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.dictionary = dictionary
        self.supports = supports
        self.coefficients = coefficients
        self.sketches = sketches
        self.mean = mean
        self.tone = tone
        self.n_groups = n_groups
        self.per_class = per_class
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @classmethod
    def paper(cls, dictionary: Any = None, **parameters: Any) -> SparseImageGenerator:
        """Return the model of the paper as it stands: eq. (2) unsmoothed, no groups, no mean, clipping.

        Parameters
        ----------
        dictionary : estimator, default=None
            As for the class.
        **parameters
            ``per_class``, ``random_state``, ``n_jobs`` and ``verbose``.

        Returns
        -------
        SparseImageGenerator
            Not fitted. The coefficients have the default prior, without which EM diverges.
        """
        supports, coefficients = MarkovSupports(smoothing=0.0), GaussianCoefficients()
        fixed: dict[str, Any] = {"sketches": "none", "mean": "none", "tone": "clip", "n_groups": 1}
        return cls(dictionary, supports, coefficients, **fixed, **parameters)

    def fit(
        self,
        X: ArrayLike | ImageStore,
        y: ArrayLike | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> SparseImageGenerator:
        """Learn dictionary and probability of the codes.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_features), or ImageStore
            Training images, finite; [0, 1] is the range they are expected in. Those of a store or a memory
            map stay where they are, and are read block by block.
        y : array-like of shape (n,), default=None
            Labels, needed for ``per_class=True``.
        checkpoint : path, default=None
            Folder that keeps what is done, new, empty or of the same fit. Interrupted at any moment, even
            killed, the same call goes on from there, and the model is the same to the last bit. A call is the
            same if it does the same: what is left to a default counts as what it becomes.

        Returns
        -------
        self : SparseImageGenerator

        Raises
        ------
        ValueError
            If there are too few images for the dictionary, all images are equal, labels are missing, or a
            parameter is out of range.
        CheckpointError
            If the checkpoint is of other data, parameters or versions, or in use.

        Notes
        -----
        Under ``joblib.parallel_config`` with processes or a cluster, workers look at the images and code
        them, and models of several classes are fitted side by side. They read the images themselves: store,
        map and checkpoint must lie where they see them. The model does not depend on where it was fitted.
        """
        check_choice("mean", self.mean, ("pixel", "none"))
        check_choice("tone", self.tone, ("auto", "match", "clip"))
        if isinstance(self.sketches, str):
            check_choice("sketches", self.sketches, ("none",))
        source = check_images(self, X)
        self.classes_, members = split_classes(self.per_class, y, len(source))
        self.class_prior_ = np.array([len(member) for member in members]) / len(source)
        with (
            open_stages(self, source, y, members, checkpoint) as (readable, stages),
            self._progress(len(members), "fit", "model") as bar,
        ):
            models = fit_models(self, readable, members, stages, bar.update)
        parts = [list(part) for part in zip(*(model.parts for model in models), strict=True)]
        self.dictionaries_, self.supports_, self.coefficients_ = parts[:3]
        self.sketches_ = parts[3] if len(parts) > 3 else None
        self.means_ = np.stack([model.mean for model in models])
        tones = [model.tones for model in models]
        self.tone_curves_ = _stacked([tone.curve for tone in tones])
        self.draw_curves_ = _stacked([tone.draw_curve for tone in tones])
        self.draw_contrasts_ = _stacked([tone.draw_contrast for tone in tones])
        lowest, highest = np.min([m.lowest for m in models]), np.max([m.highest for m in models])
        inside = lowest >= 0 and highest <= 1
        self.pixel_range_ = np.array([0.0, 1.0] if inside else [lowest, highest])
        return self

    def sample(
        self, n_samples: int = 1, random_state: Any = None, *, class_: Any = None, clip: bool = True
    ) -> NDArray[np.float32]:
        """Draw new images.

        Parameters
        ----------
        n_samples : int, default=1
            Number of images; the first m are those of a call with m.
        random_state : int, RandomState, Generator, SeedSequence or None, default=None
            Seed of the draw.
        class_ : label or array-like of n_samples labels, default=None
            Class of all images, or of each. None draws the classes as often as in the training images.
        clip : bool, default=True
            Bring to ``pixel_range_``, by the tone curve if there is one. False gives the bare sums of atoms.

        Returns
        -------
        images : ndarray of shape (n_samples, h, w[, c]), float32
            In the shape of the training images.
        """
        return self.draw(n_samples, random_state, class_=class_, clip=clip).images

    def draw(
        self, n_samples: int = 1, random_state: Any = None, *, class_: Any = None, clip: bool = True
    ) -> Draws:
        """Draw new images and return them with labels, codes and whether the support was seen in training.

        Parameters as in :meth:`sample`, which returns the images alone. Under ``joblib.parallel_config`` with
        processes or a cluster, their workers draw; the images are the same.
        """
        check_is_fitted(self)
        generators = spawn_generators(random_state, check_integer("n_samples", n_samples, 1))
        if class_ is not None:
            class_ = self.classes_[wanted_models(self.classes_, class_, n_samples)]  # type: ignore[index]
        draw = draw_remotely if workers_are_remote() else draw_here
        return draw(self, generators, class_, clip)

    def vary(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        random_state: Any = None,
        *,
        n_variations: int = 1,
        clip: bool = True,
    ) -> NDArray[np.float32]:
        """Draw variations of each image: other codes that explain a sketch of it.

        Parameters
        ----------
        X, y
            As in :meth:`encode`.
        random_state : int, RandomState, Generator, SeedSequence or None, default=None
            Seed; each variation has its own stream of random numbers.
        n_variations : int, default=1
            Of each image.
        clip : bool, default=True
            As in :meth:`sample`.

        Returns
        -------
        images : ndarray of shape (n_samples * n_variations, h, w[, c]), float32
            Image after image.

        Raises
        ------
        ValueError
            If the model has no sketches, or images, labels or ``n_variations`` do not fit it.

        Examples
        --------
        >>> import numpy as np
        >>> from sparsegen_classic import SparseImageGenerator, open_images
        >>> digits = open_images("digits").images
        >>> generator = SparseImageGenerator(random_state=0).fit(digits[:500])
        >>> near, far = generator.vary(digits[500:600], random_state=1), generator.sample(100, 1)
        >>> bool(np.square(near - digits[500:600]).sum() < np.square(far - digits[500:600]).sum())
        True
        """
        check_is_fitted(self)
        if self.sketches_ is None:
            raise ValueError("vary needs sketches, and this model has none; fit with sketches=None")
        check_integer("n_variations", n_variations, 1)
        codes, sketches = self.encode(X, y), self.sketches_
        model_of = models_of(self.classes_, codes.shape[0], y).repeat(n_variations)
        codes = codes[np.arange(codes.shape[0]).repeat(n_variations)]
        generators = spawn_generators(random_state, codes.shape[0])

        def draw(model: int, rows: NDArray[np.intp]) -> sparse.csr_array:
            own = [generators[i] for i in rows]
            return self._with_own_jobs(sketches[model]).sample_like(self.supports_[model], codes[rows], own)

        return self._synthesize(self._per_model(model_of, draw, "variations"), model_of, clip, drawn=True)

    def random_combinations(
        self, n_samples: int = 1, random_state: Any = None, *, class_: Any = None, clip: bool = True
    ) -> NDArray[np.float32]:
        """Combine atoms at random: the negative control of the paper's Fig. 1.

        Each image takes the coefficients of a random training image, shuffled, on as many distinct states
        of the doubled dictionary drawn uniformly. Parameters and result as in :meth:`sample`.
        """
        check_is_fitted(self)
        generators = spawn_generators(random_state, check_integer("n_samples", n_samples, 1))
        model_of = choose_models(self.classes_, self.class_prior_, class_, generators)

        def combine(model: int, rows: NDArray[np.intp]) -> sparse.csr_array:
            states, magnitudes = self.supports_[model].states_, self.coefficients_[model].magnitudes_
            return combine_at_random(states, magnitudes, [generators[i] for i in rows])

        codes = self._per_model(model_of, combine, "combinations")
        return self._synthesize(codes, model_of, clip)

    def summary(self) -> dict[str, Any]:
        """Return the facts of a fitted model as plain Python values."""
        check_is_fitted(self)
        uses = [np.diff(coefficients.magnitudes_.tocsr().indptr) for coefficients in self.coefficients_]
        return {
            "image_shape": self.image_shape_.tolist(),
            "pixel_range": self.pixel_range_.tolist(),
            "classes": None if self.classes_ is None else self.classes_.tolist(),
            "n_images": [len(use) for use in uses],
            "n_components": [len(dictionary.components_) for dictionary in self.dictionaries_],
            "atoms_per_image": [round(float(use.mean()), 3) for use in uses],
            "n_states": [len(supports.states_) for supports in self.supports_],
            "n_groups": [n_groups_of(supports) for supports in self.supports_],
        }

    def _parts(self) -> tuple[Any, Any, Any, Any]:
        return self.dictionary, self.supports, self.coefficients, self.sketches


def _stacked(tones: list[Any]) -> NDArray[np.float64] | None:
    known = [tone for tone in tones if tone is not None]
    return np.stack(known) if known else None
