"""K-SVD: the atom stage against its definition, recovery of planted atoms, replacement, reproducibility."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsegen_classic import KSVD
from sparsegen_classic._kernels.ksvd import subtract_codes, users_by_atom
from sparsegen_classic.dictionary.atom_stage import atom_stage
from sparsegen_classic.dictionary.atoms import atoms_to_replace, worst_represented
from sparsegen_classic.pursuit.omp import codes_from_arrays, omp_arrays
from tests import naive


@parametrize_with_checks(
    [
        KSVD(),
        KSVD(update="exact", min_uses=0),
        KSVD(positive=True, positive_atoms=True),
        KSVD(dc_atom=True, tol=0.1),
    ]
)
def test_estimator_contract(estimator, check):
    check(estimator)


def planted(seed, n_samples=1500, n_features=20, n_components=50, k=3, snr=20.0):
    """Uniform atoms and coefficients, as in the experiment of Aharon, Elad and Bruckstein (2006)."""
    rng = np.random.default_rng(seed)
    atoms = naive.unit_rows(rng.uniform(-1, 1, (n_components, n_features)))
    codes = np.zeros((n_samples, n_components))
    for code in codes:
        code[rng.choice(n_components, k, replace=False)] = rng.uniform(-1, 1, k)
    X = codes @ atoms
    noise = rng.standard_normal(X.shape)
    return X + noise * np.linalg.norm(X) / np.linalg.norm(noise) * 10 ** (-snr / 20), atoms


def recovered_share(components, atoms):
    return (1 - np.abs(components @ atoms.T).max(axis=0) < 0.01).mean()


@pytest.mark.parametrize("exact", [False, True])
def test_the_atom_stage_equals_its_definition_and_never_raises_the_objective(exact):
    X, _ = planted(0, n_samples=300)
    components = naive.unit_rows(X[:40])
    indices, coefficients, _ = omp_arrays(X, components, 3)
    codes = codes_from_arrays(indices, coefficients, 40).toarray()
    order = np.random.default_rng(0).permutation(40)
    expected, expected_codes = naive.ksvd_sweep(order, X, components, codes, exact)
    residual = X.copy()
    subtract_codes(residual, components, indices, coefficients)
    before = (residual**2).sum()
    start, users = users_by_atom(indices, 40)
    atom_stage(order, components, residual, start, users, coefficients, exact=exact)
    sign = np.sign((components * expected).sum(axis=1))
    np.testing.assert_allclose(components, expected * sign[:, None], atol=1e-8)
    codes = codes_from_arrays(indices, coefficients, 40).toarray()
    np.testing.assert_allclose(codes, expected_codes * sign, atol=1e-7)
    np.testing.assert_allclose(residual, X - codes @ components, atol=1e-10)
    assert (residual**2).sum() < before


def test_c15_planted_atoms_are_recovered():
    shares = {}
    for update in ("approximate", "exact"):
        runs = [planted(seed) for seed in range(5)]
        models = [
            KSVD(50, n_nonzero_coefs=3, max_iter=50, update=update, random_state=seed).fit(X)
            for seed, (X, _) in enumerate(runs)
        ]
        shares[update] = np.mean(
            [
                recovered_share(model.components_, atoms)
                for model, (_, atoms) in zip(models, runs, strict=True)
            ]
        )
    assert min(shares.values()) >= 0.85
    assert abs(shares["exact"] - shares["approximate"]) <= 0.08  # 5 trials: two standard errors


def test_the_training_error_falls_and_equals_that_of_the_codes():
    X, _ = planted(1)
    model = KSVD(50, n_nonzero_coefs=3, max_iter=15, random_state=0).fit(X)
    assert model.errors_[-1] < 0.6 * model.errors_[0]
    codes = model.transform(X)
    recoded = np.sqrt(((X - model.inverse_transform(codes)) ** 2).mean())
    assert recoded <= 1.1 * model.errors_[-1]
    assert np.diff(codes.indptr).max() == 3
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_seed_same_bits_for_any_n_jobs(dtype):
    X, _ = planted(2, n_samples=3000)
    models = [
        KSVD(50, n_nonzero_coefs=3, max_iter=4, random_state=3, n_jobs=n).fit(X.astype(dtype)) for n in (1, 2)
    ]
    assert models[0].components_.dtype == dtype
    np.testing.assert_array_equal(models[0].components_, models[1].components_)
    np.testing.assert_array_equal(models[0].errors_, models[1].errors_)


def test_dead_and_duplicate_atoms_are_replaced_and_counted():
    X, atoms = planted(3)
    init = atoms.copy()
    init[1] = init[0]  # a duplicate
    model = KSVD(50, n_nonzero_coefs=3, init=init, max_iter=6, random_state=0).fit(X)
    assert model.n_replaced_ >= 1
    gram = np.abs(model.components_ @ model.components_.T) - np.eye(50)
    assert gram.max() < 0.99
    assert KSVD(50, n_nonzero_coefs=3, max_iter=1, random_state=0).fit(X).n_replaced_ == 0


def test_of_a_coherent_pair_the_less_used_atom_goes():
    atoms = np.array([[1.0, 0], [-1, 1e-3], [0, 1]])
    assert atoms_to_replace(atoms, np.array([5, 9, 9]), 0.99, 4).tolist() == [0]
    assert atoms_to_replace(atoms, np.array([5, 9, 3]), 1.0, 4).tolist() == [2]


def test_replacements_are_the_worst_represented_samples():
    X = np.array([[1.0, 0], [0, 2], [3, 0], [0, 0]])
    fresh = worst_represented(X, np.array([0.1, 0.5, 0.3, 0.0]), np.arange(4), 4)
    np.testing.assert_array_equal(fresh, [[0, 1], [1, 0], [1, 0]])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"n_components": 31},
            "n_components=31 atoms need at least as many distinct non-zero samples, got 30 of n_samples=30",
        ),
        (
            {"n_components": 5, "n_nonzero_coefs": 6},
            "n_nonzero_coefs must be at least 1 and at most 5, got 6",
        ),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"update": "svd"}, "update must be one of 'approximate', 'exact', got 'svd'"),
        ({"coherence_threshold": 1.5}, "coherence_threshold must be greater than 0 and at most 1, got 1.5"),
        ({"init": np.eye(8)}, r"init must have shape \(n_components, n_features\)=\(8, 6\), got \(8, 8\)"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    X = np.random.default_rng(0).standard_normal((30, 6))
    with pytest.raises(ValueError, match=message):
        KSVD(**parameters).fit(X)
