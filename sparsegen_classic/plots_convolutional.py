"""Figures of convolutional models: filters, maps and the density of needles.

As in ``plots``: drawn on ``ax`` or on a new figure; the axes are returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from sparsegen_classic._validation import check_integer
from sparsegen_classic.convolutional.counts import sparsity_counts
from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.convolutional.sparse_maps import SparseMaps
from sparsegen_classic.images.grid import image_grid
from sparsegen_classic.plots import axes_of, plot_atoms

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_filters", "plot_maps", "plot_needle_density"]


def plot_filters(
    filters: ArrayLike | ConvDictionary,
    *,
    usage: ArrayLike | None = None,
    n_atoms: int | None = None,
    n_columns: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show filters as tiles, each scaled by its largest magnitude, zero mid-grey.

    Parameters
    ----------
    filters : array-like of shape (n_atoms, n_channels, h, w), or ConvDictionary
        With three channels they are shown in colour, otherwise the channels side by side.
    usage : array-like of shape (n_atoms,), optional
        How often each filter is used; the most used come first. Without it they keep their order.
    n_atoms, n_columns, ax
        As for :func:`sparsegen_classic.plots.plot_atoms`.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.plots_convolutional import plot_filters
    >>> plot_filters(np.random.default_rng(0).standard_normal((16, 1, 5, 5))).get_title()
    '16 atoms'
    """
    dictionary = filters if isinstance(filters, ConvDictionary) else ConvDictionary(filters)
    array = dictionary.filters if len(dictionary.atom_shape) == 2 else dictionary.filters[:, :, None]
    n, n_channels, height, width = array.shape
    if n_channels == 3:
        tiles = np.moveaxis(array, 1, -1)
    else:
        tiles = np.moveaxis(array, 1, 2).reshape(n, height, n_channels * width)
    return plot_atoms(
        tiles.reshape(n, -1),
        image_shape=tiles.shape[1:],
        usage=usage,
        n_atoms=n_atoms,
        n_columns=n_columns,
        ax=ax,
    )


def plot_maps(maps: ArrayLike | SparseMaps, *, n_maps: int = 16, ax: Axes | None = None) -> Axes:
    """Show the maps of one image that hold most energy: magnitudes, black 0, white the largest of all.

    Parameters
    ----------
    maps : array-like of shape (n_atoms, h, w), or SparseMaps
        The code of one image.
    n_maps : int, default=16
        Show this many at most.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.plots_convolutional import plot_maps
    >>> plot_maps(np.eye(8)[None]).get_title()
    'the 1 strongest of 1 maps, 8 non-zeros in all'
    """
    dense = np.abs(_dense(maps))
    n_shown = min(check_integer("n_maps", n_maps, 1), len(dense))
    order = np.argsort(-np.square(dense).sum(axis=(1, 2)), kind="stable")[:n_shown]
    sheet = image_grid(dense[order] / (dense.max() or 1), background=0.5)
    title = f"the {n_shown} strongest of {len(dense)} maps, {np.count_nonzero(dense)} non-zeros in all"
    return _show(sheet, title, ax, cmap="gray", vmin=0, vmax=1)


def plot_needle_density(maps: ArrayLike | SparseMaps, *, ax: Axes | None = None) -> Axes:
    """Show how many non-zeros the needle at every position holds, as Figure 3b of Ganz and Elad does.

    Parameters
    ----------
    maps : array-like of shape (n_atoms, h, w), or SparseMaps
        The code of one image.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.plots_convolutional import plot_needle_density
    >>> plot_needle_density(np.eye(8)[None]).get_title()
    'non-zeros a needle: at most 1 of 1, 0.125 on average'
    """
    dense = _dense(maps)
    counts = sparsity_counts(dense, dense.shape[1:]).needle_map
    title = f"non-zeros a needle: at most {counts.max()} of {len(dense)}, {counts.mean():.3g} on average"
    ax = _show(counts, title, ax, cmap="viridis", vmin=0)
    ax.figure.colorbar(ax.images[0], ax=ax, shrink=0.8)
    return ax


def _dense(maps: ArrayLike | SparseMaps) -> np.ndarray:
    dense = maps.to_dense() if isinstance(maps, SparseMaps) else np.asarray(maps)
    if dense.ndim == 2:  # of a signal
        dense = dense[:, None]
    if dense.ndim != 3:
        raise ValueError(
            f"maps must be those of one image, (n_atoms, h, w), got shape {dense.shape}; choose one"
        )
    return dense


def _show(sheet: np.ndarray, title: str, ax: Axes | None, **options: Any) -> Axes:
    ax = axes_of(ax, (7, 6))
    ax.imshow(sheet, interpolation="nearest", **options)
    ax.set_axis_off()
    ax.set_title(title, fontsize=10)
    return ax
