"""A model given by its factors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sparsegen_classic.support import GibbsSampler, MarkovSupports, PairwiseSupports, enumerate_supports
from sparsegen_classic.support._pairwise import count_pairs, to_indices
from tests.naive_support import codes_of


def test_it_is_the_model_that_it_was_taken_from():
    learned = MarkovSupports().fit(codes_of(["012", "013", "123", "024"], 5))
    training = learned.states_[learned.supports_]
    given = PairwiseSupports(learned.log_factors_, learned.log_pair_factors_, learned.states_, training)
    assert_array_equal(given.supports_, learned.supports_)
    for ours, theirs in zip(enumerate_supports(given, 3), enumerate_supports(learned, 3), strict=True):
        assert_array_equal(ours, theirs)
    assert_array_equal(GibbsSampler().sample(given, 30, 0), GibbsSampler().sample(learned, 30, 0))
    assert_allclose(given.log_weights(training), learned.log_weights(codes_of(training, 5)))


def test_states_have_names_and_padding_counts_for_nothing():
    model = PairwiseSupports([1.0, 2.0, 3.0], np.ones((3, 3)), states=[2, 5, 9], supports=[[9, 2], [5, -1]])
    assert_array_equal(model.supports_, [[0, 2], [1, -1]])
    assert_allclose(model.log_weights([[2, 9, -1], [5, -1, -1], [2, 5, 9], [-1, -1, -1]]), [5, 2, 9, 0])
    assert np.isneginf(model.log_weights([[2, 3]]))


def test_the_diagonal_is_impossible():
    model = PairwiseSupports([0.0, 0.0], [[5.0, 1.0], [1.0, 5.0]])
    assert_array_equal(np.diag(model.log_pair_factors_), [-np.inf, -np.inf])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 0], np.zeros((3, 3))), r"log_factors must have shape .* got \(2,\) and \(3, 3\)"),
        (([], np.zeros((0, 0))), "log_factors must have shape"),
        (([0, 0], [[0, 1], [2, 0]]), "log_pair_factors must be symmetric"),
        (([0, np.nan], np.zeros((2, 2))), "log_factors must be finite or -inf"),
        (([0, 0], [[0, np.inf], [np.inf, 0]]), "log_pair_factors must be finite or -inf"),
        (([0, 0], np.zeros((2, 2)), [1]), "states must be 2 integers"),
        (([0, 0], np.zeros((2, 2)), [3, 1]), "states must be non-negative and ascending"),
        (([0, 0], np.zeros((2, 2)), None, [[0, 7]]), "supports must hold states of the model alone"),
        (([0, 0], np.zeros((2, 2)), None, [0, 1]), "supports must be a 2-D array"),
    ],
)
def test_bad_factors(arguments, message):
    with pytest.raises(ValueError, match=message):
        PairwiseSupports(*arguments)


def test_other_things_are_no_models():
    with pytest.raises(NotFittedError):
        GibbsSampler().sample(clone(MarkovSupports()))
    with pytest.raises(TypeError):
        enumerate_supports(3, 1)


def test_pair_counts_by_definition():
    rows = np.array([[0, 2, 3], [3, 0, -1], [2, 5, 0], [4, 1, -1], [-1, -1, -1]], np.int32)  # 5 is unknown
    held = [set(row[(row >= 0) & (row < 5)].tolist()) for row in rows]
    expected = [[sum({m, other} <= support for support in held) for other in range(5)] for m in range(5)]
    assert_array_equal(count_pairs(rows, 5), expected)


def test_indices_of_many_rows():
    known = np.array([3, 4, 70_000, 2_000_000_000])
    states = np.random.default_rng(0).choice([-1, 0, 3, 4, 5, 70_000, 2_000_000_000], size=(9000, 3))
    position = {-1: -1, 3: 0, 4: 1, 70_000: 2, 2_000_000_000: 3}
    expected = [[position.get(state, 4) for state in row] for row in states.tolist()]
    assert_array_equal(to_indices(states, known), expected)
