"""The result of :func:`evaluate`: figures of sets of images, side by side, and what they say in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic.metrics.classes import ClassStatistics
from sparsegen_classic.metrics.copies import CopyTest

# every figure: its column, how it is printed, and what it says
FIGURES = {
    "n": ("n", ",d", "images"),
    "frechet": ("Frechet", ".4g", "Frechet distance to the held-out images in features; lower is better"),
    "kid": ("KID", ".3g", "kernel distance (cubic kernel, unbiased) in features; lower is better"),
    "sliced": ("SWD", ".3g", "sliced Wasserstein distance in features; lower is better"),
    "precision": ("prec.", ".3f", "share of images near some held-out image in features: quality"),
    "recall": ("recall", ".3f", "share of held-out images near some image in features: variety"),
    "density": ("dens.", ".3f", "how densely images lie among held-out images in features; 1 for real ones"),
    "coverage": ("cover.", ".3f", "share of held-out images with an image in their neighbourhood: variety"),
    "ndb": ("NDB", "d", "bins of training pixels filled too much or too little at the level of 5 %"),
    "ndb_far": ("NDB>4", "d", "bins that differ by more than four standard errors"),
    "js": ("JS", ".4f", "Jensen-Shannon divergence of the bins, in nats; lower is better"),
    "confidence": ("conf.", ".4f", "mean largest class probability of the network; blur lowers it"),
    "entropy": ("entropy", ".3f", "entropy of the classes found, in nats; 2.303 for ten equal ones"),
    "accuracy": ("acc.", ".4f", "share of images of the class that they were drawn for"),
    "copy": ("copy P", ".3f", "P[further from the training images than a held-out image is]; .5 is ideal"),
    "copy_error": ("+-", ".3f", "standard error of copy P"),
    "near_copies": (
        "near",
        ".3f",
        "share nearer to a training image than 99 % of held-out images; ideal .01",
    ),
    "distance": ("dist.", ".3g", "median distance to the nearest training image"),
}
_FEW = 1000
SAMPLES, REAL, CONTROL = "samples", "real", "control"


class SetFigures(NamedTuple):
    """One row of the table.

    Attributes
    ----------
    kind : {"samples", "real", "control"}
        What is judged; real images, the floor; or a control that shows what a figure makes of bad samples.
    figures : dict of str to float
        By the names in ``FIGURES``, and ``kid_error``, ``copy_p``, ``confident_share``, ``score``,
        ``near_copies_p``.
    classes : ClassStatistics or None
        With the digit network.
    copies : CopyTest
    """

    kind: str
    figures: dict[str, float]
    classes: ClassStatistics | None
    copies: CopyTest


class SupportComparison(NamedTuple):
    """Supports of sampled codes beside those of training images.

    Attributes
    ----------
    overlaps, real_overlaps : ndarray of shape (k + 1,), or None
        Share of sampled, and of held-out, supports whose largest overlap with a training support is 0, 1, ...
    in_training : float
        Share of sampled supports that equal a training support.
    state_error, state_noise, pair_correlation, sizes, real_sizes
        As in :class:`SupportMoments`, averaged over the classes.
    training_likelihood, held_out_likelihood, independent_likelihood : float
        Mean log P(atom | rest), in nats, of training and held-out supports under the network, and of the
        latter for independent atoms: the gap of the first two is memory, the third has to be beaten. NaN if
        unknown; averaged over the classes, as are
    training_weight, held_out_weight, drawn_weight : float
        Mean log-weight (minus the energy) of training, held-out and sampled supports.
    """

    overlaps: NDArray[np.float64]
    real_overlaps: NDArray[np.float64] | None
    in_training: float
    state_error: float
    state_noise: float
    pair_correlation: float
    sizes: NDArray[np.float64]
    real_sizes: NDArray[np.float64]
    training_likelihood: float = nan
    held_out_likelihood: float = nan
    independent_likelihood: float = nan
    training_weight: float = nan
    held_out_weight: float = nan
    drawn_weight: float = nan


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Figures of sample sets beside those of real images, copies and controls.

    Attributes
    ----------
    sets : dict of str to SetFigures
        The rows, samples first.
    settings : dict
        Features, counts, seed and the like: what the figures depend on.
    images : dict of str to ndarray
        The images of every set but the real ones.
    training, held_out : ndarray
        The real images; training images on disk stay there, but are indexed like an array.
    supports : dict of str to SupportComparison
        For sets with codes.
    """

    sets: dict[str, SetFigures]
    settings: dict[str, Any]
    images: dict[str, NDArray[np.float32]]
    training: Any
    held_out: NDArray[np.float32]
    supports: dict[str, SupportComparison] = field(default_factory=dict)

    def __getitem__(self, name: str) -> dict[str, float]:
        """Return the figures of a set."""
        return self.sets[name].figures

    def __repr__(self) -> str:
        return f"Evaluation({', '.join(self.names(SAMPLES))}; {self.settings['features']})"

    def __str__(self) -> str:
        header, rows = self.table()
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = [header, *rows]
        kinds = [None, *(part.kind for part in self.sets.values())]
        text = []
        for i, line in enumerate(lines):
            if i > 1 and kinds[i] != kinds[i - 1]:
                text.append("")
            cells = [line[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
            text.append("  ".join(cells).rstrip())
        text += ["", *(f"{key}: {value}" for key, value in self.settings.items())]
        for name, part in self.supports.items():
            if isfinite(part.held_out_likelihood):
                text += ["", *_of_network(name, part)]
        return "\n".join(text)

    def names(self, kind: str) -> list[str]:
        """Return the names of the sets of a kind."""
        return [name for name, part in self.sets.items() if part.kind == kind]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return header and rows of the figures as text; columns without any figure are left out."""
        keys = [key for key in FIGURES if any(_known(part.figures.get(key)) for part in self.sets.values())]
        rows = [
            [name, *(_shown(part.figures.get(key), FIGURES[key][1]) for key in keys)]
            for name, part in self.sets.items()
        ]
        return ["", *(FIGURES[key][0] for key in keys)], rows

    def class_table(self) -> tuple[list[str], list[list[Any]]]:
        """Return header and rows of the share and confidence of each class, for samples and held-out."""
        names = [*self.names(SAMPLES), "held-out images"]
        known = [(name, self.sets[name].classes) for name in names]
        parts = [(name, classes) for name, classes in known if classes is not None]
        header = ["class", *(f"{what}, {name}" for name, _ in parts for what in ("share", "confidence"))]
        rows = []
        for label in range(len(parts[0][1].shares) if parts else 0):
            cells = [part[label] for _, c in parts for part in (c.shares, c.class_confidence)]
            rows.append([str(label), *(float(cell) if isfinite(cell) else None for cell in cells)])
        return header, rows

    def verdict(self, name: str) -> list[str]:
        """Return in plain words what the figures say of a set of samples."""
        own, real = self[name], self["real images"]
        return [text for text in (_quality(own, real, self), _variety(own, real), _novelty(own)) if text]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but images as plain Python values, for JSON; what is unknown is None."""
        return {
            "settings": self.settings,
            "sets": {
                name: {"kind": part.kind, **{key: _plain(value) for key, value in part.figures.items()}}
                | ({} if part.classes is None else {"class_shares": part.classes.shares.tolist()})
                for name, part in self.sets.items()
            },
            "supports": {
                name: {key: _plain(value) for key, value in part._asdict().items()}
                for name, part in self.supports.items()
            },
            "verdict": {name: self.verdict(name) for name in self.names(SAMPLES)},
        }


def _of_network(name: str, part: SupportComparison) -> list[str]:
    return [
        f"supports of {name}, nats: log P(atom | rest) {part.training_likelihood:.3f} in training, "
        f"{part.held_out_likelihood:.3f} held out ({part.independent_likelihood:.3f} for independent atoms)",
        f"log-weight (minus energy): training {part.training_weight:.2f}, held out "
        f"{part.held_out_weight:.2f}, sampled {part.drawn_weight:.2f}",
    ]


def _quality(own: dict[str, float], real: dict[str, float], evaluation: Evaluation) -> str:
    ratio = own["frechet"] / max(real["frechet"], 1e-12)
    noise = evaluation["independent pixels"]["frechet"]
    text = (
        f"Frechet distance {own['frechet']:.4g}: {ratio:.3g} times that of real images at the same count "
        f"({real['frechet']:.4g}); images of independent pixels have {noise:.4g}."
    )
    if own["n"] < _FEW:
        text += f" With {own['n']} images all figures are rough; {_FEW:,} and more are telling."
    if "confidence" in own:
        text += f" The network is {own['confidence']:.1%} sure of an image (real: {real['confidence']:.1%})."
    return text


def _variety(own: dict[str, float], real: dict[str, float]) -> str:
    share = min(own[part] / max(real[part], 1e-12) for part in ("coverage", "recall"))
    how = "as varied as real ones" if share >= 0.98 else "nearly as varied" if share >= 0.9 else "less varied"
    return (
        f"They come near {own['coverage']:.1%} of the held-out images (real images: {real['coverage']:.1%}) "
        f"and reach round {own['recall']:.1%} of them (real: {real['recall']:.1%}): {how}."
    )


def _novelty(own: dict[str, float]) -> str:
    p, near = own["copy"], own["near_copies"]
    if p < 0.4:
        said = "nearer to the training images than unseen images are: copies, or averages of a few"
    elif p > 0.6:
        said = "further from the training images than unseen images are: they lack something of real ones"
    else:
        said = "about as far from the training images as unseen images are"
    text = f"Copy test {p:.3f} +- {own['copy_error']:.3f}: the samples are {said}."
    if near > 0.02 and own["near_copies_p"] < 0.001:
        text += f" {near:.1%} are near copies, where 1 % is expected."
    return text


def _known(value: float | None) -> bool:
    return value is not None and isfinite(value)


def _shown(value: float | None, how: str) -> str:
    return format(int(value) if how.endswith("d") else value, how) if _known(value) else ""  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, float) and not isfinite(value):
        return None
    return value
