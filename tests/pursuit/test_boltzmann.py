"""The Boltzmann-machine prior: enumeration of all supports, closed forms, a naive greedy search."""

from itertools import combinations, product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from sparsegen_classic.pursuit import (
    SparseCoder,
    boltzmann_from_spins,
    boltzmann_pursuit,
    fit_boltzmann,
    prior_factors,
    support_log_posterior,
    thresholding,
)
from sparsegen_classic.pursuit.boltzmann import boltzmann_pseudo_likelihood
from sparsegen_classic.support import MarkovSupports

BIAS = np.array([-0.5, 0.1, 0.3, -0.2])  # check C9.2
COUPLING = np.zeros((4, 4))
COUPLING[np.triu_indices(4, 1)] = [0.5, -0.3, 0.2, 0.8, -0.6, 0.4]
COUPLING += COUPLING.T


def all_uses(n):
    return np.array(list(product([0.0, 1.0], repeat=n)))


def symmetric(rng, n, scale=1.0):
    table = np.triu(rng.normal(size=(n, n)), 1) * scale
    return table + table.T


def problem(seed, n_features=6, n_atoms=8, n_states=8):
    rng = np.random.default_rng(seed)
    atoms = rng.normal(size=(n_atoms, n_features))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    prior = {
        "log_factors": rng.normal(-0.5, 0.7, n_states),
        "log_pair_factors": symmetric(rng, n_states),
        "variances": rng.uniform(0.5, 3.0, n_atoms),
        "noise_variance": 0.1,
    }
    return rng.normal(size=(30, n_features)) * 1.5, atoms, prior


class TestSpins:
    def test_all_supports_agree(self):
        """Checks C9.1 and C9.2: the same numbers as spins and as units."""
        bits, table, constant = boltzmann_from_spins(BIAS, COUPLING)
        uses = all_uses(4)
        spins = 2 * uses - 1
        as_spins = spins @ BIAS + np.einsum("ij,jk,ik->i", spins, COUPLING, spins) / 2
        as_units = uses @ bits + np.einsum("ij,jk,ik->i", uses, table, uses) / 2
        assert_allclose(as_spins, as_units + constant)
        assert constant == pytest.approx(1.3)
        log_z = logsumexp(as_spins)
        assert log_z == pytest.approx(3.4412170973, abs=1e-10)
        means = np.exp(as_spins - log_z) @ spins
        assert_allclose(means, [-0.454063, 0.175254, 0.337377, -0.220908], atol=1e-6)


class TestPosterior:
    def test_published_posterior(self):
        """Check C9.5: two features, three atoms, eight supports."""
        atoms = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
        coupling = np.array([[0, 0.3, -0.4], [0.3, 0, 0.2], [-0.4, 0.2, 0]])
        b, w, _ = boltzmann_from_spins([-0.5, -0.2, 0.1], coupling)
        prior = {
            "log_factors": b,
            "log_pair_factors": w,
            "variances": np.array([1.0, 4.0, 0.25]),
            "noise_variance": 0.09,
        }
        uses = np.array(
            [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]]
        )
        y = np.array([[1.2, -0.7]])
        logs = support_log_posterior(np.repeat(y, 8, axis=0), atoms, uses, **prior)
        expected = [0.000947, 0.000985, 0.000496, 0.062382, 0.188244, 0.158227, 0.327606, 0.261112]
        assert_allclose(np.exp(logs - logsumexp(logs)), expected, atol=1e-6)
        code = boltzmann_pursuit(y, atoms, 2, **prior).toarray()
        assert_array_equal(code != 0, [[True, True, False]])  # greedy finds the exact MAP here

    @pytest.mark.parametrize("seed", range(3))
    def test_it_is_the_evidence_of_gaussians_and_the_prior(self, seed):
        X, atoms, prior = problem(seed, n_atoms=6, n_states=6)
        uses = all_uses(6)
        logs = support_log_posterior(np.repeat(X[:1], 64, axis=0), atoms, uses, **prior)
        for use, value in zip(uses, logs - logs[0], strict=True):
            covariance = (atoms.T * (use * prior["variances"])) @ atoms + 0.1 * np.eye(6)
            evidence = multivariate_normal.logpdf(X[0], np.zeros(6), covariance)
            evidence -= multivariate_normal.logpdf(X[0], np.zeros(6), 0.1 * np.eye(6))
            law = use @ prior["log_factors"] + use @ prior["log_pair_factors"] @ use / 2
            assert value == pytest.approx(evidence + law, abs=1e-10)


