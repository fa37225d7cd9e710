"""K-SVD with missing entries, weights, non-negativity and a constant atom."""

import numpy as np
import pytest

from sparsegen_classic import KSVD
from sparsegen_classic._kernels.ksvd import FREE, NON_NEGATIVE, ZERO_MEAN, subtract_codes, users_by_atom
from sparsegen_classic.dictionary.atom_stage import atom_stage
from sparsegen_classic.dictionary.atoms import allowed
from sparsegen_classic.pursuit.omp import codes_from_arrays, omp_arrays
from tests import naive
from tests.dictionary.test_ksvd import planted


def stage(X, components, order, *, exact=False, weights=None, rule=FREE, positive=False):
    """Code, sweep once; return the objectives before and after, the atoms and the codes."""
    n_components = len(components)
    indices, coefficients, _ = omp_arrays(X, components, 3, positive=positive, weights=weights)
    codes = codes_from_arrays(indices, coefficients, n_components).toarray()
    w = np.ones_like(X) if weights is None else weights
    before = (w * (X - codes @ components) ** 2).sum()
    components, residual = components.copy(), X.copy()
    subtract_codes(residual, components, indices, coefficients)
    start_and_users = users_by_atom(indices, n_components)
    rules = {"exact": exact, "weights": weights, "rule": rule, "positive": positive}
    atom_stage(order, components, residual, *start_and_users, coefficients, **rules)
    after_codes = codes_from_arrays(indices, coefficients, n_components).toarray()
    after = (w * (X - after_codes @ components) ** 2).sum()
    return before, after, codes, components, after_codes


@pytest.mark.parametrize("rule", [FREE, NON_NEGATIVE, ZERO_MEAN])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_atom_stage_equals_its_definition_and_never_raises_the_objective(rule, positive, masked):
    rng = np.random.default_rng(0)
    X, _ = planted(0, n_samples=300)
    components = naive.unit_rows(allowed(X[:40], rule))
    weights = (rng.random(X.shape) < 0.7) * rng.uniform(0.5, 2, X.shape) if masked else None
    given = {"weights": weights, "rule": rule, "positive": positive}
    for j in range(0, 40, 8):  # one atom at a time against the definition
        _, _, codes, after, after_codes = stage(X, components, np.array([j]), **given)
        users = np.flatnonzero(codes[:, j])
        error = X[users] - codes[users] @ components + np.outer(codes[users, j], components[j])
        w = weights[users] if masked else np.ones_like(error)
        d, g = naive.weighted_rank_one(
            error,
            w,
            components[j],
            codes[users, j],
            positive=positive,
            non_negative=rule == NON_NEGATIVE,
            zero_mean=rule == ZERO_MEAN,
        )
        np.testing.assert_allclose(after[j], d, atol=1e-9)
        np.testing.assert_allclose(after_codes[users, j], g, atol=1e-8)
    order = rng.permutation(40)
    before, once, *_ = stage(X, components, order, **given)
    before, often, _, atoms, codes = stage(X, components, order, exact=True, **given)
    assert often <= once * 1.05
    assert max(once, often) < before
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1)
    assert not positive or codes.min() >= 0
    assert rule != NON_NEGATIVE or atoms.min() >= 0
    assert rule != ZERO_MEAN or np.abs(atoms.mean(axis=1)).max() < 1e-9


def test_a_weight_is_a_number_of_repetitions():
    X, _ = planted(1, n_samples=400)
    weight = np.random.default_rng(0).integers(0, 4, 400)
    parameters = {"n_components": 20, "n_nonzero_coefs": 3, "max_iter": 3, "random_state": 0}
    weighted = KSVD(**parameters).fit(X, sample_weight=weight)
    repeated = KSVD(**parameters).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.components_, repeated.components_, atol=1e-8)
    np.testing.assert_allclose(weighted.errors_, repeated.errors_)


