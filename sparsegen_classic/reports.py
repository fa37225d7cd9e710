"""Reports: one self-contained HTML page of text, tables and pictures; that of an evaluation."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from html import escape
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._files import atomic_write
from sparsegen_classic._validation import check_integer
from sparsegen_classic._version import __version__
from sparsegen_classic.metrics.evaluation import CONTROL, FIGURES, SAMPLES, Evaluation
from sparsegen_classic.plots import plot_images, plot_neighbours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Report", "evaluation_report"]

_SHEET, _SMALL, _PAIRS = 100, 30, 30  # images on a sheet of samples, of a control, and pairs of neighbours

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; text-align: left; padding-top: .4rem; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid var(--line); }
th { background: var(--soft); vertical-align: bottom; } .number { text-align: right; white-space: nowrap; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; height: auto; background: #fff; }
caption, figcaption, footer { font-size: .9rem; opacity: .8; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); }
@media print {
  :root { color-scheme: light; } body { max-width: none; margin: 0; font-size: 10pt; }
  h2 { break-after: avoid; } figure, tr { break-inside: avoid; } .scroll { overflow: visible; }
  pre { white-space: pre-wrap; } table { font-size: 8pt; } th, td { padding: .15rem .35rem; }
}
""".strip()
_RIGHT = ' class="number"'
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Report:
    """A page that grows from top to bottom and is written as one HTML file.

    The file holds its pictures and its style and asks nothing of the network; it reads in light and dark and
    prints. All text is escaped. The same content gives the same bytes.

    Parameters
    ----------
    title : str
        Heading and title of the page.
    summary : str, default=""
        What the page says, in a sentence or two, under the title.

    Examples
    --------
    >>> from sparsegen_classic.reports import Report
    >>> report = Report("Digits", "1,797 images of 8x8.")
    >>> report.heading("Classes").table(["class", "images"], [["zero", 178], ["one", 182]])
    Report('Digits', 2 blocks)
    >>> "<h2>Classes</h2>" in report.html()
    True
    """

    def __init__(self, title: str, summary: str = ""):
        self.title = str(title)
        self.summary = str(summary)
        self._blocks: list[str] = []

    def __repr__(self) -> str:
        return f"Report({self.title!r}, {len(self._blocks)} blocks)"

    def heading(self, text: str) -> Report:
        """Begin a section; as all methods that add, return the report."""
        return self._add(f"<h2>{escape(str(text))}</h2>")

    def paragraph(self, text: str) -> Report:
        """Add a paragraph of plain text; line breaks stay."""
        return self._add(_paragraph(text))

    def code(self, text: str) -> Report:
        """Add text as it is, in a typewriter's letters: a command, settings, a table of characters."""
        return self._add(f"<pre><code>{escape(str(text))}</code></pre>")

    def table(self, header: Sequence[Any], rows: Iterable[Sequence[Any]], caption: str = "") -> Report:
        """Add a table.

        Parameters
        ----------
        header : sequence
            Names of the columns.
        rows : iterable of sequences
            As many cells as the header. Numbers stand to the right, floats with four significant digits;
            None is an empty cell.
        caption : str, default=""
            Stands below.

        Returns
        -------
        self : Report

        Raises
        ------
        ValueError
            If a row has not as many cells as the header.
        """
        lines, numeric = [], [False] * len(header)
        for i, row in enumerate(rows):
            if len(row) != len(header):
                raise ValueError(
                    f"rows must have as many cells as the header, {len(header)}, but row {i} has {len(row)}"
                )
            lines.append(f"<tr>{''.join(map(_cell, row))}</tr>")
            numeric = [known or _is_number(value) for known, value in zip(numeric, row, strict=True)]
        head = "".join(
            f'<th scope="col"{_RIGHT if right else ""}>{escape(str(name))}</th>'
            for name, right in zip(header, numeric, strict=True)
        )
        below = f"<caption>{escape(str(caption))}</caption>" if caption else ""
        body = "\n".join(lines)
        return self._add(
            f'<div class="scroll"><table>{below}\n<thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{body}\n</tbody></table></div>"
        )

    def figure(self, figure_or_axes: Figure | Axes, caption: str = "", dpi: int = 100) -> Report:
        """Add a picture; the figure is drawn now and can be closed.

        Parameters
        ----------
        figure_or_axes : matplotlib Figure or Axes
            The figure, or one of its axes.
        caption : str, default=""
            Stands below, and for the picture where it cannot be seen.
        dpi : int, default=100
            Pixels per inch.

        Returns
        -------
        self : Report
        """
        from base64 import b64encode

        buffer, whole = io.BytesIO(), figure_or_axes
        if not hasattr(whole, "figure"):
            raise TypeError(f"figure_or_axes must be a matplotlib Figure or Axes, got {type(whole).__name__}")
        whole = whole.figure.figure  # type: ignore[union-attr]  # that of axes may be a subfigure
        check_integer("dpi", dpi, 10, 1000)
        whole.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})  # type: ignore[union-attr]
        text = escape(str(caption))
        below = f"<figcaption>{text}</figcaption>" if caption else ""
        data = b64encode(buffer.getvalue()).decode()
        return self._add(f'<figure><img alt="{text}" src="data:image/png;base64,{data}">{below}</figure>')

    def html(self) -> str:
        """Return the page."""
        title, body = escape(self.title), "\n".join(self._blocks)
        summary = f"{_paragraph(self.summary)}\n" if self.summary else ""
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            f"<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n"
            f"<h1>{title}</h1>\n{summary}{body}\n"
            f"<footer>sparsegen_classic {__version__}</footer>\n</body>\n</html>\n"
        )

    def write(self, path: str | os.PathLike[str], overwrite: bool = False) -> Path:
        """Write the page, whole or not at all.

        Parameters
        ----------
        path : path
            Ends in ``.html`` or ``.htm``.
        overwrite : bool, default=False
            Replace a file that is there; otherwise a FileExistsError.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            If the suffix is another.
        FileExistsError, FileNotFoundError, IsADirectoryError, PermissionError
            If nothing can be written there.
        """
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"path must end in .html or .htm, got {path}")
        with atomic_write(path, overwrite) as file:
            file.write(self.html().encode())
        return path

    def _add(self, block: str) -> Report:
        self._blocks.append(block)
        return self


