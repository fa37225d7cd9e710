"""Orthogonal matching pursuit against its definition, scikit-learn and exact recovery guarantees."""

from itertools import combinations

import numpy as np
import pytest
from scipy.linalg import hadamard
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import orthogonal_mp_gram

from sparsegen_classic import orthogonal_mp
from sparsegen_classic.pursuit import omp_arrays
from sparsegen_classic.pursuit.omp import code_block
from tests import naive


def gaussian_problem(seed, n_samples, n_features, n_components):
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((n_samples, n_features)),
        naive.unit_rows(rng.standard_normal((n_components, n_features))),
    )


def spikes_and_hadamard(n):
    return np.vstack([np.eye(n), hadamard(n) / np.sqrt(n)])


def test_c12_every_two_sparse_signal_below_the_coherence_bound_is_recovered():
    atoms = spikes_and_hadamard(16)
    pairs = list(combinations(range(32), 2))
    codes = np.zeros((4 * len(pairs), 32))
    for n, (pair, values) in enumerate(
        (p, v) for p in pairs for v in ((1, 1), (1, -1), (1, 0.01), (1, -100))
    ):
        codes[n, pair] = values
    assert len(codes) == 1984
    recovered = orthogonal_mp(codes @ atoms, atoms, 2).toarray()
    np.testing.assert_allclose(recovered, codes, atol=1e-10)


@pytest.mark.parametrize(
    ("n", "k", "n_draws", "low", "high"),
    [(64, 4, 5000, 0, 0), (16, 5, 5000, 0.002, 0.011), (16, 6, 5000, 0.018, 0.041)],
)
def test_c12_failure_rates_at_and_above_the_bound(n, k, n_draws, low, high):
    rng = np.random.default_rng(n + k)
    atoms = spikes_and_hadamard(n)
    codes = np.zeros((n_draws, 2 * n))
    for code in codes:
        code[rng.choice(2 * n, k, replace=False)] = rng.standard_normal(k)
    recovered = orthogonal_mp(codes @ atoms, atoms, k).toarray()
    failed = np.abs(recovered - codes).max(axis=1) > 1e-8
    assert low <= failed.mean() <= high


def test_c12_two_representations_at_the_spark():
    atoms = spikes_and_hadamard(16)
    np.testing.assert_allclose(atoms[[0, 4, 8, 12]].sum(axis=0), atoms[16:20].sum(axis=0), atol=1e-12)


def test_c13_two_dimensional_example():
    atoms = np.array([[1, 0], [0, 1], [np.sqrt(0.5), np.sqrt(0.5)]])
    codes = orthogonal_mp([[3.0, 1.0], [2.0, 2.0]], atoms, 2).toarray()
    np.testing.assert_allclose(codes, [[3, 1, 0], [0, 0, 2.828427]], atol=1e-6)


@pytest.mark.parametrize("k", range(1, 11))
def test_c14_equals_plain_omp_with_least_squares_refit(k):
    X, atoms = gaussian_problem(k, 100, 20, 50)
    codes = orthogonal_mp(X, atoms, k).toarray()
    np.testing.assert_allclose(codes, [naive.omp(x, atoms, k) for x in X], atol=1e-10)
    residual = X - codes @ atoms
    for r, code in zip(residual, codes, strict=True):
        assert np.abs(atoms[code != 0] @ r).max() < 1e-10
    if k > 1:
        before = X - orthogonal_mp(X, atoms, k - 1) @ atoms
        assert ((residual**2).sum(axis=1) <= (before**2).sum(axis=1) + 1e-12).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_selects_the_supports_of_scikit_learn(dtype):
    X, atoms = gaussian_problem(0, 500, 64, 256)
    codes = orthogonal_mp(X.astype(dtype), atoms, 8)
    oracle = orthogonal_mp_gram(atoms @ atoms.T, atoms @ X.T, n_nonzero_coefs=8).T
    assert codes.dtype == dtype
    same = ((codes.toarray() != 0) == (oracle != 0)).all(axis=1)
    assert same.all() if dtype == np.float64 else same.mean() > 0.99  # float32 may settle near-ties otherwise
    np.testing.assert_allclose(
        codes.toarray()[same], oracle[same], atol=1e-4 if dtype == np.float32 else 1e-10
    )


def test_ties_take_the_lower_index():
    atoms = np.eye(6)
    codes = orthogonal_mp(np.array([[1.0, -1, 1, 1, -1, 1]]), atoms, 3)
    assert codes.indices.tolist() == [0, 1, 2]


