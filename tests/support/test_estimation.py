"""Fits behind one interface, and the report of what they have learned."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from sparsegen_classic.support import (
    MarkovSupports,
    PairwiseSupports,
    enumerate_supports,
    fit_pseudo_likelihood,
    report_supports,
)


def planted(n, seed):
    """Supports of three of eight atoms from a known pairwise law, by enumeration."""
    rng = np.random.default_rng(7)
    pairs = np.triu(rng.normal(scale=1.2, size=(8, 8)), 1)
    law = PairwiseSupports(rng.normal(scale=0.5, size=8), pairs + pairs.T)
    supports, probabilities = enumerate_supports(law, 3)
    drawn = supports[np.random.default_rng(seed).choice(len(supports), n, p=probabilities)]
    codes = np.zeros((n, 8))
    np.put_along_axis(codes, drawn, 1.0, axis=1)
    return codes, supports, probabilities


def divergence(model, supports, probabilities):
    codes = np.zeros((len(supports), 8))
    np.put_along_axis(codes, supports, 1.0, axis=1)
    weights = model.log_weights(codes)
    return float(probabilities @ (np.log(probabilities) - weights + np.log(np.exp(weights).sum())))


@pytest.mark.parametrize("method", ["pseudo-likelihood", "contrastive-divergence"])
def test_fits_are_nearer_to_a_planted_law_than_counts(method):
    codes, *law = planted(5000, 0)
    counted = divergence(MarkovSupports().fit(codes), *law)
    fitted = divergence(MarkovSupports(method=method, random_state=0).fit(codes), *law)
    assert fitted < 0.3 * counted


def test_the_method_is_the_function():
    codes, *_ = planted(300, 0)
    start = MarkovSupports().fit(codes)
    theta, table, _ = fit_pseudo_likelihood(
        start.supports_, start.log_factors_, start.log_pair_factors_, l2=3.0, rank=2
    )
    model = MarkovSupports(method="pseudo-likelihood", l2=3.0, rank=2).fit(codes)
    assert_array_equal(model.log_factors_, theta)
    assert_array_equal(model.log_pair_factors_, table)
    assert_array_equal(model.log_group_factors_[0], theta)
    assert model.sample(3, 0).shape == (3, 8)


def test_bad_methods():
    codes, *_ = planted(30, 0)
    with pytest.raises(ValueError, match="method must be one of 'counts', 'pseudo-likelihood', 'contrastive"):
        MarkovSupports(method="likelihood").fit(codes)


@pytest.mark.parametrize("method", ["pseudo-likelihood", "contrastive-divergence"])
def test_networks_of_groups_are_fitted_together(method):
    codes, *_ = planted(1000, 0)
    groups = np.arange(1000) % 3
    counted = MarkovSupports(n_groups=3).fit(codes, groups=groups)
    model = MarkovSupports(n_groups=3, method=method, random_state=0).fit(codes, groups=groups)
    moved = model.log_factors_ - counted.log_factors_
    assert np.abs(moved).max() > 0.01
    assert_allclose(model.log_group_factors_ - counted.log_group_factors_, np.tile(moved, (3, 1)), atol=1e-12)
    fits, counts = (part.pseudo_log_likelihood(codes).mean() for part in (model, counted))
    assert fits > counts
    assert model.sample(5, 0).shape == (5, 8)


def test_the_report_tells_memory_from_learning():
    codes, *_ = planted(4000, 0)
    learned = report_supports(MarkovSupports().fit(codes[:2000]), codes[:2000], codes[2000:])
    assert learned.held_out > learned.independent_held_out + 0.05
    assert abs(learned.training - learned.held_out) < 0.05
    assert learned.unseen == 0
    rng = np.random.default_rng(0)
    noise = np.zeros((400, 60))
    np.put_along_axis(noise, rng.random((400, 60)).argsort(axis=1)[:, :6], 1.0, axis=1)
    noise = sparse.csr_array(noise)
    memory = report_supports(MarkovSupports().fit(noise[:200]), noise[:200], noise[200:])
    assert memory.training > memory.held_out + 0.3
    assert memory.held_out < memory.independent_held_out
    assert memory.drawn_weights[0] > memory.held_out_weights[0]
    assert "independent atoms" in str(memory)


def test_the_report_of_a_model_with_groups():
    codes, *_ = planted(600, 0)
    model = MarkovSupports(n_groups=3, random_state=0).fit(codes[:400])
    report = report_supports(model, codes[:400], codes[400:], n_samples=50)
    assert np.isfinite([report.training, report.held_out, *report.drawn_weights]).all()
    groups = model.most_probable_groups(codes[400:])
    used = np.concatenate([codes[400:] > 0, codes[400:] < 0], axis=1)
    assert used[:, model.states_].sum() == used.sum()  # no state is new to the model
    used = used[:, model.states_].astype(float)
    pairs = np.triu(np.where(np.isfinite(model.log_pair_factors_), model.log_pair_factors_, 0.0), 1)
    by_hand = (used * model.log_group_factors_[groups]).sum(axis=1) + ((used @ pairs) * used).sum(axis=1)
    assert report.held_out_weights == pytest.approx((by_hand.mean(), by_hand.std()))
    with pytest.raises(ValueError, match="group must be"):
        model.log_weights(codes, group=3)
