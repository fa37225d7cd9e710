"""Weights, groups, pooled moments, log-normals and densities of the coefficients against naive oracles."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import lognorm, multivariate_normal
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsegen_classic.coefficients import GaussianCoefficients
from sparsegen_classic.coefficients.moments import nearest_positive_definite
from tests import naive_coefficients as naive

SUPPORT = [0, 9, 2, 5]  # + atom 0, - atom 3, + atom 2, + atom 5 of 6


@parametrize_with_checks([GaussianCoefficients(method="pooled"), GaussianCoefficients(scale="cbrt")])
def test_estimator_contract(estimator, check):
    check(estimator)


def some_codes(seed, n_samples=200, n_components=6):
    """Codes of up to four of six atoms, and the rows that meet SUPPORT with their numbers."""
    rng = np.random.default_rng(seed)
    codes = np.zeros((n_samples, n_components))
    for code in codes:
        atoms = rng.choice(n_components, rng.integers(5), replace=False)
        code[atoms] = np.where(atoms == 3, -1, 1) * rng.gamma(4, 1, len(atoms)) * np.exp(rng.normal(0, 0.3))
    rows = codes[:, [0, 3, 2, 5]] * [1, -1, 1, 1]
    rows[rows <= 0] = np.nan
    return codes, rows, np.flatnonzero(~np.isnan(rows).all(axis=1))


def exactly(**options):
    return GaussianCoefficients(tol=1e-13, max_iter=5000, **options)


def assert_moments(moments, expected, rtol=1e-4):
    mean, covariance = moments
    assert_allclose(mean, expected[0], rtol=rtol)
    scale = np.sqrt(np.diag(expected[1]))
    assert np.abs((covariance - expected[1]) / np.outer(scale, scale)).max() < 10 * rtol


@pytest.mark.parametrize("method", ["em", "pooled"])
@pytest.mark.parametrize("scale", ["linear", "sqrt", "log"])
def test_weights_are_replicated_rows(method, scale):
    codes, *_ = some_codes(0)
    weights = np.random.default_rng(1).integers(4, size=len(codes))
    weighted = exactly(method=method, scale=scale).fit(codes, sample_weight=weights)
    repeated = exactly(method=method, scale=scale).fit(np.repeat(codes, weights, axis=0))
    assert_allclose(weighted.state_means_, repeated.state_means_)
    assert_allclose(weighted.state_variances_, repeated.state_variances_)
    assert_moments(weighted.conditional(SUPPORT), repeated.conditional(SUPPORT), 1e-6)
    assert_allclose(weighted.pair_counts(SUPPORT), repeated.pair_counts(SUPPORT))


def test_weights_that_are_no_integers():
    codes, rows, met = some_codes(1)
    weights = np.random.default_rng(2).uniform(0.05, 0.4, len(codes))
    model = exactly().fit(codes, sample_weight=weights)
    prior = np.diag(model.state_variances_[SUPPORT])
    start = model.state_means_[SUPPORT]
    expected = naive.weighted_em(rows[met], weights[met], start, prior, 3, prior, 300)
    assert_moments(model.conditional(SUPPORT), expected)


@pytest.mark.parametrize("power", [1.0, 2.5])
def test_larger_overlaps_weigh_more(power):
    codes, rows, met = some_codes(2)
    model = exactly(overlap_power=power).fit(codes)
    prior, start = np.diag(model.state_variances_[SUPPORT]), model.state_means_[SUPPORT]
    weights = ((~np.isnan(rows[met])).sum(axis=1) / 4) ** power
    assert_moments(
        model.conditional(SUPPORT), naive.weighted_em(rows[met], weights, start, prior, 3, prior, 300)
    )
    counts = naive.pairwise_moments(rows[met], weights, 0.0, prior)[1]
    assert_allclose(model.pair_counts(SUPPORT), counts)


@pytest.mark.parametrize("group_weight", [0.0, 0.2])
def test_a_group_has_all_codes_as_its_prior(group_weight):
    """The second EM sees the group's rows and ``prior_strength`` rows with the moments of all codes."""
    codes, rows, met = some_codes(3)
    groups = np.random.default_rng(3).integers(4, size=len(codes))
    model = exactly(group_weight=group_weight).fit(codes, groups=groups)
    mean, covariance = model.conditional(SUPPORT)
    assert_moments((mean, covariance), exactly().fit(codes).conditional(SUPPORT), 1e-9)
    spread = np.linalg.cholesky(covariance) * 2  # eight points of this mean and covariance
    virtual = mean + np.concatenate([spread.T, -spread.T])
    weights = np.where(groups[met] == 2, 1.0, group_weight)
    weights, keep = np.append(weights, np.full(8, 3 / 8)), np.append(weights > 0, np.full(8, True))
    everything = np.concatenate([rows[met], virtual])
    expected = naive.weighted_em(everything[keep], weights[keep], mean, covariance, 0, covariance, 250)
    assert_moments(model.conditional(SUPPORT, 2), expected)


