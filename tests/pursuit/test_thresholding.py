"""Thresholding, iterative hard thresholding and subspace pursuit against their definitions."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsegen_classic.pursuit import (
    SparseCoder,
    iterative_hard_thresholding,
    orthogonal_mp,
    subspace_pursuit,
    thresholding,
)
from tests import naive
from tests.pursuit.test_omp import gaussian_problem

ALL = [thresholding, iterative_hard_thresholding, subspace_pursuit]


@parametrize_with_checks([SparseCoder(), SparseCoder(algorithm="subspace", n_nonzero_coefs=1)])
def test_estimator_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize(
    ("pursuit", "oracle"), [(thresholding, naive.thresholding), (subspace_pursuit, naive.subspace_pursuit)]
)
def test_equals_its_definition(pursuit, oracle, k):
    X, atoms = gaussian_problem(k, 200, 20, 50)
    codes = pursuit(X, atoms, k).toarray()
    np.testing.assert_allclose(codes, [oracle(x, atoms, k) for x in X], atol=1e-9)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_iterative_hard_thresholding_never_raises_the_error(k):
    X, atoms = gaussian_problem(k, 200, 20, 50)
    errors = [
        ((X - iterative_hard_thresholding(X, atoms, k, max_iter=n) @ atoms) ** 2).sum(axis=1)
        for n in (1, 5, 30, 300)
    ]
    assert np.diff([error.mean() for error in errors]).max() <= 1e-12
    start = ((X - thresholding(X, atoms, k) @ atoms) ** 2).sum(axis=1)
    assert (errors[-1] <= start + 1e-9).mean() > 0.9
    codes = iterative_hard_thresholding(X, atoms, k, max_iter=2000).toarray()
    for x, code in zip(X, codes, strict=True):  # stationary: least squares on its support
        support = code != 0
        assert np.abs(atoms[support] @ (x - code @ atoms)).max() < 1e-9


@pytest.mark.parametrize("pursuit", [iterative_hard_thresholding, subspace_pursuit])
def test_planted_codes_are_found(pursuit):
    rng = np.random.default_rng(0)
    atoms = naive.unit_rows(rng.standard_normal((128, 64)))
    codes = np.zeros((200, 128))
    for code in codes:
        code[rng.choice(128, 3, replace=False)] = rng.uniform(1, 2, 3) * rng.choice([-1, 1], 3)
    found = pursuit(codes @ atoms, atoms, 3).toarray()
    assert (np.abs(found - codes).max(axis=1) < 1e-8).mean() > 0.9


@pytest.mark.parametrize("pursuit", ALL)
def test_zero_signals_dependent_atoms_types_and_threads(pursuit):
    atoms = np.array([[1.0, 0], [1, 0], [0, 1]])
    codes = pursuit(np.array([[0.0, 0], [2, 1]], np.float32), atoms, 3)
    assert codes.dtype == np.float32
    assert codes[[0]].nnz == 0
    np.testing.assert_allclose(codes @ atoms, [[0, 0], [2, 1]], atol=1e-6)
    X, atoms = gaussian_problem(0, 600, 20, 50)
    one, two = (pursuit(X, atoms, 4, n_jobs=n).toarray() for n in (1, 2))
    np.testing.assert_array_equal(one, two)
    with pytest.raises(ValueError, match="n_nonzero_coefs must be at least 1 and at most 50, got 51"):
        pursuit(X, atoms, 51)


def test_the_coder_is_the_pursuit_and_takes_any_function():
    X, atoms = gaussian_problem(1, 50, 20, 50)
    coder = SparseCoder(atoms, n_nonzero_coefs=3, options={"positive": True}).fit(X)
    codes = coder.transform(X)
    np.testing.assert_array_equal(codes.toarray(), orthogonal_mp(X, atoms, 3, positive=True).toarray())
    np.testing.assert_allclose(coder.inverse_transform(codes), codes @ atoms)
    own = SparseCoder(atoms, algorithm=lambda X, components, k, n_jobs=None: thresholding(X, components, k))
    own.set_params(n_nonzero_coefs=2)
    np.testing.assert_array_equal(own.fit_transform(X).toarray(), thresholding(X, atoms, 2).toarray())
    with pytest.raises(ValueError, match="algorithm must be one of 'omp', 'threshold', 'iht', 'subspace'"):
        SparseCoder(atoms, algorithm="lars").fit(X)
    with pytest.raises(ValueError, match="X has 5 features but components has 20"):
        SparseCoder(atoms).fit(X[:, :5])
