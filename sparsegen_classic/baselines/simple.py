"""Any density of scikit-learn on principal components, and the two ends of the scale: copies and noise."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.baselines.base import ImageBaseline


class ProjectedDensity(ImageBaseline):
    """A density of scikit-learn on the principal components of the images.

    ``ProjectedDensity(GaussianMixture(10))`` is the mixture of normals with full covariances,
    ``ProjectedDensity(KernelDensity(bandwidth=0.5))`` the kernel density estimate. ``score_samples`` is the
    density of the projected images, to be compared among densities on the same projection only.

    Parameters
    ----------
    density : estimator, default=None
        Has ``fit``, ``sample`` and ``score_samples``. None = ``GaussianMixture(10, reg_covar=1e-4)``.
        A ``random_state`` of None there is set from the one here.
    n_components : int or float, default=50
        Principal components, or the share of the variance they keep; less where the data have fewer.
    whiten : bool, default=False
        Give the components unit variance.
    per_class : bool, default=False
        Fit one projection and density for each label in ``y``.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the density.

    Attributes
    ----------
    models_ : list
        The ``projection`` (PCA) and ``density`` of each class (or those of all).
    classes_ : ndarray or None
        The labels, for a model per class.
    class_prior_ : ndarray of shape (n_models,)
        Share of each class.
    image_shape_, pixel_range_ : ndarray
        Shape of one image; what samples are clipped to.
    n_features_in_ : int
        Number of values of an image.

    Examples
    --------
    >>> from sklearn.neighbors import KernelDensity
    >>> from sparsegen_classic import open_images
    >>> from sparsegen_classic.baselines import ProjectedDensity
    >>> digits = open_images("digits")
    >>> model = ProjectedDensity(KernelDensity(bandwidth=0.2), 15).fit(digits.images)
    >>> model.sample(3, random_state=0).shape
    (3, 8, 8)
    """

    has_density = True

    def __init__(
        self,
        density: Any = None,
        n_components: float = 50,
        *,
        whiten: bool = False,
        per_class: bool = False,
        random_state: Any = None,
    ):
        self.density = density
        self.n_components = n_components
        self.whiten = whiten
        self.per_class = per_class
        self.random_state = random_state

    def _fit_rows(self, rows: NDArray[np.floating], seed: int) -> _Projected:
        check_choice("whiten", self.whiten, (True, False))
        size = self.n_components
        if isinstance(size, float):
            check_real("n_components", size, 0, 1, "()")
        else:
            size = min(check_integer("n_components", size, 1), len(rows), rows.shape[1])
        projection = PCA(size, whiten=self.whiten, svd_solver="auto", random_state=seed)
        if self.density is None:
            density = GaussianMixture(min(10, len(rows)), reg_covar=1e-4)
        else:
            density = clone(self.density)
        if density.get_params().get("random_state", seed) is None:
            density.set_params(random_state=seed)
        density.fit(projection.fit_transform(rows).astype(np.float64))
        return _Projected(projection, density)


@dataclass(frozen=True)
class _Projected:
    projection: PCA
    density: Any

    def sample(self, n_samples: int, rng: np.random.Generator) -> NDArray[np.floating]:
        seed = int(rng.integers(2**31))
        if "random_state" in signature(self.density.sample).parameters:
            rows = self.density.sample(n_samples, random_state=seed)
        else:  # scikit-learn's mixtures draw from their own random_state, and group by group
            state, self.density.random_state = self.density.random_state, seed
            try:
                rows = self.density.sample(n_samples)
            finally:
                self.density.random_state = state
        rows = rows[0] if isinstance(rows, tuple) else rows
        return self.projection.inverse_transform(rng.permutation(rows))

    def log_density(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        return self.density.score_samples(self.projection.transform(rows).astype(np.float64))


class TrainingCopies(ImageBaseline):
    """Random training images plus white noise: what any measure of novelty must find out.

    Parameters
    ----------
    noise : float, default=0.05
        Standard deviation of the noise; 0 copies exactly.
    per_class : bool, default=False
        Keep the images by the labels in ``y``, so that classes can be asked for.
    random_state : int, RandomState, Generator or None, default=None
        Ignored: nothing is random in the fit.

    Attributes
    ----------
    models_ : list
        The training ``rows`` of each class (or all).
    classes_ : ndarray or None
        The labels, for a model per class.
    class_prior_ : ndarray of shape (n_models,)
        Share of each class.
    image_shape_, pixel_range_ : ndarray
        Shape of one image; what samples are clipped to.
    n_features_in_ : int
        Number of values of an image.

    Examples
    --------
    >>> from sparsegen_classic import open_images
    >>> from sparsegen_classic.baselines import TrainingCopies
    >>> images = open_images("digits").images
    >>> copies = TrainingCopies(noise=0).fit(images).sample(5, random_state=0)
    >>> all((images == copy).all(axis=(1, 2)).any() for copy in copies)
    True
    """

    def __init__(self, noise: float = 0.05, *, per_class: bool = False, random_state: Any = None):
        self.noise = noise
        self.per_class = per_class
        self.random_state = random_state

    def _fit_rows(self, rows: NDArray[np.floating], seed: int) -> _Copies:
        return _Copies(rows, check_real("noise", self.noise, 0))


@dataclass(frozen=True)
class _Copies:
    rows: NDArray[np.floating]
    noise: float

    def sample(self, n_samples: int, rng: np.random.Generator) -> NDArray[np.floating]:
        rows = self.rows[rng.integers(len(self.rows), size=n_samples)]
        return rows + self.noise * rng.standard_normal(rows.shape) if self.noise else rows


class IndependentPixels(ImageBaseline):
    """Every pixel drawn from its own training values, independently: what no measure may call good.

    Parameters
    ----------
    per_class : bool, default=False
        Take the values of one class at a time, by the labels in ``y``.
    random_state : int, RandomState, Generator or None, default=None
        Ignored: nothing is random in the fit.

    Attributes
    ----------
    models_ : list
        The training ``rows`` of each class (or all).
    classes_ : ndarray or None
        The labels, for a model per class.
    class_prior_ : ndarray of shape (n_models,)
        Share of each class.
    image_shape_, pixel_range_ : ndarray
        Shape of one image; what samples are clipped to.
    n_features_in_ : int
        Number of values of an image.

    Examples
    --------
    >>> from sparsegen_classic import open_images
    >>> from sparsegen_classic.baselines import IndependentPixels
    >>> IndependentPixels().fit(open_images("digits").images).sample(3, random_state=0).shape
    (3, 8, 8)
    """

    def __init__(self, *, per_class: bool = False, random_state: Any = None):
        self.per_class = per_class
        self.random_state = random_state

    def _fit_rows(self, rows: NDArray[np.floating], seed: int) -> _Pixels:
        return _Pixels(rows)


@dataclass(frozen=True)
class _Pixels:
    rows: NDArray[np.floating]

    def sample(self, n_samples: int, rng: np.random.Generator) -> NDArray[np.floating]:
        chosen = rng.integers(len(self.rows), size=(n_samples, self.rows.shape[1]))
        return np.take_along_axis(self.rows, chosen, axis=0)
