"""The Frechet distance against closed forms."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from sparsegen_classic.metrics import frechet_distance, frechet_from_moments


def random_covariance(rng, d, rank=None):
    root = rng.normal(size=(d, rank or d))
    return root @ root.T / d


def test_commuting_covariances_have_a_closed_form():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    a, b, shift = rng.uniform(0, 3, 6), rng.uniform(0, 3, 6), rng.normal(size=6)
    distance = frechet_from_moments(shift, basis * a @ basis.T, np.zeros(6), basis * b @ basis.T)
    assert distance == pytest.approx(shift @ shift + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), rel=1e-12)


def test_equals_the_textbook_formula_and_is_symmetric():
    rng = np.random.default_rng(1)
    first, second = random_covariance(rng, 8), random_covariance(rng, 8)
    expected = np.trace(first + second - 2 * sqrtm(first @ second).real)
    zero = np.zeros(8)
    assert frechet_from_moments(zero, first, zero, second) == pytest.approx(expected, rel=1e-9)
    assert frechet_from_moments(zero, second, zero, first) == pytest.approx(expected, rel=1e-9)


def test_singular_covariances_are_no_harm():
    rng = np.random.default_rng(2)
    u, v = rng.normal(size=(2, 50))
    zero = np.zeros(50)
    # two lines: tr C1 + tr C2 - 2 |u.v|
    expected = u @ u + v @ v - 2 * abs(u @ v)
    assert frechet_from_moments(zero, np.outer(u, u), zero, np.outer(v, v)) == pytest.approx(
        expected, rel=1e-6
    )
    few = rng.normal(size=(5, 400))  # fewer rows than features
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sets_across_blocks(dtype):
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(9_000, 3, 2)).astype(dtype)
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(rows + 2, rows) == pytest.approx(6 * 4, rel=1e-5)
    # scaling by s moves no mean of centred rows: tr C (s - 1)**2
    flat = rows.reshape(len(rows), -1).astype(float)
    flat -= flat.mean(axis=0)
    spread = flat.var(axis=0, ddof=1).sum()
    assert frechet_distance(3 * flat, flat) == pytest.approx(4 * spread, rel=1e-9)


def test_gaussian_samples_approach_the_distance_of_their_laws():
    rng = np.random.default_rng(4)
    scale = np.array([1.0, 2.0, 0.5])
    one, other = rng.normal([1, 0, 0], 1, (20_000, 3)), rng.normal(0, scale, (20_000, 3))
    assert frechet_distance(one, other) == pytest.approx(1 + ((1 - scale) ** 2).sum(), abs=0.06)


def test_a_large_offset_costs_no_digits():
    rng = np.random.default_rng(5)
    one, other = rng.normal(size=(2, 500, 4))
    assert frechet_distance(one + 1e6, other + 1e6) == pytest.approx(frechet_distance(one, other), rel=1e-6)


@pytest.mark.parametrize(
    ("samples", "references", "message"),
    [
        (np.zeros((1, 3)), np.zeros((4, 3)), "minimum of 2 is required"),
        (np.zeros((4, 3)), np.zeros((4, 2)), "samples have 3 values each but references have 2; bring both"),
        (np.full((4, 3), np.nan), np.zeros((4, 3)), "samples contains NaN"),
        (np.zeros(4), np.zeros((4, 3)), r"samples must be images or feature rows, \(n, ...\), found shape"),
    ],
)
def test_bad_input_is_named(samples, references, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(samples, references)


def test_real_digits_have_the_floor_that_was_measured(data_root):
    from sparsegen_classic import DigitNetwork, open_images

    network = DigitNetwork(n_jobs=2)
    train, test = (
        network.features(open_images(data_root / "mnist", split=split).images[:10_000])
        for split in ("train", "test")
    )
    assert 0.5 < frechet_distance(train, test) < 2
