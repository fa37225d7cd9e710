"""EM with missing values: published data, closed forms, a row-by-row oracle, divergence, the prior."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsegen_classic.coefficients import MissingDataGaussian
from tests import naive_coefficients as naive

NAN = np.nan
# Little and Rubin: size of the crop and percentage of wormy fruits
APPLE = np.full((18, 2), NAN)
APPLE[:, 0] = 8, 6, 11, 22, 14, 17, 18, 24, 19, 23, 26, 40, 4, 4, 5, 6, 8, 10
APPLE[:12, 1] = 59, 58, 56, 53, 50, 45, 43, 42, 39, 38, 30, 27
MURRAY = np.full((12, 2), NAN)
MURRAY[:8, 0] = 1, 1, -1, -1, 2, 2, -2, -2
MURRAY[[0, 1, 2, 3, 8, 9, 10, 11], 1] = 1, -1, 1, -1, 2, 2, -2, -2
FEW = np.array(
    [
        *[(1, 2, NAN), (1.5, NAN, 0.5), (2, 3, 1), (NAN, 2.5, 0.8)],
        *[(1.2, 2.2, NAN), (0.8, 1.9, 0.3), (NAN, NAN, 0.9), (1.7, 2.6, 0.7)],
    ]
)


@parametrize_with_checks([MissingDataGaussian(), MissingDataGaussian(prior_strength=1.0)])
def test_estimator_contract(estimator, check):
    check(estimator)


def with_holes(seed, n=60, k=5, share=0.4):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, k)) @ rng.standard_normal((k, k)) * 10.0 ** rng.integers(-2, 3, k) + 3
    X[rng.random((n, k)) < share] = NAN
    return X


def after(X, steps, **options):
    """Fit for exactly ``steps`` iterations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return MissingDataGaussian(max_iter=steps, tol=0, **options).fit(X)


def test_apple_maximum_likelihood():
    model = MissingDataGaussian(tol=1e-14).fit(APPLE)
    assert_allclose(model.mean_, [14.7222222222, 49.3333333333], rtol=1e-7)
    expected = [[89.5339506173, -90.6967291967], [-90.6967291967, 114.6949551170]]
    assert_allclose(model.covariance_, expected, rtol=1e-6)
    assert_allclose(model.log_likelihoods_[-1], -101.7856321278, rtol=1e-10)
    # R mvnmle 0.1-11.2, which leaves out the 2 pi constant and stopped early
    assert_allclose(model.log_likelihoods_[-1] + 30 * 0.9189385332, -74.21748, rtol=1e-6)
    assert_allclose(model.covariance_, [[89.53415, -90.69653], [-90.69653, 114.69470]], rtol=1e-3)
    assert_allclose(model.pair_counts_, [[18, 12], [12, 12]])


def test_apple_path():
    model = after(APPLE, 1)
    assert_allclose(model.log_likelihoods_[0], -110.7597419, rtol=1e-9)
    assert_allclose(model.mean_[1], 45.0)
    assert_allclose(model.covariance_, [[89.53395, -52.0], [-52.0, 101.83333]], rtol=1e-6)
    for steps, expected in ((5, 48.7135325), (10, 49.2792352), (20, 49.3329212)):
        model = after(APPLE, steps)
        assert model.n_iter_ == steps == len(model.log_likelihoods_) - 1
        assert_allclose(model.mean_[1], expected, rtol=1e-9)


def test_monotone_pattern_has_a_closed_form():
    both = APPLE[~np.isnan(APPLE[:, 1])]
    slope, intercept = np.polyfit(*both.T, 1)
    residual = np.mean((both[:, 1] - intercept - slope * both[:, 0]) ** 2)
    mean, variance = APPLE[:, 0].mean(), APPLE[:, 0].var()
    assert_allclose([intercept, slope, residual], [64.2467532468, -1.0129870130, 22.8203463203])
    model = MissingDataGaussian(tol=1e-14).fit(APPLE)
    assert_allclose(model.mean_, [mean, intercept + slope * mean], rtol=1e-7)
    cross = slope * variance
    assert_allclose(model.covariance_, [[variance, cross], [cross, residual + slope * cross]], rtol=1e-6)