def test_groups_of_weight_one_do_not_matter():
    codes, *_ = some_codes(4)
    groups = np.arange(len(codes)) % 3
    model = GaussianCoefficients(group_weight=1).fit(codes, groups=groups)
    plain = GaussianCoefficients().fit(codes)
    assert_array_equal(model.conditional(SUPPORT, 1)[1], plain.conditional(SUPPORT)[1])
    drawn = model.sample(codes, random_state=0, groups=groups).toarray()
    assert_array_equal(drawn, plain.sample(codes, random_state=0).toarray())


@pytest.mark.parametrize("method", ["em", "pooled"])
def test_planted_groups_are_told_apart(method):
    """Two groups with means of their own; a third has never used these atoms and takes the common law."""
    rng = np.random.default_rng(0)
    groups = np.repeat([7, 8, 9], [500, 500, 10])
    codes = np.zeros((1010, 4))
    codes[:1000, :2] = rng.normal([5, 9], 0.5, (1000, 2)) + np.where(groups[:1000] == 8, 3, 0)[:, None]
    codes[1000:, 2:] = rng.normal(6, 0.5, (10, 2))
    model = GaussianCoefficients(method=method).fit(codes, groups=groups)
    for group, shift in ((7, 0), (8, 3)):
        mean, covariance = model.conditional([0, 1], group)
        assert_allclose(mean, [5 + shift, 9 + shift], atol=5 * 0.5 / np.sqrt(500) + 0.02)
        assert_allclose(covariance, 0.25 * np.eye(2), atol=0.1)
    (common, covariance), (mean, other) = model.conditional([0, 1]), model.conditional([0, 1], 9)
    assert_allclose(mean, common, rtol=1e-4)
    assert_allclose(np.diag(other), np.diag(covariance), rtol=1e-3)
    drawn = model.sample_states(np.tile([0, 1], (1000, 1)), random_state=0, groups=groups[:1000])
    for group, shift in ((7, 0), (8, 3)):
        assert_allclose(drawn[groups[:1000] == group].mean(axis=0), [5 + shift, 9 + shift], atol=0.15)
    scores = [model.score_samples(codes[:500], groups=g).mean() for g in (7, None, 8)]
    assert scores[0] > scores[1] > scores[2]


@pytest.mark.parametrize("strength", [0.5, 3.0])
def test_pooled_moments_pair_by_pair(strength):
    codes, rows, met = some_codes(5, 600)
    model = GaussianCoefficients(prior_strength=strength, method="pooled").fit(codes)
    prior = np.diag(model.state_variances_[SUPPORT])
    mean, counts, covariance = naive.pairwise_moments(rows[met], np.ones(len(met)), strength, prior)
    assert_allclose(model.pair_counts(SUPPORT), counts)
    assert np.linalg.eigvalsh(covariance / np.sqrt(np.outer(*[np.diag(covariance)] * 2)))[0] > 0.2
    assert_moments(model.conditional(SUPPORT), (mean, covariance), 1e-9)


def test_pooled_agrees_with_em_where_overlaps_are_plentiful():
    rng = np.random.default_rng(1)
    planted_mean = np.array([8.0, 9.0, 7.0, 8.0])
    factor = rng.standard_normal((4, 4)) / 2
    planted = factor @ factor.T + 0.3 * np.eye(4)
    codes = rng.multivariate_normal(planted_mean, planted, 20_000)
    codes[np.arange(20_000), rng.integers(4, size=20_000)] = 0
    moments = [GaussianCoefficients(method=m).fit(codes).conditional([0, 1, 2, 3]) for m in ("em", "pooled")]
    scale = np.sqrt(np.diag(planted))
    for mean, covariance in moments:
        assert (np.abs(mean - planted_mean) < 5 * scale / np.sqrt(15_000)).all()
        assert np.abs((covariance - planted) / np.outer(scale, scale)).max() < 5 * np.sqrt(2 / 10_000)
    assert_allclose(moments[0][0], moments[1][0], rtol=5e-3)