def test_missing_entries_may_hold_anything_and_do_not_count():
    X, atoms = planted(2, n_samples=1500)
    mask = np.random.default_rng(0).random(X.shape) < 0.8
    parameters = {"n_components": 50, "n_nonzero_coefs": 3, "init": atoms, "max_iter": 4, "random_state": 0}
    model = KSVD(**parameters).fit(np.where(mask, X, np.inf), mask=mask)
    same = KSVD(**parameters).fit(np.where(mask, X, np.nan), mask="nan")
    np.testing.assert_array_equal(model.components_, same.components_)
    codes = model.transform(np.where(mask, X, np.nan), mask="nan")
    filled = model.inverse_transform(codes)
    observed = np.sqrt(((X - filled)[mask] ** 2).mean())
    assert observed <= 1.1 * model.errors_[-1]
    missing = np.sqrt(((X - filled)[~mask] ** 2).mean())
    assert missing < 0.5 * np.sqrt((X[~mask] ** 2).mean())
    np.testing.assert_array_equal(
        codes.toarray(), KSVD(**parameters).fit_transform(np.where(mask, X, 0), mask=mask).toarray()
    )


def test_a_full_mask_changes_nothing():
    X, _ = planted(3, n_samples=300)
    model = KSVD(20, n_nonzero_coefs=3, random_state=0).fit(X)
    masked = KSVD(20, n_nonzero_coefs=3, random_state=0).fit(X, mask=np.ones(X.shape, bool))
    np.testing.assert_array_equal(model.components_, masked.components_)


@pytest.mark.parametrize("online", [False, True])
def test_weights_of_entries(online):
    X, _ = planted(3, n_samples=300)
    mask = np.random.default_rng(0).random(X.shape) < 0.8
    parameters = {"n_components": 20, "n_nonzero_coefs": 3, "online": online, "random_state": 0}
    masked = KSVD(**parameters).fit(X, mask=mask)
    weighted = KSVD(**parameters).fit(X, entry_weight=mask.astype(float))
    np.testing.assert_array_equal(masked.components_, weighted.components_)
    weight = np.random.default_rng(1).uniform(0.1, 3, X.shape)
    both = KSVD(**parameters).fit(X, mask=mask, entry_weight=weight)
    product = KSVD(**parameters).fit(X, entry_weight=weight * mask)
    np.testing.assert_array_equal(both.components_, product.components_)
    codes = both.transform(X, mask=mask, entry_weight=weight)
    again = KSVD(**parameters).fit_transform(X, mask=mask, entry_weight=weight)
    np.testing.assert_array_equal(codes.toarray(), again.toarray())
    of_features = weight[0]
    common = KSVD(**parameters).fit(X, entry_weight=of_features)
    spread = KSVD(**parameters).fit(X, entry_weight=np.tile(of_features, (300, 1)))
    np.testing.assert_array_equal(common.components_, spread.components_)


@pytest.mark.parametrize("online", [False, True])
def test_weights_keep_noisy_entries_from_spoiling_the_atoms(online):
    X, atoms = planted(5, n_samples=2000)
    rng = np.random.default_rng(0)
    deviation = np.where(rng.random(X.shape) < 0.1, 1.0, 0.05)
    noisy = X + deviation * rng.standard_normal(X.shape)
    shares = {}
    for name, given in (("weighted", {"entry_weight": 0.05**2 / deviation**2}), ("plain", {})):
        parameters = {"n_nonzero_coefs": 3, "max_iter": 20, "online": online, "batch_size": 200}
        model = KSVD(50, **parameters, random_state=0).fit(noisy, **given)
        shares[name] = (np.abs(model.components_ @ atoms.T).max(axis=0) > 0.95).mean()
    assert shares["weighted"] > 0.6
    assert shares["plain"] < 0.2


