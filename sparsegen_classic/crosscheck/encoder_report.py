"""What :func:`crosscheck_encoder` found, in numbers, words and pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from sparsegen_classic.crosscheck.encoder_run import SMALLEST, Finding

Floats = NDArray[np.floating]
COUNTS = ("global", "needle", "pixel", "stripe")


@dataclass(frozen=True, eq=False)
class EncoderLayer:
    """One layer of an encoder beside its reference. Arrays have one entry an image.

    Attributes
    ----------
    layer : int
        1 is next to the image.
    shape : tuple of int
        (n_atoms, *maps_shape).
    atom_shape : tuple of int
        Size of the filters.
    error : float
        Largest difference from the maps of the reference, in units of their largest magnitude.
    allowed : float or None
        Largest ``error`` that is rounding, where maps have to agree.
    objective, reference, lower : ndarray of shape (n_images,), or None
        Objective of the encoder, of the reference, and a bound that no code is below (NaN where none is
        known: l0).
    precision, recall : float
        Share of the encoder's support that the reference uses too, and the reverse.
    counts, reference_counts : dict
        Largest "global", "needle", "pixel" and "stripe" counts of non-zeros.
    iterations : dict
        Iterations after which solvers reach the encoder's objective on the first image, from zero; None if
        that takes more than were run. For l0 the atoms that OMP needs.
    dead : tuple of int
        Maps that the encoder never uses and the reference does.
    coherence : float
        Mutual coherence mu of the filters.
    unique_below : float
        (1 + 1/mu) / 2: a code whose stripe count is below is the sparsest there is, and OMP and basis pursuit
        find it (Papyan, Sulam, Elad 2017).
    stable_below : float
        (1 + 1/mu) / 3: below it basis pursuit is stable to noise, with an error of 7.5 times the largest
        noise of a patch.
    excess_map : ndarray of shape (n_images, *image_shape), or None
        Where the objective exceeds that of the reference; an image sums to the difference.
    """

    layer: int
    shape: tuple[int, ...]
    atom_shape: tuple[int, ...]
    error: float
    allowed: float | None
    objective: Floats | None
    reference: Floats | None
    lower: Floats | None
    precision: float
    recall: float
    counts: dict[str, int]
    reference_counts: dict[str, int]
    iterations: dict[str, int | None]
    dead: tuple[int, ...]
    coherence: float
    unique_below: float
    stable_below: float
    excess_map: Floats | None = field(repr=False)

    @property
    def excess(self) -> Floats | None:
        """How far each objective is above the optimum at most, relative; above OMP's for l0."""
        if self.objective is None or self.reference is None or self.lower is None:
            return None
        floor = np.where(np.isnan(self.lower), self.reference, self.lower)
        return (self.objective - floor) / np.maximum(self.reference, SMALLEST)

    @property
    def certified(self) -> bool:
        """Whether ``excess`` is proven."""
        return self.lower is not None and not np.isnan(self.lower).any()

    @property
    def unique(self) -> bool:
        """Whether the stripe count of the encoder's codes is below ``unique_below``."""
        return self.counts["stripe"] < self.unique_below

    @property
    def stable(self) -> bool:
        """Whether it is below ``stable_below``."""
        return self.counts["stripe"] < self.stable_below

    def local_excess(self) -> Floats:
        """Return ``excess_map`` summed over windows of the size of a filter: noise out, places in."""
        if self.excess_map is None:
            raise ValueError(f"layer {self.layer} has no objective, and so no map of where it is exceeded")
        size = (1, *self.atom_shape)
        return uniform_filter(self.excess_map, size, mode="constant") * float(np.prod(size))

    def worst(self) -> tuple[int, ...]:
        """Return image and position around which the objective is exceeded most."""
        excess = self.local_excess()
        return tuple(int(i) for i in np.unravel_index(int(excess.argmax()), excess.shape))

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the picture, as JSON takes it."""
        names = (
            "layer",
            "error",
            "allowed",
            "precision",
            "recall",
            "counts",
            "reference_counts",
            "iterations",
        )
        more = ("coherence", "unique_below", "unique", "stable_below", "stable", "certified")
        arrays = ("objective", "reference", "lower", "excess")
        return {
            **{name: getattr(self, name) for name in (*names, *more)},
            **{name: _plain(getattr(self, name)) for name in arrays},
            "shape": list(self.shape),
            "atom_shape": list(self.atom_shape),
            "dead": list(self.dead),
            "worst": None if self.excess_map is None else list(self.worst()),
        }

    def lines(self) -> list[tuple[str, str]]:
        """Return what to say about the layer, as (what, text)."""
        rows = [("maps", " x ".join(map(str, self.shape)))]
        if self.allowed is not None:
            rows.append(
                ("values", f"differ by {self.error:.2g} of the largest, rounding is {self.allowed:.1g}")
            )
        if self.objective is not None and self.reference is not None:
            rows += self._objective_lines()
        rows += [
            ("support", f"precision {self.precision:.3f}, recall {self.recall:.3f}"),
            (
                "non-zeros",
                ", ".join(f"{c} {self.counts[c]} (reference {self.reference_counts[c]})" for c in COUNTS),
            ),
            ("conditions", self._conditions()),
        ]
        return rows

    def _objective_lines(self) -> list[tuple[str, str]]:
        assert self.objective is not None
        assert self.reference is not None
        assert self.excess is not None
        most = float(self.excess.max())
        above = (
            f"proven at most {100 * most:.3g}% above the optimum" if self.certified
            else f"{100 * most:.3g}% above OMP (no certificate exists)"
        )  # fmt: skip
        mean = f"{self.objective.mean():.6g}, reference {self.reference.mean():.6g}"
        rows = [("objective", f"{mean}; {above}")]
        reached = [f"{name} {'not reached' if n is None else n}" for name, n in self.iterations.items()]
        what = "atoms" if "OMP" in self.iterations else "iterations"
        rows.append((what, f"to the same objective: {', '.join(reached)}"))
        if most > 1e-9:
            image, *pixel = self.worst()
            rows.append(("worst", f"image {image} around {tuple(pixel)}"))
        return rows

    def _conditions(self) -> str:
        stripe = self.counts["stripe"]
        if self.unique:
            held = "unique" + (" and stable" if self.stable else ", not proven stable")
        else:
            held = "no guarantee"
        return (
            f"coherence {self.coherence:.3f}: unique below stripe {self.unique_below:.2f}, stable below "
            f"{self.stable_below:.2f}; it is {stripe}: {held}"
        )


@dataclass(frozen=True, eq=False)
class EncoderReport:
    """What :func:`crosscheck_encoder` found.

    Attributes
    ----------
    encoder : str
        What was checked.
    objective : str
        What it was held against.
    lam : list or None
        Penalties or thresholds, one a layer (a number, or a list with one for each map).
    k : int or None
        Non-zeros allowed, for l0.
    tol : float
        Relative excess that was allowed.
    n_images : int
        How many images were coded.
    dtype : str
        Of the maps.
    recognised : str
        What the encoder was recognised as, or "".
    layers : tuple of EncoderLayer
        One for every layer that was compared; empty where the encoder gave nothing to compare.
    failures : tuple of Finding
        What is wrong: deviations first, then their causes as far as they could be named.
    notes : tuple of Finding
        What is worth knowing.
    """

    encoder: str
    objective: str
    lam: list[Any] | None
    k: int | None
    tol: float
    n_images: int
    dtype: str
    recognised: str
    layers: tuple[EncoderLayer, ...]
    failures: tuple[Finding, ...]
    notes: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failures

    def summary(self) -> str:
        """Return the verdict in one sentence."""
        verdict = "agrees with" if self.passed else "DIFFERS from"
        return f"{self.encoder} {verdict} {self._asked()} on {self.n_images} images"

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures, as JSON takes it."""
        names = ("encoder", "objective", "lam", "k", "tol", "n_images", "dtype", "recognised", "passed")
        return {
            **{name: getattr(self, name) for name in names},
            "layers": [layer.to_dict() for layer in self.layers],
            "failures": [{"name": f.name, "message": f.message} for f in self.failures],
            "notes": [{"name": n.name, "message": n.message} for n in self.notes],
        }

    def __str__(self) -> str:
        lines = [self.summary()]
        if self.recognised:
            lines.append(f"  recognised as {self.recognised}")
        for layer in self.layers:
            lines.append(f"  layer {layer.layer}")
            lines += [f"    {what:<12}{text}" for what, text in layer.lines()]
        for title, findings in (("failures", self.failures), ("notes", self.notes)):
            if findings:
                lines += [f"  {title}", *(f"    {finding}" for finding in findings)]
        return "\n".join(lines)

    def _asked(self) -> str:
        if self.k is not None:
            return f"{self.objective} (k={self.k})"
        single = self.lam is not None and all(isinstance(lam, float) for lam in self.lam)
        return f"{self.objective} (lam={', '.join(f'{lam:.4g}' for lam in self.lam)})" if (
            single and self.lam
        ) else self.objective  # fmt: skip


def _plain(values: Floats | None) -> list[float | None] | None:
    if values is None:
        return None
    return [float(v) if np.isfinite(v) else None for v in values]