def test_pooled_covariances_are_positive_definite():
    codes, *_ = some_codes(6, 25)
    model = GaussianCoefficients(prior_strength=0.01, method="pooled").fit(codes)
    for support in ([0, 9, 2, 5], [1, 4], [0, 1, 2, 9, 4, 5]):
        mean, covariance = model.conditional(support)
        assert np.linalg.eigvalsh(covariance)[0] > 0
        assert (np.abs(covariance) <= np.sqrt(np.outer(*[np.diag(covariance)] * 2)) * (1 + 1e-9)).all()
        assert np.isfinite(mean).all()
    bad = np.array([[4.0, 5.4, -1.8], [5.4, 9.0, 2.7], [-1.8, 2.7, 1.0]])  # correlations .9, .9, -.9
    good = nearest_positive_definite(bad, 0.05)
    assert_allclose(np.diag(good), np.diag(bad))
    deviations = np.sqrt(np.diag(bad))
    assert np.linalg.eigvalsh(good / np.outer(deviations, deviations))[0] > 0.02
    assert_array_equal(nearest_positive_definite(np.diag([1.0, 4]), 0.5), np.diag([1.0, 4]))


def test_log_normal_is_the_normal_of_the_logarithms():
    codes, *_ = some_codes(7, 400)
    large = codes + np.sign(codes)
    logs = np.sign(codes) * np.log(np.abs(codes) + 1)
    model, plain = exactly(scale="log").fit(large), exactly().fit(logs)
    assert_moments(model.conditional(SUPPORT), plain.conditional(SUPPORT), 1e-8)
    drawn = model.sample_states(np.tile(SUPPORT, (5000, 1)), random_state=0)
    mean, covariance = model.conditional(SUPPORT)
    assert drawn.min() > 0
    assert (np.abs(np.log(drawn).mean(axis=0) - mean) < 5 * np.sqrt(np.diag(covariance) / 5000)).all()
    difference = model.score_samples(large) - plain.score_samples(logs)
    assert_allclose(difference, -np.abs(logs).sum(axis=1), atol=1e-6)
    one = GaussianCoefficients(scale="log").fit(large[:, :1])
    mean, covariance = one.conditional([0])
    expected = lognorm(np.sqrt(covariance[0, 0]), scale=np.exp(mean[0])).logpdf(2.5)
    assert_allclose(one.score_samples([[2.5]]), expected)


@pytest.mark.parametrize(("scale", "power"), [("sqrt", 2), ("cbrt", 3)])
def test_roots_are_the_normal_of_powers(scale, power):
    codes, *_ = some_codes(11, 400)
    large = np.sign(codes) * np.abs(codes) ** power
    model, plain = exactly(scale=scale).fit(large), exactly().fit(codes)
    assert_moments(model.conditional(SUPPORT), plain.conditional(SUPPORT), 1e-8)
    states = np.tile(SUPPORT, (50, 1))
    for draw in ("truncated", "clip", "gaussian"):
        roots = plain.set_params(draw=draw).sample_states(states, random_state=0)
        drawn = model.set_params(draw=draw).sample_states(states, random_state=0)
        assert_allclose(drawn, np.sign(roots) * np.abs(roots) ** power, rtol=1e-4, atol=1e-8)
    slopes = np.log(power) + (power - 1) * np.log(np.abs(codes), where=codes != 0, out=np.zeros_like(codes))
    difference = plain.score_samples(codes) - model.score_samples(large)
    assert_allclose(difference, np.where(codes != 0, slopes, 0).sum(axis=1), atol=1e-5)