def naive_greedy(x, atoms, prior, size, stop):
    """Add the state that raises the posterior most, each time computed from scratch."""
    n_atoms, n_states = len(atoms), len(prior["log_factors"])
    code, value = np.zeros(n_atoms), 0.0
    for _ in range(size):
        tried = []
        for j in np.flatnonzero(code == 0):
            chosen = np.append(np.flatnonzero(code), j)
            q = atoms[chosen] @ atoms[chosen].T + np.diag(0.1 / prior["variances"][chosen])
            sign = np.sign(np.linalg.solve(q, atoms[chosen] @ x)[-1]) if n_states > n_atoms else 1.0
            with_j = code + sign * (np.arange(n_atoms) == j)
            tried.append((support_log_posterior(x[None], atoms, with_j[None], **prior)[0], -j, with_j))
        best = max(tried, key=lambda entry: entry[:2])
        if stop and best[0] <= value:
            break
        value, _, code = best
    chosen = np.flatnonzero(code)
    q = atoms[chosen] @ atoms[chosen].T + np.diag(0.1 / prior["variances"][chosen])
    code[chosen] = np.linalg.solve(q, atoms[chosen] @ x)
    return code


@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("n_states", [8, 16])
def test_pursuit_is_the_naive_search(stop, n_states):
    X, atoms, prior = problem(3, n_states=n_states)
    codes = boltzmann_pursuit(X, atoms, 5, stop=stop, **prior).toarray()
    expected = [naive_greedy(x, atoms, prior, 5, stop) for x in X]
    assert_allclose(codes, expected, atol=1e-10)
    sizes = (codes != 0).sum(axis=1)
    assert (sizes == 5).all() if not stop else len(set(sizes)) > 2


def test_greedy_is_at_most_the_exact_maximum():
    X, atoms, prior = problem(4)
    codes = boltzmann_pursuit(X, atoms, 8, **prior)
    found = support_log_posterior(X, atoms, codes, **prior)
    uses = all_uses(8)
    exact = [support_log_posterior(np.repeat(x[None], 256, axis=0), atoms, uses, **prior).max() for x in X]
    assert (found <= np.array(exact) + 1e-10).all()
    assert (np.isclose(found, exact)).mean() > 0.5


def test_without_pairs_and_with_orthogonal_atoms_it_thresholds():
    X = np.random.default_rng(0).normal(size=(50, 9))
    flat = {"log_factors": np.full(9, -1.0), "log_pair_factors": np.zeros((9, 9)), "noise_variance": 0.2}
    codes = boltzmann_pursuit(X, np.eye(9), 9, **flat).toarray()
    gain = X**2 / (2 * 0.2 * 1.2) - np.log(1.2) / 2 + np.log(0.2) / 2 - 1.0
    assert_allclose(codes, np.where(gain > 0, X / 1.2, 0))
    chosen = boltzmann_pursuit(X, np.eye(9), 3, stop=False, **flat)
    assert_array_equal(chosen.toarray() != 0, thresholding(X, np.eye(9), 3).toarray() != 0)


def test_an_impossible_pair_is_never_taken():
    X, atoms, prior = problem(5)
    prior["log_pair_factors"][:4, 4:] = prior["log_pair_factors"][4:, :4] = -np.inf
    uses = boltzmann_pursuit(X, atoms, 5, stop=False, **prior).toarray() != 0
    assert not (uses[:, :4].any(axis=1) & uses[:, 4:].any(axis=1)).any()
    assert (uses.sum(axis=1) == 4).all()  # no fifth is possible


def test_a_fitted_prior_beats_a_flat_one():
    """Planted: atoms come from one of five cliques; supports and codes found are nearer to the truth."""
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(20, 16))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    clique = rng.integers(5, size=400)
    uses = (rng.random((400, 20)) < 0.7) & (np.arange(20) % 5 == clique[:, None])
    codes = uses * rng.normal(size=uses.shape)
    X = codes @ atoms + 0.1 * rng.normal(size=(400, 16))
    b, w, _ = fit_boltzmann(codes, l2=0.1)
    flat = np.full(20, np.log(uses.mean() / (1 - uses.mean())))
    found = [
        boltzmann_pursuit(
            X, atoms, 8, log_factors=bias, log_pair_factors=pairs, variances=1.0, noise_variance=0.01
        ).toarray()
        for bias, pairs in ((b, w), (flat, np.zeros((20, 20))))
    ]
    errors = [((code - codes) ** 2).sum() for code in found]
    wrong = [((code != 0) != uses).sum() for code in found]
    assert errors[0] < 0.7 * errors[1]
    assert wrong[0] < 0.7 * wrong[1]


