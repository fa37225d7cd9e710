"""What sets of samples are held against, and what all metrics say of a set."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA

from sparsegen_classic._parallel import single_threaded_blas
from sparsegen_classic._random import seed_sequence
from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.metrics._rows import for_distances
from sparsegen_classic.metrics.bins import TrainingBins
from sparsegen_classic.metrics.classes import class_statistics
from sparsegen_classic.metrics.copies import CopyTest, compare_distances
from sparsegen_classic.metrics.coverage import precision_recall
from sparsegen_classic.metrics.digit_network import DigitNetwork
from sparsegen_classic.metrics.evaluation import CONTROL, REAL, SAMPLES, SetFigures
from sparsegen_classic.metrics.frechet import frechet_distance
from sparsegen_classic.metrics.mmd import mmd
from sparsegen_classic.metrics.neighbours import nearest_images
from sparsegen_classic.metrics.sliced import sliced_wasserstein
from sparsegen_classic.metrics.training import Images, check_images, parts_of, some_of, training_images

_PER_BIN, _BINS = 500, (10, 100)  # training images a bin, and how many bins at least and at most
NO_LABELS = "labels need the digit network; leave them out or use features='digits'"


class Judge:
    """Measures sets of samples, one after the other; what all are held against is computed once.

    That is: features and distances of the held-out images, components and bins of the training images.
    :func:`evaluate` puts what a judge says of several sets into a table.

    Parameters
    ----------
    training, held_out, features, n_neighbors, n_bins, n_components, random_state, n_jobs
        As for :func:`evaluate`.

    Attributes
    ----------
    settings : dict
        Where and how things are measured, as in ``Evaluation.settings``.
    training_sample : ndarray of shape (n, h, w[, c]), float32
        The training images that bins and components are made from: all, or some of very many.

    Raises
    ------
    ValueError
        If images differ in size, lie outside [0, 1], are not finite or too few; in ``measure``, too, and if
        there are labels without the digit network.

    Warns
    -----
    UserWarning
        If held-out images are among the training images: the copy test is then blind.

    Examples
    --------
    >>> from sparsegen_classic import open_images
    >>> from sparsegen_classic.metrics import Judge
    >>> digits = open_images("digits").images
    >>> judge = Judge(digits[:1200], digits[1200:1500])
    >>> new, blurred = digits[1500:], (digits[1500:] + digits[:297]) / 2
    >>> judge.measure(new).figures["frechet"] < judge.measure(blurred).figures["frechet"]
    True
    """

    def __init__(
        self,
        training: Any,
        held_out: ArrayLike,
        *,
        features: str | Callable[[NDArray[np.float32]], ArrayLike] = "auto",
        n_neighbors: int = 5,
        n_bins: int | None = None,
        n_components: int = 50,
        random_state: Any = 0,
        n_jobs: int | None = None,
    ):
        self._n_neighbors, self._n_jobs = check_integer("n_neighbors", n_neighbors, 1), n_jobs
        self._training, self._held_out = training_images(training), check_images("held_out", held_out)
        check_alike("held_out", self._held_out, self._training)
        state = int(seed_sequence(random_state).generate_state(1)[0])
        self.training_sample = some_of(self._training, state)
        rows = self.training_sample.reshape(len(self.training_sample), -1)
        most = min(check_integer("n_components", n_components, 1), *rows.shape)
        with single_threaded_blas():
            self._components = PCA(most, random_state=state).fit(rows)
        self._network = choose_network(features, self._training, n_jobs)
        self._features = features
        self._seed = state
        parts = [self._project(self._training[part]) for part in parts_of(self._training)]
        self._projected = np.concatenate(parts)
        # equal images may be projected to rows that differ in the last digits
        self._nothing = 1e-6 * float(np.sqrt(np.einsum("ij,ij->i", self._projected, self._projected).mean()))
        self._held_out_distances = self._nearest(self._project(self._held_out))[1]
        if (known := _share_among(self._held_out, self._training)) > 0.01:
            warnings.warn(
                f"{known:.1%} of the held-out images equal a training image; the copy test needs images that "
                "the model has not seen",
                stacklevel=3,
            )
        few, many = _BINS
        n_training = len(self._training)
        n_bins = min(max(n_training // _PER_BIN, few), many, len(rows)) if n_bins is None else n_bins
        self._bins = TrainingBins(rows, n_bins, random_state=state, n_jobs=n_jobs)
        self._reference = self._features_of(self._held_out)
        named = getattr(features, "__name__", type(features).__name__)
        about = self._network.name if self._network else f"{most} principal components of the training images"
        self.settings: dict[str, Any] = {
            "features": f"the function {named}" if callable(features) else about,
            "copy_test": f"in {most} principal components of the training images",
            "n_neighbors": n_neighbors,
            "n_bins": n_bins,
        }
        if len(rows) < n_training:
            self.settings["training_sample"] = f"{len(rows)} images, for components, bins and pixels"

    def measure(
        self, images: ArrayLike, labels: ArrayLike | None = None, *, kind: str = SAMPLES
    ) -> SetFigures:
        """Return the figures of a set.

        Parameters
        ----------
        images : array-like of shape (n, h, w) or (n, h, w, c)
            Of the size of the training images, in [0, 1].
        labels : array-like of shape (n,), default=None
            The digits that the images were drawn for; needs the digit network.
        kind : {"samples", "control"}, default="samples"
            What the figures are said to be of.

        Returns
        -------
        SetFigures
        """
        check_choice("kind", kind, (SAMPLES, CONTROL))
        checked = check_images("images", images, self._n_neighbors + 1)
        check_alike("images", checked, self._training)
        if labels is not None and self._network is None:
            raise ValueError(NO_LABELS)
        return self._measure(kind, checked, labels, None)

    def measure_training(self, which: Any) -> SetFigures:
        """Return the figures of some training images, by their indices, each held against all the others."""
        which = np.arange(len(self._training))[which]
        return self._measure(REAL, self._training[which], None, which)

    def measure_held_out(self) -> SetFigures:
        """Return the figures of the held-out images that are no comparison with themselves."""
        return self._complete(REAL, self._held_out, self._reference, {}, None, None)

    def _project(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        with single_threaded_blas():
            return self._components.transform(images.reshape(len(images), -1))

    def _nearest(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        indices, distances = nearest_images(rows, self._projected, n_jobs=self._n_jobs)
        distances[distances < self._nothing] = 0
        return indices, distances

    def _features_of(self, images: NDArray[np.float32]) -> NDArray[np.floating]:
        if callable(self._features):
            return np.asarray(self._features(images))
        return self._network.features(images) if self._network else self._project(images)

    def _measure(
        self, kind: str, images: NDArray[np.float32], labels: Any, left_out: NDArray[np.intp] | None
    ) -> SetFigures:
        rows, reference = self._features_of(images), self._reference
        kernel = mmd(rows, reference, n_jobs=self._n_jobs)
        near = precision_recall(rows, reference, n_neighbors=self._n_neighbors, n_jobs=self._n_jobs)
        distances = {
            "frechet": frechet_distance(rows, reference),
            "kid": kernel.value,
            "kid_error": kernel.standard_error,
            "sliced": sliced_wasserstein(rows, reference, random_state=self._seed, n_jobs=self._n_jobs),
        }
        return self._complete(kind, images, rows, distances | near._asdict(), labels, left_out)

    def _complete(
        self, kind: str, images: Any, rows: Any, measured: dict[str, float], labels: Any, left_out: Any
    ) -> SetFigures:
        bins, copies = self._bins.compare(images), self._copy_test(images, left_out)
        figures = {"n": len(images)} | measured
        figures |= {"ndb": bins.different, "ndb_far": bins.far, "js": bins.js}
        classes = None
        if self._network is not None:
            classes = class_statistics(self._network.classify(rows), labels)
            names = ("confidence", "confident_share", "entropy", "score", "accuracy")
            figures |= {name: getattr(classes, name) for name in names}
        figures |= {
            "copy": copies.probability,
            "copy_error": copies.standard_error,
            "copy_p": copies.p_value,
            "near_copies": copies.near_copies,
            "near_copies_p": copies.near_copies_p,
            "distance": float(np.median(copies.distances)),
        }
        return SetFigures(kind, figures, classes, copies)

    def _copy_test(self, images: NDArray[np.float32], left_out: NDArray[np.intp] | None) -> CopyTest:
        if left_out is None:
            nearest, distances = self._nearest(self._project(images))
        else:
            nearest, distances = _nearest_others(self._projected, left_out, self._n_jobs)
        return compare_distances(distances, self._held_out_distances, nearest)


def check_alike(name: str, images: NDArray[np.float32], training: Images) -> None:
    """Raise if images are not of the size of the training images."""
    if images.shape[1:] != training.shape[1:]:
        raise ValueError(
            f"{name} are {'x'.join(map(str, images.shape[1:]))} but training images are "
            f"{'x'.join(map(str, training.shape[1:]))}; bring all to one size and mode"
        )


def _share_among(images: NDArray[np.float32], others: Images) -> float:
    """Return the share of images that equal one of the others, pixel by pixel."""
    known = {hash(other.tobytes()) for part in parts_of(others) for other in others[part]}
    return sum(hash(image.tobytes()) in known for image in images) / len(images)


def choose_network(features: Any, images: Images, n_jobs: int | None) -> DigitNetwork | None:
    """Return the digit network if ``features`` means it for such images."""
    if callable(features):
        return None
    check_choice("features", features, ("auto", "digits", "pca"))
    wanted = features == "digits" or (features == "auto" and images.shape[1:] == (28, 28))
    return DigitNetwork(n_jobs) if wanted else None


def _nearest_others(
    rows: NDArray[np.floating], own: NDArray[np.intp], n_jobs: int | None
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the nearest other row of each of the rows ``own``, and its distance."""
    exact = rows.astype(np.float64)
    nearest, least = np.zeros(len(own), np.intp), np.full(len(own), np.inf)

    def visit(block: slice, part: slice, squared: NDArray[np.float64]) -> None:
        here = own[block]
        inside = np.flatnonzero((here >= part.start) & (here < part.stop))
        squared[inside, here[inside] - part.start] = np.inf
        best = squared.argmin(axis=1)
        found = squared[np.arange(len(best)), best]
        closer = found < least[block]
        nearest[block][closer], least[block][closer] = part.start + best[closer], found[closer]

    for_distances(exact[own], exact, visit, n_jobs)
    return nearest, np.sqrt(least)
