"""Figures and pages of a crosscheck: which checks ended how, and what the smallest fault looks like.

As in ``plots``: drawn on ``ax`` or on a new figure; the axes are returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsegen_classic._validation import check_choice
from sparsegen_classic.crosscheck import Example, LayerReport
from sparsegen_classic.plots import axes_of
from sparsegen_classic.reports import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["layer_page", "plot_example", "plot_verdicts"]

_COLOURS = {"pass": "#4a9a62", "note": "#d9b44a", "skip": "#b8b8b8", "fail": "#c8453b"}
_WORDS = {"pass": "passed", "note": "free to choose", "skip": "not checked", "fail": "failed"}


def plot_verdicts(report: LayerReport, *, ax: Axes | None = None) -> Axes:
    """Show every check as a coloured field, in the order of checking.

    Parameters
    ----------
    report : LayerReport
        What :func:`sparsegen_classic.crosscheck_layer` returned.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic import crosscheck_layer
    >>> from sparsegen_classic.plots_crosscheck import plot_verdicts
    >>> report = crosscheck_layer(np.zeros_like, "l0", k=0, shape=(2, 4, 4, 4))
    >>> plot_verdicts(report).get_title().endswith("not checked, 0 failed")
    True
    """
    from matplotlib.patches import Patch, Rectangle

    n_columns = 6
    n_rows = -(-len(report.verdicts) // n_columns)
    ax = axes_of(ax, (9, 0.42 * n_rows + 0.9))
    for i, verdict in enumerate(report.verdicts):
        row, column = divmod(i, n_columns)
        colour = _COLOURS[verdict.status]
        ax.add_patch(Rectangle((column + 0.03, row + 0.06), 0.94, 0.88, color=colour, alpha=0.85))
        ax.text(column + 0.5, row + 0.5, verdict.check, ha="center", va="center", fontsize=8)
    counts = {s: sum(v.status == s for v in report.verdicts) for s in _COLOURS}
    ax.set(xlim=(0, n_columns), ylim=(n_rows, 0))
    ax.set_axis_off()
    ax.set_title(", ".join(f"{n} {_WORDS[s]}" for s, n in counts.items()), fontsize=10)
    handles = [Patch(color=_COLOURS[s], label=_WORDS[s]) for s in _COLOURS]
    ax.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, frameon=False, fontsize=8
    )
    return ax


def plot_example(example: Example, *, show: str = "difference", ax: Axes | None = None) -> Axes:
    """Show an input that a layer fails on, one panel of a row for each sample, channels beside each other.

    Parameters
    ----------
    example : Example
        ``worst`` or ``smallest`` of a verdict.
    show : {"x", "got", "expected", "difference"}, default="difference"
        Which array: the input, the answer, that of the reference, or answer less reference.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the example has no such array, or it is a single number.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.crosscheck import Example
    >>> from sparsegen_classic.plots_crosscheck import plot_example
    >>> x = np.array([[3.0, -1.0, 2.0]])
    >>> plot_example(Example(x, x, x * [1, 0, 1], "float32", "")).get_title()
    'difference'
    """
    check_choice("show", show, ("x", "got", "expected", "difference"))
    array = _array(example, show)
    if array is None or array.ndim == 0:
        raise ValueError(f"show={show!r}: the example has no array of that kind")
    sheet = _sheet(array)
    ax = axes_of(ax, _size_of(sheet))
    finite = np.abs(sheet[np.isfinite(sheet)])
    most = finite.max(initial=0) or 1.0
    ax.set_facecolor("#c8c8c8")  # between maps, and where there is no number
    ax.imshow(sheet, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
    if sheet.shape[1] <= 16:
        for (i, j), value in np.ndenumerate(sheet):
            colour = "white" if abs(value) > 0.6 * most else "black"
            text = "" if np.isnan(value) else f"{value:.3g}"
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    ax.set(xticks=[], yticks=[])
    ax.set_title(show, fontsize=10)
    return ax


def _array(example: Example, show: str) -> np.ndarray | None:
    if show != "difference":
        return getattr(example, show)
    if example.got is None or example.expected is None:
        return None
    with np.errstate(invalid="ignore"):
        return example.got - example.expected


def _sheet(array: np.ndarray) -> np.ndarray:
    """Lay out samples below each other and channels side by side, with lines of NaN in between."""
    if array.ndim == 2 or array[0, 0].size == 1:
        return array.reshape(array.shape[:2])
    maps = array if array.ndim == 4 else array[:, :, None]
    padded = np.pad(maps, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    n, c, h, w = padded.shape
    return padded.transpose(0, 2, 1, 3).reshape(n * h, c * w)[:-1, :-1]


def _size_of(sheet: np.ndarray) -> tuple[float, float]:
    """Return a size in inches, with square entries and room for numbers where there are few."""
    height, width = sheet.shape
    entry = min(0.45, 9 / width, 6 / height)
    return max(2.5, entry * width + 0.2), max(0.6, entry * height + 0.35)


def layer_page(report: LayerReport) -> Report:
    """Return a page that says what was found, with a picture and code to paste for every failure.

    Parameters
    ----------
    report : LayerReport
        What :func:`sparsegen_classic.crosscheck_layer` returned.

    Returns
    -------
    Report
        ``.write("page.html")`` writes it.
    """
    import matplotlib.pyplot as plt

    summary = report.headline + (f".\nIt looks like {report.diagnosis}" if report.diagnosis else "") + "."
    page = Report(f"Crosscheck of {report.layer}", summary)
    axes = plot_verdicts(report)
    page.figure(axes, "All checks, in the order of checking.")
    plt.close(axes.figure)  # type: ignore[arg-type]
    for verdict in report.failures:
        page.heading(f"{verdict.check} fails").paragraph(verdict.message)
        if verdict.smallest is not None:
            page.paragraph(f"The smallest input found that shows it: {verdict.smallest.message}")
            page.code(verdict.smallest.code(report.framework))
            _add_picture(page, verdict.smallest, "The smallest input that fails.")
        if verdict.worst is not None and verdict.worst is not verdict.smallest:
            _add_picture(page, verdict.worst, "The input with the largest error.")
    for title, status in (("Free to choose", "note"), ("Passed", "pass"), ("Not checked", "skip")):
        rows = [(v.check, v.message) for v in report.verdicts if v.status == status]
        if rows:
            page.heading(title).table(["check", "what was found"], rows)
    return page


def _add_picture(page: Report, example: Example, caption: str) -> None:
    """Add input, answer, reference and their difference side by side, as far as there are any."""
    import matplotlib.pyplot as plt

    def drawable(array: Any) -> bool:
        return array is not None and array.ndim >= 2 and array.size > 0 and not np.isnan(array).all()

    shown = [s for s in ("x", "got", "expected", "difference") if drawable(_array(example, s))]
    if not shown:
        return
    width, height = _size_of(_sheet(example.x))
    beside = width * len(shown) <= 12
    grid = (1, len(shown)) if beside else (len(shown), 1)
    size = (width * grid[1], height * grid[0])
    figure, axes = plt.subplots(*grid, figsize=size, layout="constrained", squeeze=False)
    for axis, show in zip(axes.flat, shown, strict=True):
        plot_example(example, show=show, ax=axis)
    legend = "samples below each other, channels side by side; red is positive, blue negative"
    page.figure(figure, f"{caption} Shape {example.x.shape}, {example.dtype}: {legend}.")
    plt.close(figure)
