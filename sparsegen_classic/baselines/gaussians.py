"""Normals of low rank: one (probabilistic PCA), or one in each group of k-means."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.baselines.base import ImageBaseline
from sparsegen_classic.baselines.factors import FactorMixture, ppca


class PPCA(ImageBaseline):
    """Probabilistic PCA: one normal with a covariance of low rank plus isotropic noise, in closed form.

    Parameters
    ----------
    n_factors : int, default=50
        Rank; less where the data have fewer.
    sample_noise : bool, default=False
        Add the noise to samples. It is what the factors leave of the images, spread evenly over all pixels.
    per_class : bool, default=False
        Fit one model for each label in ``y``.
    random_state : int, RandomState, Generator or None, default=None
        Ignored: the fit is deterministic.

    Attributes
    ----------
    models_ : list of FactorMixture
        The model of each class (or the one of all), with ``means``, ``factors`` and ``noise``.
    classes_ : ndarray or None
        The labels, for a model per class.
    class_prior_ : ndarray of shape (n_models,)
        Share of each class.
    image_shape_, pixel_range_ : ndarray
        Shape of one image; what samples are clipped to.
    n_features_in_ : int
        Number of values of an image.

    References
    ----------
    M. Tipping and C. Bishop, "Probabilistic principal component analysis", 1999.

    Examples
    --------
    >>> from sparsegen_classic import open_images
    >>> from sparsegen_classic.baselines import PPCA
    >>> digits = open_images("digits")
    >>> model = PPCA(n_factors=10, per_class=True).fit(digits.images, digits.labels)
    >>> model.sample(3, random_state=0).shape
    (3, 8, 8)
    """

    has_density = True

    def __init__(
        self,
        n_factors: int = 50,
        *,
        sample_noise: bool = False,
        per_class: bool = False,
        random_state: Any = None,
    ):
        self.n_factors = n_factors
        self.sample_noise = sample_noise
        self.per_class = per_class
        self.random_state = random_state

    def _fit_rows(self, rows: NDArray[np.floating], seed: int) -> FactorMixture:
        n_factors = check_integer("n_factors", self.n_factors, 0)
        noisy = check_choice("sample_noise", self.sample_noise, (True, False))
        return fit_groups(rows, np.zeros(len(rows), int), n_factors, noisy)


class GroupedGaussians(ImageBaseline):
    """A normal of low rank in each group of k-means: the strong baseline.

    A group of similar images varies in few ways, so that a few factors each give sharp and varied samples.
    They are averages of a few neighbours and lie closer to the training images than new images do: look at
    the copy test beside other figures.

    Parameters
    ----------
    n_groups : int, default=None
        Groups (of each class). None = one for every 30 images, 200 for a class of MNIST.
    n_factors : int, default=8
        Rank; less in groups of fewer images.
    sample_noise : bool, default=False
        Add the noise of the group to samples.
    per_class : bool, default=False
        Fit one model for each label in ``y``.
    random_state : int, RandomState, Generator or None, default=None
        Seed of k-means.

    Attributes
    ----------
    models_ : list of FactorMixture
        The model of each class (or the one of all), with ``weights``, ``means``, ``factors`` and ``noise``.
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
    >>> from sparsegen_classic.baselines import GroupedGaussians
    >>> digits = open_images("digits")
    >>> model = GroupedGaussians(per_class=True, random_state=0).fit(digits.images, digits.labels)
    >>> images, labels = model.draw(3, random_state=0)
    >>> images.shape, labels.shape
    ((3, 8, 8), (3,))
    """

    has_density = True

    def __init__(
        self,
        n_groups: int | None = None,
        n_factors: int = 8,
        *,
        sample_noise: bool = False,
        per_class: bool = False,
        random_state: Any = None,
    ):
        self.n_groups = n_groups
        self.n_factors = n_factors
        self.sample_noise = sample_noise
        self.per_class = per_class
        self.random_state = random_state

    def _fit_rows(self, rows: NDArray[np.floating], seed: int) -> FactorMixture:
        n_factors = check_integer("n_factors", self.n_factors, 0)
        noisy = check_choice("sample_noise", self.sample_noise, (True, False))
        n_groups = max(1, len(rows) // 30) if self.n_groups is None else self.n_groups
        return fit_groups(rows, kmeans_groups(rows, n_groups, seed), n_factors, noisy)


def kmeans_groups(rows: NDArray[np.floating], n_groups: int, seed: int) -> NDArray[np.intp]:
    """Return the k-means group of each row."""
    n_groups = check_integer(
        "n_groups", n_groups, 1, len(rows), "a group needs an image; lower n_groups or leave it None"
    )
    n_groups = min(n_groups, len(np.unique(rows, axis=0))) if n_groups > 1 else 1
    if n_groups == 1:
        return np.zeros(len(rows), int)
    return KMeans(n_groups, random_state=seed).fit_predict(rows)


def fit_groups(
    rows: NDArray[np.floating], group_of: NDArray[np.integer], n_factors: int, noisy: bool
) -> FactorMixture:
    """Return the mixture of the closed-form normals of given groups."""
    groups, sizes = np.unique(group_of, return_counts=True)
    parts = [ppca(rows[group_of == group], n_factors) for group in groups]
    means, factors, noise = (np.array(part) for part in zip(*parts, strict=True))
    return FactorMixture(
        sizes / len(rows), means, factors, np.repeat(noise[:, None], rows.shape[1], axis=1), noisy
    )
