"""What the baselines share: images in and out, one model for each class, clipping, densities."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsegen_classic._classes import split_classes, wanted_models
from sparsegen_classic._random import RandomState, seed_sequence, spawn_generators
from sparsegen_classic._validation import check_choice, check_integer


class LabelledImages(NamedTuple):
    """Images drawn from a baseline, with their classes.

    Attributes
    ----------
    images : ndarray of shape (n, h, w[, c]), float32
        The images.
    labels : ndarray of shape (n,) or None
        Their classes, for a model per class.
    """

    images: NDArray[np.float32]
    labels: NDArray[Any] | None


class RowModel(Protocol):
    """What is fitted to the flattened images of one class."""

    def sample(self, n_samples: int, rng: np.random.Generator) -> NDArray[np.floating]:
        """Draw rows."""


class ImageBaseline(BaseEstimator):
    """A simple generator of images, to hold others against.

    A baseline defines ``_fit_rows(rows, seed)``, which returns the model of one class, and sets
    ``has_density`` if that model has ``log_density(rows)``.
    """

    has_density = False
    per_class: bool
    random_state: Any

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Fit the model, or one for each class.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_features)
            Training images, finite; [0, 1] is the range they are expected in.
        y : array-like of shape (n,), default=None
            Integer or string labels, needed for ``per_class=True``, else ignored.

        Returns
        -------
        self
            The fitted baseline.

        Raises
        ------
        ValueError
            If labels are missing or a parameter is out of range.
        """
        check_choice("per_class", self.per_class, (True, False))
        shape, rows = self._rows(X, ensure_min_samples=2)
        self.image_shape_ = np.array(shape)
        inside = rows.min() >= 0 and rows.max() <= 1
        self.pixel_range_ = np.array([0.0, 1.0] if inside else [rows.min(), rows.max()])
        members = self._members(y, len(rows))
        self.class_prior_ = np.array([len(member) for member in members]) / len(rows)
        seeds = seed_sequence(self.random_state).generate_state(len(members))
        self.models_: list[Any] = [
            self._fit_rows(rows if len(member) == len(rows) else rows[member], int(seed))
            for member, seed in zip(members, seeds, strict=True)
        ]
        return self

    def sample(
        self, n_samples: int = 1, random_state: RandomState = None, *, class_: Any = None, clip: bool = True
    ) -> NDArray[np.float32]:
        """Draw new images.

        Parameters
        ----------
        n_samples : int, default=1
            Number of images.
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
        self, n_samples: int = 1, random_state: RandomState = None, *, class_: Any = None, clip: bool = True
    ) -> LabelledImages:
        """Draw new images and return them with their labels; parameters as in :meth:`sample`."""
        check_is_fitted(self)
        n_samples = check_integer("n_samples", n_samples, 1)
        choice, *generators = spawn_generators(random_state, 1 + len(self.models_))
        model_of = self._choose_models(class_, n_samples, choice)
        images = np.empty((n_samples, self.n_features_in_), np.float32)
        for model, (row_model, rng) in enumerate(zip(self.models_, generators, strict=True)):
            here = np.flatnonzero(model_of == model)
            if len(here):
                images[here] = row_model.sample(len(here), rng)
        if clip:
            np.clip(images, *self.pixel_range_, out=images)
        labels = None if self.classes_ is None else self.classes_[model_of]
        return LabelledImages(images.reshape(n_samples, *self.image_shape_), labels)

    @available_if(lambda self: self.has_density)
    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the log-density of images, over all classes in their training proportions.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_features)
            Images like those in training.

        Returns
        -------
        ndarray of shape (n,), float64
            Log-densities in nats.
        """
        check_is_fitted(self)
        _, rows = self._rows(X, reset=False)
        of_class = np.array([model.log_density(rows) for model in self.models_])
        return logsumexp(of_class + np.log(self.class_prior_)[:, None], axis=0)

    @available_if(lambda self: self.has_density)
    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Return the mean of ``score_samples(X)``; ``y`` is ignored."""
        return float(self.score_samples(X).mean())

    def _fit_rows(self, rows: NDArray[np.floating], seed: int) -> RowModel:
        raise NotImplementedError

    def _rows(self, X: Any, **options: Any) -> tuple[tuple[int, ...], NDArray[np.floating]]:
        """Return the shape of an image and the images as rows."""
        shape = np.shape(X)[1:]
        if len(shape) > 1:
            X = np.asarray(X).reshape(-1, np.prod(shape))
        return shape, validate_data(self, X, dtype=(np.float32, np.float64), **options)

    def _members(self, y: ArrayLike | None, n_samples: int) -> list[NDArray[np.intp]]:
        """Return the rows of each class, and set ``classes_``."""
        self.classes_, members = split_classes(self.per_class, y, n_samples)
        if self.classes_ is not None:
            counts = [len(member) for member in members]
            if min(counts) < 2:
                alone = self.classes_[np.argmin(counts)]
                raise ValueError(
                    f"each class must have at least 2 images, class {alone!r} has 1; leave it out, or set "
                    "per_class=False"
                )
        return members

    def _choose_models(self, class_: Any, n_samples: int, rng: np.random.Generator) -> NDArray[np.intp]:
        if class_ is None:
            return rng.choice(len(self.models_), n_samples, p=self.class_prior_)
        return wanted_models(self.classes_, class_, n_samples)
