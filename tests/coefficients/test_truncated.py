"""The positive orthant: exact moments within standard errors, the far tails, reproducibility."""

import numpy as np
import pytest
from scipy import stats

from sparsegen_classic._kernels.truncated import _excess, gibbs_positive
from sparsegen_classic.coefficients import sample_truncated_normal
from sparsegen_classic.coefficients.truncated import draw_positive

PAIR = np.array([[1, 0.5], [0.5, 1]])


def test_pair_mean():
    x = sample_truncated_normal([0, 0], PAIR, 20_000, random_state=0)
    expected = 1.5 / (2 * np.sqrt(2 * np.pi)) * 3  # orthant probability 1/4 + asin(1/2) / (2 pi) = 1/3
    assert expected == pytest.approx(0.897621, abs=1e-6)
    error = x.std(axis=0) / np.sqrt(len(x))
    assert (np.abs(x.mean(axis=0) - expected) < 4 * error).all()


def test_gibbs_alone_has_the_pair_law():
    """Against rejection, in which every accepted draw is exact."""
    rng = np.random.default_rng(1)
    gibbs = np.array([gibbs_positive(np.zeros(2), PAIR, 1 - rng.random((50, 2))) for _ in range(5000)])
    exact = rng.multivariate_normal([0, 0], PAIR, 60_000)
    exact = exact[(exact > 0).all(axis=1)]
    for statistic in (lambda x: x[:, 0], lambda x: x[:, 0] * x[:, 1], lambda x: x.max(axis=1)):
        assert stats.ks_2samp(statistic(gibbs), statistic(exact)).pvalue > 1e-4


@pytest.mark.parametrize("mean", [-40.0, -6.0, -4.0, -1.0, 0.0, 2.0, 30.0])
def test_one_dimension_follows_its_distribution_function(mean):
    sd = 2.0
    x = sample_truncated_normal([mean * sd], [[sd**2]], 4000, random_state=2)[:, 0]
    assert x.min() > 0
    log_tail = stats.norm.logsf(x / sd - mean) - stats.norm.logsf(-mean)
    assert stats.kstest(np.exp(log_tail), "uniform").pvalue > 1e-4


@pytest.mark.parametrize("a", [-40.0, -5.0, 0.0, 4.99, 5.0, 5.01, 12.0, 40.0, 300.0])
def test_excess_inverts_the_tail(a):
    for u in (1 - 1e-3, 0.5, 1e-3, 2.0**-53):
        reached = stats.norm.logsf(a + _excess(a, u)) - stats.norm.logsf(a)
        assert reached == pytest.approx(np.log(u), rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("scale", [1e-150, 1e-3, 1.0, 1e150])
@pytest.mark.parametrize("mean", [-1e100, -1e5, -40.0, 40.0, 1e5])
def test_far_tails_stay_positive_and_finite(mean, scale):
    if mean == -1e100 and scale == 1e-150:
        scale = 1.0
    k = 6
    covariance = scale**2 * (0.9 + 0.1 * np.eye(k))
    x = sample_truncated_normal(np.full(k, mean * scale), covariance, 20, random_state=3)
    assert np.isfinite(x).all()
    assert (x > 0).all()


def test_smallest_and_largest_uniforms():
    for u in (1.0, 2.0**-53):
        for mean in (-40.0, 0.0, 40.0):
            x = gibbs_positive(np.full(2, mean), PAIR, np.full((3, 2), u))
            assert np.isfinite(x).all()
            assert (x > 0).all()


def test_prefix_and_seed():
    x = sample_truncated_normal([-3, -3], PAIR, 8, random_state=4)
    assert np.array_equal(x[:3], sample_truncated_normal([-3, -3], PAIR, 3, random_state=4))
    assert not np.array_equal(x, sample_truncated_normal([-3, -3], PAIR, 8, random_state=5))
    assert sample_truncated_normal([0, 0], PAIR, 0).shape == (0, 2)
    assert draw_positive(np.zeros(1), np.eye(1), np.random.default_rng(0)).shape == (1,)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([0, 0], np.eye(3)), r"covariance must have shape \(2, 2\), got \(3, 3\)"),
        (([0, 0], [[1, 2], [2, 1]]), "covariance must be positive definite, got smallest eigenvalue -1"),
        (([0, np.nan], np.eye(2)), "mean must be a finite vector"),
        (([0, 0], np.eye(2), -1), "n_samples must be at least 0"),
    ],
)
def test_bad_input(arguments, match):
    with pytest.raises(ValueError, match=match):
        sample_truncated_normal(*arguments)