def test_scores_are_normal_densities():
    codes, *_ = some_codes(8)
    model = GaussianCoefficients().fit(codes)
    scores = model.score_samples(codes)
    for code, score in zip(codes[:40], scores[:40], strict=True):
        atoms = np.flatnonzero(code)
        states = np.where(code[atoms] < 0, atoms + 6, atoms)
        if len(atoms):
            mean, covariance = model.conditional(states)
            assert_allclose(score, multivariate_normal(mean, covariance).logpdf(np.abs(code[atoms])))
        else:
            assert score == 0
    assert_array_equal(scores, model.set_params(n_jobs=2).score_samples(codes))
    assert_array_equal(model.score_samples([[0, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0]]), [-np.inf] * 2)


def test_held_out_codes_score_best_at_the_truth():
    """The mean score of new codes tends to minus the entropy of the planted law."""
    rng = np.random.default_rng(0)
    planted = np.array([[1, 0.8, 0], [0.8, 1, 0.3], [0, 0.3, 1]])
    codes = rng.multivariate_normal([9, 8, 7], planted, 9000)
    scores = GaussianCoefficients().fit(codes[:5000]).score_samples(codes[5000:5400])
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * planted)[1]
    assert abs(scores.mean() + entropy) < 5 * np.sqrt(1.5 / 400) + 0.01


def test_same_bits_with_groups_for_any_number_of_jobs():
    codes, *_ = some_codes(9)
    groups = np.arange(len(codes)) % 5
    for method in ("em", "pooled"):
        model = GaussianCoefficients(method=method, overlap_power=1, group_weight=0.1)
        model.fit(codes, groups=groups)
        drawn = model.sample(codes, random_state=0, groups=groups).toarray()
        two = model.set_params(n_jobs=2).sample(codes, random_state=0, groups=groups).toarray()
        assert_array_equal(drawn, two)
        assert_array_equal(drawn[:30], model.sample(codes[:30], random_state=0, groups=groups[:30]).toarray())


def test_warns_once_of_pairs_that_never_meet():
    rng = np.random.default_rng(0)
    codes = np.zeros((300, 3))
    codes[:150, :2] = rng.normal(5, 1, (150, 2))
    codes[150:, 1:] = rng.normal(5, 1, (150, 2))
    model = GaussianCoefficients(prior_strength=0).fit(codes)
    assert_array_equal(model.pair_counts([0, 1, 2]), [[150, 150, 0], [150, 300, 150], [0, 150, 150]])
    match = "2 supports have states that no training code has together, support 1 for one: 0 and 2"
    with pytest.warns(UserWarning, match=match) as record:
        model.sample([[1, 1, 0], [1, 1, 1], [1, 1, 1]], random_state=0)
    assert len(record) == 1
    with pytest.warns(UserWarning, match="see pair_counts.*set prior_strength > 0"):
        model.conditional([2, 0])
    model.conditional([0, 1])
    GaussianCoefficients(prior_strength=0.1).fit(codes).conditional([0, 2])


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"method": "global"}, ValueError, "method must be one of 'em', 'pooled', got 'global'"),
        ({"scale": "root"}, ValueError, "scale must be one of 'linear', 'sqrt', 'cbrt', 'log', got 'root'"),
        ({"overlap_power": -1}, ValueError, "overlap_power must be at least 0, got -1"),
        ({"group_weight": 2}, ValueError, "group_weight must be at least 0 and at most 1, got 2"),
    ],
)
def test_bad_parameters(options, error, match):
    with pytest.raises(error, match=match):
        GaussianCoefficients(**options).fit(np.eye(3))


def test_bad_groups_and_weights():
    codes, *_ = some_codes(0)
    model = GaussianCoefficients()
    with pytest.raises(ValueError, match=r"one integer for each of the 200 codes, got shape \(3,\)"):
        model.fit(codes, groups=[1, 2, 3])
    with pytest.raises(ValueError, match="got shape .*float64"):
        model.fit(codes, groups=np.ones(200))
    with pytest.raises(ValueError, match="(?i)negative"):
        model.fit(codes, sample_weight=-np.ones(200))
    with pytest.raises(ValueError, match="groups need a model fitted with groups; call fit"):
        model.fit(codes).conditional(SUPPORT, 0)
    model.fit(codes, groups=np.zeros(200, int))
    with pytest.raises(ValueError, match=r"among the 1 groups of fit, got \[4\]; use None"):
        model.sample(codes, groups=4)
    with pytest.raises(ValueError, match="one integer for each of the 200 codes"):
        model.sample(codes, groups=[0, 0])
