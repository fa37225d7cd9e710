"""Figures of neural sparsity: how sparse the layers of a network are, where an encoder falls short.

As in ``plots``: drawn on ``ax`` or on a new figure; the axes are returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsegen_classic._validation import check_integer
from sparsegen_classic.crosscheck import EncoderReport
from sparsegen_classic.plots import axes_of
from sparsegen_classic.reports import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sparsegen_classic.crosscheck.encoder_report import EncoderLayer
    from sparsegen_classic.neural import LayerSparsity

__all__ = ["encoder_page", "plot_excess", "plot_needle_map", "plot_objectives", "plot_sparsity_levels"]


def plot_sparsity_levels(
    levels: Sequence[LayerSparsity],
    *,
    compare: Sequence[LayerSparsity] | None = None,
    labels: tuple[str, str] = ("sparse", "dense"),
    ax: Axes | None = None,
) -> Axes:
    """Show the share of non-zeros of every layer as bars, as Figure 3a of Ganz and Elad does.

    Parameters
    ----------
    levels : sequence of LayerSparsity
        What ``neural.sparsity_levels`` returned.
    compare : sequence of LayerSparsity, optional
        The same layers of another network, or of the same one without projections.
    labels : pair of str
        Names of the two, shown if there are two.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If there are no layers, or the two sets do not have the same names.
    """
    sets = [list(levels)] if compare is None else [list(levels), list(compare)]
    if not sets[0] or any([one.name for one in s] != [one.name for one in sets[0]] for s in sets):
        raise ValueError("levels must hold at least one layer, and compare the same ones in the same order")
    ax = axes_of(ax, (7, 4))
    width = 0.8 / len(sets)
    for i, (one, label) in enumerate(zip(sets, labels, strict=False)):
        at = np.arange(len(one)) + (i - (len(sets) - 1) / 2) * width
        bars = ax.bar(at, [100 * level.share for level in one], width, label=label)
        ax.bar_label(bars, fmt="%.3g", fontsize=8)
    ax.margins(y=0.2)
    ax.set_xticks(np.arange(len(sets[0])), [level.name for level in sets[0]])
    ax.set_ylabel("non-zeros, per cent")
    ax.set_title(f"sparsity of {len(sets[0])} layers, {sets[0][0].n_samples} samples", fontsize=10)
    if len(sets) > 1:
        ax.legend()
    return ax


def plot_needle_map(level: LayerSparsity, *, ax: Axes | None = None) -> Axes:
    """Show how many non-zeros the needle at every position has on average, as Figure 3b of Ganz and Elad.

    Parameters
    ----------
    level : LayerSparsity
        A layer of ``neural.sparsity_levels`` whose activations have positions.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the layer has no positions.
    """
    needles = np.atleast_2d(level.needle_map)
    if level.needle_map.ndim not in (1, 2):
        raise ValueError(f"level {level.name!r} must have one or two axes of positions, got {level.shape}")
    title = f"{level.name}: {needles.mean():.3g} of {level.shape[0]} non-zeros a needle"
    return _show(needles, title, axes_of(ax, (6, 5)), cmap="viridis", vmin=0)


def plot_excess(
    report: EncoderReport, *, layer: int | None = None, image: int | None = None, ax: Axes | None = None
) -> Axes:
    """Show where an encoder's objective exceeds that of the reference, summed over windows of one filter.

    Parameters
    ----------
    report : EncoderReport
        What :func:`crosscheck_encoder` returned.
    layer : int, optional
        Which layer, from 1; by default the deepest that has an objective.
    image : int, optional
        Which image, from 0; by default that of the worst place, which a cross marks.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If no such layer has an objective, or there is no such image.
    """
    one = _layer(report, layer)
    excess, worst = one.local_excess(), one.worst()
    image = worst[0] if image is None else check_integer("image", image, 0, len(excess) - 1)
    shown = np.atleast_2d(excess[image])
    title = f"objective above the reference, layer {one.layer}, image {image}"
    limit = float(np.abs(shown).max()) or 1.0
    ax = _show(shown, title, axes_of(ax, (6, 5)), cmap="RdBu_r", vmin=-limit, vmax=limit)
    if image == worst[0] and excess[worst] > 0:
        row, column = (0, *worst[1:])[-2:]
        ax.plot(column, row, "kx", markersize=9)
    return ax


def plot_objectives(report: EncoderReport, *, layer: int | None = None, ax: Axes | None = None) -> Axes:
    """Show the objective of every image: the encoder's beside that of the reference.

    Parameters
    ----------
    report : EncoderReport
        What :func:`crosscheck_encoder` returned.
    layer : int, optional
        Which layer, from 1; by default the deepest that has an objective.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If no such layer has an objective.
    """
    one = _layer(report, layer)
    assert one.objective is not None
    assert one.reference is not None
    ax, at = axes_of(ax, (7, 4)), np.arange(report.n_images)
    ax.bar(at - 0.2, one.objective, 0.4, label="encoder")
    ax.bar(at + 0.2, one.reference, 0.4, label="reference")
    ax.margins(y=0.3)
    ax.set_xlabel("image")
    ax.set_ylabel("objective")
    assert one.excess is not None
    above = f"at most {100 * one.excess.max():.3g}% above {'the optimum' if one.certified else 'OMP'}"
    ax.set_title(f"{report.objective}, layer {one.layer}: {above}", fontsize=10)
    ax.locator_params(axis="x", integer=True)
    ax.legend()
    return ax


def encoder_page(report: EncoderReport) -> Report:
    """Return the report as one HTML page with pictures; ``.write("out.html")`` keeps it.

    Parameters
    ----------
    report : EncoderReport
        What :func:`crosscheck_encoder` returned.

    Returns
    -------
    Report
    """
    import matplotlib.pyplot as plt

    page = Report(f"Crosscheck of {report.encoder}", report.summary() + ".")
    if report.recognised:
        page.paragraph(f"Recognised as {report.recognised}.")
    for title, findings in (("Failures", report.failures), ("Notes", report.notes)):
        if findings:
            page.heading(title).table(["what", "finding"], [(f.name, f.message) for f in findings])
    for layer in report.layers:
        page.heading(f"Layer {layer.layer}").table(["what", ""], layer.lines())
        if layer.objective is not None:
            for plot in (plot_objectives, plot_excess):
                ax = plot(report, layer=layer.layer)
                page.figure(ax, ax.get_title())
                plt.close(ax.figure)  # type: ignore[arg-type]
    return page


def _layer(report: EncoderReport, layer: int | None) -> EncoderLayer:
    having = [one for one in report.layers if one.objective is not None and layer in (None, one.layer)]
    if not having:
        known = [one.layer for one in report.layers if one.objective is not None]
        raise ValueError(f"layer must be one with an objective, {known}, got {layer!r}")
    return having[-1]


def _show(values: np.ndarray, title: str, ax: Axes, **options: Any) -> Axes:
    picture = ax.imshow(
        values, interpolation="nearest", aspect="auto" if len(values) == 1 else None, **options
    )
    ax.figure.colorbar(picture, ax=ax, shrink=0.8)
    ax.set_axis_off()
    ax.set_title(title, fontsize=10)
    return ax