@pytest.mark.parametrize(
    ("start", "variance", "correlation", "log_likelihood"),
    [(0, 5 / 2, 0, -30.0333423863), (1e-3, 8 / 3, 0.5, -29.9742864105), (-1e-3, 8 / 3, -0.5, -29.9742864105)],
)
def test_murray_two_maxima_and_a_saddle(start, variance, correlation, log_likelihood):
    model = MissingDataGaussian(
        assume_centered=True, init_covariance=[[2.5, 2.5 * start], [2.5 * start, 2.5]], tol=1e-15
    ).fit(MURRAY)
    assert_allclose(model.mean_, 0)
    expected = variance * np.array([[1, correlation], [correlation, 1]])
    assert_allclose(model.covariance_, expected, atol=1e-6)
    assert_allclose(model.log_likelihoods_[-1], log_likelihood, rtol=1e-9)


def test_small_overlap_diverges_without_prior():
    path = after(FEW, 200).log_likelihoods_  # the covariance is nearly singular at 200: three digits
    assert_allclose(path[[49, 199]], [11.43, 31.22], atol=0.01)
    with pytest.raises(ValueError, match=r"became singular.*set prior_strength > 0"):
        MissingDataGaussian(max_iter=5000).fit(FEW)


def test_small_overlap_with_prior():
    prior = np.diag([0.1688889, 0.1422222, 0.0566667])
    model = MissingDataGaussian(1, tol=1e-14).fit(FEW)
    assert_allclose(model.mean_, [1.44422704, 2.40836136, 0.64222187], rtol=1e-6)
    upper = [0.16229687, 0.11997483, 0.0735869, 0.13196571, 0.06825527, 0.05813529]
    assert_allclose(model.covariance_[np.triu_indices(3)], upper, rtol=1e-6)
    assert_allclose([model.log_likelihoods_[-1], model.objectives_[-1]], [3.4585219, 2.7086460], rtol=1e-7)
    given = MissingDataGaussian(1, prior_covariance=prior, tol=1e-14).fit(FEW)
    assert_allclose(given.covariance_, model.covariance_, rtol=1e-5)
    model = MissingDataGaussian(5, tol=1e-14).fit(FEW)
    assert_allclose(model.mean_, [1.41361712, 2.38726067, 0.66410173], rtol=1e-6)
    upper = [0.07726359, 0.04207146, 0.04010322]
    assert_allclose(model.covariance_[np.triu_indices(3, 1)], upper, rtol=1e-6)
    assert_allclose(model.objectives_[-1], 6.3653009, rtol=1e-7)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("strength", "centered"), [(0.0, False), (0.0, True), (2.5, False), (2.5, True)])
def test_each_step_is_the_naive_one_and_never_loses(seed, strength, centered):
    X = with_holes(seed)
    mean = np.zeros(5) if centered else np.nanmean(X, axis=0)
    prior = covariance = np.diag(np.nanmean((X - mean) ** 2, axis=0))
    model = after(X, 15, prior_strength=strength, assume_centered=centered)
    for step in range(15):
        assert_allclose(model.log_likelihoods_[step], naive.log_likelihood(X, mean, covariance), rtol=1e-9)
        mean, covariance = naive.em_step(X, mean, covariance, strength, prior, centered)
    scale = np.sqrt(np.diag(covariance))
    assert_allclose(model.mean_ / scale, mean / scale, rtol=1e-8, atol=1e-10)
    assert_allclose(
        model.covariance_ / np.outer(scale, scale), covariance / np.outer(scale, scale), rtol=1e-7, atol=1e-9
    )
    slack = 1e-9 * np.abs(model.objectives_).max()
    assert np.diff(model.objectives_).min() > -slack


