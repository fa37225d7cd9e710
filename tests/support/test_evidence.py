"""Clamped and forbidden atoms, traces and tempering, against exact conditional laws."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sparsegen_classic.support import (
    GibbsSampler,
    MarkovSupports,
    PairwiseSupports,
    effective_sample_size,
    enumerate_supports,
    split_rhat,
)
from sparsegen_classic.support.tempering import swap
from tests.naive_support import codes_of, planted
from tests.support.test_gibbs import assert_follows

SCANS = ["random", "systematic"]


@pytest.fixture(scope="module")
def signed():
    rng = np.random.default_rng(0)
    return MarkovSupports().fit(rng.normal(size=(80, 4)) * (rng.random((80, 4)) < 0.6))


def given(model, size, clamp=(), forbid=()):
    """The exact law of supports that hold ``clamp`` and not ``forbid``."""
    supports, law = enumerate_supports(model, size)
    holds = np.all([(supports == state).any(axis=1) for state in clamp] or [np.ones(len(law), bool)], axis=0)
    law = np.where(holds & ~np.isin(supports, forbid).any(axis=1), law, 0.0)
    return supports, law / law.sum()


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize(
    "evidence",
    [
        {"clamp": [2]},
        {"clamp": [1, 6]},
        {"forbid": [0, 5]},
        {"clamp": [4], "forbid": [1, 3]},
        {"clamp": [0, 1, 6]},
        {"clamp": []},
    ],
)
def test_draws_follow_the_conditional_law(signed, scan, evidence):
    supports = GibbsSampler(scan=scan).sample(signed, 8_000, random_state=0, size=3, **evidence)
    assert supports.shape == (8_000, 3)
    assert_follows(supports, *given(signed, 3, **evidence))


@pytest.mark.parametrize("model", [planted(1, 9), planted(2, 9, scale=2)])
def test_planted_models_have_no_training_supports(model):
    sampler = GibbsSampler(burn_in=60)
    assert_follows(sampler.sample(model, 5_000, 0, size=4), *enumerate_supports(model, 4))
    drawn = sampler.sample(model, 5_000, 1, size=4, clamp=[7, 3], forbid=[5])
    assert_follows(drawn, *given(model, 4, [3, 7], [5]))
    with pytest.raises(ValueError, match="size must be given, for the model has no training support"):
        sampler.sample(model, 2)


def test_sizes_under_evidence_are_those_of_the_data(signed):
    drawn = GibbsSampler().sample(signed, 4_000, random_state=0, clamp=[1, 6])
    assert (drawn == 1).any(axis=1).all()
    assert (drawn == 6).any(axis=1).all()
    sizes = np.bincount((drawn >= 0).sum(axis=1), minlength=5)
    assert not sizes[:2].any()
    counts = np.where(np.arange(5) >= 2, signed.size_counts_, 0)
    share = counts / counts.sum()
    assert (np.abs(sizes / 4_000 - share) <= 4.5 * np.sqrt(share * (1 - share) / 4_000)).all()


def test_no_evidence_changes_no_bit(signed):
    plain = GibbsSampler().sample(signed, 50, random_state=3, size=3)
    assert_array_equal(GibbsSampler().sample(signed, 50, random_state=3, size=3, clamp=None), plain)


def test_starts_may_hold_the_evidence(signed):
    starts = GibbsSampler().sample(signed, 30, random_state=0, size=3, clamp=[2], forbid=[1])
    drawn = GibbsSampler(burn_in=5).sample(signed, initial=starts, random_state=0, clamp=[2], forbid=[1])
    assert drawn.shape == (30, 3)
    assert (drawn == 2).any(axis=1).all()
    assert not (drawn == 1).any()
    same = GibbsSampler(burn_in=0).sample(signed, initial=starts, random_state=0, clamp=[2], forbid=[1])
    assert_array_equal(same, starts)
    for evidence in ({"clamp": [0]}, {"forbid": [2]}):
        with pytest.raises(ValueError, match=r"initial row 0, .* contradicts clamp or forbid"):
            GibbsSampler().sample(signed, initial=starts[:1], **evidence)


def test_trace_is_the_chain_of_sample(signed):
    sampler = GibbsSampler(burn_in=4, thin=3)
    trace = sampler.trace(signed, 20, 6, random_state=7)
    assert trace.shape == (20, 6, 4)
    assert_array_equal(trace[:, 0], sampler.sample(signed, 20, 7))
    assert_array_equal(trace[:, 5], GibbsSampler(burn_in=4 + 5 * 3).sample(signed, 20, 7))
    two = GibbsSampler(burn_in=4, thin=3, n_jobs=2).trace(signed, 20, 6, random_state=7)
    assert_array_equal(two, trace)


def test_one_long_chain_follows_the_law_and_thinning_decorrelates():
    model = planted(3, 9)
    supports, law = enumerate_supports(model, 4)
    weights = model.log_weights(supports)
    sizes = []
    for thin in (1, 8):
        trace = GibbsSampler(burn_in=50, thin=thin).trace(model, 4, 3_000, 0, size=4)
        followed = model.log_weights(trace.reshape(-1, 4)).reshape(4, 3_000)
        size = effective_sample_size(followed, "mean")
        error = np.sqrt(law @ (weights - law @ weights) ** 2 / size)
        assert abs(followed.mean() - law @ weights) < 4.5 * error
        assert split_rhat(followed) < 1.01
        sizes.append(size)
    assert sizes[0] < 0.7 * sizes[1]


def test_systematic_and_random_scans_under_tempering_follow_the_law():
    model = planted(4, 9)
    for scan in SCANS:
        sampler = GibbsSampler(betas=(1, 0.6, 0.3), scan=scan, burn_in=15)
        drawn = sampler.sample(model, 3_000, 0, size=4)
        assert_follows(drawn, *enumerate_supports(model, 4))
        assert sampler.swap_rates_.shape == (2,)
        assert ((sampler.swap_rates_ > 0.3) & (sampler.swap_rates_ < 1)).all()
        assert_array_equal(sampler.sample(model, 100, 0, size=4), drawn[:100])
    with_evidence = GibbsSampler(betas=(1, 0.5), burn_in=30).sample(model, 3_000, 2, size=4, clamp=[2])
    assert_follows(with_evidence, *given(model, 4, [2]))


def test_tempering_frees_frozen_chains():
    """Check C3.4: unsmoothed, {0, 1} and {2, 3} are worlds apart; at beta = 0 there are bridges."""
    model = MarkovSupports(smoothing=0).fit(codes_of(["01", "01", "01", "23"], 4))
    possible, law = enumerate_supports(model, 2)
    start = [[2, 3]] * 2_000
    frozen = GibbsSampler(burn_in=100).sample(model, initial=start, random_state=0)
    assert_array_equal(frozen, start)
    free = GibbsSampler(burn_in=50, betas=(1, 0.5, 0)).sample(model, initial=start, random_state=0)
    assert_follows(free, possible, law)


def test_tempering_crosses_between_modes():
    """Two cliques of states that attract each other strongly: a chain stays in one for ages."""
    table = np.full((8, 8), -2.5)
    table[:4, :4] = table[4:, 4:] = 2.0
    model = PairwiseSupports(np.zeros(8), table)
    start = np.tile([0, 1, 2, 3], (2_000, 1))
    stuck = GibbsSampler(burn_in=60).sample(model, initial=start, random_state=0)
    assert (stuck < 4).all(axis=1).mean() > 0.9
    mixed = GibbsSampler(burn_in=60, betas=(1, 0.6, 0.3, 0.1)).sample(model, initial=start, random_state=0)
    share = (mixed < 4).all(axis=1).mean()
    exact = enumerate_supports(model, 4)[1][0]
    assert abs(share - exact) < 4.5 * np.sqrt(exact * (1 - exact) / 2_000)


def test_swaps_obey_the_metropolis_rule():
    rng = np.random.default_rng(0)
    n, betas = 20_000, np.array([1.0, 0.4])
    replicas = np.stack([np.zeros((n, 1), np.int32), np.ones((n, 1), np.int32)])
    sums = np.stack([np.zeros(n), np.full(n, -1.5)])
    accepted = swap(replicas, sums, betas, rng.random((n, 1)))
    expected = np.exp(0.6 * -1.5)
    assert abs(accepted[0] / n - expected) < 4.5 * np.sqrt(expected * (1 - expected) / n)
    assert_array_equal(replicas[0] + replicas[1], 1)
    assert (replicas[0] == 1).sum() == accepted[0]
    assert_allclose(sums[0], np.where(replicas[0, :, 0] == 1, -1.5, 0.0))
    sums = np.stack([np.zeros(3), np.full(3, -np.inf)])
    assert swap(replicas[:, :3], sums, np.array([1.0, 0.0]), np.zeros((3, 1)))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clamp": [99]}, r"clamp must hold states of the model, got \[99\]"),
        ({"clamp": [0, 4]}, r"clamp must be possible under the model, got \[0, 4\] of probability 0"),
        ({"clamp": [0], "forbid": [0]}, r"clamp and forbid must not share states, got \[0\]"),
        ({"clamp": [0.5]}, "clamp must be a list of integer states"),
        ({"forbid": [[0], [1]]}, "forbid must be a list of integer states"),
        ({"clamp": [0, 1], "size": 1}, "size must be at least 2 and at most 8, got 1"),
        ({"forbid": [0, 1, 2], "size": 4}, ""),
    ],
)
def test_bad_evidence(signed, arguments, message):
    if not message:  # legal: the negatives of 0, 1, 2 and either sign of 3 remain
        assert GibbsSampler().sample(signed, 5, 0, **arguments).shape == (5, 4)
        return
    with pytest.raises(ValueError, match=message):
        GibbsSampler().sample(signed, 5, **arguments)


def test_forbidding_too_much_says_so(signed):
    with pytest.raises(ValueError, match=r"size=4 cannot be reached"):
        GibbsSampler().sample(signed, 5, 0, size=4, forbid=[0, 4])
    assert GibbsSampler().sample(signed, 5, 0, size=3, forbid=[0, 4, 77]).shape == (5, 3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"betas": (0.9, 0.5)}, "betas must fall from 1 to 0 or more"),
        ({"betas": (1, 0.5, 0.5)}, "betas must fall"),
        ({"betas": (1, -0.1)}, "betas must fall"),
        ({"betas": ()}, "betas must fall"),
        ({"thin": 0}, "thin must be at least 1, got 0"),
    ],
)
def test_bad_parameters(signed, parameters, message):
    with pytest.raises(ValueError, match=message):
        GibbsSampler(**parameters).trace(signed, 2, 5)
