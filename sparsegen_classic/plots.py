"""Figures of atoms, images, neighbours and random combinations.

Every function draws on ``ax``, or on a new figure whose size follows the content (one image pixel is a whole
number of figure pixels), and returns the axes. Nothing is shown and no global style is touched.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._files import atomic_write
from sparsegen_classic._validation import check_integer
from sparsegen_classic.images.grid import check_stack, image_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sparsegen_classic.generator import SparseImageGenerator

__all__ = [
    "plot_atoms",
    "plot_dictionary",
    "plot_images",
    "plot_neighbours",
    "plot_random_combinations",
    "save_figure",
]

_WIDTH, _HEIGHT, _TILE, _TITLE, _MARGIN = 7.0, 8.0, 1.5, 0.4, 0.1  # inches: the most of a new figure


def plot_atoms(
    components: ArrayLike,
    *,
    image_shape: tuple[int, ...],
    usage: ArrayLike | None = None,
    n_atoms: int | None = None,
    n_columns: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show atoms as a sheet of tiles, the most used first.

    Each atom is scaled by its largest magnitude: zero is mid-grey, black and white are minus and plus that
    magnitude.

    Parameters
    ----------
    components : array-like of shape (n_components, n_features)
        Rows are atoms, as in ``components_``.
    image_shape : (h, w) or (h, w, 3)
        Shape of one atom; its product is ``n_features``.
    usage : array-like of shape (n_components,), optional
        How often (or how strongly) each atom is used. Without it the atoms keep their order.
    n_atoms : int, optional
        Show this many at most; by default all.
    n_columns : int, optional
        Tiles per row; by default as many as make the sheet about square.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.plots import plot_atoms
    >>> plot_atoms(np.eye(16), image_shape=(4, 4), usage=np.arange(16), n_atoms=9).get_title()
    '9 most used of 16 atoms, usage 15 to 7'
    """
    atoms = np.asarray(components, dtype=np.float64)
    if atoms.ndim != 2 or atoms.shape[1] != np.prod(image_shape):
        raise ValueError(
            f"components must be (n_components, n_features), n_features the product of image_shape = "
            f"{tuple(image_shape)}, found shape {atoms.shape}"
        )
    n_shown = len(atoms) if n_atoms is None else min(check_integer("n_atoms", n_atoms, 1), len(atoms))
    title = f"{len(atoms)} atoms" if n_shown == len(atoms) else f"{n_shown} of {len(atoms)} atoms"
    if usage is not None:
        counts = np.asarray(usage, dtype=np.float64)
        if counts.shape != (len(atoms),):
            raise ValueError(
                f"usage must be one number per atom, shape ({len(atoms)},), found {counts.shape}"
            )
        order = np.argsort(-counts, kind="stable")[:n_shown]
        first = "" if n_shown == len(atoms) else f"{n_shown} most used of "
        title = f"{first}{len(atoms)} atoms, usage {counts[order[0]]:.3g} to {counts[order[-1]]:.3g}"
        atoms = atoms[order]
    tiles = check_stack(atoms[:n_shown].reshape(-1, *image_shape), "atoms")
    largest = np.abs(tiles).reshape(len(tiles), -1).max(axis=1)
    scale = np.where(largest > 0, largest, 1).reshape(-1, *(1,) * (tiles.ndim - 1))
    return _draw(image_grid(tiles / scale / 2 + 0.5, n_columns), tiles, ax, title)


def plot_dictionary(
    generator: SparseImageGenerator, *, n_atoms: int | None = None, ax: Axes | None = None
) -> Axes:
    """Show the atoms of a fitted generator, the most used first; for a model per class one row a class.

    Parameters
    ----------
    generator : SparseImageGenerator
        Fitted on images.
    n_atoms : int, optional
        Atoms to show; by default 20 a class, or all of a single model.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from sparsegen_classic import SparseImageGenerator, open_images
    >>> from sparsegen_classic.plots import plot_dictionary
    >>> digits = open_images("digits")
    >>> generator = SparseImageGenerator(random_state=0).fit(digits.images[:300])
    >>> plot_dictionary(generator, n_atoms=10).get_title()
    '10 most used of 43 atoms, usage 69 to 41'
    """
    shape = tuple(generator.image_shape_)
    usage = [np.diff(part.magnitudes_.indptr).reshape(2, -1).sum(axis=0) for part in generator.coefficients_]
    atoms = [dictionary.components_ for dictionary in generator.dictionaries_]
    if generator.classes_ is None:
        return plot_atoms(atoms[0], image_shape=shape, usage=usage[0], n_atoms=n_atoms, ax=ax)
    n_shown = min(20 if n_atoms is None else check_integer("n_atoms", n_atoms, 1), *map(len, atoms))
    rows = [part[np.argsort(-use, kind="stable")[:n_shown]] for part, use in zip(atoms, usage, strict=True)]
    ax = plot_atoms(np.vstack(rows), image_shape=shape, n_columns=n_shown, ax=ax)
    ax.set_title(f"{n_shown} most used atoms of each class", fontsize=10)
    return ax


