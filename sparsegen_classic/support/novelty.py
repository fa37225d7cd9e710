"""How new drawn supports are: exact repeats of training supports, and the largest overlaps with them.

Supports are integer arrays (n, k) padded with -1; the order within a row, and the two widths, do not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._kernels.overlaps import largest_overlaps_of_rows
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic.support.groups import uses_of

_BLOCK = 64
_ROWS = 4096  # supports sorted at once


def matching_rows(supports: NDArray[np.integer], others: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Say for each row of ``supports`` whether it equals some row of ``others``, as a set.

    Parameters
    ----------
    supports, others : ndarray of shape (n, k) and (n_others, k_others), integer
        Padded with -1.

    Returns
    -------
    matches : ndarray of shape (n,), bool

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.support import matching_rows
    >>> matching_rows(np.array([[0, 3], [1, 2], [4, -1]]), np.array([[3, 0, -1], [4, 1, 2]])).tolist()
    [True, False, False]
    """
    width, dtype = max(supports.shape[1], others.shape[1]), np.result_type(supports, others)
    keys = list(_keys(supports, width, dtype))
    seen = set(keys).intersection(_keys(others, width, dtype))
    return np.array([key in seen for key in keys], bool)


def _keys(supports: NDArray[np.integer], width: int, dtype: Any) -> Iterator[bytes]:
    """Yield bytes that are equal for equal sets; few rows are sorted at once."""
    for start in range(0, len(supports), _ROWS):
        part = supports[start : start + _ROWS]
        rows = np.full((len(part), width), -1, dtype)
        rows[:, : part.shape[1]] = part
        rows.sort(axis=1)
        yield from map(bytes, rows)


def matching_share(supports: NDArray[np.integer], others: NDArray[np.integer]) -> float:
    """Return the share of rows of ``supports`` that equal some row of ``others`` (0 for no rows).

    Parameters
    ----------
    supports, others : ndarray of shape (n, k) and (n_others, k_others), integer
        Padded with -1.

    Returns
    -------
    share : float in [0, 1]

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.support import matching_share
    >>> matching_share(np.array([[0, 3], [1, 2]]), np.array([[3, 0]]))
    0.5
    """
    return float(matching_rows(supports, others).mean()) if len(supports) else 0.0


def largest_overlaps(
    supports: NDArray[np.integer], others: NDArray[np.integer], n_jobs: int | None = None
) -> NDArray[np.int64]:
    """Return for each row of ``supports`` the most atoms that it shares with any row of ``others``.

    Parameters
    ----------
    supports, others : ndarray of shape (n, k) and (n_others, k_others), integer
        Padded with -1; ``others`` has at least one row.
    n_jobs : int, default=None
        Threads, as in joblib.

    Returns
    -------
    overlaps : ndarray of shape (n,), int64
        ``np.bincount`` of it is the overlap histogram.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.support import largest_overlaps
    >>> largest_overlaps(np.array([[0, 1, 2], [3, 4, -1]]), np.array([[0, 2, 3], [5, 6, 7]])).tolist()
    [2, 1]
    """
    if len(others) == 0:
        raise ValueError("others must have at least one row to compare with, got none")
    n_states = 1 + max(supports.max(initial=0), others.max(initial=0))
    holders = uses_of(others, n_states).tocsc()
    overlaps = np.empty(len(supports), np.int64)

    def work(block: slice) -> None:
        shared = np.empty(len(others), np.int32)
        largest_overlaps_of_rows(supports[block], holders.indptr, holders.indices, shared, overlaps[block])

    for_blocks(work, len(supports), _BLOCK, n_jobs)
    return overlaps
