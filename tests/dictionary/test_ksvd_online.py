"""K-SVD from a stream: independent of how it is cut, and as good as in one piece."""

import itertools

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsegen_classic import KSVD, load_model, save_model
from sparsegen_classic._kernels.ksvd import FREE, NON_NEGATIVE, ZERO_MEAN
from sparsegen_classic._kernels.online_ksvd import add_moments, update_atoms_from_moments
from sparsegen_classic.dictionary.atoms import allowed
from sparsegen_classic.dictionary.online import completed
from sparsegen_classic.dictionary.samples import Samples
from sparsegen_classic.pursuit.omp import codes_from_arrays, omp_arrays
from tests import naive
from tests.dictionary.test_ksvd import planted, recovered_share


@parametrize_with_checks(
    [KSVD(online=True), KSVD(online=True, positive=True, positive_atoms=True), KSVD(online=True, tol=0.1)]
)
def test_estimator_contract(estimator, check):
    check(estimator)


def test_moments_are_those_of_the_codes():
    X, _ = planted(0, n_samples=300)
    components = naive.unit_rows(X[:30])
    indices, coefficients, _ = omp_arrays(X, components, 3)
    gram, cross, uses = np.ones((30, 30)), np.ones((30, 20)), np.zeros(30)
    counts = np.random.default_rng(0).uniform(0, 2, 300)
    add_moments(X, indices, coefficients, counts, 0.5, gram, cross, uses)
    codes = codes_from_arrays(indices, coefficients, 30).toarray()
    np.testing.assert_allclose(gram, 0.5 + codes.T @ codes)
    np.testing.assert_allclose(cross, 0.5 + codes.T @ X)
    np.testing.assert_allclose(uses, counts @ (codes != 0))


def test_moments_of_completed_samples_lie_above_the_weighted_error_and_touch_it():
    rng = np.random.default_rng(0)
    X, _ = planted(0, n_samples=300)
    weights = (rng.random(X.shape) < 0.7) * rng.uniform(0.2, 2, X.shape)
    counts = rng.uniform(0.5, 2, 300)
    components = naive.unit_rows(rng.standard_normal((30, 20)))
    indices, coefficients, _ = omp_arrays(X, components, 3, weights=weights)
    codes = codes_from_arrays(indices, coefficients, 30).toarray()
    samples = Samples(np.where(weights > 0, X, 0), weights, counts, None)
    filled, scaled = completed(samples, samples.X - codes @ components, coefficients)
    scaled = codes_from_arrays(indices, scaled, 30).toarray()

    def gap(atoms):
        """Return how far what the moments give lies above the weighted error."""
        error = (counts[:, None] * weights * (X - codes @ atoms) ** 2).sum()
        return ((filled - scaled @ atoms) ** 2).sum() - error

    least = gap(components)
    moves = rng.standard_normal((20, *components.shape)) * 0.1
    assert min(gap(components + move) for move in moves) > least
    for move in moves[:3]:  # they touch: the gap has no slope there
        slope = (gap(components + 1e-5 * move) - gap(components - 1e-5 * move)) / 2e-5
        assert abs(slope) < 1e-5


def test_one_batch_a_pass_knows_weights_as_repetitions():
    X, _ = planted(1, n_samples=400)
    weight = np.random.default_rng(0).integers(0, 4, 400)
    parameters = {"n_components": 20, "n_nonzero_coefs": 3, "max_iter": 5, "batch_size": 2000}
    weighted = KSVD(**parameters, online=True, random_state=0).fit(X, sample_weight=weight)
    repeated = KSVD(**parameters, online=True, random_state=0).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.components_, repeated.components_, atol=1e-8)
    np.testing.assert_allclose(weighted.errors_, repeated.errors_)


def test_passes_recover_planted_atoms_also_with_missing_entries():
    X, atoms = planted(3, n_samples=6000)
    options = {"n_nonzero_coefs": 3, "online": True, "max_iter": 8, "batch_size": 256, "random_state": 0}
    model = KSVD(50, **options).fit(X)
    assert recovered_share(model.components_, atoms) >= 0.85
    assert model.errors_[-1] < 0.7 * model.errors_[0]
    mask = np.random.default_rng(0).random(X.shape) < 0.9
    masked = KSVD(50, **options).fit(np.where(mask, X, np.inf), mask=mask)
    same = KSVD(50, **options).fit(np.where(mask, X, np.nan), mask="nan")
    np.testing.assert_array_equal(masked.components_, same.components_)
    assert recovered_share(masked.components_, atoms) >= 0.7


def test_passes_end_as_low_as_iterations():
    X, _ = planted(4, n_samples=4000)
    errors = {}
    for online in (False, True):
        model = KSVD(50, n_nonzero_coefs=3, online=online, max_iter=10, random_state=0).fit(X[:3000])
        errors[online] = ((X[3000:] - model.transform(X[3000:]) @ model.components_) ** 2).mean()
    assert errors[True] < 1.1 * errors[False]


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


@pytest.mark.parametrize("weight", ["mask", "entry_weight", "sample_weight"])
def test_a_weighted_stream_may_be_cut_anywhere(weight, tmp_path):
    X = planted(2, n_samples=700)[0]
    rng = np.random.default_rng(0)
    weights = {
        "mask": rng.random(X.shape) < 0.8,
        "entry_weight": rng.uniform(0, 2, X.shape),
        "sample_weight": rng.uniform(0.1, 2, 700),
    }[weight]
    weights[:200] = 1  # a batch whose entries all count fully, and one of both kinds
    models = []
    for cut in ([0, 700], [0, 60, 61, 200, 456, 700]):
        model = KSVD(50, n_nonzero_coefs=3, batch_size=128, random_state=0)
        for start, stop in itertools.pairwise(cut):
            given = {} if stop <= 200 else {weight: weights[start:stop]}
            model.partial_fit(X[start:stop], **given)
            path = save_model(model, tmp_path / "model.npz", overwrite=True)
            model = load_model(path)  # with the weights of what waits for a whole batch
        models.append(model)
    np.testing.assert_array_equal(models[0].components_, models[1].components_)


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


def test_the_error_target_of_a_stream_is_one_number():
    X, _ = planted(6)
    with pytest.raises(ValueError, match=r"tol must be one number for partial_fit, got shape \(1500,\)"):
        KSVD(20, tol=np.ones(1500)).partial_fit(X)
    with pytest.raises(ValueError, match="online must be one of False, True, got 'yes'"):
        KSVD(20, online="yes").fit(X)
