"""Codes by way of sketches: the posterior against enumeration, the law of sketches, seeds, bad input."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsegen_classic import MarkovSupports, SketchedCodes
from sparsegen_classic._codes import states_from_codes
from sparsegen_classic.sketches.moments import principal_atoms


@parametrize_with_checks([SketchedCodes(), SketchedCodes(bandwidth=1e6)])
def test_estimator_contract(estimator, check):
    check(estimator)


def random_codes(seed, n, n_atoms=4, k=2):
    rng = np.random.default_rng(seed)
    codes = np.zeros((n, n_atoms))
    for row in codes:
        chosen = rng.choice(n_atoms, k, replace=False)
        row[chosen] = rng.gamma(4, 0.5, k) * rng.choice([-1, 1], k, p=[0.3, 0.7])
    return codes


@pytest.mark.parametrize("pairs_of_groups", [False, True])
def test_the_posterior_is_that_of_enumeration(pairs_of_groups):
    codes, atoms = random_codes(0, 300), np.random.default_rng(1).standard_normal((4, 3))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    networks, groups, group = MarkovSupports(), None, 0
    if pairs_of_groups:
        networks.set_params(n_groups=2, group_pair_smoothing=0.1)
        groups, group = (codes[:, 0] * codes[:, 1] != 0).astype(int), 1
    networks.fit(codes, groups=groups)
    network = networks.network(group)
    model = SketchedCodes(noise=0.6, burn_in=40).fit(codes, components=atoms, groups=groups)
    n, sketch = 20_000, model.positions_[7].astype(float) + 0.3
    generators = [np.random.default_rng([3, i]) for i in range(n)]
    drawn = model._explain(networks, generators, np.full(n, group), np.tile(sketch, (n, 1)))

    seen, noise = model.atoms_, model.noise_variance_
    signs = np.where(network.states_ < 4, 1.0, -1.0)
    log_weights, moments = {}, {}
    for support in combinations(range(len(network.states_)), 2):
        pair = network.log_pair_factors_[support]
        if pair == -np.inf:
            continue
        states = network.states_[list(support)]
        b = signs[list(support), None] * seen[states % 4]
        mean, variance = model.state_means_[states], np.diag(model.state_variances_[states])
        law = multivariate_normal(mean @ b, b.T @ variance @ b + noise * np.eye(len(sketch)))
        key = tuple(states.tolist())
        log_weights[key] = network.log_factors_[list(support)].sum() + pair + law.logpdf(sketch)
        gain = variance @ b @ np.linalg.inv(law.cov)
        moments[key] = mean + gain @ (sketch - law.mean), variance - gain @ b.T @ variance
    total = np.logaddexp.reduce(list(log_weights.values()))
    # image-equivalent: a negative magnitude is the other state, so compare the moments of the codes
    expected, second = np.zeros(4), np.zeros((4, 4))
    for key, weight in log_weights.items():
        p = np.exp(weight - total)
        place, sign = np.array(key) % 4, np.where(np.array(key) < 4, 1, -1)
        mean, covariance = moments[key]
        expected[place] += p * sign * mean
        second[np.ix_(place, place)] += p * np.outer(sign, sign) * (covariance + np.outer(mean, mean))
    dense = drawn.toarray()
    error = dense.std(axis=0) / np.sqrt(n)
    assert (np.abs(dense.mean(axis=0) - expected) < 5 * error + 1e-3).all()
    products = dense[:, :, None] * dense[:, None]
    error = products.std(axis=0) / np.sqrt(n)
    assert (np.abs(products.mean(axis=0) - second) < 5 * error + 1e-3).all()
    pairs = {tuple(sorted({m % 4 for m in key})) for key in log_weights}
    used = dense != 0
    for a, b in pairs:
        p = sum(np.exp(w - total) for key, w in log_weights.items() if {m % 4 for m in key} == {a, b})
        share = (used[:, a] & used[:, b]).mean()
        assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / n) + 1e-3


def test_principal_atoms_are_those_of_the_signals():
    codes, atoms = sparse.csr_array(random_codes(2, 200, 6, 3)), np.random.default_rng(3).random((6, 10))
    seen = principal_atoms(codes, atoms, 4)
    components = PCA(4, svd_solver="full").fit(codes @ atoms).components_
    np.testing.assert_allclose(np.abs(seen), np.abs(atoms @ components.T), atol=1e-10)
    assert principal_atoms(codes, atoms, 50).shape == (6, 6)  # no more than there are


@pytest.mark.parametrize("bandwidth", [0.5, 2.0, 1e200])
def test_sketches_have_mean_and_covariance_of_their_group(bandwidth):
    codes, groups = random_codes(4, 400), np.arange(400) % 2
    codes[groups == 1] *= 2
    model = SketchedCodes(bandwidth=bandwidth, shrinkage=0, noise=0.1).fit(codes, groups=groups)
    n = 8000
    generators = [np.random.default_rng([5, i]) for i in range(n)]
    for group, own in enumerate((codes[groups == 0], codes[groups == 1])):
        drawn = model._sketches(generators, np.full(n, group))
        positions = own @ model.atoms_
        variance = positions.var(axis=0) + model.noise_variance_
        assert (np.abs(drawn.mean(axis=0) - positions.mean(axis=0)) < 5 * np.sqrt(variance / n)).all()
        wanted = np.cov(positions.T, bias=True) + model.noise_variance_ * np.eye(positions.shape[1])
        error = 5 * np.sqrt(np.outer(variance, variance) * 3 / n)
        assert (np.abs(np.cov(drawn.T) - wanted) < error).all()


def test_same_bits_for_any_number_of_jobs_and_of_samples():
    codes, groups = random_codes(6, 150, 8, 3), np.arange(150) % 3
    network = MarkovSupports(n_groups=3).fit(codes, groups=groups)
    model = SketchedCodes().fit(codes, groups=groups)
    expected = model.sample(network, 100, 0).toarray()
    for n_jobs, n in product((1, 2, 3), (37, 100)):
        drawn = model.set_params(n_jobs=n_jobs).sample(network, n, 0).toarray()
        np.testing.assert_array_equal(drawn, expected[:n])
    generators = [np.random.default_rng(i) for i in range(5)]
    assert model.sample(network, 5, generators, groups=[0, 1, 2, 0, 1]).shape == (5, 8)


def test_variations_are_like_what_they_are_of():
    codes, groups = random_codes(7, 300, 8, 3), np.zeros(300, int)
    network, model = MarkovSupports().fit(codes), SketchedCodes(noise=0.1).fit(codes, groups=groups)
    near = model.sample_like(network, codes[:100], 0).toarray()
    far = model.sample(network, 100, 0).toarray()
    assert ((near - codes[:100]) ** 2).sum() < 0.3 * ((far - codes[:100]) ** 2).sum()


def test_a_planted_law_is_drawn_within_standard_errors():
    """Views of codes of the model, explained by the model, have its law: C3.5 by way of sketches."""
    rng = np.random.default_rng(0)
    pairs, shares = np.array(list(combinations(range(5), 2))), rng.dirichlet(np.ones(10))
    means, spreads = rng.uniform(1.5, 3, 5), rng.uniform(0.2, 0.4, 5)
    atoms = rng.standard_normal((5, 4))  # in four dimensions: views alone do not tell the code
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    n, n_drawn = 20_000, 20_000
    chosen = pairs[rng.choice(10, n, p=shares)]
    codes = np.zeros((n, 5))
    np.put_along_axis(codes, chosen, rng.normal(means, spreads, (n, 5))[np.arange(n)[:, None], chosen], 1)
    network = MarkovSupports(smoothing=0.0).fit(codes)
    model = SketchedCodes(noise=0.5, bandwidth=1e-6, burn_in=20, n_jobs=2).fit(codes, components=atoms)
    drawn = model.sample(network, n_drawn, 1).toarray()
    used, error = drawn != 0, np.sqrt(1 / n + 1 / n_drawn)
    for (a, b), p in zip(pairs, shares, strict=True):
        assert abs((used[:, a] & used[:, b]).mean() - p) < 4.5 * np.sqrt(p * (1 - p)) * error
    for atom, (mean, spread) in enumerate(zip(means, spreads, strict=True)):
        magnitudes = drawn[used[:, atom], atom]
        scale = np.sqrt(1 / len(magnitudes) + 1 / np.count_nonzero(codes[:, atom]))
        assert abs(magnitudes.mean() - mean) < 4.5 * spread * scale
        assert abs(magnitudes.var() - spread**2) < 4.5 * np.sqrt(2) * spread**2 * scale


def test_supports_of_any_size_and_none():
    codes = random_codes(8, 60)
    codes[:20, 1:], codes[20:25] = 0, 0
    network, model = MarkovSupports().fit(codes), SketchedCodes().fit(codes)
    states, _ = states_from_codes(model.sample(network, 200, 0))
    assert set((states >= 0).sum(axis=1).tolist()) == {0, 1, 2}
    rows = network.supports_.copy()
    rows[:] = -1
    network.supports_ = rows
    assert model.sample(network, 3, 0).nnz == 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"noise": 0}, "noise must be greater than 0.0, got 0"),
        ({"bandwidth": -1.0}, "bandwidth must be greater than 0.0, got -1.0"),
        ({"shrinkage": -1}, "shrinkage must be at least 0.0, got -1"),
        ({"n_components": 0}, "n_components must be at least 1, got 0"),
        ({"burn_in": -1}, "burn_in must be at least 0, got -1"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        SketchedCodes(**parameters).fit(random_codes(0, 10))


def test_what_does_not_fit_together_is_refused():
    codes = random_codes(0, 30)
    with pytest.raises(ValueError, match=r"components must be 4 atoms in rows, got shape \(3, 5\)"):
        SketchedCodes().fit(codes, components=np.ones((3, 5)))
    with pytest.raises(ValueError, match="groups must be 30 integers of at least 0"):
        SketchedCodes().fit(codes, groups=np.zeros(3, int))
    model = SketchedCodes().fit(codes)
    with pytest.raises(ValueError, match="network must have n_atoms=4 and n_groups=1, got 8 and 1"):
        model.sample(MarkovSupports().fit(random_codes(0, 30, 8)))
    network = MarkovSupports().fit(codes)
    with pytest.raises(ValueError, match=r"groups must be in 0..0, one for each of the 2 samples"):
        model.sample(network, 2, groups=[0, 1])
    with pytest.raises(ValueError, match="one generator for each of the 3 samples, got 1"):
        model.sample(network, 3, [np.random.default_rng(0)])
    with pytest.raises(TypeError, match="must hold numpy Generators"):
        model.sample_like(network, codes[:1], [1])
    with pytest.raises(ValueError, match="X has 3 features, but SketchedCodes is expecting 4"):
        model.sample_like(network, codes[:, :3])
    with pytest.raises(ValueError, match="groups must be in 0..0"):
        model.sample_like(network, codes, 0, groups=[1] * 30)
    few = np.abs(codes)  # no negative states
    with pytest.raises(ValueError, match="network must have states that the codes of the sketches have, got"):
        SketchedCodes().fit(few).sample(network)


def test_states_have_the_moments_of_their_magnitudes_and_entries_that_come_twice_add_up():
    codes = random_codes(9, 50)
    codes[:, 3] = np.abs(codes[:, 3])
    model = SketchedCodes().fit(codes)
    doubled = np.maximum(np.hstack([codes, -codes]), 0)
    for state, column in enumerate(doubled.T):
        used = column[column > 0]
        expected = (used.mean(), used.var()) if len(used) else (np.nan, np.nan)
        np.testing.assert_allclose((model.state_means_[state], model.state_variances_[state]), expected)
    once = sparse.csr_array(codes)
    halves = (np.repeat(once.data / 2, 2), np.repeat(once.indices, 2), 2 * once.indptr)
    twice = SketchedCodes().fit(sparse.csr_array(halves, shape=codes.shape))
    np.testing.assert_allclose(twice.state_means_, model.state_means_)
    np.testing.assert_allclose(twice.positions_, model.positions_, rtol=1e-5, atol=1e-5)
