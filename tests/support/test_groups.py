"""Latent groups of supports: mixtures, shrinkage, pairs within groups, draws and bad input."""

import math
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsegen_classic.support import GibbsSampler, MarkovSupports, enumerate_supports, pseudo_likelihood
from sparsegen_classic.support.groups import mixture_groups


def planted(n, seed, n_components=12, size=3):
    """Supports of two groups that prefer one half of the atoms each, by 9 to 1."""
    rng = np.random.default_rng(seed)
    group = rng.integers(2, size=n)
    weight = np.where((np.arange(n_components) < n_components // 2) == (group[:, None] == 0), 0.9, 0.1)
    keys = rng.gumbel(size=weight.shape) + np.log(weight)
    codes = np.zeros((n, n_components))
    np.put_along_axis(codes, np.argsort(-keys, axis=1)[:, :size], 1.0, axis=1)
    return codes, group


@parametrize_with_checks([MarkovSupports(n_groups=2, pair_reference="groups", random_state=0)])
def test_estimator_contract_with_groups(estimator, check):
    check(estimator)


@pytest.mark.parametrize("smoothing", [0.1, 1.0, 5.0])
def test_em_never_descends(smoothing):
    codes, _ = planted(300, 0)
    supports = np.nonzero(codes)[1].reshape(300, 3)
    _, history = mixture_groups(supports, 12, 4, smoothing, 1)
    assert len(history) > 3
    assert (np.diff(history) >= -1e-9 * np.abs(history[1:])).all()


def test_planted_groups_are_found():
    codes, group = planted(1000, 0)
    model = MarkovSupports(n_groups=2, random_state=0).fit(codes)
    agree = (model.groups_ == group).mean()
    assert max(agree, 1 - agree) > 0.9
    assert_allclose(model.group_shares_.sum(), 1)
    held_out, _ = planted(1000, 1)
    alone = MarkovSupports(pair_exponent=0.0).fit(codes)
    mixture = MarkovSupports(n_groups=2, pair_exponent=0.0, random_state=0).fit(codes)
    gain = mixture.pseudo_log_likelihood(held_out).mean() - alone.pseudo_log_likelihood(held_out).mean()
    assert gain > 0.2


def test_factors_of_a_group_are_its_counts_shrunk_to_all():
    codes, group = planted(50, 0)
    model = MarkovSupports(n_groups=2, group_smoothing=4.0).fit(codes, groups=10 - 5 * group)
    for index, members in enumerate((codes[group == 1], codes[group == 0])):  # labels 5, 10
        counts = members.sum(axis=0) + 4.0 * codes.mean(axis=0)
        assert_allclose(np.exp(model.log_group_factors_[index]), counts / counts.sum())
    assert_array_equal(model.groups_, 1 - group)


def naive_pairs_within_groups(supports, groups, n_states, n_components, shrinkage, smoothing, exponent):
    """exponent * log of joint uses over those expected of atoms that are independent within each group."""
    table = np.full((n_states, n_states), -np.inf)
    mean = [sum(m in support for support in supports) / len(supports) for m in range(n_states)]
    for m in range(n_states):
        for other in range(n_states):
            if m % n_components == other % n_components:
                continue
            expected = 0.0
            for group in set(groups):
                own = [support for support, g in zip(supports, groups, strict=True) if g == group]
                uses = [sum(x in a for a in own) + shrinkage * mean[x] for x in range(n_states)]
                pairs = sum(len(a) * (len(a) - 1) for a in own)
                expected += uses[m] / sum(uses) * uses[other] / sum(uses) * pairs
            both = sum(m in support and other in support for support in supports)
            table[m, other] = exponent * math.log((both + smoothing) / (expected + smoothing))
    return table


@pytest.mark.parametrize(("smoothing", "exponent", "shrinkage"), [(0.5, 1.0, 1.0), (2.0, 0.4, 7.0)])
def test_pairs_within_groups_by_definition(smoothing, exponent, shrinkage):
    rng = np.random.default_rng(0)
    X, groups = rng.normal(size=(80, 4)) * (rng.random((80, 4)) < 0.5), rng.integers(3, size=80)
    supports = [{m + 4 * (row[m] < 0) for m in np.flatnonzero(row)} for row in X]
    model = MarkovSupports(
        smoothing=smoothing,
        pair_exponent=exponent,
        pair_reference="groups",
        n_groups=3,
        group_smoothing=shrinkage,
    )
    model.fit(X, groups=groups)
    expected = naive_pairs_within_groups(supports, groups, 8, 4, shrinkage, smoothing, exponent)
    assert_allclose(model.log_pair_factors_, expected)
    assert_array_equal(model.log_pair_factors_, model.log_pair_factors_.T)


def test_automatic_reference_goes_by_the_number_of_atoms():
    for size, reference in ((16, "all"), (17, "groups")):
        codes, group = planted(60, 0, n_components=24, size=size)
        codes[0, :] = 1.0  # sizes count on average
        codes[1, :] = codes[1, :] * (np.cumsum(codes[1]) <= 2 * size - 24)
        assert codes.sum() == 60 * size
        tables = {
            name: MarkovSupports(n_groups=2, pair_reference=name).fit(codes, groups=group).log_pair_factors_
            for name in ("auto", "all", "groups")
        }
        assert_array_equal(tables["auto"], tables[reference])
        assert not np.allclose(tables["all"], tables["groups"])


def test_supports_left_out_do_not_count_within_groups():
    codes, group = planted(60, 0)
    codes[:2, 0] = codes[0, 11] = -1.0  # twice state 12, once state 23
    model = MarkovSupports(n_groups=2, pair_reference="groups", min_count=3).fit(codes, groups=group)
    alone = MarkovSupports(n_groups=2, pair_reference="groups").fit(codes[2:], groups=group[2:])
    assert_array_equal(model.states_, alone.states_)
    assert_array_equal(model.log_pair_factors_, alone.log_pair_factors_)
    assert (model.pair_counts_ > alone.pair_counts_).any()


def test_references_agree_for_one_group():
    codes, _ = planted(100, 0)
    codes[0, 0] = -1.0  # left out
    models = [MarkovSupports(min_count=2, pair_reference=name).fit(codes) for name in ("all", "groups")]
    laws = [enumerate_supports(model, 3)[1] for model in models]
    assert_array_equal(*laws)
    twins = MarkovSupports(n_groups=2, group_smoothing=1e9, pair_reference="groups").fit(
        np.concatenate([codes[1:]] * 2), groups=np.repeat([0, 1], 99)
    )
    double = MarkovSupports().fit(np.concatenate([codes[1:]] * 2))  # two groups of the same supports: as one
    supports, law = enumerate_supports(double, 3)
    assert_array_equal(enumerate_supports(twins.network(1), 3)[0], supports)
    assert_allclose(enumerate_supports(twins.network(1), 3)[1], law)


def test_pairs_that_groups_explain_vanish_within_them():
    rng = np.random.default_rng(0)
    group = rng.integers(2, size=20_000)
    codes = np.zeros((20_000, 12))
    pairs = np.argsort(rng.random((20_000, 6)), axis=1)[:, :2]  # two atoms of a half, uniformly
    np.put_along_axis(codes, pairs + 6 * group[:, None], 1.0, axis=1)
    upper = np.triu_indices(6, 1)
    for reference, expected in (("all", 2 * 6 / 5), ("groups", 6 / 5)):  # one of 5 others, not of 6
        model = MarkovSupports(n_groups=2, group_smoothing=1e-9, pair_reference=reference)
        model.fit(codes, groups=group)
        for half in (0, 6):
            factors = model.log_pair_factors_[half : half + 6, half : half + 6][upper]
            assert_allclose(np.exp(factors), expected, rtol=0.1)
        supports, law = enumerate_supports(model.network(1), 2)
        assert_allclose(law, np.where((supports >= 6).all(axis=1), 1 / 15, 0.0), atol=0.01)


def test_memory_of_fit_and_of_groups_does_not_follow_the_groups():
    rng = np.random.default_rng(0)
    n, k, n_groups = 30_000, 20, 100
    columns = np.argsort(rng.random((n, 100)), axis=1)[:, :k].astype(np.int32)
    parts = np.ones(n * k, np.float32), np.sort(columns, axis=1).ravel(), np.arange(0, n * k + 1, k)
    codes, groups = sparse.csr_array(parts, shape=(n, 100)), rng.integers(n_groups, size=n)
    model = MarkovSupports(n_groups=n_groups, pair_reference="groups").fit(codes[:500], groups=groups[:500])
    tracemalloc.start()
    model.fit(codes, groups=groups)
    _, peak = tracemalloc.get_traced_memory()
    assert peak < 4 * (codes.data.nbytes + codes.indices.nbytes)
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    model.most_probable_groups(codes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - before < 8 * n * n_groups / 2


def test_one_group_is_the_model_without():
    codes, _ = planted(100, 0)
    plain, one = MarkovSupports().fit(codes), MarkovSupports(n_groups=1).fit(codes, groups=np.full(100, 7))
    assert_array_equal(one.log_group_factors_[0], plain.log_factors_)
    assert_array_equal(plain.sample(20, 0).toarray(), one.sample(20, 0).toarray())
    assert_array_equal(plain.sample(20, 0).toarray() != 0, planted_draws(plain, 20))


def planted_draws(model, n):
    states = GibbsSampler(burn_in=model.burn_in).sample(model, n, 0)
    on = np.zeros((n, model.n_features_in_), bool)
    np.put_along_axis(on, states, True, axis=1)
    return on


def test_draws_follow_the_network_of_their_group():
    codes, group = planted(400, 0, n_components=6, size=2)
    model = MarkovSupports(n_groups=2, burn_in=30).fit(codes, groups=group)
    n = 4000
    for index in (0, 1):
        supports, law = enumerate_supports(model.network(index), 2)
        drawn = model.sample(n, 3, groups=np.full(n, index)).toarray() != 0
        shares = [drawn[:, support].all(axis=1).mean() for support in supports]
        assert np.abs(np.array(shares) - law).max() < 4.5 * np.sqrt(0.25 / n)
    groups = model.draw_groups([np.random.default_rng(i) for i in range(2000)])
    assert abs(groups.mean() - model.group_shares_[1]) < 4 * np.sqrt(0.25 / 2000)


def test_same_bits_for_any_n_jobs_and_the_first_draws_alone():
    codes, group = planted(200, 0)
    model = MarkovSupports(n_groups=2).fit(codes, groups=group)
    draws = model.sample(60, 5).toarray()
    assert_array_equal(draws, model.set_params(n_jobs=2).sample(60, 5).toarray())
    assert_array_equal(draws[:9], model.sample(9, 5).toarray())


def test_pseudo_likelihood_is_that_of_the_most_probable_group():
    codes, group = planted(200, 0)
    model = MarkovSupports(n_groups=2).fit(codes, groups=group)
    rows = np.nonzero(codes[:30])[1].reshape(30, 3)
    by_group = [pseudo_likelihood(rows, theta, model.log_pair_factors_) for theta in model.log_group_factors_]
    chosen = model.most_probable_groups(codes[:30])
    assert_allclose(model.pseudo_log_likelihood(codes[:30]), np.choose(chosen, by_group))
    fields = codes[:30] @ model.log_group_factors_.T + np.log(model.group_shares_)
    assert_array_equal(chosen, fields.argmax(axis=1))


@pytest.mark.parametrize(
    ("parameters", "groups", "message"),
    [
        ({"n_groups": 0}, None, "n_groups must be at least 1"),
        (
            {"n_groups": 31},
            None,
            "n_groups must be at least 1 and at most 30, got 31; each needs one of n_samples=30",
        ),
        ({"group_smoothing": 0}, None, "group_smoothing must be at least 1e-09, got 0"),
        ({"group_pair_smoothing": 0}, None, "group_pair_smoothing must be at least 1e-09, got 0"),
        (
            {"pair_reference": "group"},
            None,
            "pair_reference must be one of 'auto', 'all', 'groups', got 'group'",
        ),
        ({"n_groups": 2}, np.zeros(30, int), "groups must be n_groups=2 different ones, got 1"),
        ({"n_groups": 2}, np.zeros(29, int), "groups must hold an integer for each of the 30 codes"),
        ({"n_groups": 2}, np.zeros(30), "groups must hold an integer for each of the 30 codes"),
    ],
)
def test_bad_input_of_fit(parameters, groups, message):
    with pytest.raises(ValueError, match=message):
        MarkovSupports(**parameters).fit(planted(30, 0)[0], groups=groups)


def test_bad_groups_of_draws():
    model = MarkovSupports(n_groups=2, random_state=0).fit(planted(30, 0)[0])
    with pytest.raises(ValueError, match=r"groups must be in 0..1, one for each of the 3 samples"):
        model.sample(3, 0, groups=[0, 1, 2])
    with pytest.raises(ValueError, match=r"groups must be in 0..1, one for each of the 3 samples"):
        model.sample(3, 0, groups=[0, 1])
