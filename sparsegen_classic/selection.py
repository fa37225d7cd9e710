"""Settings of a generator chosen by its samples, held against images set aside, with the copy test beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid, train_test_split

from sparsegen_classic._random import seed_sequence
from sparsegen_classic._validation import check_integer, check_real
from sparsegen_classic.generator.defaults import default_n_groups
from sparsegen_classic.metrics import Evaluation, evaluate
from sparsegen_classic.sketches import SketchedCodes

__all__ = ["Selection", "select_settings"]

_SKETCHES: tuple[dict[str, Any], ...] = {"noise": 0.25, "bandwidth": 3.0}, {"noise": 0.6}  # less noise, more
_SMOOTHINGS = 0.05, 5.0  # of pairs, likewise


@dataclass(frozen=True, eq=False)
class Selection:
    """What :func:`select_settings` found.

    Attributes
    ----------
    best_params : dict
        The settings chosen; ``generator.set_params(**best_params).fit(X, y)`` uses all images.
    candidates : dict of str to dict
        The settings tried, by the names of their rows in ``evaluation``.
    pseudo_likelihoods : dict of str to float
        Median log P(atom | rest) of the supports of the images set aside, in nats, beside that of the
        training images: how much a network has memorised.
    evaluation : Evaluation
        Every figure of every candidate.
    """

    best_params: dict[str, Any]
    candidates: dict[str, dict[str, Any]]
    pseudo_likelihoods: dict[str, tuple[float, float]]
    evaluation: Evaluation

    def __str__(self) -> str:
        lines = [str(self.evaluation), "", "log P(atom | rest), nats: training, set aside"]
        lines += [f"  {name}: {a:.3f}, {b:.3f}" for name, (a, b) in self.pseudo_likelihoods.items()]
        return "\n".join([*lines, "", f"chosen: {_name(self.best_params)}"])


def select_settings(
    generator: Any,
    X: ArrayLike,
    y: ArrayLike | None = None,
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]] | None = None,
    *,
    validation_share: float = 0.15,
    n_samples: int = 2000,
    least_copy_test: float = 0.4,
    random_state: Any = 0,
    **options: Any,
) -> Selection:
    """Try settings of a generator and choose by the images that it draws.

    Every candidate is fitted to one part of the images and draws ``n_samples``. Of those whose samples are
    not nearer to the training images than real images are, as the copy test says, the one with the least
    Frechet distance to the other part wins. Pseudo-likelihood, which is reported, chooses badly: it prefers
    networks that are unsure of everything.

    Parameters
    ----------
    generator : SparseImageGenerator
        Its other settings.
    X : array-like of shape (n_samples, h, w[, c])
        Images in [0, 1].
    y : array-like of shape (n_samples,), default=None
        Labels, for a model per class.
    grid : mapping of str to sequences, or list of such, default=None
        Values to try, all combinations of each mapping. None tries one group, a third of the default
        number of groups, as many and twice as many, less noise of the sketches (in a wider bandwidth) and
        more, and leaves out the tone curve, or sketches; if ``supports`` is given, it tries also what is in
        the Notes.
    validation_share : float in (0, 1), default=0.15
        Part of the images that is set aside, of each class alike.
    n_samples : int, default=2000
        Draws of each candidate.
    least_copy_test : float in [0, 1], default=0.4
        Least P[a sample is further from the training images than an image set aside]; if no candidate
        reaches it, the one with the largest P is taken.
    random_state : int, RandomState, Generator, SeedSequence or None, default=0
        Seed of the split, the fits and the draws.
    **options
        ``features``, ``n_jobs``, ``verbose`` and others of :func:`evaluate`.

    Returns
    -------
    Selection

    Notes
    -----
    The candidates for :class:`MarkovSupports` are few, each for a kind of images:

    - one network, ``pair_exponent=0.4``: images that do not come in families, or too few for them;
    - a third of the default number of groups, as many and twice as many, ``pair_reference="all"``,
      ``pair_exponent`` 0.4 and 0.8: images of few atoms (small ones, digits), which gain where a group counts
      in single atoms and in pairs as well. The fewer the atoms, the more pairs may count;
    - the default number, ``pair_reference="groups"``, ``pair_exponent`` 0.2 and 0.4: images of many atoms
      (faces), whose law would fall onto its modes otherwise. How many groups there are matters less here;
    - the default number, ``group_smoothing=4``: families that have less in common;
    - likewise, ``group_pair_smoothing=1``: families that differ in what goes together;
    - likewise, ``smoothing`` 0.05 and 5: pairs that can be trusted more, or less.

    Raises
    ------
    ValueError
        If a parameter is unknown or out of range, or there are too few images.

    Examples
    --------
    >>> from sparsegen_classic import SparseImageGenerator, open_images, select_settings
    >>> digits = open_images("digits").images[:600]
    >>> chosen = select_settings(SparseImageGenerator(), digits, grid={"n_groups": [1, 5]}, n_samples=100)
    >>> sorted(chosen.candidates)
    ['n_groups=1', 'n_groups=5']
    """
    check_real("validation_share", validation_share, 0.01, 0.9)
    check_integer("n_samples", n_samples, 10)
    check_real("least_copy_test", least_copy_test, 0, 1)
    images = np.asarray(X, np.float32)
    split_seed, fit_seed, draw_seed, measure_seed = seed_sequence(random_state).generate_state(4).tolist()
    labels = None if y is None else np.asarray(y)
    train, aside = train_test_split(
        np.arange(len(images)), test_size=validation_share, random_state=split_seed, stratify=labels
    )
    grid = grid or _default_grids(generator, len(train), labels)
    candidates = {_name(params): params for params in ParameterGrid(grid)}
    samples, likelihoods = {}, {}
    for name, params in candidates.items():
        model = clone(generator).set_params(**params, random_state=fit_seed)
        model.fit(images[train], None if labels is None else labels[train])
        samples[name] = model.sample(n_samples, draw_seed)
        seen, unseen = (_pseudo_likelihood(model, images, labels, part) for part in (train, aside))
        likelihoods[name] = seen, unseen
    evaluation = evaluate(samples, images[train], images[aside], random_state=measure_seed, **options)
    copies = {name: evaluation[name]["copy"] for name in candidates}
    honest = [name for name in candidates if copies[name] >= least_copy_test]
    if honest:
        best = min(honest, key=lambda name: evaluation[name]["frechet"])
    else:
        best = max(candidates, key=lambda name: copies[name])
    return Selection(candidates[best], candidates, likelihoods, evaluation)


def _default_grids(
    generator: Any, n_images: int, labels: NDArray[Any] | None
) -> list[dict[str, Sequence[Any]]]:
    if generator.per_class and labels is not None:
        n_images //= len(np.unique(labels))
    usual_groups = default_n_groups(n_images)
    several = sorted({usual_groups // 3, usual_groups, min(2 * usual_groups, n_images)} - {0, 1})
    middle = [usual_groups] if usual_groups > 1 else []
    if generator.supports is None:
        names: tuple[str, ...] = ("n_groups",)
        tried: list[tuple[Any, ...]] = [([1, *several],)]
        usual: tuple[Any, ...] = (middle or [1],)
    else:
        names = "n_groups", "supports__pair_reference", "supports__pair_exponent"
        tried = [([1], ["all"], [0.4]), (several, ["all"], [0.4, 0.8]), (middle, ["groups"], [0.2, 0.4])]
        usual = middle or [1], ["all"], [0.4]
    grids = [dict(zip(names, values, strict=True)) for values in tried if values[0]]
    others: list[dict[str, Any]] = []
    if generator.supports is not None:
        if middle:
            others += [{"supports__group_smoothing": 4.0}, {"supports__group_pair_smoothing": 1.0}]
        others += [{"supports__smoothing": smoothing} for smoothing in _SMOOTHINGS]
    if generator.tone != "clip":
        others.append({"tone": "clip"})
    if generator.sketches is None:
        others += [{"sketches": SketchedCodes(**given)} for given in _SKETCHES]
    elif not isinstance(generator.sketches, str):
        others += [{f"sketches__{name}": value for name, value in given.items()} for given in _SKETCHES]
    if not isinstance(generator.sketches, str):
        others.append({"sketches": "none"})
    added = [{name: [value] for name, value in other.items()} for other in others]
    return grids + [dict(zip(names, usual, strict=True)) | other for other in added]


def _name(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.split('__')[-1]}={value}" for key, value in sorted(params.items()))


def _pseudo_likelihood(
    model: Any, images: NDArray[np.float32], labels: NDArray[Any] | None, part: NDArray[np.intp]
) -> float:
    """Return the median over at most 2,000 of these images; -inf is a state that the network has not seen."""
    some = part[np.linspace(0, len(part) - 1, min(len(part), 2000)).astype(int)]
    known = None if labels is None else labels[some]
    codes, values = model.encode(images[some], known), []
    for index, supports in enumerate(model.supports_):
        own = (
            np.arange(len(some)) if model.classes_ is None else np.flatnonzero(known == model.classes_[index])
        )
        if len(own):  # a rare class may have none
            values.append(supports.pseudo_log_likelihood(codes[own]))
    return float(np.median(np.concatenate(values)))
