"""All metrics on sets of samples, and on the real images, copies and noise that give them a scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from sparsegen_classic._random import seed_sequence, spawn_generators
from sparsegen_classic._validation import check_integer
from sparsegen_classic.metrics.evaluation import CONTROL, Evaluation, SetFigures
from sparsegen_classic.metrics.judge import NO_LABELS, Judge, check_alike, choose_network
from sparsegen_classic.metrics.training import check_images, training_images

_BLOCK = 1024  # images whose pixels are drawn at a time
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
        check_alike(name, images, seen)
    first = next(iter(sets))
    targets: dict[str, Any] = (
        dict(labels) if isinstance(labels, Mapping) else {} if labels is None else {first: labels}
    )
    if set(targets) - set(sets):
        raise ValueError(f"labels must name sets of samples, got {', '.join(set(targets) - set(sets))}")
    if targets and choose_network(features, seen, n_jobs) is None:
        raise ValueError(NO_LABELS)
    seed = seed_sequence(random_state)
    judge = Judge(
        seen, unseen, features=features, n_neighbors=n_neighbors, n_bins=n_bins, n_components=n_components,
        random_state=seed, n_jobs=n_jobs,
    )  # fmt: skip
    n = len(next(iter(judged.values())))
    (rng,) = spawn_generators(seed, 1)
    own = np.sort(rng.choice(len(seen), min(n, len(seen)), replace=False))
    others |= {
        "copies": seen[rng.integers(len(seen), size=n)],
        "independent pixels": _shuffled(judge.training_sample, n, rng),
    }
    rows: dict[str, SetFigures] = {}
    n_rows = len(judged) + len(others) + 2
    with tqdm(total=n_rows, desc="evaluate", unit="set", disable=None if verbose else True) as bar:
        for name, images in judged.items():
            rows[name] = judge.measure(images, targets.get(name))
            bar.update()
        rows["real images"] = judge.measure_training(own)
        rows["held-out images"] = judge.measure_held_out()
        bar.update(2)
        for name, images in others.items():
            rows[name] = judge.measure(images, kind=CONTROL)
            bar.update()
    settings = {**judge.settings, "n_training": len(seen), "n_held_out": len(unseen)}
    return Evaluation(rows, settings, judged | others, seen, unseen)


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