def test_a_model_of_supports_is_a_prior():
    """On its own training data: the most probable supports are those that the model has seen together."""
    codes = np.zeros((60, 6))
    codes[::2, [0, 1]], codes[1::2, [2, 3]] = [1.0, -1.0], [-1.0, 1.0]
    model = MarkovSupports(smoothing=0.01).fit(codes)
    prior = prior_factors(model, 6)
    assert prior["log_factors"].shape == (12,)
    assert_array_equal(np.flatnonzero(np.isfinite(prior["log_factors"])), model.states_)
    X = np.array([[1.0, -0.2, -0.1, 0.4, 0, 0], [-0.4, 0.3, -1.0, 0.2, 9, 0]])
    found = boltzmann_pursuit(X, np.eye(6), 2, stop=False, noise_variance=0.5, **prior).toarray()
    assert_array_equal(np.sign(found), [[1, -1, 0, 0, 0, 0], [0, 0, -1, 1, 0, 0]])
    weights = support_log_posterior(X, np.eye(6), found, noise_variance=0.5, **prior)
    ratios = np.log(1 + 1 / 0.5)
    evidence = [
        (x[used] ** 2).sum() / (2 * 0.5 * 1.5) - ratios for x, used in zip(X, found != 0, strict=True)
    ]
    assert_allclose(weights, evidence + model.log_weights(np.sign(found)))
    with pytest.raises(ValueError, match="n_components must be the model's number of atoms, got 3"):
        prior_factors(model, 3)


def test_any_coder_can_use_it_and_n_jobs_does_not_matter():
    X, atoms, prior = problem(6)
    coder = SparseCoder(atoms, algorithm=boltzmann_pursuit, n_nonzero_coefs=4, options=prior)
    codes = coder.fit_transform(X)
    assert_array_equal(codes.toarray(), boltzmann_pursuit(X, atoms, 4, n_jobs=2, **prior).toarray())
    single = boltzmann_pursuit(X.astype(np.float32), atoms, 4, **prior)
    assert single.dtype == np.float32


class TestLearning:
    uses = all_uses(4)
    law = np.exp(uses @ BIAS + np.einsum("ij,jk,ik->i", uses, COUPLING, uses) / 2)
    law /= law.sum()

    def test_published_pseudo_likelihood_is_stationary_at_the_truth(self):
        """Checks C9.2 and C9.3."""
        value, by_bias, by_pairs = boltzmann_pseudo_likelihood(self.uses, BIAS, COUPLING, self.law)
        assert value == pytest.approx(-2.5708963696, abs=1e-10)
        assert np.abs(by_bias).max() < 1e-15
        assert np.abs(by_pairs).max() < 1e-15

    def test_gradient_is_that_of_differences(self):
        rng = np.random.default_rng(0)
        bias, table, weights = rng.normal(size=4), symmetric(rng, 4), rng.random(16)
        _, by_bias, by_pairs = boltzmann_pseudo_likelihood(self.uses, bias, table, weights)
        for m, other in combinations(range(4), 2):
            step = np.zeros((4, 4))
            step[m, other] = step[other, m] = 1e-6
            up, down = (
                boltzmann_pseudo_likelihood(self.uses, bias, table + sign * step, weights)[0]
                for sign in (1, -1)
            )
            assert by_pairs[m, other] == pytest.approx((up - down) / 2e-6, abs=1e-7)
        up, down = (
            boltzmann_pseudo_likelihood(self.uses, bias + sign * np.eye(4)[1] * 1e-6, table, weights)[0]
            for sign in (1, -1)
        )
        assert by_bias[1] == pytest.approx((up - down) / 2e-6, abs=1e-7)

    def test_the_exact_law_gives_the_factors_back(self):
        b, w, variances = fit_boltzmann(self.uses * 2.0, l2=0.0, sample_weight=self.law * 1e4)
        assert_allclose(b, BIAS, atol=1e-3)
        assert_allclose(w, COUPLING, atol=1e-3)
        assert_allclose(variances, 4.0)

    def test_unused_atoms_and_much_penalty(self):
        codes = np.array([[1.0, 2.0, 0.0], [0.0, 2.0, 0.0], [1.0, 0.0, 0.0]])
        b, w, variances = fit_boltzmann(codes, l2=1e6)
        assert np.abs(w).max() < 1e-3
        assert b[2] < b[:2].min()
        assert_allclose(variances, [1.0, 4.0, 2.5])
        assert_array_equal(fit_boltzmann(np.zeros((3, 2)))[2], [1.0, 1.0])


GOOD = {"log_factors": np.zeros(2), "log_pair_factors": np.zeros((2, 2))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_factors": np.zeros(3)}, r"log_factors must have shape \(2,\) or \(4,\) for 2 atoms"),
        ({"log_pair_factors": np.zeros((3, 3))}, r"got \(2,\) and \(3, 3\)"),
        ({"log_pair_factors": [[0, 1], [2, 0]]}, "log_pair_factors must be symmetric"),
        ({"log_factors": [0, np.nan]}, "log_factors must be finite or -inf"),
        ({"variances": 0.0}, "variances must be finite and above 0"),
        ({"variances": [1.0, np.inf]}, "variances must be finite"),
        ({"noise_variance": 0.0}, "noise_variance must be greater than 0"),
        ({"n_nonzero_coefs": 3}, "n_nonzero_coefs must be at least 1 and at most 2"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        boltzmann_pursuit([[1.0, 2.0]], np.eye(2), **{**GOOD, **change})
