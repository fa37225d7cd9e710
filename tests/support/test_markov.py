"""Equation (2): closed forms, exact enumeration, definitions, bad input."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsegen_classic.support import MarkovSupports, enumerate_supports
from tests import naive_support
from tests.naive_support import codes_of

TOY = ["012", "012", "013", "023", "124", "012", "234", "034", "014", "123"]
TOY_LAW = [0.243427, 0.102240, 0.085200, 0.122687, 0.068160, 0.071568, 0.102240, 0.085200, 0.047712, 0.071568]
TOY_LAW_TWICE = [
    0.340931, 0.084196, 0.073087, 0.121243, 0.046776, 0.072198, 0.084196, 0.073087, 0.032088, 0.072198
]  # fmt: skip


def random_signed_codes(seed, n_samples=60, n_components=4, density=0.5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_samples, n_components)) * (rng.random((n_samples, n_components)) < density)


def supports_of(X):
    n_components = X.shape[1]
    return [{m + n_components * (row[m] < 0) for m in np.flatnonzero(row)} for row in X]


@parametrize_with_checks([MarkovSupports()])
def test_scikit_learn_estimator_checks(estimator, check):
    check(estimator)


class TestToyOfTenSupports:
    X = codes_of(TOY, 5)

    def test_counts_and_factors(self):
        model = MarkovSupports(smoothing=0).fit(self.X)
        assert_array_equal(model.states_, range(5))
        assert_array_equal(model.counts_, [7, 7, 7, 5, 4])
        assert_array_equal(np.diag(model.pair_counts_), model.counts_)
        assert_array_equal(model.size_counts_, [0, 0, 0, 10])
        assert_allclose(np.exp(model.log_factors_), np.array([7, 7, 7, 5, 4]) / 30)
        ratios = [1.530612, 1.224490, 1.285714, 1.071429, 1.530612]  # 01 02 03 04 12
        ratios += [0.857143, 1.071429, 1.285714, 1.071429, 1.5]  # 13 14 23 24 34
        upper = np.triu_indices(5, 1)
        assert_allclose(np.exp(model.log_pair_factors_)[upper], ratios, atol=1e-6)
        assert_array_equal(model.log_pair_factors_, model.log_pair_factors_.T)
        assert_array_equal(np.diag(model.log_pair_factors_), -np.inf)

    def test_law_and_normalisation(self):
        model = MarkovSupports(smoothing=0).fit(self.X)
        supports, law = enumerate_supports(model, 3)
        assert_allclose(law, TOY_LAW, atol=1e-6)
        weights = np.exp(model.log_weights(codes_of(supports, 5)))
        assert weights.sum() == pytest.approx(0.1497084548, abs=1e-10)
        assert_allclose(weights / weights.sum(), law)

    def test_pairs_twice_is_exponent_two(self):
        _, law = enumerate_supports(MarkovSupports(smoothing=0, pair_exponent=2.0).fit(self.X), 3)
        assert_allclose(law, TOY_LAW_TWICE, atol=1e-6)

    def test_conditional(self):
        model = MarkovSupports(smoothing=0).fit(self.X)
        probabilities = model.conditional([[1, 1, 0, 0, 0]])
        assert probabilities.shape == (1, 10)
        assert_allclose(probabilities[0, :5], [0, 0, 0.564972, 0.237288, 0.197740], atol=1e-6)
        assert not probabilities[0, 5:].any()

    def test_inclusion(self):
        supports, law = enumerate_supports(MarkovSupports(smoothing=0).fit(self.X), 3)
        inclusion = naive_support.inclusion(supports, law, 5)
        assert_allclose(inclusion, [0.693281, 0.666018, 0.693281, 0.518014, 0.429406], atol=1e-6)

    @pytest.mark.parametrize(("exponent", "expected"), [(1.0, 0.136752), (0.0, 0.224354)])
    def test_divergence_of_the_data_from_the_model(self, exponent, expected):
        model = MarkovSupports(smoothing=0, pair_exponent=exponent).fit(self.X)
        supports, law = enumerate_supports(model, 3)
        data = np.array([TOY.count("".join(map(str, support))) for support in supports]) / 10
        used = data > 0
        assert (data[used] * np.log(data[used] / law[used])).sum() == pytest.approx(expected, abs=1e-6)


def test_two_atoms_a_support_reproduce_the_data_exactly():
    model = MarkovSupports(smoothing=0).fit(codes_of(["01", "01", "02", "13", "23"], 4))
    assert_allclose(enumerate_supports(model, 2)[1], [0.4, 0.2, 0, 0, 0.2, 0.2], atol=1e-15)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize(("smoothing", "exponent"), [(0.5, 1.0), (0, 0.7), (3.0, 2.0), (0, 0)])
def test_factors_of_signed_codes_of_many_sizes_by_definition(container, smoothing, exponent):
    X = random_signed_codes(0)
    model = MarkovSupports(smoothing=smoothing, pair_exponent=exponent).fit(container(X))
    smallest = 1.0 if exponent == 0 else smoothing  # 0^0 = 1: independent atoms, seen together or not
    theta, table = naive_support.naive_factors(supports_of(X), 8, 4, smallest, exponent)
    assert_array_equal(model.states_, range(8))
    assert_allclose(model.log_factors_, theta)
    assert_allclose(model.log_pair_factors_, table)


def test_weights_and_conditionals_by_definition():
    X = random_signed_codes(1)
    model = MarkovSupports(smoothing=0.3).fit(X)
    theta, table = naive_support.naive_factors(supports_of(X), 8, 4, 0.3, 1.0)
    for row, weight, conditional in zip(X, model.log_weights(X), model.conditional(X), strict=True):
        [support] = supports_of(row[None])
        pairs = sum(table[m, other] for m in support for other in support if m < other)
        assert weight == pytest.approx(sum(theta[m] for m in support) + pairs)
        if len(support) < 4:
            assert_allclose(conditional, naive_support.naive_conditional(theta, table, support))
        else:
            assert not conditional.any()  # every atom is taken, by one sign or the other


def test_enumeration_of_signed_codes_by_definition():
    X = random_signed_codes(2)
    model = MarkovSupports().fit(X)
    supports, law = enumerate_supports(model, 3)
    expected_supports, expected = naive_support.naive_law(
        *naive_support.naive_factors(supports_of(X), 8, 4, 0.5, 1.0), 3
    )
    assert_array_equal(supports, expected_supports)
    assert_allclose(law, expected)
    both_signs = [len({m % 4 for m in support}) < 3 for support in supports.tolist()]
    assert not law[both_signs].any()


def test_much_smoothing_and_exponent_zero_make_atoms_independent():
    X = random_signed_codes(3)
    _, smooth = enumerate_supports(MarkovSupports(smoothing=1e9).fit(X), 3)
    _, independent = enumerate_supports(MarkovSupports(pair_exponent=0).fit(X), 3)
    assert_allclose(smooth, independent, atol=1e-6)


def test_planted_model_is_found_again():
    rng = np.random.default_rng(0)
    theta, table = rng.normal(size=8) * 0.3, rng.normal(size=(8, 8)) * 0.3
    table = (table + table.T) / 2
    supports, planted = naive_support.naive_law(theta, table, 3)
    assert len(supports) == 56
    X = codes_of([supports[i] for i in rng.choice(56, size=50_000, p=planted)], 8)
    laws = [enumerate_supports(MarkovSupports(pair_exponent=tau).fit(X), 3)[1] for tau in (1.0, 0.0)]
    uses = codes_of(supports, 8)
    moments = [uses.T @ (law[:, None] * uses) for law in (planted, *laws)]  # diagonal: inclusion
    pairwise, independent = (np.abs(moment - moments[0]).max() for moment in moments[1:])
    assert pairwise < 0.02
    assert pairwise < 0.5 * independent
    divergences = [(planted * np.log(planted / law)).sum() for law in laws]
    assert divergences[0] < 0.3 * divergences[1]


def test_rare_states_are_left_out():
    X = codes_of(["01", "01", "12", "13"], 4)
    model = MarkovSupports(min_count=2).fit(X)
    assert_array_equal(model.states_, [0, 1])
    assert_array_equal(model.counts_, [2, 4])
    assert_array_equal(model.supports_, [[0, 1], [0, 1]])
    assert_array_equal(model.size_counts_, [0, 0, 2])
    assert_allclose(np.exp(model.log_factors_), [2 / 8, 4 / 8])  # of all atoms, left out or not
    assert_allclose(model.log_pair_factors_[0, 1], np.log(2.5 / (2 * 4 * 8 / 64 + 0.5)))
    assert_array_equal(np.isneginf(model.log_weights(X)), [False, False, True, True])
    assert not model.conditional([[0, 0, 1, 0]]).any()


def test_supports_are_as_wide_as_the_largest_that_is_kept():
    model = MarkovSupports(min_count=2).fit(codes_of(["01", "01", "0123"], 4))
    assert_array_equal(model.supports_, [[0, 1], [0, 1]])
    assert_array_equal(model.size_counts_, [0, 0, 2])


def test_empty_supports_count_as_a_size():
    model = MarkovSupports().fit([[0, 0, 0], [1, 1, 0], [0, 0, 0]])
    assert_array_equal(model.size_counts_, [2, 0, 1])
    assert_array_equal(model.supports_, [[-1, -1], [0, 1], [-1, -1]])
    assert model.log_weights([[0, 0, 0]]) == 0
    assert_allclose(model.conditional([[0, 0, 0]])[0], [0.5, 0.5, 0, 0, 0, 0])
    assert_array_equal(enumerate_supports(model, 0)[1], [1.0])


def test_single_atoms_have_no_pairs():
    model = MarkovSupports(smoothing=0).fit([[1, 0, 0], [0, -1, 0], [0, -2, 0]])
    assert_allclose(enumerate_supports(model, 1)[1], [1 / 3, 2 / 3])
    with pytest.raises(ValueError, match=r"no support of size=2 is possible .* smoothing > 0"):
        enumerate_supports(model, 2)


def test_a_code_seen_nowhere_is_impossible():
    model = MarkovSupports().fit([[1, 1, 0, 0], [1, 0, -1, 0]])
    assert_array_equal(np.isneginf(model.log_weights([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]])), [0, 1, 1])


def test_weights_do_not_depend_on_n_jobs():
    X = random_signed_codes(4, n_samples=1000, n_components=20, density=0.3)
    one, two = (MarkovSupports(n_jobs=n_jobs).fit(X).log_weights(X) for n_jobs in (1, 2))
    assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"smoothing": -0.1}, ValueError, "smoothing must be at least 0.0, got -0.1"),
        ({"smoothing": "a"}, TypeError, "smoothing must be a real number"),
        ({"pair_exponent": -1}, ValueError, "pair_exponent must be at least 0.0 and at most 10.0, got -1"),
        ({"min_count": 0}, ValueError, "min_count must be at least 1, got 0"),
        ({"min_count": 1.5}, TypeError, "min_count must be an integer, got 1.5"),
        ({"min_count": 5}, ValueError, r"at least min_count=5 times \(at most 2\); lower min_count"),
        ({"min_count": 2}, ValueError, "every training support .* lower min_count"),
    ],
)
def test_bad_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        MarkovSupports(**parameters).fit(codes_of(["01", "02"], 3))


def test_codes_without_atoms():
    with pytest.raises(ValueError, match="give codes with non-zero entries"):
        MarkovSupports().fit(np.zeros((3, 4)))


def test_wrong_width_and_no_fit():
    model = MarkovSupports().fit(codes_of(["01", "02"], 3))
    with pytest.raises(ValueError, match="2 features, but MarkovSupports is expecting 3"):
        model.log_weights([[1, 1]])
    for call in (MarkovSupports().sample, lambda: MarkovSupports().log_weights([[1]])):
        with pytest.raises(NotFittedError):
            call()
    with pytest.raises(NotFittedError):
        enumerate_supports(MarkovSupports(), 1)


def test_enumeration_says_when_it_is_too_long():
    model = MarkovSupports().fit(np.ones((1, 40)))
    with pytest.raises(ValueError, match=r"40 states have 76904685 supports of size=8.* GibbsSampler"):
        enumerate_supports(model, 8)
    with pytest.raises(ValueError, match="size must be at least 0 and at most 40, got 41; a support holds"):
        enumerate_supports(model, 41)
