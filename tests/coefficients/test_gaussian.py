"""Gaussians per support: the index against a scan, EM against the plain one, planted moments, the draws."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsegen_classic._codes import codes_from_states
from sparsegen_classic._kernels.em import CONVERGED, climb
from sparsegen_classic._kernels.missing_patterns import batch_patterns, group_patterns, pairwise_moments
from sparsegen_classic._random import spawn_generators
from sparsegen_classic.coefficients import GaussianCoefficients, MissingDataGaussian, sample_truncated_normal
from tests import naive_coefficients as naive


@parametrize_with_checks([GaussianCoefficients(), GaussianCoefficients(prior_strength=0, draw="clip")])
def test_estimator_contract(estimator, check):
    check(estimator)


def random_codes(seed, n_samples=300, n_components=7, k=3):
    rng = np.random.default_rng(seed)
    codes = np.zeros((n_samples, n_components))
    for code in codes:
        atoms = rng.choice(n_components, rng.integers(k + 1), replace=False)
        code[atoms] = rng.choice([-1, 1], len(atoms)) * rng.gamma(4, 1 + atoms)
    return codes


def grouped(model, support, min_overlap=1):
    codes, scratch = model.magnitudes_, np.full(model.magnitudes_.shape[0], -1, np.int32)
    patterns = group_patterns(
        support, codes.indptr, codes.indices, codes.data, model.sample_weight_, min_overlap, scratch
    )
    assert (scratch == -1).all()
    return patterns


@pytest.mark.parametrize("min_overlap", [1, 2, 3])
@pytest.mark.parametrize("support", [[0], [3, 8], [1, 2, 10], [0, 5, 9, 11, 13], [13, 2, 6]])
def test_patterns_against_a_scan(support, min_overlap):
    codes = random_codes(0)
    counts, offsets, observed, means, scatters = grouped(
        GaussianCoefficients().fit(codes), np.array(support), min_overlap
    )
    rows = naive.overlap_rows(codes, support, min_overlap)
    assert counts.sum() == len(rows)
    seen = [tuple(observed[start:stop]) for start, stop in pairwise(offsets)]
    assert len(set(seen)) == len(seen) == len({tuple(np.flatnonzero(row > 0)) for row in rows})
    square = 0
    for p, pattern in enumerate(seen):
        mine = np.array([row[~np.isnan(row)] for row in rows if tuple(np.flatnonzero(row > 0)) == pattern])
        assert counts[p] == len(mine)
        assert_allclose(means[offsets[p] : offsets[p + 1]], mine.mean(axis=0))
        centred = mine - mine.mean(axis=0)
        stop = square + len(pattern) ** 2
        assert_allclose(scatters[square:stop], (centred.T @ centred).ravel(), atol=1e-10)
        square = stop
    assert square == len(scatters)


@pytest.mark.parametrize("seed", range(4))
def test_conditional_is_the_posterior_mode_of_the_overlap_rows(seed):
    """Accelerated EM from the index = plain EM on the scanned rows; states come in the caller's order."""
    codes = random_codes(seed)
    support = [0, 10, 2, 6]
    model = GaussianCoefficients(prior_strength=3, tol=1e-14, max_iter=3000).fit(codes)
    mean, covariance = model.conditional(support)
    plain = MissingDataGaussian(3, tol=1e-13, max_iter=20_000).fit(naive.overlap_rows(codes, support))
    assert_allclose(mean, plain.mean_, rtol=1e-4)
    scale = np.sqrt(np.diag(plain.covariance_))
    assert np.abs((covariance - plain.covariance_) / np.outer(scale, scale)).max() < 1e-3
    assert_allclose(model.conditional(support[::-1])[0], mean[::-1], rtol=1e-4)


@pytest.mark.parametrize("memory", [1, 8])
def test_the_climb_never_falls(memory):
    model = GaussianCoefficients().fit(random_codes(5, 2000))
    support = np.array([0, 1, 2, 3, 11, 12])
    patterns, start = grouped(model, support), model.state_means_[support]
    prior, pair_counts = np.diag(model.state_variances_[support]), pairwise_moments(*patterns, np.zeros(6))[0]
    *_, objectives, status = climb(
        batch_patterns(*patterns), pair_counts, start, prior, 3.0, 0.0, memory, 5000, 1e-9
    )
    assert status == CONVERGED
    assert np.diff(objectives).min() > 0
    assert len(objectives) < 50


