"""Orthogonal matching pursuit with missing entries and weights."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from sparsegen_classic import orthogonal_mp
from tests import naive
from tests.pursuit.test_omp import gaussian_problem


def masked_problem(seed, n_samples=200, n_features=20, n_components=50, missing=0.3):
    X, atoms = gaussian_problem(seed, n_samples, n_features, n_components)
    rng = np.random.default_rng(seed)
    return X, atoms, rng.random(X.shape) >= missing, rng.random(X.shape) + 0.1


@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("positive", [False, True])
def test_equals_the_pursuit_on_the_observed_and_weighted_entries(positive, k):
    X, atoms, mask, weights = masked_problem(k)
    oracle = naive.nn_omp if positive else naive.omp
    for given in ({"mask": mask}, {"sample_weight": weights}, {"mask": mask, "sample_weight": weights}):
        w = given.get("mask", True) * given.get("sample_weight", np.ones(X.shape))
        codes = orthogonal_mp(X, atoms, k, positive=positive, **given)
        expected = [naive.weighted(oracle, x, atoms, row, k) for x, row in zip(X, w, strict=True)]
        np.testing.assert_allclose(codes.toarray(), expected, atol=1e-9)


def test_error_targets_are_weighted_and_honoured():
    X, atoms, mask, weights = masked_problem(0)
    codes = orthogonal_mp(X, atoms, tol=0.5, mask=mask, sample_weight=weights).toarray()
    w = mask * weights
    expected = [naive.weighted(naive.omp, x, atoms, row, 20, 0.5) for x, row in zip(X, w, strict=True)]
    np.testing.assert_allclose(codes, expected, atol=1e-8)
    assert (w * (X - codes @ atoms) ** 2).sum(axis=1).max() <= 0.5 + 1e-12
    targets = np.where(np.arange(200) < 100, 1e6, 0.5)
    few = orthogonal_mp(X, atoms, tol=targets, mask=mask, sample_weight=weights).toarray()
    assert not few[:100].any()
    np.testing.assert_array_equal(few[100:], codes[100:])


def test_missing_entries_may_hold_anything_and_nan_may_say_what_is_missing():
    X, atoms, mask, _ = masked_problem(1)
    expected = orthogonal_mp(X, atoms, 4, mask=mask).toarray()
    for junk in (np.nan, np.inf, 1e300):
        spoilt = np.where(mask, X, junk)
        np.testing.assert_array_equal(orthogonal_mp(spoilt, atoms, 4, mask=mask).toarray(), expected)
    with_nan = np.where(mask, X, np.nan)
    np.testing.assert_array_equal(orthogonal_mp(with_nan, atoms, 4, mask="nan").toarray(), expected)
    one_row = orthogonal_mp(X, atoms, 4, mask=mask[0]).toarray()
    np.testing.assert_array_equal(
        one_row, orthogonal_mp(X, atoms, 4, mask=np.tile(mask[0], (200, 1))).toarray()
    )


def test_with_everything_observed_it_is_the_ordinary_pursuit():
    X, atoms, mask, _ = masked_problem(2)
    expected = orthogonal_mp(X, atoms, 4).toarray()
    np.testing.assert_array_equal(orthogonal_mp(X, atoms, 4, mask=mask | True).toarray(), expected)
    twice = orthogonal_mp(X, atoms, 4, sample_weight=np.full(20, 2.0)).toarray()
    np.testing.assert_allclose(twice, expected, atol=1e-10)


def test_planted_codes_are_found_with_half_of_the_entries():
    rng = np.random.default_rng(0)
    atoms = naive.unit_rows(rng.standard_normal((128, 64)))
    codes = np.zeros((200, 128))
    for code in codes:
        code[rng.choice(128, 2, replace=False)] = rng.uniform(1, 2, 2) * rng.choice([-1, 1], 2)
    mask = rng.random((200, 64)) < 0.5
    found = orthogonal_mp(codes @ atoms, atoms, 2, mask=mask).toarray()
    assert (np.abs(found - codes).max(axis=1) < 1e-8).mean() > 0.9


def test_unobserved_atoms_are_not_picked_and_dependent_ones_give_one_warning():
    atoms = np.eye(3)
    codes = orthogonal_mp([[5.0, 1, 2]], atoms, 3, mask=[False, True, True])
    np.testing.assert_allclose(codes.toarray(), [[0, 1, 2]])
    twins = np.array([[1.0, 0, 0], [1, 1e-8, 0]])
    with pytest.warns(ConvergenceWarning, match="7 of 7 signals stopped") as record:
        codes = orthogonal_mp(np.tile([1.0, 0.5, np.nan], (7, 1)), twins, 2, mask="nan")
    assert codes.nnz == 7
    assert len(record) == 1
    assert orthogonal_mp(np.zeros((2, 3)), atoms, 2, mask=[True, True, False]).nnz == 0


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_do_not_depend_on_n_jobs(positive, dtype):
    X, atoms, mask, _ = masked_problem(3, 1500)
    one, two = (
        orthogonal_mp(X.astype(dtype), atoms, 6, positive=positive, mask=mask, n_jobs=n) for n in (1, 2)
    )
    assert one.dtype == dtype
    np.testing.assert_array_equal(one.toarray(), two.toarray())


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ValueError, "Input X contains NaN"),
        ({"mask": "NaN"}, ValueError, "mask must be None, 'nan' or a boolean array .* got 'NaN'"),
        ({"mask": np.ones((3, 20))}, TypeError, "mask must be boolean .* got an array of float64"),
        ({"mask": np.ones((20, 3), bool)}, ValueError, r"mask must have the shape of X .*\(3, 20\) or"),
        ({"mask": np.zeros((3, 20), bool)}, ValueError, r"row 0 of X has no observed entry \(3 such rows\)"),
        (
            {"mask": np.ones((3, 20), bool)},
            ValueError,
            "NaN or infinity at row 1, column 2, which counts as observed; mark it False in mask",
        ),
        ({"mask": "nan", "sample_weight": np.zeros(20)}, ValueError, "row 0 of X has no observed entry"),
        ({"mask": "nan", "sample_weight": [1.0, 2]}, ValueError, "sample_weight must have the shape of X"),
        (
            {"mask": "nan", "sample_weight": np.full(20, -1.0)},
            ValueError,
            "sample_weight must be finite and at least 0, got -1.0",
        ),
    ],
)
def test_bad_masks_and_weights_are_named(given, error, message):
    X, atoms = gaussian_problem(0, 3, 20, 50)
    X[1, 2] = np.nan
    with pytest.raises(error, match=message):
        orthogonal_mp(X, atoms, 2, **given)
