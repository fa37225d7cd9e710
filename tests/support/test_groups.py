"""Latent groups of supports: mixtures, shrinkage, draws and bad input."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
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


@parametrize_with_checks([MarkovSupports(n_groups=2, random_state=0)])
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