def test_planted_gaussian_is_recovered():
    """Every training code carries the whole support: complete data, so their moments come back."""
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((3, 3)) * 0.3
    planted_mean, planted = np.array([5.0, 7.0, 6.0]), factor @ factor.T + 0.05 * np.eye(3)
    u = rng.multivariate_normal(planted_mean, planted, 4000)
    states = np.tile([1, 9, 4], (4000, 1))  # + atom 1, - atom 3, + atom 4 of 6
    codes = codes_from_states(states, u, 6)
    model = GaussianCoefficients(prior_strength=1, tol=1e-12).fit(codes)
    mean, covariance = model.conditional([1, 9, 4])
    assert_allclose(mean, u.mean(axis=0), rtol=1e-6)
    expected = (np.cov(u.T, bias=True) * 4000 + np.diag(u.var(axis=0))) / 4001
    assert_allclose(covariance, expected, rtol=1e-5)
    atoms = rng.standard_normal((6, 4))
    images = model.sample(codes[:1000], random_state=1) @ atoms
    truth = atoms[[1, 3, 4]] * np.array([1, -1, 1])[:, None]
    spread = truth.T @ planted @ truth
    sd = np.sqrt(np.diag(spread))
    assert (np.abs(images.mean(axis=0) - planted_mean @ truth) < 5 * sd * np.sqrt(1 / 1000 + 1 / 4000)).all()
    assert np.abs((np.cov(images.T) - spread) / np.outer(sd, sd)).max() < 5 * np.sqrt(2 / 1000 + 2 / 4000)


def test_planted_gaussian_with_partial_overlaps():
    """Pairs of a planted triple are enough for its mean and covariance."""
    rng = np.random.default_rng(1)
    planted_mean = np.array([8.0, 9.0, 7.0])
    planted = np.array([[1, 0.6, -0.3], [0.6, 1, 0.2], [-0.3, 0.2, 1]])
    codes = np.zeros((9000, 3))
    codes[:] = rng.multivariate_normal(planted_mean, planted, 9000)
    codes[np.arange(9000), np.arange(9000) % 3] = 0
    mean, covariance = GaussianCoefficients(prior_strength=1).fit(codes).conditional([0, 1, 2])
    assert np.abs(mean - planted_mean).max() < 5 / np.sqrt(6000)
    assert np.abs(covariance - planted).max() < 5 * np.sqrt(2 / 3000)


def test_states_seen_once_or_always_the_same():
    codes = np.array([[1.0, 0, 2, 0], [3, 0, 2, 0], [0, -4, 2, 0]])
    model = GaussianCoefficients().fit(codes)
    pooled, floor = 2 / 6, 1e-6 * (1 + 9 + 3 * 4 + 16) / 6
    assert_allclose(model.state_means_, [2, np.nan, 2, np.nan, np.nan, 4, np.nan, np.nan])
    assert_allclose(model.state_variances_, [1, np.nan, floor, np.nan, np.nan, pooled, np.nan, np.nan])
    mean, covariance = model.conditional([0, 2, 5])
    assert_allclose(mean, [2, 2, 4], atol=1e-3)
    assert np.linalg.eigvalsh(covariance)[0] > 0
    mean, covariance = GaussianCoefficients(min_overlap=3).fit(codes).conditional([0, 5])
    assert_allclose(mean, [2, 4])
    assert_allclose(covariance, np.diag([1, pooled]))


@pytest.mark.parametrize("draw", ["truncated", "gaussian", "clip"])
def test_draws_follow_the_conditional(draw):
    codes = np.abs(np.random.default_rng(2).normal(0.5, 1, (400, 2)))
    model = GaussianCoefficients(draw=draw).fit(codes)
    mean, covariance = model.conditional([0, 1])
    drawn = model.sample_states(np.tile([0, 1], (4000, 1)), random_state=0)
    if draw == "truncated":
        expected = sample_truncated_normal(mean, covariance, 4000, random_state=1)
        assert (drawn > 0).all()
    else:
        expected = np.random.default_rng(1).multivariate_normal(mean, covariance, 4000)
        expected = np.maximum(expected, 0) if draw == "clip" else expected
        assert (drawn.min() == 0) == (draw == "clip")
    for statistic in (lambda u: u, lambda u: u[:, :1] * u[:, 1:], lambda u: u**2):
        a, b = statistic(drawn), statistic(expected)
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / 4000)
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 5 * error).all()