def test_complete_data_take_one_step():
    X = with_holes(0, share=0)
    model = after(X, 1)
    assert_allclose(model.mean_, X.mean(axis=0))
    assert_allclose(model.covariance_, np.cov(X.T, bias=True), rtol=1e-9)


def test_order_of_rows_and_columns_and_empty_rows():
    X = with_holes(1)
    model, order = MissingDataGaussian().fit(X), np.array([3, 1, 4, 0, 2])
    rows = np.random.default_rng(0).permutation(len(X))
    other = MissingDataGaussian().fit(np.vstack([X[rows][:, order], np.full((2, 5), NAN)]))
    assert_allclose(other.mean_, model.mean_[order], rtol=1e-5)
    scale = np.sqrt(np.diag(other.covariance_))
    error = (other.covariance_ - model.covariance_[np.ix_(order, order)]) / np.outer(scale, scale)
    assert np.abs(error).max() < 1e-5
    assert other.n_iter_ == model.n_iter_


def test_score_and_sample():
    X = with_holes(2)
    model = MissingDataGaussian(1).fit(X)
    assert_allclose(model.score_samples(X).sum(), model.log_likelihoods_[-1], rtol=1e-10)
    assert_allclose(model.score(X) * len(X), model.log_likelihoods_[-1], rtol=1e-10)
    assert model.score_samples([[NAN] * 5]) == 0
    draws = model.sample(50_000, random_state=0)
    sd = np.sqrt(np.diag(model.covariance_))
    assert (np.abs(draws.mean(axis=0) - model.mean_) < 5 * sd / np.sqrt(50_000)).all()
    error = (np.cov(draws.T) - model.covariance_) / np.outer(sd, sd)
    assert np.abs(error).max() < 5 * np.sqrt(2 / 50_000)
    assert np.array_equal(model.sample(7, random_state=0), draws[:7])


def test_warnings():
    apart = np.array([[1, NAN, 3], [2, NAN, 5], [NAN, 1, 4], [NAN, 3, 7], [NAN, 2, 1], [5, NAN, 1]])
    with pytest.warns(UserWarning, match=r"1 pairs of columns are never observed together, \[\[0, 1\]\]"):
        MissingDataGaussian().fit(apart)
    MissingDataGaussian(1).fit(apart)
    with pytest.warns(ConvergenceWarning, match=r"EM stopped at max_iter=3 .* raise max_iter"):
        MissingDataGaussian(max_iter=3).fit(APPLE)


@pytest.mark.parametrize(
    ("X", "options", "error", "match"),
    [
        ([[1, NAN], [2, NAN]], {}, ValueError, r"no observed value in columns \[1\]; drop"),
        ([[1, 2], [2, 2]], {}, ValueError, r"no variance in columns \[1\]; drop"),
        ([[1, 2], [2, np.inf]], {}, ValueError, "contains infinity"),
        ([[1, 2], [2, 4], [3, 6]], {}, ValueError, "singular.*linearly dependent.*set prior_strength > 0"),
        (APPLE, {"prior_strength": -1}, ValueError, "prior_strength must be at least 0, got -1"),
        (APPLE, {"max_iter": 1.5}, TypeError, "max_iter must be an integer"),
        (APPLE, {"tol": NAN}, ValueError, "tol must be finite"),
        (APPLE, {"init_covariance": np.eye(3)}, ValueError, r"init_covariance must have shape \(2, 2\)"),
        (APPLE, {"prior_covariance": [[1, 0], [1, 1]]}, ValueError, "prior_covariance must be symmetric"),
        (APPLE, {"prior_covariance": [[1, 2], [2, 1]]}, ValueError, "prior_covariance must be positive def"),
    ],
)
def test_bad_input(X, options, error, match):
    with pytest.raises(error, match=match):
        MissingDataGaussian(**options).fit(X)
