"""Repeats of training supports and overlaps with them, by definition."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sparsegen_classic.support import largest_overlaps, matching_rows, matching_share


def random_supports(seed, n, width, n_states=9):
    rng = np.random.default_rng(seed)
    supports = np.full((n, width), -1, np.int32)
    for row in supports:
        size = rng.integers(width + 1)
        row[:size] = rng.permutation(n_states)[:size]
    return supports


@pytest.mark.parametrize(("width", "other_width"), [(3, 3), (2, 4), (4, 2), (3, 0), (0, 0)])
def test_by_definition(width, other_width):
    supports, others = random_supports(0, 300, width), random_supports(1, 60, other_width)
    rows, other_rows = ([set(row[row >= 0].tolist()) for row in array] for array in (supports, others))
    matches = [row in other_rows for row in rows]
    assert_array_equal(matching_rows(supports, others), matches)
    assert matching_share(supports, others) == np.mean(matches)
    overlaps = [max(len(row & other) for other in other_rows) for row in rows]
    for n_jobs in (1, 2):
        assert_array_equal(largest_overlaps(supports, others, n_jobs=n_jobs), overlaps)


def test_more_rows_than_are_sorted_at_once_and_types_that_differ():
    others = random_supports(1, 9000, 5, n_states=40)
    supports = np.concatenate([others[[4000, 8999]][:, ::-1], random_supports(2, 300, 5, n_states=41)])
    known = {frozenset(row[row >= 0].tolist()) for row in others}
    expected = [frozenset(row[row >= 0].tolist()) in known for row in supports]
    assert_array_equal(matching_rows(supports.astype(np.int64), others), expected)
    assert_array_equal(matching_rows(supports[:2], others), [True, True])


def test_nothing_to_compare():
    supports, none = random_supports(0, 5, 3), np.empty((0, 3), np.int32)
    assert not matching_rows(supports, none).any()
    assert matching_share(none, supports) == 0
    assert largest_overlaps(none, supports).shape == (0,)
    with pytest.raises(ValueError, match="others must have at least one row"):
        largest_overlaps(supports, none)
