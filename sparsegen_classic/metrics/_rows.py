"""What all metrics begin with: images as rows, pairs of sets of one width, and distances between them.

Sets that lie in files (``Rows``, memory maps, image stores) are read whole by :func:`as_rows`, and part by
part by those who take :func:`rows_to_read`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._rows import Rows, as_source

_BLOCK, _PART = 256, 2048  # rows of a block, and how many of the others it meets at a time


def as_rows(name: str, values: Any, at_least: int = 1) -> NDArray[np.floating]:
    """Return images or feature rows as (n, n_features), float32 or float64, finite."""
    array = values[:] if is_on_disk(values) else np.asarray(values)
    if array.ndim < 2:
        raise ValueError(f"{name} must be images or feature rows, (n, ...), found shape {array.shape}")
    rows = array.reshape(len(array), int(np.prod(array.shape[1:])))
    return check_array(rows, dtype=(np.float32, np.float64), input_name=name, ensure_min_samples=at_least)


def is_on_disk(values: Any) -> bool:
    """Say whether images are read when they are asked for: Rows, memory maps, image stores."""
    lazy = (
        hasattr(values, "shape") and not isinstance(values, np.ndarray) and not hasattr(values, "__array__")
    )
    return lazy or isinstance(values, np.memmap)


def rows_to_read(name: str, values: Any) -> Rows:
    """Return images or feature rows as Rows (n, n_features), at least one; nothing is read or copied yet."""
    if isinstance(values, Rows):
        rows = values
    else:
        rows = Rows(as_source(values) if is_on_disk(values) else np.asarray(values))
    shape, kind = rows.source.shape, rows.source.dtype.kind
    if len(shape) < 2 or not len(rows) or kind not in "biuf":
        raise ValueError(
            f"{name} must be numbers in images or feature rows, (n, ...), at least one, "
            f"found shape {(len(rows), *shape[1:]) if shape else shape} of {rows.source.dtype}"
        )
    return rows


def two_sets(
    samples: ArrayLike,
    references: ArrayLike,
    names: tuple[str, str] = ("samples", "references"),
    least: int = 1,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return two sets as rows of one width."""
    one, other = as_rows(names[0], samples, least), as_rows(names[1], references, least)
    check_widths(one, other, names)
    return one, other


def check_widths(one: Any, other: Any, names: tuple[str, str]) -> None:
    """Raise a ValueError unless rows of two sets have equally many values."""
    if one.shape[1] != other.shape[1]:
        raise ValueError(
            f"{names[0]} have {one.shape[1]} values each but {names[1]} have {other.shape[1]}; "
            "bring both to one size"
        )


def centred(rows: NDArray[np.floating], centre: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return rows less a centre in float64, so that products of them lose few digits."""
    return np.subtract(rows, centre, dtype=np.float64)


def for_distances(
    rows: NDArray[np.float64],
    others: NDArray[np.float64],
    visit: Callable[[slice, slice, NDArray[np.float64]], Any],
    n_jobs: int | None,
) -> None:
    """Call ``visit(block, part, squared distances)``; the parts of a block come in order, on one thread."""
    squares, other_squares = (np.einsum("ij,ij->i", part, part) for part in (rows, others))

    def work(block: slice) -> None:
        for start in range(0, len(others), _PART):
            part = slice(start, min(start + _PART, len(others)))
            distance = rows[block] @ others[part].T
            distance *= -2
            distance += squares[block, np.newaxis]
            distance += other_squares[part]
            visit(block, part, np.maximum(distance, 0, out=distance))

    for_blocks(work, len(rows), _BLOCK, n_jobs)