def plot_images(
    images: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    n_columns: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show images as a sheet of tiles, each under its label if there are any.

    Parameters
    ----------
    images : array-like of shape (n, h, w) or (n, h, w, 3)
        In [0, 1]; 0 is black and 1 is white, whatever the images hold.
    labels : array-like of shape (n,), optional
        Written above the tiles.
    n_columns : int, optional
        Tiles per row; by default as many as make the sheet about square.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from sparsegen_classic.images import open_images
    >>> from sparsegen_classic.plots import plot_images
    >>> digits = open_images("digits")
    >>> ax = plot_images(digits.images[:20], labels=digits.labels[:20], n_columns=10)
    """
    tiles = check_stack(images)
    if labels is None:
        return _draw(image_grid(tiles, n_columns), tiles, ax)
    names = [str(label) for label in np.asarray(labels)]
    if len(names) != len(tiles):
        raise ValueError(f"labels must be one per image, expected {len(tiles)}, found {len(names)}")
    height, width = tiles.shape[1:3]
    band = max(2, round(0.3 * max(height, width)))
    with_band = np.pad(tiles, ((0, 0), (band, 0)) + ((0, 0),) * (tiles.ndim - 2), constant_values=1)
    sheet = image_grid(with_band, n_columns)
    columns = (sheet.shape[1] - 1) // (width + 1)
    ax = _draw(sheet, tiles, ax)
    size = min(10, _pixel_points(ax, sheet) * min(0.75 * band, 1.6 * width / max(1, *map(len, names))))
    for i, name in enumerate(names):
        row, column = divmod(i, columns)
        x, y = 0.5 + column * (width + 1) + width / 2, 0.5 + row * (height + band + 1) + band / 2
        ax.text(x, y, name, ha="center", va="center", fontsize=size)
    return ax


def plot_neighbours(
    samples: ArrayLike, neighbours: ArrayLike, *, n_columns: int | None = None, ax: Axes | None = None
) -> Axes:
    """Show samples above their nearest training images, as Figures 2-4 of Vaksman and Elad do.

    Parameters
    ----------
    samples : array-like of shape (n, h, w) or (n, h, w, 3)
        Generated images, in [0, 1].
    neighbours : array-like of shape (n, h, w[, 3]) or (n, k, h, w[, 3])
        The nearest training image of every sample, or its ``k`` nearest, nearest first.
    n_columns : int, optional
        Groups per row; by default as many as make the sheet about square.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from sparsegen_classic.images import open_images
    >>> from sparsegen_classic.plots import plot_neighbours
    >>> images = open_images("digits").images
    >>> plot_neighbours(images[:8], images[10:18]).get_title()
    'above: generated, below: nearest training image'
    """
    tops, below = check_stack(samples, "samples"), np.asarray(neighbours, dtype=np.float32)
    if below.shape == np.shape(samples):
        below = below[:, np.newaxis]
    if below.ndim != np.ndim(samples) + 1 or (len(below), *below.shape[2:]) != np.shape(samples):
        raise ValueError(
            f"neighbours must be (n, h, w[, 3]) or (n, k, h, w[, 3]) with the n, h, w of samples "
            f"{np.shape(samples)}, found shape {below.shape}"
        )
    k = below.shape[1]
    groups = np.concatenate([tops[:, np.newaxis], below.reshape(len(tops), k, *tops.shape[1:])], axis=1)
    columns = np.stack([image_grid(group, 1, pad=1)[1:-1, 1:-1] for group in groups])
    gap = max(3, tops.shape[1] // 5)
    nearest = "nearest training image" if k == 1 else f"{k} nearest training images"
    sheet = image_grid(columns, n_columns, pad=gap)[gap:-gap, gap:-gap]
    return _draw(sheet, tops, ax, f"above: generated, below: {nearest}")


def plot_random_combinations(before: ArrayLike, after: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Show random combinations of atoms before and after clipping, as Figure 1 of Vaksman and Elad does.

    Parameters
    ----------
    before : array-like of shape (n, h, w) or (n, h, w, 3)
        Combinations as they come out; shown on one scale, symmetric about zero (mid-grey).
    after : array-like of the same shape
        The same clipped to [0, 1]; 0 is black and 1 is white.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.plots import plot_random_combinations
    >>> before = np.random.default_rng(0).normal(size=(16, 8, 8))
    >>> ax = plot_random_combinations(before, np.clip(before, 0, 1))
    """
    raw, clipped = check_stack(before, "before"), check_stack(after, "after")
    if raw.shape != clipped.shape:
        raise ValueError(f"before and after must have the same shape, found {raw.shape} and {clipped.shape}")
    largest = float(np.abs(raw).max()) or 1.0
    blocks = [image_grid(block) for block in (raw / largest / 2 + 0.5, clipped)]
    gap = max(3, raw.shape[2] // 2)
    space = np.ones((len(blocks[0]), gap, *blocks[0].shape[2:]), np.float32)
    title = (
        f"left: before clipping, -{largest:.3g} (black) to {largest:.3g} (white); right: clipped to [0, 1]"
    )
    return _draw(np.concatenate([blocks[0], space, blocks[1]], axis=1), raw, ax, title)


def save_figure(
    figure: Figure | Axes, path: str | os.PathLike[str], overwrite: bool = False, dpi: int = 200
) -> Path:
    """Write a figure, given itself or one of its axes, as .png, .pdf or .svg.

    The file is written whole or not at all; it holds no date, so the same figure gives the same bytes.

    Parameters
    ----------
    figure : matplotlib Figure or Axes
    path : path
        Ends in ``.png``, ``.pdf`` or ``.svg``.
    overwrite : bool, default=False
        Replace a file that is there; otherwise a FileExistsError.
    dpi : int, default=200
        Pixels per inch of a .png; multiples of 100 keep the pixels of new figures square and equal.

    Returns
    -------
    Path
    """
    import matplotlib

    path = Path(path)
    undated: dict[str, dict[str, Any]] = {
        ".png": {"Software": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        ".svg": {"Date": None, "Creator": None},
    }
    suffix = path.suffix.lower()
    if suffix not in undated:
        raise ValueError(f"path must end in .png, .pdf or .svg, got {path}")
    whole: Any = figure
    whole = whole.figure.figure  # that of axes may be a subfigure; a figure is its own
    with atomic_write(path, overwrite) as file, matplotlib.rc_context({"svg.hashsalt": "sparsegen_classic"}):
        whole.savefig(file, format=suffix[1:], dpi=dpi, metadata=undated[suffix])
    return path


def axes_of(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return ``ax``, or the axes of a new figure of this size in inches."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]


def _draw(sheet: NDArray[np.float32], tiles: NDArray[np.float32], ax: Axes | None, title: str = "") -> Axes:
    """Show a sheet of tiles with 0 black and 1 white; new figures are made to its measure."""
    if ax is None:
        ax = _new_axes(sheet.shape[:2], max(tiles.shape[1:3]), title)
    ax.imshow(np.clip(sheet, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=10)
    return ax


def _new_axes(shape: tuple[int, ...], tile: int, title: str) -> Axes:
    """Make axes that fill a figure but for the title; ``tile`` is the longer side of one image in pixels."""
    import matplotlib.pyplot as plt

    dpi, (rows, columns) = 100, shape
    factor = max(1, int(dpi * min(_WIDTH / columns, _HEIGHT / rows, _TILE / tile)))
    width, height = columns * factor / dpi, rows * factor / dpi
    above = _TITLE if title else _MARGIN
    figure_width = max(width + 2 * _MARGIN, 0.075 * len(title))  # a title of 10 points fits
    figure_height = height + _MARGIN + above
    figure = plt.figure(figsize=(figure_width, figure_height), dpi=dpi)
    left = round((figure_width - width) / 2 * dpi) / dpi
    return figure.add_axes(
        (left / figure_width, _MARGIN / figure_height, width / figure_width, height / figure_height)
    )


def _pixel_points(ax: Axes, sheet: NDArray[np.float32]) -> float:
    """Size of one image pixel in points, for text that fits."""
    figure: Any = ax.figure
    box = ax.get_window_extent()
    return 72 / figure.dpi * min(box.width / sheet.shape[1], box.height / sheet.shape[0])
