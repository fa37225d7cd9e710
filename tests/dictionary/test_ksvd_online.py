"""K-SVD from a stream: independent of how it is cut, and as good as in one piece."""

import itertools

import numpy as np
import pytest

from sparsegen_classic import KSVD, load_model, save_model
from sparsegen_classic._kernels.ksvd import FREE, NON_NEGATIVE, ZERO_MEAN
from sparsegen_classic._kernels.online_ksvd import add_moments, update_atoms_from_moments
from sparsegen_classic.dictionary.atoms import allowed
from sparsegen_classic.pursuit.omp import codes_from_arrays, omp_arrays
from tests import naive
from tests.dictionary.test_ksvd import planted, recovered_share


def test_moments_are_those_of_the_codes():
    X, _ = planted(0, n_samples=300)
    components = naive.unit_rows(X[:30])
    indices, coefficients, _ = omp_arrays(X, components, 3)
    gram, cross, uses = np.ones((30, 30)), np.ones((30, 20)), np.zeros(30)
    add_moments(X, indices, coefficients, np.ones(300), 0.5, gram, cross, uses)
    codes = codes_from_arrays(indices, coefficients, 30).toarray()
    np.testing.assert_allclose(gram, 0.5 + codes.T @ codes)
    np.testing.assert_allclose(cross, 0.5 + codes.T @ X)
    np.testing.assert_array_equal(uses, (codes != 0).sum(axis=0))


@pytest.mark.parametrize("rule", [FREE, NON_NEGATIVE, ZERO_MEAN])
def test_no_atom_update_raises_the_objective(rule):
    X, _ = planted(1, n_samples=300)
    components = naive.unit_rows(allowed(X[:30], rule))
    indices, coefficients, _ = omp_arrays(X, components, 3)
    codes = codes_from_arrays(indices, coefficients, 30).toarray()
    objectives = [((X - codes @ components) ** 2).sum()]
    for _ in range(5):
        update_atoms_from_moments(0, components, codes.T @ codes, codes.T @ X, rule)
        objectives.append(((X - codes @ components) ** 2).sum())
    assert np.diff(objectives).max() <= 1e-10
    assert objectives[-1] < 0.9 * objectives[0]
    np.testing.assert_allclose(np.linalg.norm(components, axis=1), 1)
    assert rule != NON_NEGATIVE or components.min() >= 0
    assert rule != ZERO_MEAN or np.abs(components.mean(axis=1)).max() < 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("parameters", [{}, {"dc_atom": True, "tol": 0.1}, {"positive": True}])
def test_the_stream_may_be_cut_anywhere(parameters, dtype):
    X = planted(2, n_samples=700)[0].astype(dtype)
    cuts = ([0, 700], [0, 60, 61, 200, 456, 700], [0, 128, 256, 384, 512, 640, 700])
    models = []
    for cut in cuts:
        model = KSVD(50, n_nonzero_coefs=3, batch_size=128, random_state=0, **parameters)
        for start, stop in itertools.pairwise(cut):
            model.partial_fit(X[start:stop])
        models.append(model)
        assert model.n_seen_ == 700
        assert model.components_.dtype == dtype
    for other in models[1:]:
        np.testing.assert_array_equal(models[0].components_, other.components_)


def test_planted_atoms_are_recovered_from_a_stream():
    X, atoms = planted(3, n_samples=12000)
    model = KSVD(50, n_nonzero_coefs=3, random_state=0, batch_size=256)
    for _ in range(4):
        model.partial_fit(X)
    assert recovered_share(model.components_, atoms) >= 0.85


def test_a_fit_is_continued_and_not_forgotten():
    X, atoms = planted(4, n_samples=4000)
    model = KSVD(50, n_nonzero_coefs=3, max_iter=30, random_state=0).fit(X)
    before = recovered_share(model.components_, atoms)
    error = np.sqrt(((X - model.transform(X) @ model.components_) ** 2).mean())
    model.partial_fit(planted(4, n_samples=4300)[0][4000:])
    assert model.n_seen_ == 300
    assert recovered_share(model.components_, atoms) >= before - 0.05
    assert np.sqrt(((X - model.transform(X) @ model.components_) ** 2).mean()) < 1.05 * error


def test_a_saved_model_goes_on(tmp_path):
    X, _ = planted(5)
    model = KSVD(50, n_nonzero_coefs=3, random_state=0).partial_fit(X[:700])
    loaded = load_model(save_model(model, tmp_path / "model.npz"))
    np.testing.assert_array_equal(
        loaded.partial_fit(X[700:]).components_, model.partial_fit(X[700:]).components_
    )


def test_too_few_samples_to_start_and_other_features_are_errors():
    X, _ = planted(6)
    with pytest.raises(ValueError, match="n_components=50 atoms need at least as many distinct"):
        KSVD(50).partial_fit(X[:20])
    with pytest.raises(ValueError, match="X has 19 features, but KSVD is expecting 20"):
        KSVD(50).partial_fit(X).partial_fit(X[:, 1:])
