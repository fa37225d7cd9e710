"""NDB: the arithmetic of check case C8.3, bins by hand, and the published run on MNIST (C8.4)."""

import numpy as np
import pytest
from scipy.stats import norm

from sparsegen_classic.metrics import TrainingBins, compare_counts, ndb


def js(p, q):
    """Jensen-Shannon divergence of shares given in thousandths, so that both sums are equal."""
    return compare_counts(np.array(p) * 1000, np.array(q) * 1000).js


def test_two_proportions_c83():
    for p1, n1, p2, n2, z, p_value in (
        (0.10, 1000, 0.13, 500, -1.7505289, 0.0800271),
        (0.02, 45000, 0.015, 10000, 3.3049678, 0.00094987),
    ):
        result = compare_counts([p1 * n1, (1 - p1) * n1], [p2 * n2, (1 - p2) * n2])
        assert result.z[0] == pytest.approx(z, abs=5e-8)
        assert 2 * norm.sf(abs(result.z[0])) == pytest.approx(p_value, abs=5e-8)
        assert result.different == (2 if p_value < 0.05 else 0)
        # the level is exact: just above and below the p-value
        args = ([p1 * n1, (1 - p1) * n1], [p2 * n2, (1 - p2) * n2])
        assert compare_counts(*args, alpha=p_value * 1.001).different == 2
        assert compare_counts(*args, alpha=p_value * 0.999).different == 0


def test_jensen_shannon_c83():
    assert js((0.5, 0.3, 0.2), (0.4, 0.4, 0.2)) == pytest.approx(0.0063671983, abs=5e-11)
    assert js((1, 0), (0, 1)) == pytest.approx(np.log(2), rel=1e-12)
    assert js((0.2, 0.8), (0.2, 0.8)) == 0
    assert compare_counts(np.ones(100) * 100, np.ones(100) * 450).js_null == pytest.approx(0.00151, abs=5e-6)


def test_equal_laws_are_rejected_at_the_level_and_js_has_its_null_mean():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(100, 5.0))
    results = [
        compare_counts(rng.multinomial(10_000, shares), rng.multinomial(45_000, shares)) for _ in range(200)
    ]
    assert np.mean([r.different for r in results]) == pytest.approx(5, abs=0.5)
    assert np.mean([r.far for r in results]) < 0.1
    assert np.mean([r.js for r in results]) == pytest.approx(results[0].js_null, rel=0.03)


def test_bins_are_found_and_filled():
    rng = np.random.default_rng(1)
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    label = rng.integers(3, size=600)
    training = centres[label] + rng.normal(size=(600, 2))
    bins = TrainingBins(training, 3)
    assert sorted(bins.counts) == sorted(np.bincount(label))
    same = bins.compare(training)
    assert (same.different, same.far) == (0, 0)
    assert same.js == pytest.approx(0, abs=1e-12)
    one = bins.compare(np.tile(centres[1], (50, 1)))
    p = np.bincount(label)[1] / 600
    middle = (1 + p) / 2
    expected = (np.log(1 / middle) + p * np.log(p / middle) + (1 - p) * np.log(2)) / 2
    assert one.js == pytest.approx(expected, rel=1e-9)
    assert one.far == 3
    assert one.z.max() == one.z[bins.counts == np.bincount(label)[1]]


def test_whitening_makes_units_irrelevant():
    rng = np.random.default_rng(2)
    training, samples = rng.normal(size=(400, 3)), rng.normal(size=(200, 3)) + 0.3
    scale = np.array([1.0, 1000.0, 0.01])
    plain = ndb(samples, training, 8, whiten=True, random_state=3)
    scaled = ndb(samples * scale, training * scale, 8, whiten=True, random_state=3)
    np.testing.assert_allclose(plain.z, scaled.z)


def test_the_same_bits_for_any_jobs_and_the_seed_matters():
    rng = np.random.default_rng(3)
    training, samples = rng.random((900, 4, 4)), rng.random((700, 4, 4))
    results = [ndb(samples, training, 20, n_jobs=jobs).z for jobs in (1, 2, None)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert not np.array_equal(results[0], ndb(samples, training, 20, random_state=1).z)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="n_bins must be at least 2 and at most 5, got 9; use fewer bins"):
        ndb(np.zeros((3, 2)), np.zeros((5, 2)), 9)
    with pytest.raises(ValueError, match="samples have 3 values each but training images have 2"):
        ndb(np.zeros((3, 3)), np.eye(2), 2)
    with pytest.raises(ValueError, match="alpha must be greater than 0 and less than 1, got 0"):
        ndb(np.zeros((3, 2)), np.eye(2), 2, alpha=0)
    with pytest.raises(ValueError, match="two rows of the same length with positive sums"):
        compare_counts([1, 2], [0, 0])


def test_mnist_c84(data_root):
    """45,000 / 15,000 at random, 100 bins, 10,000 queries; published 0 / .0014, 4 / .0041, 11 / .016."""
    from sparsegen_classic import open_images

    train, test = (open_images(data_root / "mnist", split=split) for split in ("train", "test"))
    order = np.random.default_rng(0).permutation(60_000)
    rest = order[45_000:]
    bins = TrainingBins(train.images[order[:45_000]], 100, n_jobs=2)
    validation = bins.compare(train.images[rest[:10_000]])
    assert validation.far == 0
    assert validation.different <= 11  # 5 expected
    assert validation.js == pytest.approx(0.0014, abs=0.0004)
    held_out = bins.compare(test.images)
    assert held_out.far <= 6
    assert held_out.js == pytest.approx(0.0041, abs=0.0006)
    without_nine = bins.compare(train.images[rest[train.labels[rest] != 9][:10_000]])
    assert 8 <= without_nine.far <= 14
    assert without_nine.js == pytest.approx(0.016, abs=0.003)