@pytest.mark.parametrize("n_components", [1, 3, 31, 32, 33, 63, 64, 65, 130])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dictionaries_that_do_not_fill_the_last_tile(n_components, dtype):
    X, atoms = gaussian_problem(n_components, 50, 24, n_components)
    k = min(6, n_components)
    codes = orthogonal_mp(X.astype(dtype), atoms, k).toarray()
    oracle = [naive.omp(x, atoms, k) for x in X]
    np.testing.assert_allclose(codes, oracle, atol=1e-4 if dtype == np.float32 else 1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_equal_atoms_in_different_tiles_the_lower_is_taken(dtype):
    X, atoms = (part.astype(dtype) for part in gaussian_problem(8, 200, 30, 50))
    alpha, gram, twice = X @ atoms.T, atoms @ atoms.T, np.r_[:50, :45]  # 95 atoms: 1.5 or 3 tiles
    indices, coefficients = np.full((200, 5), -1, np.int32), np.zeros((200, 5), dtype)
    energy, no_tol = np.einsum("ij,ij->i", X, X), np.full(200, -1.0)
    gram = np.ascontiguousarray(gram[np.ix_(twice, twice)])
    assert code_block(alpha[:, twice].copy(), gram, energy, no_tol, X, atoms, indices, coefficients) == 0
    assert indices.min() >= 0
    assert indices.max() < 50


@pytest.mark.parametrize("tol", [2.0, 1e-3, 1e-12])
def test_error_target_is_honoured_with_the_fewest_atoms(tol):
    X, atoms = gaussian_problem(1, 200, 20, 50)
    codes = orthogonal_mp(X, atoms, tol=tol).toarray()
    np.testing.assert_allclose(codes, [naive.omp(x, atoms, 20, tol) for x in X], atol=1e-7)
    assert (((X - codes @ atoms) ** 2).sum(axis=1) <= tol).all()


def test_error_targets_may_differ_by_sample_and_float32_input_keeps_its_type():
    X, atoms = gaussian_problem(2, 50, 20, 50)
    tol = np.geomspace(1e-4, 100, 50)
    codes = orthogonal_mp(X.astype(np.float32), atoms, tol=tol)
    assert codes.dtype == np.float32
    assert (((X - codes @ atoms) ** 2).sum(axis=1) <= tol * 1.001).all()
    assert codes[[-1]].nnz == 0


@pytest.mark.parametrize(("n_features", "n_components", "k"), [(20, 50, 8), (10, 30, 10), (8, 40, 5)])
def test_non_negative_omp_equals_its_definition(n_features, n_components, k):
    X, atoms = gaussian_problem(k, 200, n_features, n_components)
    codes = orthogonal_mp(X, atoms, k, positive=True).toarray()
    assert (codes >= 0).all()
    np.testing.assert_allclose(codes, [naive.nn_omp(x, atoms, k) for x in X], atol=1e-9)


def test_non_negative_omp_over_the_doubled_dictionary_is_signed_omp_at_two_atoms():
    X, atoms = gaussian_problem(3, 300, 20, 50)
    doubled = orthogonal_mp(X, np.vstack([atoms, -atoms]), 2, positive=True).toarray()
    np.testing.assert_allclose(
        doubled[:, :50] - doubled[:, 50:], orthogonal_mp(X, atoms, 2).toarray(), atol=1e-9
    )


def test_non_negative_omp_honours_the_error_target():
    rng = np.random.default_rng(0)
    _, atoms = gaussian_problem(4, 1, 20, 50)
    X = (rng.random((50, 50)) * (rng.random((50, 50)) < 0.1)) @ atoms + 0.01
    codes = orthogonal_mp(X, atoms, tol=0.05, positive=True)
    assert codes.data.min() > 0
    residual = ((X - codes @ atoms) ** 2).sum(axis=1)
    assert (residual <= 0.05).mean() > 0.9  # non-negative fits cannot reach every target


@pytest.mark.parametrize("positive", [False, True])
def test_bits_do_not_depend_on_n_jobs(positive):
    X, atoms = gaussian_problem(5, 1500, 30, 60)
    one, two = (omp_arrays(X, atoms, 6, positive=positive, n_jobs=n) for n in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_zero_signals_and_exact_fits_stop_early_without_a_warning():
    _, atoms = gaussian_problem(6, 1, 20, 50)
    codes = orthogonal_mp(np.vstack([np.zeros(20), 2 * atoms[7]]), atoms, 5)
    assert codes.indices.tolist() == [7]
    np.testing.assert_allclose(codes.data, [2])


def test_dependent_atoms_give_one_warning_a_call():
    atoms = np.array([[1.0, 0.0], [1.0, 1e-8]])
    X = np.tile([1.0, 0.5], (10, 1))
    with pytest.warns(
        ConvergenceWarning, match="10 of 10 signals stopped before n_nonzero_coefs=2"
    ) as record:
        codes = orthogonal_mp(X, atoms, 2)
    assert codes.nnz == 10
    assert len(record) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"n_nonzero_coefs": 51},
            "n_nonzero_coefs must be at least 1 and at most 50, got 51; a signal cannot",
        ),
        ({"n_nonzero_coefs": 0}, "n_nonzero_coefs must be at least 1"),
        ({"tol": -1.0}, "tol is a squared residual norm and must be finite and at least 0, got -1.0"),
        ({"tol": [1.0, 2.0]}, r"tol must be one number or one a sample, shape \(3,\), got shape \(2,\)"),
        ({"components": np.ones((50, 20))}, "components must have rows of unit norm .* row 0 has norm 4.47"),
        ({"components": np.eye(7)}, "X has 20 features but components has 7"),
        ({"X": np.full((3, 20), np.nan)}, "Input X contains NaN"),
    ],
)
def test_bad_input_is_named(change, message):
    X, atoms = gaussian_problem(0, 3, 20, 50)
    with pytest.raises(ValueError, match=message):
        orthogonal_mp(**({"X": X, "components": atoms} | change))


def test_a_fractional_sparsity_is_a_type_error():
    X, atoms = gaussian_problem(0, 3, 20, 50)
    with pytest.raises(TypeError, match=r"n_nonzero_coefs must be an integer, got 2.5 of type float"):
        orthogonal_mp(X, atoms, 2.5)
