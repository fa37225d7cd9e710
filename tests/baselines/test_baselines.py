"""Baselines: densities with full covariances, closed forms, EM that never falls, draws against their law."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold
from sklearn.neighbors import KernelDensity
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsegen_classic.baselines import (
    PPCA,
    GroupedGaussians,
    IndependentPixels,
    MixtureOfFactorAnalysers,
    ProjectedDensity,
    TrainingCopies,
)
from sparsegen_classic.baselines.factors import FactorMixture, ppca
from sparsegen_classic.baselines.mixture import em_step

DIGITS, LABELS = load_digits(return_X_y=True)  # values 0..16
IMAGES = (DIGITS / 16).reshape(-1, 8, 8)
ALL = [
    PPCA(4),
    GroupedGaussians(),
    MixtureOfFactorAnalysers(),
    MixtureOfFactorAnalysers(2, noise="isotropic"),
    ProjectedDensity(),
    ProjectedDensity(KernelDensity()),
    TrainingCopies(),
    IndependentPixels(),
]


@parametrize_with_checks(ALL)
def test_estimator_contract(estimator, check):
    check(estimator)


def dense_log_density(rows, mixture):
    """Every normal with its full covariance."""
    parts = zip(mixture.weights, mixture.means, mixture.factors, mixture.noise, strict=True)
    log_joint = [
        np.log(w) + multivariate_normal(m, a.T @ a + np.diag(d)).logpdf(rows) for w, m, a, d in parts
    ]
    return logsumexp(log_joint, axis=0)


def random_mixture(seed, n_groups=3, n_factors=2, n_features=5, noisy=True):
    rng = np.random.default_rng(seed)
    return FactorMixture(
        rng.dirichlet(np.ones(n_groups)),
        rng.normal(3, 2, (n_groups, n_features)),
        rng.standard_normal((n_groups, n_factors, n_features)),
        rng.uniform(0.1, 1, (n_groups, n_features)),
        noisy,
    )


def test_density_of_one_point():
    """Check C8.1."""
    noise = np.array([[0.1, 0.2, 0.3]] * 2)
    factors = np.array([[[1, 2, 0.5]], [[0, 1, 1]]])
    means = np.array([[0.0, 0, 0], [1, 0, 1]])
    one = FactorMixture(np.ones(1), means[:1], factors[:1], noise[:1])
    both = FactorMixture(np.array([0.3, 0.7]), means, factors, noise)
    assert_allclose(one.log_density(np.ones((1, 3))), -3.7222683914, rtol=1e-10)
    assert_allclose(both.log_density(np.ones((1, 3))), -2.7167435909, rtol=1e-10)


@pytest.mark.parametrize("shape", [(1, 1, 4), (3, 2, 5), (4, 6, 3)])
def test_density_equals_the_dense_one(shape):
    mixture = random_mixture(0, *shape)
    rows = np.random.default_rng(1).normal(3, 3, (700, shape[2]))
    assert_allclose(mixture.log_density(rows), dense_log_density(rows, mixture), rtol=1e-9, atol=1e-9)


def test_draws_follow_the_mixture():
    mixture, n = random_mixture(2), 100_000
    covariances = [
        a.T @ a + np.diag(d) + np.outer(m, m)
        for a, d, m in zip(mixture.factors, mixture.noise, mixture.means, strict=True)
    ]
    rows = mixture.sample(n, np.random.default_rng(0))
    error = rows.std(axis=0) / np.sqrt(n)
    assert (np.abs(rows.mean(axis=0) - mixture.weights @ mixture.means) < 5 * error).all()
    products = rows[:, :, None] * rows[:, None]
    expected = np.tensordot(mixture.weights, covariances, 1)
    assert (np.abs(products.mean(axis=0) - expected) < 5 * products.std(axis=0) / np.sqrt(n)).all()
    bare = random_mixture(2, n_groups=1, noisy=False)
    rows = bare.sample(50, np.random.default_rng(0))
    assert np.linalg.matrix_rank(rows - bare.means[0], tol=1e-9) == 2  # without noise: on a plane


def test_ppca_of_digits():
    """Check C8.2, and scikit-learn's own density for the other covariance."""
    assert DIGITS.sum() == 561718
    model = PPCA(10).fit(DIGITS)
    assert_allclose(model.score(DIGITS), -159.9937312015, rtol=1e-9)
    assert_allclose(model.models_[0].noise, 5.8243513193, rtol=1e-9)
    for rank, expected in ((5, -168.5380464939), (10, -159.9937361581), (15, -154.4521067003)):
        assert_allclose(PCA(rank, svd_solver="full").fit(DIGITS).score(DIGITS), expected, rtol=1e-9)
        assert_allclose(PPCA(rank).fit(DIGITS).score(DIGITS), expected, rtol=1e-6)