def test_supports_keep_signs_and_empty_rows():
    codes = random_codes(3)
    model = GaussianCoefficients().fit(codes)
    drawn = model.sample(codes, random_state=0)
    assert isinstance(drawn, sparse.csr_array)
    assert_array_equal(np.sign(drawn.toarray()), np.sign(codes))
    assert_array_equal(drawn.toarray(), model.sample(sparse.csr_matrix(codes), random_state=0).toarray())
    flipped = GaussianCoefficients(draw="gaussian").fit(codes).sample(codes, random_state=0)
    assert (np.sign(flipped.toarray()) != np.sign(codes)).any()
    assert_array_equal(flipped.toarray() != 0, codes != 0)
    assert model.sample(np.zeros((2, 7))).nnz == 0
    mean, covariance = model.conditional([])
    assert mean.shape == (0,)
    assert covariance.shape == (0, 0)


def test_fit_takes_dense_and_sparse_alike():
    codes = random_codes(4)
    expected = GaussianCoefficients().fit(codes)
    for form in (sparse.csr_array, sparse.csr_matrix, sparse.coo_array):
        model = GaussianCoefficients().fit(form(codes))
        assert_array_equal(model.magnitudes_.toarray(), expected.magnitudes_.toarray())
    wide = sparse.csc_array(codes)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    assert GaussianCoefficients().fit(wide).magnitudes_.indices.dtype == np.int32  # one compiled kernel
    assert_array_equal(expected.magnitudes_.toarray(), np.maximum(np.hstack([codes, -codes]), 0))


def test_same_bits_for_any_number_of_jobs_and_prefixes():
    codes = random_codes(6, 200)
    model = GaussianCoefficients(n_jobs=1).fit(codes)
    drawn = model.sample(codes, random_state=0).toarray()
    assert_array_equal(drawn, model.set_params(n_jobs=2).sample(codes, random_state=0).toarray())
    assert_array_equal(drawn[:21], model.sample(codes[:21], random_state=0).toarray())
    generators = spawn_generators(0, len(codes))[50:60]
    assert_array_equal(drawn[50:60], model.sample(codes[50:60], random_state=generators).toarray())
    assert not np.array_equal(drawn, model.sample(codes, random_state=1).toarray())


FEW = np.nan_to_num(
    np.array([[1, 2, 0], [1.5, 0, 0.5], [2, 3, 1], [0, 2.5, 0.8], [1.2, 2.2, 0], [0.8, 1.9, 0.3]])
)


def test_divergence_names_the_remedy():
    model = GaussianCoefficients(prior_strength=0, max_iter=20_000, tol=0).fit(FEW)
    with pytest.raises(ValueError, match=r"diverged on support \[0, 1, 2\].*set prior_strength > 0"):
        model.sample(np.ones((1, 3)), random_state=0)
    assert model.set_params(prior_strength=1).sample(np.ones((1, 3)), random_state=0).nnz == 3


@pytest.mark.parametrize(
    ("support", "match"),
    [
        ([0, 4], r"support 0 has state 4 \(- atom 1\), which no training code uses; remove it"),
        ([6], r"states must be in 0..5, got 6..6"),
        ([0, 3], r"support 0 must use each atom once, got states \[0, 3\]"),
        ([1, 1], "must use each atom once"),
        ([0.5], "supports must be rows of integer states, got float64"),
    ],
)
def test_bad_supports(support, match):
    with pytest.raises(ValueError, match=match):
        GaussianCoefficients().fit(FEW).conditional(support)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"prior_strength": -1}, ValueError, "prior_strength must be at least 0, got -1"),
        ({"draw": "normal"}, ValueError, "draw must be one of 'truncated', 'gaussian', 'clip', got 'normal'"),
        ({"min_overlap": 0}, ValueError, "min_overlap must be at least 1, got 0"),
        ({"max_iter": 2.0}, TypeError, "max_iter must be an integer"),
        ({"tol": -1}, ValueError, "tol must be at least 0"),
    ],
)
def test_bad_parameters(options, error, match):
    with pytest.raises(error, match=match):
        GaussianCoefficients(**options).fit(FEW)


def test_bad_sample_input():
    model = GaussianCoefficients().fit(FEW)
    with pytest.raises(ValueError, match="X has 2 features, but GaussianCoefficients is expecting 3"):
        model.sample(np.ones((1, 2)))
    with pytest.raises(ValueError, match="a seed or a list of 1 Generators"):
        model.sample(np.ones((1, 3)), random_state=spawn_generators(0, 2))
    with pytest.raises(ValueError, match=r"state 3 \(- atom 0\), which no training code uses"):
        model.sample([[-1, 0, 0]])