def _paragraph(text: str) -> str:
    return f"<p>{escape(str(text)).replace(chr(10), '<br>')}</p>"


class _Number(str):
    """A number that is text already; it stands to the right like others."""


def _is_number(value: Any) -> bool:
    return isinstance(value, _Number) or (isinstance(value, Real) and not isinstance(value, bool))


def _cell(value: Any) -> str:
    if not _is_number(value):
        return f"<td>{'' if value is None else escape(str(value))}</td>"
    if isinstance(value, _Number):
        shown = escape(value)
    else:
        shown = f"{value:,}" if isinstance(value, Integral) else f"{value:.4g}"
    return f"<td{_RIGHT}>{shown}</td>"


def evaluation_report(evaluation: Evaluation, title: str = "Samples measured", command: str = "") -> Report:
    """Return the page of an evaluation: what it says in words, its table, and the pictures.

    Parameters
    ----------
    evaluation : Evaluation
        Of :func:`evaluate` or :func:`evaluate_generator`.
    title : str, default="Samples measured"
        Title of the page.
    command : str, default=""
        How it was made, for those who want to do it again.

    Returns
    -------
    Report
        Write it with ``.write(path)``.

    Examples
    --------
    >>> from sparsegen_classic import evaluate, open_images
    >>> from sparsegen_classic.reports import evaluation_report
    >>> digits = open_images("digits").images
    >>> result = evaluate({"halves": digits[:200] / 2}, digits[:1200], digits[1200:])
    >>> "Nearest training images of halves" in evaluation_report(result).html()
    True
    """
    names = evaluation.names(SAMPLES)
    report = Report(title, f"{', '.join(names)} beside real images, copies of them and noise.")
    for name in names:
        report.heading(f"What the figures say of {name}")
        report.paragraph("\n".join(evaluation.verdict(name)))
    _add_figures(report, evaluation)
    for name in names:
        _add_sheet(report, f"Images of {name}", evaluation.images[name], _SHEET)
    _add_sheet(report, "Real images, held out", evaluation.held_out, _SHEET)
    for name in names:
        _add_neighbours(report, evaluation, name)
    _add_distances(report, evaluation)
    if evaluation.supports:
        _add_supports(report, evaluation)
    header, rows = evaluation.class_table()
    if rows:
        report.heading("Classes, as the network sees them").table(header, rows)
    for name in evaluation.names(CONTROL):
        _add_sheet(report, f"Control: {name}", evaluation.images[name], _SMALL)
    report.heading("Settings")
    return report.code(
        "\n".join([*([command] if command else []), *(f"{k}: {v}" for k, v in evaluation.settings.items())])
    )