def test_non_negative_parts_of_non_negative_data_are_found():
    rng = np.random.default_rng(0)
    atoms = naive.unit_rows(rng.random((12, 30)) * (rng.random((12, 30)) < 0.3))
    codes = rng.uniform(0.5, 1, (800, 12)) * (rng.random((800, 12)) < 0.2)
    model = KSVD(12, n_nonzero_coefs=6, positive=True, positive_atoms=True, max_iter=40, random_state=0).fit(
        codes @ atoms
    )
    assert model.components_.min() >= 0
    assert model.transform(codes @ atoms).data.min() > 0
    assert ((model.components_ @ atoms.T).max(axis=0) > 0.97).mean() > 0.8


def test_the_constant_atom_stays_and_the_others_have_zero_mean():
    X, _ = planted(4)
    for mask in (None, np.random.default_rng(0).random(X.shape) < 0.7):
        model = KSVD(30, n_nonzero_coefs=3, dc_atom=True, random_state=0).fit(X + 1, mask=mask)
        np.testing.assert_allclose(model.components_[0], 20**-0.5)
        np.testing.assert_allclose(model.components_[1:].sum(axis=1), 0, atol=1e-9)
        assert model.errors_[-1] < model.errors_[0]


def test_error_constrained_coding_reaches_its_target():
    X, _ = planted(5, n_samples=500)
    model = KSVD(30, tol=0.5, max_iter=5, random_state=0).fit(X)
    codes = model.transform(X)
    assert ((X - model.inverse_transform(codes)) ** 2).sum(axis=1).max() <= 0.5 + 1e-9
    start = KSVD(30, tol=0.5, max_iter=1, random_state=0).fit(X).transform(X)
    assert codes.nnz < start.nnz


def test_a_warm_start_continues():
    X, _ = planted(6)
    model = KSVD(50, n_nonzero_coefs=3, max_iter=8, warm_start=True, random_state=0).fit(X)
    error = model.errors_[-1]
    assert model.fit(X).errors_[0] < 1.02 * error


@pytest.mark.parametrize(
    ("parameters", "fit", "message"),
    [
        ({"positive_atoms": True, "dc_atom": True}, {}, "exclude each other"),
        ({"init": "dct"}, {}, "init='dct' needs square patches, got n_features=6"),
        ({"init": "svd"}, {}, "init must be one of 'data', 'dct', got 'svd'"),
        ({"tol": -1.0}, {}, "tol is a squared residual norm .* got -1.0"),
        ({"batch_size": 0}, {}, "batch_size must be at least 1, got 0"),
        ({}, {"mask": np.zeros((30, 6), bool)}, "row 0 of X has no observed entry"),
        ({}, {"sample_weight": np.ones(6)}, r"sample_weight must have shape \(n_samples,\)=\(30,\)"),
        ({}, {"sample_weight": np.full(30, -1.0)}, "sample_weight must be finite and at least 0, got -1.0"),
        (
            {},
            {"entry_weight": np.ones(5)},
            r"entry_weight must have shape .*=\(30, 6\) or .*=\(6,\), got \(5,\)",
        ),
        ({}, {"entry_weight": np.full(6, np.nan)}, "entry_weight must be finite and at least 0, got nan"),
        ({}, {"entry_weight": np.zeros(6)}, "row 0 of X has no observed entry"),
        ({"init": -np.eye(6), "positive_atoms": True}, {}, "starting atom 0 has nothing left"),
    ],
)
def test_bad_parameters_are_named(parameters, fit, message):
    X = np.random.default_rng(0).standard_normal((30, 6))
    with pytest.raises(ValueError, match=message):
        KSVD(**parameters).fit(X, **fit)


def test_error_targets_may_differ_by_sample():
    rng = np.random.default_rng(0)
    X = np.zeros((200, 8))
    X[:100, :4], X[100:, 4:] = rng.standard_normal((100, 4)), rng.standard_normal((100, 4))
    tol = np.repeat([1e6, 1e-3], 100)  # the first half needs no atom at all
    model = KSVD(init=naive.unit_rows(X[100:110]), tol=tol, min_uses=0, random_state=0).fit(X)
    np.testing.assert_array_equal(model.components_[:, :4], 0)
    assert model.errors_[-1] ** 2 * X.size <= (X[:100] ** 2).sum() + 100 * 1e-3
