"""Why an encoder differs: the wrong problem that its codes solve much better than the one they should."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.crosscheck.encoder_reference import LassoReference
from sparsegen_classic.crosscheck.encoder_run import Finding

Floats = NDArray[np.floating]
_BETTER = 0.3  # a cause is named if it leaves at most this share of the excess,
_NEAR = 0.05  # and, if it has a number fitted to the codes, at most this excess
_FITTED = ("lam", "codes scaled")


@dataclass(frozen=True, eq=False)
class Variant:
    """Another problem, that someone who makes one mistake solves instead."""

    name: str
    message: str
    dictionary: ConvDictionary
    signals: Floats
    maps: Floats


def variants(dictionary: ConvDictionary, signals: Floats, maps: Floats) -> Iterator[Variant]:
    """Yield the problems behind the usual mistakes in filters, images and the layout of maps."""
    filters, spatial = dictionary.filters, tuple(range(2, dictionary.filters.ndim))
    flipped = (
        "the codes fit the filters turned by 180 degrees; conv2d correlates, so they are not to be turned"
    )
    options: list[tuple[str, str, Floats]] = [
        ("filters flipped", flipped, np.flip(filters, spatial)),
        ("filters negated", "the sign of the filters, or of the codes, is reversed", -filters),
    ]
    if len(spatial) == 2 and filters.shape[2] == filters.shape[3]:
        swapped = filters.swapaxes(2, 3)
        options.append(("filters transposed", "height and width of the filters are swapped", swapped))
    if dictionary.n_channels > 1:
        reverse = "the channels are in reverse order (RGB read as BGR)"
        options.append(("channels reversed", reverse, filters[:, ::-1]))
    norms = dictionary.norms
    if np.ptp(norms) > 1e-3 * norms.max() or abs(norms.max() - 1) > 1e-3:
        unit = filters / norms.reshape(-1, *[1] * (filters.ndim - 1))
        options.append(("filters normalised", "the filters were normalised, the dictionary's are not", unit))
    for name, message, other in options:
        yield Variant(name, message, with_filters(dictionary, other), signals, maps)
    scaled = {
        "255 x": ("images scaled", "the images seem to be multiplied by 255"),
        "x / 255": ("images scaled", "the images seem to be divided by 255"),
        "2 x - 1": ("images scaled", "the images seem to be moved to [-1, 1] by 2 x - 1"),
        "x - mean": ("images centred", "the mean of every image seems to be taken off"),
    }
    centred = signals - signals.mean(axis=tuple(range(1, signals.ndim)), keepdims=True)
    for (name, message), other in zip(
        scaled.values(), (255 * signals, signals / 255, 2 * signals - 1, centred), strict=True
    ):
        yield Variant(name, message, dictionary, other, maps)
    if maps.ndim == 4 and maps.shape[2] == maps.shape[3]:
        yield Variant(
            "maps transposed", "height and width of the maps are swapped", dictionary, signals,
            maps.swapaxes(2, 3),
        )  # fmt: skip


def with_filters(dictionary: ConvDictionary, filters: Floats) -> ConvDictionary:
    """Return the dictionary with other filters."""
    geometry = dictionary.stride, dictionary.padding, dictionary.output_padding, dictionary.boundary
    return ConvDictionary(filters, *geometry)


def lasso_causes(
    reference: LassoReference, signals: Floats, maps: Floats, best: Floats, lam: float | None
) -> list[Finding]:
    """Name what turns codes far from the optimum of one lasso into codes near that of another."""
    signals, maps, best = signals[:2], maps[:2], best[:2]
    d = reference.dictionary
    causes: list[tuple[float, Finding]] = []

    def consider(finding: Finding, other: ConvDictionary, x: Floats, z: Floats, factor: float = 1.0) -> None:
        variant = LassoReference(other, factor * reference.thresholds, reference.positive)
        causes.append((variant.relative_excess(x, z), finding))

    factor = effective_factor(reference, signals, maps)
    if factor > 0.02 and abs(factor - 1) > 0.02:
        value = "" if lam is None else f": {factor * lam:.4g} for {lam:.4g}"
        message = f"the codes belong to a penalty {factor:.3g} times the stated one{value}"
        consider(Finding("lam", message), d, signals, maps, factor)
    scale = float(np.vdot(best, maps)) / (float(np.vdot(maps, maps)) or 1.0)
    if scale > 0 and abs(scale - 1) > 0.1:
        message = f"the codes are {1 / scale:.3g} times as large as they should be"
        consider(Finding("codes scaled", message), d, signals, scale * maps)
    for v in (*_moved(d, signals, maps, best), *variants(d, signals, maps)):
        consider(Finding(v.name, v.message), v.dictionary, v.signals, v.maps)
    stated = reference.relative_excess(signals, maps)
    causes = [one for one in causes if one[0] <= _BETTER * stated]
    causes = [one for one in causes if one[1].name not in _FITTED or one[0] <= _NEAR]
    if causes:
        return [min(causes, key=lambda one: one[0])[1]]
    mine, ours = (float(np.mean(z != 0)) for z in (maps, best))
    if mine > 0.9 and ours < 0.5:
        message = f"{mine:.0%} of the entries are non-zero, of the reference {ours:.0%}"
        return [Finding("lam", f"no threshold seems to be applied: {message}")]
    return []


def _moved(dictionary: ConvDictionary, signals: Floats, maps: Floats, best: Floats) -> Iterator[Variant]:
    """Yield the codes moved to where they overlap the reference most: padding or an offset misread."""
    axes = tuple(range(2, maps.ndim))
    spectra = [np.fft.rfftn(np.abs(z), axes=axes) for z in (best, maps)]
    sizes = maps.shape[2:]
    product = (spectra[0] * spectra[1].conj()).sum(axis=(0, 1))
    overlap = np.fft.irfftn(product, sizes, axes=range(len(sizes)))
    shift = [int(s) for s in np.unravel_index(int(overlap.argmax()), sizes)]
    shift = [s - n if s > n // 2 else s for s, n in zip(shift, sizes, strict=True)]
    if any(shift):
        offset = ", ".join(str(-s) for s in shift)
        message = (
            f"the codes sit ({offset}) positions from where they belong: padding or an offset is misread"
        )
        yield Variant("codes moved", message, dictionary, signals, np.roll(maps, shift, axes))


def effective_factor(reference: LassoReference, signals: Floats, maps: Floats) -> float:
    """Return the penalty that codes are optimal for, in units of the stated one; 1 for empty codes.

    At an optimum the residual correlates with every used atom by exactly its threshold.
    """
    correlation = reference.dictionary.analyze(signals - reference.dictionary.synthesize(maps))
    used = maps != 0
    if not used.any():
        return 1.0
    units = correlation / reference.thresholds.reshape(-1, *[1] * (maps.ndim - 2))
    weights = np.abs(maps[used])
    values = np.sign(maps[used]) * units[used]
    order = np.argsort(values)
    middle = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return float(values[order[min(int(middle), len(values) - 1)]])


def threshold_causes(
    dictionary: ConvDictionary, bias: Floats, signals: Floats, maps: Floats
) -> list[Finding]:
    """Name what turns the maps of a thresholding layer into those it should have; exact or nothing."""
    levels = bias.reshape(-1, *[1] * (maps.ndim - 2))
    before = dictionary.analyze(signals)
    fitted, fit = _fitted_bias(before, maps, bias)
    made: list[tuple[Finding, Floats]] = [
        (Finding("bias", "the biases are forgotten"), np.maximum(before, 0)),
        (
            Finding("bias", "the sign of the biases is wrong: the bias is minus the threshold"),
            np.maximum(before + levels, 0),
        ),
        (Finding("ReLU", "the ReLU is missing"), before - levels),
        (Finding("ReLU", "the ReLU comes before the threshold"), np.maximum(before, 0) - levels),
        (fit, np.maximum(before - fitted.reshape(levels.shape), 0)),
    ]
    for v in variants(dictionary, signals, maps):
        if v.maps is maps:
            made.append((Finding(v.name, v.message), np.maximum(v.dictionary.analyze(v.signals) - levels, 0)))
    stated = float(np.abs(maps - np.maximum(before - levels, 0)).max())
    left = [float(np.abs(maps - z).max()) / stated for _, z in made]
    best = int(np.argmin(left))
    return [made[best][0]] if left[best] <= 1e-2 else []


def _fitted_bias(before: Floats, maps: Floats, bias: Floats) -> tuple[Floats, Finding]:
    """Return the thresholds that the maps show where they are positive, and what differs in them."""
    fitted = np.array(bias, np.float64)
    for j in range(len(fitted)):
        used = maps[:, j] > 0
        if used.any():
            fitted[j] = np.median((before[:, j] - maps[:, j])[used])
    changed = np.flatnonzero(np.abs(fitted - bias) > 1e-3 * np.abs(np.append(bias, fitted)).max())
    if not len(changed):
        return fitted, Finding("bias", "the biases differ")
    ratios = fitted[changed] / np.where(bias[changed] == 0, 1e-300, bias[changed])
    if len(changed) == len(bias) and np.ptp(ratios) < 1e-2 * np.abs(ratios).max():
        return fitted, Finding(
            "bias", f"all thresholds are {ratios.mean():.4g} times as large as they should be"
        )
    first = f"{fitted[changed[0]]:.4g} for {bias[changed[0]]:.4g}"
    return fitted, Finding("bias", f"the thresholds of maps {_some(changed)} differ: {first}")


def dead_maps(maps: Floats, best: Floats, least: int = 3) -> list[int]:
    """Return the maps that an encoder never uses and the reference uses at least ``least`` times."""
    axes = (0, *range(2, maps.ndim))
    used, needed = np.count_nonzero(maps, axis=axes), np.count_nonzero(best, axis=axes)
    return [int(j) for j in np.flatnonzero((used == 0) & (needed >= least))]


def _some(indices: NDArray[np.int64] | list[int]) -> str:
    shown = ", ".join(str(int(i)) for i in indices[:5])
    return shown + (f" and {len(indices) - 5} more" if len(indices) > 5 else "")


def dead_finding(dead: list[int], best: Floats, layer: str) -> Finding:
    """Say which maps are dead, and how often the reference uses them."""
    uses = int(np.count_nonzero(best[:, dead]))
    maps = f"map {dead[0]} is" if len(dead) == 1 else f"maps {_some(dead)} are"
    return Finding("dead maps", f"{layer}{maps} never used, by the reference {uses} times")
