"""All metrics on sets of samples, and on the real images, copies and noise that give them a scale."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from tqdm import tqdm

from sparsegen_classic._parallel import single_threaded_blas
from sparsegen_classic._random import seed_sequence, spawn_generators
from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.metrics._rows import for_distances
from sparsegen_classic.metrics.bins import TrainingBins
from sparsegen_classic.metrics.classes import class_statistics
from sparsegen_classic.metrics.copies import CopyTest, compare_distances
from sparsegen_classic.metrics.coverage import precision_recall
from sparsegen_classic.metrics.digit_network import DigitNetwork
from sparsegen_classic.metrics.evaluation import CONTROL, REAL, SAMPLES, Evaluation, SetFigures
from sparsegen_classic.metrics.frechet import frechet_distance
from sparsegen_classic.metrics.mmd import mmd
from sparsegen_classic.metrics.neighbours import nearest_images
from sparsegen_classic.metrics.sliced import sliced_wasserstein
from sparsegen_classic.metrics.training import Images, check_images, parts_of, some_of, training_images

_BLOCK = 1024  # images whose pixels are drawn at a time
_PER_BIN, _BINS = 500, (10, 100)  # training images a bin, and how many bins at least and at most
_RESERVED = ("real images", "held-out images", "copies", "independent pixels")


def evaluate(
    samples: ArrayLike | Mapping[str, ArrayLike],
    training: Any,
    held_out: ArrayLike,
    *,
    labels: ArrayLike | Mapping[str, ArrayLike] | None = None,
    controls: Mapping[str, ArrayLike] | None = None,
    features: str | Callable[[NDArray[np.float32]], ArrayLike] = "auto",
    n_neighbors: int = 5,
    n_bins: int | None = None,
    n_components: int = 50,
    random_state: Any = 0,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> Evaluation:
    """Measure samples, and beside them what the same figures say of real images, copies and noise.

    Rows that are always there: "real images" (training images, as many as samples; each is taken out of the
    training set when its nearest neighbour is sought), "held-out images" themselves, "copies" (training
    images drawn with replacement) and "independent pixels" (each pixel of a random training image).

    Parameters
    ----------
    samples : array-like of shape (n, h, w) or (n, h, w, c), or mapping of names to such
        One set or several, all of the same number: most figures depend on it. Values in [0, 1].
    training : array-like, memory map or image store of shape (n_training, h, w[, c])
        The images that the samples' model was fitted on; on disk they may be larger than the memory.
    held_out : array-like of shape (n_held_out, h, w[, c])
        Real images that it has not seen; distances are taken to them.
    labels : array-like of shape (n,) or mapping of names to such, optional
        The digits that the samples were drawn for; needs the digit network.
    controls : mapping of names to arrays, optional
        Further rows of the table that are no candidates, e.g. random combinations of atoms.
    features : {"auto", "digits", "pca"} or callable, default="auto"
        Where Frechet, kernel and sliced Wasserstein distance and the neighbourhoods are measured: in
        :class:`DigitNetwork`, in the principal components of the training images, or in the rows that a
        callable makes of images. "auto" is the network for 28x28 grey images and the components otherwise.
    n_neighbors : int, default=5
        For precision, recall, density and coverage.
    n_bins : int, optional
        Bins of NDB; by default one for 500 training images, from 10 to 100.
    n_components : int, default=50
        Principal components of the copy test, onto which all images are projected, and of "pca".
    random_state : int, RandomState, Generator, SeedSequence or None, default=0
        Seed of the controls, bins and directions.
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.
    verbose : int, default=0
        With 1, a progress bar on stderr if that is a terminal.

    Returns
    -------
    Evaluation
        ``print`` shows the table, ``[name]`` gives the figures of a set, ``to_dict()`` everything.

    Raises
    ------
    ValueError
        If sets differ in size of image or number, a set has a name of the rows above, values lie outside
        [0, 1] or are not finite, there are too few images, or labels do not fit.

    Notes
    -----
    Nearest training images are sought among all. Of training images with more than 2**26 values together
    (16,384 of 64x64) so many, at random, make the components, the bins and the independent pixels.

    Warns
    -----
    UserWarning
        If held-out images are among the training images: the copy test is then blind.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic import open_images
    >>> from sparsegen_classic.metrics import evaluate
    >>> digits = open_images("digits").images
    >>> blurred = digits[:300] * 0.5 + digits[300:600] * 0.5
    >>> result = evaluate({"averages": blurred}, digits[:1200], digits[1200:])
    >>> bool(result["averages"]["frechet"] > result["real images"]["frechet"])
    True
    """
    check_integer("n_neighbors", n_neighbors, 1)
    sets = dict(samples) if isinstance(samples, Mapping) else {"samples": samples}
    judged, others = _check_sets(sets, dict(controls or {}), n_neighbors + 1)
    seen, unseen = training_images(training), check_images("held_out", held_out)
    for name, images in {**judged, **others, "held_out": unseen}.items():
        _check_shape(name, images, seen)
    first = next(iter(sets))
    targets: dict[str, Any] = (
        dict(labels) if isinstance(labels, Mapping) else {} if labels is None else {first: labels}
    )
    if set(targets) - set(sets):
        raise ValueError(f"labels must name sets of samples, got {', '.join(set(targets) - set(sets))}")
    if targets and _choose_network(features, seen, n_jobs) is None:
        raise ValueError("labels need the digit network; leave them out or use features='digits'")
    judge = _Judge(seen, unseen, features, n_neighbors, n_bins, n_components, random_state, n_jobs)
    n = len(next(iter(judged.values())))
    (rng,) = spawn_generators(judge.seed, 1)
    own = np.sort(rng.choice(len(seen), min(n, len(seen)), replace=False))
    others |= {
        "copies": seen[rng.integers(len(seen), size=n)],
        "independent pixels": _shuffled(judge.some, n, rng),
    }
    rows: dict[str, SetFigures] = {}
    n_rows = len(judged) + len(others) + 2
    with tqdm(total=n_rows, desc="evaluate", unit="set", disable=None if verbose else True) as bar:
        for name, images in judged.items():
            rows[name] = judge.figures(SAMPLES, images, targets.get(name))
            bar.update()
        rows["real images"] = judge.figures(REAL, seen[own], left_out=own)
        rows["held-out images"] = judge.held_out_figures()
        bar.update(2)
        for name, images in others.items():
            rows[name] = judge.figures(CONTROL, images)
            bar.update()
    settings = {**judge.settings, "n_training": len(seen), "n_held_out": len(unseen)}
    return Evaluation(rows, settings, judged | others, seen, unseen)


class _Judge:
    """What is computed once for all sets: features and distances of the held-out images, bins, components."""

    def __init__(
        self,
        training: Images,
        held_out: NDArray[np.float32],
        features: Any,
        n_neighbors: int,
        n_bins: int | None,
        n_components: int,
        random_state: Any,
        n_jobs: int | None,
    ):
        self.n_neighbors, self.n_jobs, self.held_out = n_neighbors, n_jobs, held_out
        self.seed = seed_sequence(random_state)
        state = int(self.seed.generate_state(1)[0])
        self.some = some_of(training, state)
        rows = self.some.reshape(len(self.some), -1)
        most = min(check_integer("n_components", n_components, 1), *rows.shape)
        with single_threaded_blas():
            self.components = PCA(most, random_state=state).fit(rows)
        self.network = _choose_network(features, training, n_jobs)
        self._features = features
        self.directions = state
        self.training = np.concatenate([self.project(training[part]) for part in parts_of(training)])
        # equal images may be projected to rows that differ in the last digits
        self.nothing = 1e-6 * float(np.sqrt(np.einsum("ij,ij->i", self.training, self.training).mean()))
        self.held_out_distances = self.nearest(self.project(held_out))[1]
        if (known := _share_among(held_out, training)) > 0.01:
            warnings.warn(
                f"{known:.1%} of the held-out images equal a training image; the copy test needs images that "
                "the model has not seen",
                stacklevel=3,
            )
        few, many = _BINS
        n_bins = min(max(len(training) // _PER_BIN, few), many, len(rows)) if n_bins is None else n_bins
        self.bins = TrainingBins(rows, n_bins, random_state=state, n_jobs=n_jobs)
        self.reference = self.features(held_out)
        named = getattr(features, "__name__", type(features).__name__)
        about = self.network.name if self.network else f"{most} principal components of the training images"
        self.settings = {
            "features": f"the function {named}" if callable(features) else about,
            "copy_test": f"in {most} principal components of the training images",
            "n_neighbors": n_neighbors,
            "n_bins": n_bins,
        }
        if len(rows) < len(training):
            self.settings["training_sample"] = f"{len(rows)} images, for components, bins and pixels"

    def project(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        with single_threaded_blas():
            return self.components.transform(images.reshape(len(images), -1))

    def nearest(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        indices, distances = nearest_images(rows, self.training, n_jobs=self.n_jobs)
        distances[distances < self.nothing] = 0
        return indices, distances

    def features(self, images: NDArray[np.float32]) -> NDArray[np.floating]:
        if callable(self._features):
            return np.asarray(self._features(images))
        return self.network.features(images) if self.network else self.project(images)

    def figures(
        self,
        kind: str,
        images: NDArray[np.float32],
        labels: Any = None,
        left_out: NDArray[np.intp] | None = None,
    ) -> SetFigures:
        """Measure a set; of training images give their indices in ``left_out``."""
        rows = self.features(images)
        kernel = mmd(rows, self.reference, n_jobs=self.n_jobs)
        near = precision_recall(rows, self.reference, n_neighbors=self.n_neighbors, n_jobs=self.n_jobs)
        distances = {
            "frechet": frechet_distance(rows, self.reference),
            "kid": kernel.value,
            "kid_error": kernel.standard_error,
            "sliced": sliced_wasserstein(
                rows, self.reference, random_state=self.directions, n_jobs=self.n_jobs
            ),
        }
        return self._complete(kind, images, rows, distances | near._asdict(), labels, left_out)

    def held_out_figures(self) -> SetFigures:
        """Return the figures of the held-out images that are no comparison with themselves."""
        return self._complete(REAL, self.held_out, self.reference, {}, None, None)

    def _complete(
        self, kind: str, images: Any, rows: Any, measured: dict[str, float], labels: Any, left_out: Any
    ) -> SetFigures:
        bins, copies = self.bins.compare(images), self._copy_test(images, left_out)
        figures = {"n": len(images)} | measured
        figures |= {"ndb": bins.different, "ndb_far": bins.far, "js": bins.js}
        classes = None
        if self.network is not None:
            classes = class_statistics(self.network.classify(rows), labels)
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
            nearest, distances = self.nearest(self.project(images))
        else:
            nearest, distances = _nearest_others(self.training, left_out, self.n_jobs)
        return compare_distances(distances, self.held_out_distances, nearest)


def _share_among(images: NDArray[np.float32], others: Images) -> float:
    """Return the share of images that equal one of the others, pixel by pixel."""
    known = {hash(other.tobytes()) for part in parts_of(others) for other in others[part]}
    return sum(hash(image.tobytes()) in known for image in images) / len(images)


def _choose_network(features: Any, images: NDArray[np.float32], n_jobs: int | None) -> DigitNetwork | None:
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


def _shuffled(training: NDArray[np.float32], n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw every pixel from a random training image."""
    height, width = training.shape[1:3]
    pixels = training.reshape(len(training), height * width, -1)
    images = np.empty((n, *pixels.shape[1:]), np.float32)
    for start in range(0, n, _BLOCK):
        part = images[start : start + _BLOCK]
        part[:] = pixels[rng.integers(len(pixels), size=part.shape[:2]), np.arange(height * width)]
    return images.reshape(n, *training.shape[1:])


def _check_sets(
    samples: dict[str, Any], controls: dict[str, Any], least: int
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    if not samples:
        raise ValueError("samples must hold at least one set, got none")
    taken = [name for name in (*samples, *controls) if name in _RESERVED]
    taken += [name for name in controls if name in samples]
    if taken:
        raise ValueError(f"the name {taken[0]!r} is taken by another row of the table; choose another")
    judged, others = (
        {str(name): check_images(name, images, least) for name, images in part.items()}
        for part in (samples, controls)
    )
    counts = {name: len(images) for name, images in {**judged, **others}.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(
            "samples and controls must be equally many, since figures depend on the number, got "
            + ", ".join(f"{count} of {name}" for name, count in counts.items())
        )
    return judged, others


def _check_shape(name: str, images: NDArray[np.float32], training: Images) -> None:
    if images.shape[1:] != training.shape[1:]:
        raise ValueError(
            f"{name} are {'x'.join(map(str, images.shape[1:]))} but training images are "
            f"{'x'.join(map(str, training.shape[1:]))}; bring all to one size and mode"
        )
