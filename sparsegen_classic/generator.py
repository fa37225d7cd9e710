"""The generator of Vaksman and Elad: images become codes, codes get a probability, draws give images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from sparsegen_classic._codes import codes_from_states
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._random import seed_sequence, spawn_generators
from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.coefficients import GaussianCoefficients
from sparsegen_classic.dictionary import KSVD
from sparsegen_classic.support import MarkovSupports

_BLOCK = 256  # images drawn between two steps of the progress bar


@dataclass(frozen=True)
class Draws:
    """Images drawn from a generator, with what they were made of.

    Attributes
    ----------
    images : ndarray of shape (n, h, w[, c]), float32
        The images, clipped unless that was declined.
    labels : ndarray of shape (n,) or None
        Their classes, for a model per class.
    codes : csr_array of shape (n, n_components)
        Their signed codes; each row refers to the dictionary of its class.
    in_training : ndarray of shape (n,), bool
        Whether the support drawn equals that of a training image.
    """

    images: NDArray[np.float32]
    labels: NDArray[Any] | None
    codes: sparse.csr_array
    in_training: NDArray[np.bool_]


class SparseImageGenerator(BaseEstimator):
    """Generate images by drawing sparse codes over a learned dictionary (Vaksman and Elad).

    ``fit`` learns a dictionary, codes the training images and fits the probability of a code: a Markov
    network for its support and, given the support, a Gaussian for its coefficients. ``sample`` draws a
    support by Gibbs sampling, fits the Gaussian from the training codes that meet it (EM with missing data),
    draws the coefficients, multiplies by the dictionary and clips to the range of the pixels.

    Parameters
    ----------
    dictionary : estimator, default=None
        Learns ``components_`` and codes by ``transform``, e.g. :class:`KSVD` or, for large images,
        :class:`Trainlets`. None means ``KSVD()``. Sizes that are None are chosen here (see Notes).
    supports : estimator, default=None
        Probability of supports. None means ``MarkovSupports()``.
    coefficients : estimator, default=None
        Probability of the coefficients. None means ``GaussianCoefficients()``.
    mean : {"pixel", "none"}, default="pixel"
        "pixel" subtracts the mean image (of the class) before coding and adds it after drawing; it carries
        what all images share, so that a few images suffice. "none" codes the images as they are.
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
    means_ : ndarray of shape (n_models, n_features), float32
        What is subtracted before coding.
    image_shape_ : ndarray
        Shape of one image; (n_features,) if fitted on rows.
    pixel_range_ : ndarray of shape (2,)
        What draws are clipped to: [0, 1] if the training values lie in it, else their extremes.
    n_features_in_ : int
        Number of values of an image.

    Notes
    -----
    With ``n`` images (in the smallest class) of ``n_features`` values, the default dictionary has
    ``2.5 sqrt(n)`` atoms, which keeps the number of images per pair of atoms the same, and
    ``0.3 sqrt(n_features)`` atoms an image, at least 5 (8 for MNIST, 19 for 64x64 faces).

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
        mean: str = "pixel",
        per_class: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.dictionary = dictionary
        self.supports = supports
        self.coefficients = coefficients
        self.mean = mean
        self.per_class = per_class
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> SparseImageGenerator:
        """Learn dictionary and probability of the codes.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_features)
            Training images, finite; [0, 1] is the range they are expected in.
        y : array-like of shape (n,), default=None
            Labels, needed for ``per_class=True``.

        Returns
        -------
        self : SparseImageGenerator

        Raises
        ------
        ValueError
            If there are too few images for the dictionary, all images are equal, labels are missing, or a
            parameter is out of range.
        """
        check_choice("mean", self.mean, ("pixel", "none"))
        rows: Any = X
        if np.ndim(rows) > 2:
            rows = np.asarray(rows)
            rows = rows.reshape(len(rows), -1)
        self.image_shape_ = np.array(np.shape(X)[1:])
        rows = validate_data(self, rows, dtype=(np.float32, np.float64), ensure_min_samples=2)
        inside = rows.min() >= 0 and rows.max() <= 1
        self.pixel_range_ = np.array([0.0, 1.0] if inside else [rows.min(), rows.max()])
        members = self._split_classes(y, len(rows))
        self.class_prior_ = np.array([len(member) for member in members]) / len(rows)
        smallest = min(len(member) for member in members)
        self._fit_models(rows, members, smallest)
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
            Clip to ``pixel_range_``.

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

        Parameters as in :meth:`sample`, which returns the images alone.
        """
        check_is_fitted(self)
        generators = spawn_generators(random_state, check_integer("n_samples", n_samples, 1))
        model_of = self._choose_models(class_, generators)

        def draw_supports(model: int, rows: NDArray[np.intp]) -> sparse.csr_array:
            return self.supports_[model].sample(len(rows), [generators[i] for i in rows])

        def draw_coefficients(model: int, rows: NDArray[np.intp]) -> sparse.csr_array:
            return self.coefficients_[model].sample(supports[rows], [generators[i] for i in rows])

        supports = self._per_model(model_of, draw_supports, "supports")
        codes = self._per_model(model_of, draw_coefficients, "coefficients")
        in_training = np.zeros(n_samples, bool)
        for model in np.unique(model_of):
            here = np.flatnonzero(model_of == model)
            in_training[here] = self.supports_[model].in_training(supports[here])
        labels = None if self.classes_ is None else self.classes_[model_of]
        return Draws(self._synthesize(codes, model_of, clip), labels, codes, in_training)

    def random_combinations(
        self, n_samples: int = 1, random_state: Any = None, *, class_: Any = None, clip: bool = True
    ) -> NDArray[np.float32]:
        """Combine atoms at random: the negative control of the paper's Fig. 1.

        Each image takes the coefficients of a random training image, shuffled, on as many distinct states
        of the doubled dictionary drawn uniformly. Parameters and result as in :meth:`sample`.
        """
        check_is_fitted(self)
        generators = spawn_generators(random_state, check_integer("n_samples", n_samples, 1))
        model_of = self._choose_models(class_, generators)

        def combine(model: int, rows: NDArray[np.intp]) -> sparse.csr_array:
            states, magnitudes = self.supports_[model].states_, self.coefficients_[model].magnitudes_
            return _combine_at_random(states, magnitudes, [generators[i] for i in rows])

        return self._synthesize(self._per_model(model_of, combine, "combinations"), model_of, clip)

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
        }

    def _split_classes(self, y: ArrayLike | None, n_samples: int) -> list[NDArray[np.intp]]:
        if not self.per_class:
            self.classes_ = None
            return [np.arange(n_samples)]
        if y is None:
            raise ValueError("per_class=True needs labels: give y, or set per_class=False")
        labels = np.asarray(y)
        if labels.shape != (n_samples,) or labels.dtype.kind not in "biuU":
            raise ValueError(
                f"y must hold one integer or string label for each of the {n_samples} images, "
                f"got shape {labels.shape} of {labels.dtype}"
            )
        self.classes_, model_of = np.unique(labels, return_inverse=True)
        return [np.flatnonzero(model_of == model) for model in range(len(self.classes_))]

    def _fit_models(self, rows: NDArray[np.floating], members: list[NDArray[np.intp]], smallest: int) -> None:
        """Fit one model for each class, the classes side by side."""
        n_models = len(members)
        seeds = seed_sequence(self.random_state).generate_state(n_models)
        fitted: list[Any] = [None] * n_models
        self.means_ = np.zeros((n_models, rows.shape[1]), np.float32)
        inner_jobs = self.n_jobs if n_models == 1 else 1
        with self._progress(n_models, "fit", "model") as bar:

            def fit_one(block: slice) -> None:
                model = block.start
                images = rows[members[model]]
                if (images == images[0]).all():
                    where = "" if self.classes_ is None else f" of class {self.classes_[model]}"
                    raise ValueError(
                        f"all {len(images)} images{where} are equal; there is nothing to learn, give others"
                    )
                if self.mean == "pixel":
                    self.means_[model] = images.mean(axis=0, dtype=np.float64)
                    images = images - self.means_[model]
                parts = self._parts(smallest, int(seeds[model]), inner_jobs)
                parts[0].fit(images)
                codes = parts[0].transform(images)
                fitted[model] = (parts[0], parts[1].fit(codes), parts[2].fit(codes))
                bar.update()

            for_blocks(fit_one, n_models, 1, self.n_jobs)
        self.dictionaries_, self.supports_, self.coefficients_ = (
            list(part) for part in zip(*fitted, strict=True)
        )

    def _parts(self, n_images: int, seed: int, n_jobs: int | None) -> list[Any]:
        """Return fresh copies of the three parts, set up for one class."""
        given = (self.dictionary, self.supports, self.coefficients)
        defaults = (KSVD, MarkovSupports, GaussianCoefficients)
        parts = [
            clone(part) if part is not None else make() for part, make in zip(given, defaults, strict=True)
        ]
        shared = {
            "random_state": seed,
            "n_jobs": n_jobs,
            "verbose": int(self.verbose and self.classes_ is None),
        }
        for part in parts:
            known = part.get_params(deep=False)
            part.set_params(**{name: value for name, value in shared.items() if name in known})
        self._set_default_sizes(parts[0], n_images)
        return parts

    def _set_default_sizes(self, dictionary: Any, n_images: int) -> None:
        sizes = dictionary.get_params(deep=False)
        if sizes.get("image_shape", 0) is None and len(self.image_shape_) > 1:
            dictionary.set_params(image_shape=tuple(self.image_shape_.tolist()))
        if sizes.get("n_components", 0) is None:
            dictionary.set_params(n_components=min(max(5, round(2.5 * np.sqrt(n_images))), n_images))
        if sizes.get("n_nonzero_coefs", 0) is None:
            k = max(5, round(0.3 * np.sqrt(self.n_features_in_)))
            dictionary.set_params(n_nonzero_coefs=min(k, dictionary.get_params()["n_components"]))

    def _choose_models(self, class_: Any, generators: list[np.random.Generator]) -> NDArray[np.intp]:
        """Return the model of each image; without ``class_`` drawn by each image's own generator."""
        if class_ is None:
            if self.classes_ is None:
                return np.zeros(len(generators), np.intp)
            edges = np.cumsum(self.class_prior_)[:-1]
            return np.array([np.searchsorted(edges, g.random(), side="right") for g in generators])
        if self.classes_ is None:
            raise ValueError(
                f"class_={class_!r} needs a model per class; this one was fitted with per_class=False"
            )
        wanted = np.asarray(class_)
        if wanted.shape not in ((), (len(generators),)):
            raise ValueError(
                f"class_ must be one label or one for each of the {len(generators)} images, "
                f"got shape {wanted.shape}"
            )
        names = {str(label): model for model, label in enumerate(self.classes_)}
        unknown = sorted({str(label) for label in wanted.ravel()} - set(names))
        if unknown:
            raise ValueError(
                f"class_ must be one of the classes {', '.join(names)}, got {', '.join(unknown)}"
            )
        return np.array([names[str(label)] for label in np.broadcast_to(wanted, len(generators))])

    def _per_model(
        self,
        model_of: NDArray[np.intp],
        make: Callable[[int, NDArray[np.intp]], sparse.csr_array],
        what: str,
    ) -> sparse.csr_array:
        """Make the codes of the rows of each model block by block, and put them back in order."""
        rows, made = [], []
        with self._progress(len(model_of), what, "image") as bar:
            for model in np.unique(model_of):
                here = np.flatnonzero(model_of == model)
                for start in range(0, len(here), _BLOCK):
                    block = here[start : start + _BLOCK]
                    rows.append(block)
                    made.append(make(int(model), block))
                    bar.update(len(block))
        return sparse.vstack(made, format="csr")[np.argsort(np.concatenate(rows))]

    def _synthesize(
        self, codes: sparse.csr_array, model_of: NDArray[np.intp], clip: bool
    ) -> NDArray[np.float32]:
        """Multiply the codes by their dictionaries and add the means."""
        images = np.empty((len(model_of), self.n_features_in_), np.float32)
        for model in np.unique(model_of):
            here = np.flatnonzero(model_of == model)
            images[here] = codes[here] @ self.dictionaries_[model].components_ + self.means_[model]
        if clip:
            np.clip(images, *self.pixel_range_, out=images)
        return images.reshape(len(images), *self.image_shape_)

    def _progress(self, total: int, verb: str, unit: str) -> tqdm:
        return tqdm(total=total, desc=verb, unit=unit, disable=None if self.verbose and total > 1 else True)


def _combine_at_random(
    states: NDArray[np.integer], magnitudes: sparse.csc_array, generators: list[np.random.Generator]
) -> sparse.csr_array:
    """Return codes with the shuffled coefficients of a random training code on random distinct atoms."""
    training, n_components = magnitudes.tocsr(), magnitudes.shape[1] // 2
    width = int(np.diff(training.indptr).max())
    chosen = np.full((len(generators), width), -1)
    values = np.zeros(chosen.shape)
    for i, generator in enumerate(generators):
        coefficients = generator.permutation(training[[generator.integers(training.shape[0])]].data)
        shuffled = generator.permutation(states)
        first = np.sort(np.unique(shuffled % n_components, return_index=True)[1])[: len(coefficients)]
        chosen[i, : len(first)] = shuffled[first]
        values[i, : len(first)] = coefficients[: len(first)]
    return codes_from_states(chosen, values, n_components)
