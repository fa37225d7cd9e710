"""Pair factors of latent groups: shrinkage, laws that only they can tell, draws and likelihoods."""

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsegen_classic.support import MarkovSupports, enumerate_supports, pseudo_likelihood
from tests.support.test_groups import planted


@parametrize_with_checks([MarkovSupports(n_groups=2, group_pair_smoothing=1.0, random_state=0)])
def test_estimator_contract_with_pairs_of_groups(estimator, check):
    check(estimator)


def tied(n, seed):
    """Supports of two groups that use 4 atoms alike: 01 and 23 go together in one, 02 and 13 in the other."""
    rng = np.random.default_rng(seed)
    group = rng.integers(2, size=n)
    pairs = np.array([[[0, 1], [2, 3]], [[0, 2], [1, 3]]])[group, rng.integers(2, size=n)]
    rare = rng.random(n) < 0.1  # the pair that neither prefers
    pairs[rare] = np.array([[0, 3], [1, 2]])[rng.integers(2, size=rare.sum())]
    codes = np.zeros((n, 4))
    np.put_along_axis(codes, pairs, 1.0, axis=1)
    return codes, group


def naive_pairs_of_a_group(model, supports, smoothing):
    """exponent * log((joint uses + smoothing rho) / (expected ones + smoothing)), rho the shared ratio."""
    table, exponent = model.log_pair_factors_.copy(), model.pair_exponent
    total, n_pairs = sum(map(len, supports)), sum(len(a) * (len(a) - 1) for a in supports)
    for m, other in zip(*np.nonzero(np.isfinite(table)), strict=True):
        uses = [sum(x in support for support in supports) for x in (m, other)]
        both = sum(m in support and other in support for support in supports)
        expected = uses[0] * uses[1] / total**2 * n_pairs
        rho = math.exp(table[m, other] / exponent)
        table[m, other] = exponent * math.log((both + smoothing * rho) / (expected + smoothing))
    return table


@pytest.mark.parametrize(("smoothing", "exponent"), [(0.3, 1.0), (4.0, 0.4)])
def test_pairs_of_a_group_by_definition(smoothing, exponent):
    rng = np.random.default_rng(0)
    X, groups = rng.normal(size=(80, 4)) * (rng.random((80, 4)) < 0.5), rng.integers(3, size=80)
    model = MarkovSupports(n_groups=3, group_pair_smoothing=smoothing, pair_exponent=exponent)
    model.fit(X, groups=groups)
    for group in range(3):
        supports = [{m + 4 * (row[m] < 0) for m in np.flatnonzero(row)} for row in X[groups == group]]
        expected = naive_pairs_of_a_group(model, supports, smoothing)
        table = model.network(group).log_pair_factors_
        assert_allclose(table, expected, atol=1e-12)
        assert_array_equal(table, table.T)


def test_pairs_of_groups_lie_between_those_of_the_group_alone_and_the_shared_ones():
    codes, group = tied(300, 0)
    shared = MarkovSupports(n_groups=2).fit(codes, groups=group)
    own, same = (
        MarkovSupports(n_groups=2, group_pair_smoothing=smoothing).fit(codes, groups=group)
        for smoothing in (1e-9, 1e12)
    )
    for index in (0, 1):
        alone = MarkovSupports(smoothing=0).fit(codes[group == index])
        tables = (np.exp(law.log_pair_factors_) for law in (own.network(index), alone))
        assert_allclose(*tables, atol=1e-6)
        assert_allclose(same.network(index).log_pair_factors_, shared.log_pair_factors_, atol=1e-9)
    one = MarkovSupports(group_pair_smoothing=1.0).fit(codes)  # has nothing to shrink to
    assert one.network().log_pair_factors_ is one.log_pair_factors_


def test_draws_follow_pairs_that_only_a_group_has():
    codes, group = tied(2000, 0)
    n, laws = 4000, []
    for smoothing in (None, 1.0):
        model = MarkovSupports(n_groups=2, group_pair_smoothing=smoothing, group_smoothing=1e-9)
        model.fit(codes, groups=group)
        for index in (0, 1):
            supports, law = enumerate_supports(model.network(index), 2)
            drawn = model.sample(n, 3, groups=np.full(n, index)).toarray() != 0
            shares = np.array([drawn[:, support].all(axis=1).mean() for support in supports])
            assert np.abs(shares - law).max() < 4.5 * np.sqrt(0.25 / n)
            real = [codes[group == index][:, support].all(axis=1).mean() for support in supports]
            laws.append((law, real))
    for law, real in laws[:2]:
        assert np.abs(law - real).max() > 0.15  # shared pairs cannot tell the groups from each other
    for law, real in laws[2:]:
        assert np.abs(law - real).max() < 0.02


def test_pseudo_likelihood_and_weights_are_those_of_the_pairs_of_the_group():
    codes, group = planted(300, 0)
    model = MarkovSupports(n_groups=2, group_pair_smoothing=0.5).fit(codes, groups=group)
    held_out, _ = planted(40, 1)
    rows, chosen = np.nonzero(held_out)[1].reshape(40, 3), model.most_probable_groups(held_out)
    values = model.pseudo_log_likelihood(held_out)
    for i in range(40):
        law = model.network(chosen[i])
        expected = pseudo_likelihood(rows[i : i + 1], law.log_factors_, law.log_pair_factors_)
        assert_allclose(values[i], expected[0])
        weight = law.log_factors_[rows[i]].sum()
        weight += sum(law.log_pair_factors_[a, b] for a, b in itertools.combinations(rows[i], 2))
        assert_allclose(model.log_weights(held_out[i : i + 1], group=chosen[i]), [weight])


def test_draws_with_pairs_of_groups_have_the_same_bits_for_any_n_jobs_and_the_first_alone():
    codes, group = planted(200, 0)
    model = MarkovSupports(n_groups=2, group_pair_smoothing=1.0).fit(codes, groups=group)
    draws = model.sample(60, 5).toarray()
    assert_array_equal(draws, model.set_params(n_jobs=2).sample(60, 5).toarray())
    assert_array_equal(draws[:9], model.sample(9, 5).toarray())