def _add_figures(report: Report, evaluation: Evaluation) -> None:
    header, rows = evaluation.table()
    report.heading("Figures")
    report.paragraph(
        "The rows of real images are what the best generator could reach; copies show which figures praise a "
        "generator that has learned the training images by heart; noise shows what bad samples get."
    )
    cut = header.index(FIGURES["ndb"][0])
    for part in (slice(1, cut), slice(cut, None)):  # two tables fit on paper
        report.table(["", *header[part]], [[row[0], *map(_Number, row[part])] for row in rows])
    known = {name: meaning for name, _, meaning in FIGURES.values()}
    report.table(["figure", "what it is"], [[name, known[name]] for name in header[1:]])


def _add_sheet(report: Report, heading: str, images: NDArray[np.float32], n_shown: int) -> None:
    shown = images[np.linspace(0, len(images) - 1, min(n_shown, len(images))).astype(int)]
    report.heading(heading)
    _add_and_close(
        report, plot_images(shown, n_columns=10), f"{len(shown)} of {len(images):,}, evenly spaced"
    )


def _add_neighbours(report: Report, evaluation: Evaluation, name: str) -> None:
    images, copies = evaluation.images[name], evaluation.sets[name].copies
    n = min(_PAIRS, len(images))
    order = np.argsort(copies.distances, kind="stable")
    report.heading(f"Nearest training images of {name}")
    for rows, caption in (
        (np.linspace(0, len(images) - 1, n).astype(int), "evenly spaced samples"),
        (order[:n], "the samples that are nearest to a training image of all: copies would be here"),
    ):
        pairs = plot_neighbours(images[rows], evaluation.training[copies.nearest[rows]])
        _add_and_close(report, pairs, f"{caption}; nearest {evaluation.settings['copy_test']}")


def _add_distances(report: Report, evaluation: Evaluation) -> None:
    import matplotlib.pyplot as plt

    parts = {name: evaluation.sets[name].copies for name in evaluation.names(SAMPLES)}
    held_out = next(iter(parts.values())).held_out_distances
    together = np.concatenate([held_out, *(part.distances for part in parts.values())])
    edges = np.linspace(0, np.quantile(together, 0.999), 80).tolist()
    figure, ax = plt.subplots(figsize=(8, 3.5), layout="constrained")
    ax.hist(held_out, edges, density=True, color="0.8", label="held-out images")
    for name, part in parts.items():
        ax.hist(part.distances, edges, density=True, histtype="step", linewidth=1.5, label=name)
    ax.set(xlabel="distance to the nearest training image", ylabel="density")
    ax.legend()
    report.heading("Distances to the training images")
    copies = "; ".join(f"{name}: copy P {part.probability:.3f}" for name, part in parts.items())
    _add_and_close(report, figure, f"Curves to the left of the grey are suspect. {copies}.")


def _add_supports(report: Report, evaluation: Evaluation) -> None:
    import matplotlib.pyplot as plt

    for name, part in evaluation.supports.items():
        figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
        at = np.arange(len(part.overlaps))
        ax.bar(at - 0.2, part.overlaps, 0.4, label=name)
        if part.real_overlaps is not None:
            ax.bar(at + 0.2, part.real_overlaps, 0.4, color="0.7", label="held-out images")
        ax.set(xlabel="most atoms shared with one training support", ylabel="share", xticks=at)
        ax.legend()
        report.heading(f"Supports of {name}")
        caption = f"{part.in_training:.2%} of the supports equal that of a training image."
        _add_and_close(report, figure, caption)
        report.table(
            ["moments of supports, sampled against training", ""],
            [
                ["root mean square error of the frequencies of atoms", part.state_error],
                ["the same for two sets of one law", part.state_noise],
                ["correlation of the frequencies of pairs", part.pair_correlation],
                ["mean number of atoms, sampled", float(part.sizes @ np.arange(len(part.sizes)))],
                ["mean number of atoms, training", float(part.real_sizes @ np.arange(len(part.real_sizes)))],
            ],
        )
        if np.isfinite(part.held_out_likelihood):
            report.table(
                ["supports under the network", "training", "held out", "independent, held out", "sampled"],
                [
                    ["log P(atom | rest), nats", part.training_likelihood, part.held_out_likelihood,
                     part.independent_likelihood, None],
                    ["log-weight (minus energy)", part.training_weight, part.held_out_weight, None,
                     part.drawn_weight],
                ],
            )  # fmt: skip


def _add_and_close(report: Report, picture: Any, caption: str) -> None:
    import matplotlib.pyplot as plt

    report.figure(picture, caption)
    plt.close(picture.figure.figure)
