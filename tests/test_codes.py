"""Codes to states of the doubled dictionary and back."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from sparsegen_classic._codes import codes_from_states, states_from_codes, supports_from_codes

CODES = np.array([[0.5, 0, -2, 0], [0, 0, 0, 0], [0, -1, 0, 3], [4, 0, 0, 0]])


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array, sparse.csr_matrix, sparse.coo_array])
def test_states_by_hand(container):
    states, magnitudes = states_from_codes(container(CODES))
    assert_array_equal(states, [[0, 6], [-1, -1], [3, 5], [0, -1]])
    assert_array_equal(supports_from_codes(container(CODES)), states)
    assert_array_equal(magnitudes, [[0.5, 2], [0, 0], [3, 1], [4, 0]])
    assert states.dtype == np.int32
    assert magnitudes.dtype == np.float64


def test_round_trip_of_random_codes():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(200, 13)) * (rng.random((200, 13)) < 0.3)
    states, magnitudes = states_from_codes(codes)
    back = codes_from_states(states, magnitudes, 13)
    assert_array_equal(back.toarray(), codes)
    assert isinstance(back, sparse.csr_array)
    assert back.has_sorted_indices


def test_explicit_zeros_do_not_count():
    codes = sparse.csr_array((np.array([0.0, 2.0]), ([0, 0], [0, 1])), shape=(1, 3))
    assert_array_equal(states_from_codes(codes)[0], [[1]])
    assert_array_equal(supports_from_codes(codes), [[1]])
    assert codes.nnz == 2  # what is given stays as it is


@pytest.mark.parametrize("dtype", [np.float32, np.int8, bool])
@pytest.mark.parametrize("shuffled", [False, True])
def test_many_rows_in_any_order_and_type_by_definition(dtype, shuffled):
    rng = np.random.default_rng(0)
    dense = (rng.integers(-3, 4, size=(9000, 7)) * (rng.random((9000, 7)) < 0.4)).astype(dtype)
    codes = sparse.csr_array(dense)
    if shuffled:
        codes = codes[:, ::-1].copy()  # columns descend in each row
        assert not codes.has_sorted_indices
        dense = dense[:, ::-1]
    states, magnitudes = states_from_codes(codes)
    assert_array_equal(supports_from_codes(codes), states)
    for row, own, values in zip(dense.astype(float), states, magnitudes, strict=True):
        by_state = {m + 7 * (row[m] < 0): abs(row[m]) for m in np.flatnonzero(row)}
        padding = len(own) - len(by_state)
        assert own.tolist() == sorted(by_state) + [-1] * padding
        assert values.tolist() == [by_state[state] for state in sorted(by_state)] + [0.0] * padding


def test_no_magnitudes_means_ones_with_signs():
    codes = codes_from_states(np.array([[1, 3], [2, -1]]), None, 3)
    assert_array_equal(codes.toarray(), [[-1, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize("shape", [(0, 5), (3, 5)])
def test_empty_codes_have_states_of_width_zero(shape):
    states, magnitudes = states_from_codes(np.zeros(shape))
    assert states.shape == magnitudes.shape == (shape[0], 0)
    assert codes_from_states(states, magnitudes, 5).shape == shape


def test_the_order_of_states_in_a_row_does_not_matter():
    codes = codes_from_states(np.array([[6, -1, 1]]), np.array([[2.0, 0, 3.0]]), 4)
    assert_array_equal(codes.toarray(), [[0, 3, -2, 0]])
