"""How new drawn supports are: exact repeats of training supports, and the largest overlaps with them.

Supports are integer arrays (n, k) padded with -1; the order within a row, and the two widths, do not matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsegen_classic._parallel import for_blocks

_BLOCK = 128


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
    width = max(supports.shape[1], others.shape[1], 1)
    rows = np.full((len(supports) + len(others), width), -1, np.int64)
    rows[: len(supports), : supports.shape[1]] = supports
    rows[len(supports) :, : others.shape[1]] = others
    label = np.unique(np.sort(rows, axis=1), axis=0, return_inverse=True)[1].ravel()
    return np.isin(label[: len(supports)], label[len(supports) :])


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
    n_states = 1 + max(supports.max(initial=-1), others.max(initial=-1))
    uses, other_uses = _indicators(supports, n_states), _indicators(others, n_states).T.tocsr()
    overlaps = np.empty(len(supports), np.int64)

    def work(block: slice) -> None:
        overlaps[block] = (uses[block] @ other_uses).max(axis=1).toarray().ravel()

    for_blocks(work, len(supports), _BLOCK, n_jobs)
    return overlaps


def _indicators(supports: NDArray[np.integer], n_states: int) -> sparse.csr_array:
    row, position = np.nonzero(supports >= 0)
    ones = np.ones(len(row), np.int32)
    return sparse.csr_array((ones, (row, supports[row, position])), shape=(len(supports), max(n_states, 1)))