def test_ppca_of_few_images():
    """With fewer images than pixels the noise is spread over all pixels; equal images leave the floor."""
    rows = DIGITS[:6]
    mean, factors, noise = ppca(rows, 3)
    eigenvalues = np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1]
    assert_allclose(noise, eigenvalues[3:].mean())
    assert_allclose(mean, rows.mean(axis=0))
    assert_allclose(np.linalg.eigvalsh(factors.T @ factors + noise * np.eye(64))[::-1][:3], eigenvalues[:3])
    _, factors, _ = ppca(rows, 20)
    assert np.linalg.matrix_rank(factors) == 5
    assert_array_equal(ppca(np.ones((4, 3)), 2)[1], 0)
    assert np.isfinite(PPCA(2).fit(np.ones((4, 3))).score(np.ones((4, 3))))


def test_em_is_monotone_and_reaches_the_closed_form():
    rows = DIGITS[:400, 10:40]
    start = random_mixture(0, 1, 4, 30)
    mixture, history = start, []
    for _ in range(1000):
        history.append(mixture.log_density(rows).mean())
        mixture = em_step(rows, np.ones((len(rows), 1)), mixture, isotropic=True)
    assert np.diff(history).min() > -1e-9 * abs(history[-1])
    mean, factors, noise = ppca(rows, 4)
    assert_allclose(mixture.noise, noise, rtol=1e-4)
    assert_allclose(mixture.means[0], mean, atol=1e-6)
    assert_allclose(mixture.factors[0].T @ mixture.factors[0], factors.T @ factors, atol=1e-2)


@pytest.mark.parametrize("noise", ["diagonal", "isotropic"])
def test_mixture_of_digits(noise):
    model = MixtureOfFactorAnalysers(8, 4, noise=noise, tol=0, max_iter=30, random_state=0)
    with pytest.warns(ConvergenceWarning, match="EM stopped at max_iter=30; raise max_iter or tol"):
        model.fit(IMAGES)
    history = model.log_likelihoods_[0]
    assert len(history) == 31
    assert np.diff(history).min() > -1e-9 * np.abs(history).max()
    assert_allclose(model.score(IMAGES), history[-1])
    mixture = model.models_[0]
    assert_allclose(mixture.weights.sum(), 1)
    assert (np.ptp(mixture.noise, axis=1) > 0).any() == (noise == "diagonal")
    start = GroupedGaussians(8, 4, random_state=0).fit(IMAGES)
    assert history[-1] > history[0]
    assert_allclose(start.score(IMAGES), history[0])


def test_planted_mixture_is_recovered():
    rng = np.random.default_rng(0)
    planted = FactorMixture(
        np.array([0.3, 0.7]),
        np.array([[0.0] * 6, [20.0] * 6]),
        rng.standard_normal((2, 2, 6)),
        np.full((2, 6), 0.2),
    )
    rows = FactorMixture(**(vars(planted) | {"noisy": True})).sample(20_000, rng)
    model = MixtureOfFactorAnalysers(2, 2, tol=1e-8, max_iter=500, random_state=0).fit(rows)
    mixture = model.models_[0]
    order = np.argsort(mixture.means[:, 0])
    assert_allclose(mixture.weights[order], planted.weights, atol=5 * np.sqrt(0.21 / 20_000))
    for k, found in enumerate(order):
        expected = planted.factors[k].T @ planted.factors[k] + np.diag(planted.noise[k])
        got = mixture.factors[found].T @ mixture.factors[found] + np.diag(mixture.noise[found])
        scale = np.sqrt(np.diag(expected))
        assert np.abs((got - expected) / np.outer(scale, scale)).max() < 5 * np.sqrt(2 / 6000)


def test_kernel_density_of_digits():
    """Check C8.5: the density of the projected images, training and held out."""
    bandwidth = 3.79269019073225
    model = ProjectedDensity(KernelDensity(bandwidth=bandwidth), 15, random_state=0).fit(DIGITS)
    assert_allclose(model.score(DIGITS), -41.183390, rtol=1e-6)
    projected = PCA(15, svd_solver="full").fit_transform(DIGITS)
    held_out = [
        KernelDensity(bandwidth=bandwidth).fit(projected[train]).score_samples(projected[test])
        for train, test in KFold(5).split(projected)
    ]
    assert_allclose(np.concatenate(held_out).mean(), -46.526022, rtol=1e-5)


def test_mixture_on_whitened_components():
    """Check C8.6: 99 % of the variance are 41 components."""
    density = GaussianMixture(3, reg_covar=1e-3)
    model = ProjectedDensity(density, 0.99, whiten=True, random_state=0).fit(DIGITS)
    assert model.models_[0].projection.n_components_ == 41
    assert not hasattr(density, "means_")
    seed = model.models_[0].density.random_state
    images = model.sample(2000, random_state=0, clip=False)
    error = np.sqrt(DIGITS.var(axis=0) / 2000)
    assert (np.abs(images.mean(axis=0) - DIGITS.mean(axis=0)) <= 5 * error + 1e-5).all()
    assert_array_equal(images, model.sample(2000, random_state=0, clip=False))
    assert model.models_[0].density.random_state == seed


