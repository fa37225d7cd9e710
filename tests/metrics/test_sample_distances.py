"""Sliced Wasserstein, kernel distance, precision/recall and coverage against naive oracles."""

import numpy as np
import pytest

from sparsegen_classic.metrics import mmd, precision_recall, sliced_wasserstein
from tests import naive_metrics as naive


@pytest.fixture
def sets():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 3)), rng.normal(size=(55, 3)) * 1.5 + 0.5


@pytest.fixture
def large_sets():
    """Sets of more than one block, and more than one part of the other set."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(600, 4)), rng.normal(size=(2300, 4)) + 0.2


def polynomial(x, y):
    return (x @ y / len(x) + 1) ** 3


# sliced Wasserstein


@pytest.mark.parametrize("p", [1, 2, 3.5])
@pytest.mark.parametrize("sizes", [(7, 7), (6, 9), (5, 64)])
def test_along_one_axis_it_is_the_wasserstein_distance(p, sizes):
    rng = np.random.default_rng(2)
    one, other = (rng.normal(size=size) + size / 10 for size in sizes)
    expected = naive.wasserstein_1d(one, other, p)
    for column in (one, -one):
        found = sliced_wasserstein(column[:, None], np.copysign(1, column[0] * one[0]) * other[:, None], p=p)
        assert found == pytest.approx(expected, rel=1e-4)


def test_a_shift_is_seen_by_its_share_along_a_direction():
    rows = np.random.default_rng(3).normal(size=(50, 8))
    shift = np.arange(8.0)
    # E (u.shift)**2 = |shift|**2 / d over the sphere
    found = sliced_wasserstein(rows + shift, rows, n_projections=20_000)
    assert found == pytest.approx(np.sqrt(shift @ shift / 8), rel=0.02)
    assert sliced_wasserstein(rows, rows) == 0
    assert sliced_wasserstein(np.repeat(rows, 3, axis=0), rows) == pytest.approx(0, abs=1e-12)


def test_sliced_is_the_same_for_any_jobs_and_follows_its_seed(large_sets):
    values = [sliced_wasserstein(*large_sets, n_jobs=jobs) for jobs in (1, 3)]
    assert values[0] == values[1]
    assert values[0] != sliced_wasserstein(*large_sets, random_state=1)


# kernel distance


def test_kernel_distance_and_error_by_definition(sets):
    assert mmd(*sets).value == pytest.approx(naive.mmd(*sets, polynomial), rel=1e-10)
    small = [part[:8] for part in sets]
    expected = naive.jackknife_error(*small, lambda *pair: naive.mmd(*pair, polynomial))
    assert mmd(*small).standard_error == pytest.approx(expected, rel=1e-9)
    gaussian = mmd(*sets, kernel="gaussian", gamma=0.3).value
    assert gaussian == pytest.approx(naive.mmd(*sets, lambda x, y: np.exp(-0.3 * ((x - y) ** 2).sum())))


def test_kernel_distance_across_blocks_and_jobs(large_sets):
    for kernel in ("polynomial", "gaussian"):
        results = [mmd(*large_sets, kernel=kernel, n_jobs=jobs) for jobs in (1, 3)]
        assert results[0] == results[1]
    one, other = large_sets
    inner, inner_other, across = (
        (a @ b.T / 4 + 1) ** 3 for a, b in ((one, one), (other, other), (one, other))
    )
    expected = (
        (inner.sum() - np.trace(inner)) / (600 * 599)
        + (inner_other.sum() - np.trace(inner_other)) / (2300 * 2299)
        - 2 * across.mean()
    )
    assert mmd(one, other).value == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_is_unbiased_and_its_error_covers():
    """Two unit Gaussians a shift apart: E k(x, y) of the cubic kernel has a closed form in one dimension."""
    rng, shift = np.random.default_rng(4), 1.0
    # E (xy + 1)**3 = m3 m3' + 3 m2 m2' + 3 m1 m1' + 1 with raw moments m of N(shift, 1) and N(0, 1)
    moments = np.array([shift, 1 + shift**2, shift**3 + 3 * shift])
    plain = np.array([0.0, 1.0, 0.0])
    weights = np.array([3, 3, 1])
    truth = (weights * (moments - plain) ** 2).sum()
    results = [mmd(rng.normal(size=(60, 1)) + shift, rng.normal(size=(60, 1))) for _ in range(300)]
    values, errors = np.array(results).T
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / np.sqrt(300))
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.25)
    null = np.array([mmd(*rng.normal(size=(2, 60, 1))).value for _ in range(300)])
    assert null.mean() == pytest.approx(0, abs=4 * null.std() / np.sqrt(300))


# precision, recall, density, coverage


@pytest.mark.parametrize("k", [1, 3, 5])
def test_coverage_by_definition(sets, k):
    np.testing.assert_allclose(precision_recall(*sets, n_neighbors=k), naive.coverage(*sets, k), rtol=1e-12)
    np.testing.assert_allclose(
        precision_recall(*sets[::-1], n_neighbors=k), naive.coverage(*sets[::-1], k), rtol=1e-12
    )


def test_coverage_across_blocks_and_jobs(large_sets):
    results = [precision_recall(*large_sets, n_jobs=jobs) for jobs in (1, 3)]
    assert results[0] == results[1]
    np.testing.assert_allclose(results[0], naive.coverage(*large_sets, 5), rtol=1e-12)


def test_coverage_of_equal_and_of_disjoint_sets(sets):
    same = precision_recall(sets[0], sets[0])
    assert same.precision == same.recall == same.coverage == 1
    assert same.density == pytest.approx(1, abs=0.21)  # the k-th neighbour lies on the sphere, by rounding
    assert precision_recall(sets[0] + 50, sets[0]) == (0, 0, 0, 0)


def test_coverage_by_hand():
    """On a line, k = 1: the balls of 0, 1, 3 reach 1, 1, 2."""
    references = np.array([[0.0], [1.0], [3.0]])
    samples = np.array([[0.5], [4.5], [20.0]])  # their balls reach 4, 4, 15.5
    result = precision_recall(samples, references, n_neighbors=1)
    assert result.precision == pytest.approx(2 / 3)
    assert result.recall == 1
    assert result.density == 1  # 0.5 in two balls, 4.5 in one, over three samples
    assert result.coverage == 1


def test_coverage_of_gaussians_in_high_dimension():
    """Equal laws: coverage is near 1 - 2**-5 for k = 5, whatever the dimension; recall is not near 1."""
    rng = np.random.default_rng(5)
    result = precision_recall(*rng.normal(size=(2, 1500, 300)), n_jobs=2)
    assert result.coverage == pytest.approx(1 - 2**-5, abs=0.02)
    assert result.density == pytest.approx(1, abs=0.1)
    assert result.precision < 0.9
    assert result.recall < 0.9


def test_few_rows_are_refused(sets):
    with pytest.raises(ValueError, match="minimum of 6 is required"):
        precision_recall(sets[0][:5], sets[1])
    with pytest.raises(ValueError, match="minimum of 3 is required"):
        mmd(sets[0][:2], sets[1])
    with pytest.raises(ValueError, match="kernel must be one of 'polynomial', 'gaussian', got 'cubic'"):
        mmd(*sets, kernel="cubic")
    with pytest.raises(ValueError, match="p must be at least 1, got 0.5"):
        sliced_wasserstein(*sets, p=0.5)
