"""log Z: published values, enumeration, and annealing within its own standard error."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp

from sparsegen_classic.support import (
    GibbsSampler,
    MarkovSupports,
    PairwiseSupports,
    enumerate_supports,
    log_partition,
)
from sparsegen_classic.support.annealed import _independent
from tests.naive_support import boltzmann_machine, codes_of, naive_law, planted
from tests.support.test_gibbs import assert_follows


def test_all_sizes_together_are_the_boltzmann_machine():
    """Check C9.2: log Z, inclusion probabilities and entropy of four units of free size."""
    model = boltzmann_machine()
    logs = np.array([log_partition(model, size).value for size in range(5)])
    log_z = logsumexp(logs)
    assert log_z == pytest.approx(3.0385145071, abs=1e-10)
    inclusion, entropy = np.zeros(4), 0.0
    for size in range(5):
        supports, law = enumerate_supports(model, size)
        law = law * np.exp(logs[size] - log_z)
        entropy -= (law * np.log(law)).sum()
        for m in range(4):
            inclusion[m] += law[(supports == m).any(axis=1)].sum()
    assert_allclose(inclusion, [0.426818, 0.638705, 0.696024, 0.446543], atol=1e-6)
    assert entropy == pytest.approx(2.6062445650, abs=1e-10)


def test_annealing_the_boltzmann_machine():
    model = boltzmann_machine()
    results = [
        log_partition(model, size, method="ais", n_chains=2_000, n_temperatures=101, random_state=size)
        for size in range(5)
    ]
    values, errors = (np.array([getattr(r, name) for r in results]) for name in ("value", "standard_error"))
    log_z = logsumexp(values)
    error = np.sqrt(((np.exp(values - log_z) * errors) ** 2).sum())
    assert abs(log_z - 3.0385145071) < 4.5 * error
    assert error < 0.001
    assert all(1_900 < r.effective_sample_size <= 2_000.001 for r in results)


@pytest.mark.parametrize("seed", [0, 1])
def test_annealing_is_right_within_its_error_and_between_its_bounds(seed):
    model = planted(seed, 14, scale=1.5)
    exact = log_partition(model, 5)
    assert exact.method == "exact"
    assert exact.standard_error == 0
    assert exact.value == pytest.approx(
        np.log(sum(np.exp(model.log_weights(enumerate_supports(model, 5)[0]))))
    )
    draws = GibbsSampler(burn_in=200).sample(model, 200, seed, size=5)
    result = log_partition(
        model, 5, method="ais", n_chains=200, n_temperatures=100, supports=draws, random_state=seed
    )
    assert result.method == "ais"
    assert 0 < result.standard_error < 0.2
    assert abs(result.value - exact.value) < 4.5 * result.standard_error
    assert 20 < result.effective_sample_size <= 200
    assert abs(result.upper - exact.value) < 0.5


def test_impossible_pairs():
    model = MarkovSupports(smoothing=0).fit(codes_of(["012", "013", "123", "024", "034"], 5))
    exact = log_partition(model, 3).value
    assert exact == pytest.approx(logsumexp(model.log_weights(codes_of(enumerate_supports(model, 3)[0], 5))))
    draws = GibbsSampler().sample(model, 500, 0)
    result = log_partition(
        model, 3, method="ais", n_chains=1_000, n_temperatures=50, supports=draws, random_state=0
    )
    assert abs(result.value - exact) < 4.5 * result.standard_error
    assert abs(result.upper - exact) < 0.1
    with pytest.raises(ValueError, match="is possible"):
        log_partition(model, 5)


def test_independent_supports_are_drawn_exactly():
    theta = np.array([0.5, -1.0, 0.0, 2.0, -np.inf, 1.0])
    base, supports = _independent(theta, 3, 20_000, np.random.default_rng(0))
    possible, law = naive_law(theta, np.zeros((6, 6)), 3)
    assert base == pytest.approx(np.log(sum(np.exp(theta[list(support)].sum()) for support in possible)))
    assert_follows(supports, np.array(possible), law)


def test_n_jobs_does_not_matter():
    one, two = (
        log_partition(planted(5, 12), 4, method="ais", n_temperatures=20, random_state=1, n_jobs=n_jobs)
        for n_jobs in (1, 2)
    )
    assert one == two


def test_too_many_supports_are_annealed():
    model = planted(6, 60, scale=0.3)
    result = log_partition(model, 8, n_chains=50, n_temperatures=30, random_state=0)
    assert result.method == "ais"
    with pytest.raises(ValueError, match=r"60 states have .* supports of size=8"):
        log_partition(model, 8, method="exact")


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (5, {}, "size must be at least 0 and at most 4, got 5"),
        (2, {"method": "bp"}, "method must be one of 'auto', 'exact', 'ais'"),
        (2, {"method": "ais", "n_chains": 1}, "n_chains must be at least 2"),
        (2, {"method": "ais", "n_temperatures": 1}, "n_temperatures must be at least 2"),
        (2, {"method": "ais", "supports": [[0, 1, 2]]}, "supports must be possible under the model"),
    ],
)
def test_bad_arguments(size, options, message):
    with pytest.raises(ValueError, match=message):
        log_partition(boltzmann_machine(), size, **options)


def test_a_model_without_possible_supports():
    model = PairwiseSupports(np.zeros(3), np.full((3, 3), -np.inf))
    for method in ("exact", "ais"):
        with pytest.raises(ValueError, match="none that was reached, is possible"):
            log_partition(model, 2, method=method, n_temperatures=3)
    assert_array_equal(log_partition(model, 1).value, np.log(3))
