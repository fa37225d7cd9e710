"""A fitted generator measured: its samples, reconstructions, random combinations and supports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from sparsegen_classic._classes import models_of
from sparsegen_classic._codes import states_from_codes
from sparsegen_classic._random import seed_sequence
from sparsegen_classic._validation import check_integer
from sparsegen_classic.metrics import Evaluation, SupportComparison, evaluate, support_moments
from sparsegen_classic.metrics.training import Images, check_images, parts_of, training_images
from sparsegen_classic.support import MarkovSupports, largest_overlaps, report_supports

if TYPE_CHECKING:
    from sparsegen_classic.generator import Draws, SparseImageGenerator

__all__ = ["evaluate_generator"]


def evaluate_generator(
    generator: SparseImageGenerator,
    training: Any,
    held_out: ArrayLike,
    *,
    training_labels: ArrayLike | None = None,
    held_out_labels: ArrayLike | None = None,
    n_samples: int = 10_000,
    samples: Mapping[str, ArrayLike] | None = None,
    name: str = "generator",
    random_state: Any = 0,
    **options: Any,
) -> Evaluation:
    """Measure the draws of a generator with :func:`evaluate`, and what only a model can show.

    To its table come the rows "reconstructions" (as many training images, coded over the dictionary and put
    together again: what the dictionary alone allows) and "random combinations" of atoms, the negative control
    of the paper. The supports drawn are compared with those of the training and held-out images.

    Parameters
    ----------
    generator : SparseImageGenerator
        Fitted on images in [0, 1].
    training : array-like, memory map or image store of shape (n_training, h, w[, c])
        The images it was fitted on; on disk they may be larger than the memory.
    held_out : array-like of shape (n_held_out, h, w[, c])
        Real images that it has not seen.
    training_labels, held_out_labels : array-like, optional
        Classes of these images; the former are needed for a model per class, the latter for the overlaps of
        held-out supports with such a model.
    n_samples : int, default=10000
        Number of draws.
    samples : mapping of names to arrays, optional
        Further candidates for the same table, ``n_samples`` images each.
    name : str, default="generator"
        Name of the row of the draws.
    random_state : int, RandomState, Generator, SeedSequence or None, default=0
        Seed of the draws and controls.
    **options
        ``features``, ``n_neighbors``, ``n_bins``, ``n_components``, ``n_jobs``, ``verbose``, ``controls`` and
        ``labels`` (of the further candidates) of :func:`evaluate`.

    Returns
    -------
    Evaluation
        Its ``supports[name]`` is the comparison of supports.

    Raises
    ------
    ValueError
        As :func:`evaluate`, or if labels are missing or unknown to the model.

    Examples
    --------
    >>> from sparsegen_classic import SparseImageGenerator, evaluate_generator, open_images
    >>> digits = open_images("digits").images
    >>> generator = SparseImageGenerator(random_state=0).fit(digits[:1200])
    >>> result = evaluate_generator(generator, digits[:1200], digits[1200:], n_samples=200)
    >>> bool(result["random combinations"]["frechet"] > result["generator"]["frechet"])
    True
    """
    check_is_fitted(generator)
    check_integer("n_samples", n_samples, 10)
    seen, unseen = training_images(training), check_images("held_out", held_out)
    if list(seen.shape[1:]) != generator.image_shape_.tolist():
        size = "x".join(map(str, generator.image_shape_))
        raise ValueError(
            f"training images must be {size}, as those that the model was fitted on, found shape {seen.shape}"
        )
    if name in (samples or {}):
        raise ValueError(f"the name {name!r} is that of the generator's own row; choose another by name=")
    seeds = seed_sequence(random_state).generate_state(4).tolist()
    draws = generator.draw(n_samples, seeds[0])
    model_of = models_of(generator.classes_, len(seen), training_labels, "training_labels")
    codes = _encode(generator, seen, training_labels)
    picked = np.random.default_rng(seeds[1]).choice(len(seen), n_samples, replace=n_samples > len(seen))
    controls = dict(options.pop("controls", None) or {}) | {
        "reconstructions": generator.decode(
            codes[picked], None if generator.classes_ is None else np.asarray(training_labels)[picked]
        ),
        "random combinations": generator.random_combinations(n_samples, seeds[2]),
    }
    labels = dict(options.pop("labels", None) or {})
    by_network = seen.shape[1:] == (28, 28) and options.get("features", "auto") in ("auto", "digits")
    if draws.labels is not None and draws.labels.dtype.kind in "iu" and by_network:
        labels[name] = draws.labels
    result = evaluate(
        {name: draws.images, **(samples or {})},
        seen,
        unseen,
        labels=labels,
        controls=controls,
        random_state=seeds[3],
        **options,
    )
    other = None
    if generator.classes_ is None or held_out_labels is not None:
        model_of_other = models_of(generator.classes_, len(unseen), held_out_labels, "held_out_labels")
        other = _by_model(generator, generator.encode(unseen, held_out_labels), model_of_other)
    drawn = _by_model(generator, draws.codes, models_of(generator.classes_, n_samples, draws.labels))
    training_codes = _by_model(generator, codes, model_of)
    supports = _compare_supports(draws, drawn, training_codes, other)
    if other is not None:
        supports = supports._replace(**_under_the_networks(generator, drawn, training_codes, other))
    settings = {**result.settings, "seed": random_state if isinstance(random_state, int) else None}
    return replace(result, supports={name: supports}, settings=settings)


def _encode(generator: SparseImageGenerator, images: Images, labels: Any) -> sparse.csr_array:
    """Code images part by part, also those in memory: products of other sizes round otherwise."""
    known = None if labels is None else np.asarray(labels)
    parts = [generator.encode(images[p], None if known is None else known[p]) for p in parts_of(images)]
    return sparse.vstack(parts, format="csr")


def _by_model(
    generator: SparseImageGenerator, codes: sparse.csr_array, model_of: NDArray[np.intp]
) -> list[sparse.csr_array]:
    return [codes[np.flatnonzero(model_of == model)] for model in range(len(generator.dictionaries_))]


def _compare_supports(
    draws: Draws,
    drawn: list[sparse.csr_array],
    training: list[sparse.csr_array],
    held_out: list[sparse.csr_array] | None,
) -> SupportComparison:
    """Compare class by class, and put the classes together by their number of draws."""
    overlaps, real_overlaps, moments, weights = [], [], [], []
    for model, (own, codes) in enumerate(zip(drawn, training, strict=True)):
        if not own.shape[0] or not codes.shape[0]:
            continue
        states, _ = states_from_codes(codes)
        overlaps.append(largest_overlaps(states_from_codes(own)[0], states))
        if held_out is not None and held_out[model].shape[0]:
            real_overlaps.append(largest_overlaps(states_from_codes(held_out[model])[0], states))
        moments.append(support_moments(own, codes))
        weights.append(own.shape[0])
    if not weights:
        raise ValueError(
            "training holds no image of a class that was drawn; give images of the classes of the model, or "
            "draw more by n_samples"
        )
    longest = 1 + max(int(part.max(initial=0)) for part in overlaps + real_overlaps)
    share = np.array(weights) / sum(weights)

    def mean(part: str) -> Any:
        values = [np.atleast_1d(getattr(moment, part)) for moment in moments]
        width = max(map(len, values))
        padded = np.stack([np.pad(value, (0, width - len(value))) for value in values])
        return share @ padded

    return SupportComparison(
        _histogram(overlaps, longest),
        _histogram(real_overlaps, longest) if real_overlaps else None,
        float(draws.in_training.mean()),
        float(mean("state_error")[0]),
        float(mean("state_noise")[0]),
        float(mean("pair_correlation")[0]),
        mean("sizes"),
        mean("real_sizes"),
    )


def _under_the_networks(
    generator: SparseImageGenerator,
    drawn: list[sparse.csr_array],
    training: list[sparse.csr_array],
    held_out: list[sparse.csr_array],
) -> dict[str, Any]:
    """Return likelihoods and log-weights of supports, averaged over the classes that are in all three."""
    found, shares = [], []
    for network, *codes in zip(generator.supports_, training, held_out, drawn, strict=True):
        if isinstance(network, MarkovSupports) and all(part.shape[0] for part in codes):
            seen, unseen, own = codes
            report = report_supports(network, seen, unseen, drawn=own)
            likelihoods = report.training, report.held_out, report.independent_held_out
            weights = report.training_weights, report.held_out_weights, report.drawn_weights
            found.append([*likelihoods, *(mean for mean, _ in weights)])
            shares.append(own.shape[0])
    if not found:
        return {}
    names = [f"{of}_likelihood" for of in ("training", "held_out", "independent")]
    names += [f"{of}_weight" for of in ("training", "held_out", "drawn")]
    return dict(zip(names, np.average(found, axis=0, weights=shares).tolist(), strict=True))


def _histogram(overlaps: list[NDArray[np.int64]], width: int) -> NDArray[np.float64]:
    counts = np.bincount(np.concatenate(overlaps), minlength=width)
    return counts / counts.sum()