def test_two_ends_of_the_scale():
    copies = TrainingCopies(noise=0).fit(IMAGES).sample(50, random_state=0)
    assert all((copy == IMAGES).all(axis=(1, 2)).any() for copy in copies)
    noisy = TrainingCopies(noise=0.1).fit(IMAGES).sample(2000, random_state=0, clip=False)
    assert 0.05 < noisy[:, 0, 0].std() < 0.15  # a pixel that is always black
    pixels = IndependentPixels().fit(IMAGES).sample(20_000, random_state=0).reshape(-1, 64)
    assert_allclose(pixels.mean(axis=0), IMAGES.reshape(-1, 64).mean(axis=0), atol=0.02)
    correlation = np.corrcoef(pixels[:, [20, 28, 36]].T) - np.eye(3)
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("estimator", ALL, ids=lambda e: type(e).__name__)
def test_images_in_images_out(estimator):
    colour = np.random.default_rng(0).random((60, 4, 4, 3)).astype(np.float32)
    estimator.set_params(random_state=0)
    images, labels = estimator.fit(colour).draw(5, random_state=0)
    assert images.shape == (5, 4, 4, 3)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert labels is None
    assert_array_equal(images, estimator.sample(5, random_state=0))
    if estimator.has_density:
        rows = colour.reshape(60, -1)
        assert_allclose(estimator.score_samples(colour), estimator.fit(rows).score_samples(rows), rtol=1e-4)
    else:
        assert not hasattr(estimator, "score_samples")


@pytest.mark.parametrize("estimator", [PPCA(8), GroupedGaussians(), ProjectedDensity(), TrainingCopies()])
def test_one_model_for_each_class(estimator):
    estimator.set_params(per_class=True, random_state=0).fit(IMAGES, LABELS)
    images, labels = estimator.draw(300, random_state=0)
    assert set(labels) == set(range(10))
    nearest = IMAGES.reshape(-1, 64)[:, None]
    distance = ((nearest[::3] - images.reshape(1, 300, 64)) ** 2).sum(axis=2)
    assert (LABELS[::3][distance.argmin(axis=0)] == labels).mean() > 0.9
    threes = estimator.draw(4, random_state=0, class_=3)
    assert_array_equal(threes.labels, 3)
    assert_array_equal(estimator.draw(2, random_state=0, class_=["1", "5"]).labels, [1, 5])


def test_density_of_classes_is_their_mixture():
    model = PPCA(5, per_class=True).fit(IMAGES, LABELS)
    parts = [
        np.log((c == LABELS).mean()) + PPCA(5).fit(IMAGES[c == LABELS]).score_samples(IMAGES[:9])
        for c in range(10)
    ]
    assert_allclose(model.score_samples(IMAGES[:9]), logsumexp(parts, axis=0))


def test_range_is_that_of_training():
    model = PPCA(2).fit(DIGITS)
    assert_array_equal(model.pixel_range_, [0, 16])
    raw = model.sample(500, random_state=0, clip=False)
    assert raw.min() < 0
    assert_array_equal(model.sample(500, random_state=0), raw.clip(0, 16))


@pytest.mark.parametrize(
    ("estimator", "match"),
    [
        (PPCA(-1), "n_factors must be at least 0, got -1"),
        (GroupedGaussians(2000), "n_groups must be at least 1 and at most 1797, got 2000; a group needs an"),
        (MixtureOfFactorAnalysers(noise="none"), "noise must be one of 'diagonal', 'isotropic', got 'none'"),
        (MixtureOfFactorAnalysers(tol=-1), "tol must be at least 0"),
        (ProjectedDensity(n_components=1.5), "n_components must be greater than 0 and less than 1, got 1.5"),
        (TrainingCopies(noise=-0.1), "noise must be at least 0, got -0.1"),
        (PPCA(per_class="yes"), "per_class must be one of True, False, got 'yes'"),
    ],
)
def test_bad_parameters(estimator, match):
    with pytest.raises(ValueError, match=match):
        estimator.fit(IMAGES)


def test_bad_labels_and_classes():
    with pytest.raises(ValueError, match="per_class=True needs labels: give y"):
        PPCA(per_class=True).fit(IMAGES)
    with pytest.raises(ValueError, match="one integer or string label for each of the 1797 images"):
        PPCA(per_class=True).fit(IMAGES, LABELS[:5])
    with pytest.raises(ValueError, match=r"each class must have at least 2 images, class .*99.* has 1"):
        PPCA(per_class=True).fit(IMAGES, np.r_[99, LABELS[1:]])
    with pytest.raises(ValueError, match="class_=3 needs a model per class"):
        PPCA().fit(IMAGES).sample(2, class_=3)
    model = PPCA(3, per_class=True).fit(IMAGES, LABELS)
    with pytest.raises(ValueError, match="class_ must be one of the classes 0, 1, .*got 10"):
        model.sample(2, class_=10)
    with pytest.raises(ValueError, match=r"one for each of the 2 images, got shape \(3,\)"):
        model.sample(2, class_=[1, 2, 3])
