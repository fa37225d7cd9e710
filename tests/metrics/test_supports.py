"""Moments of supports by hand and against dense counts."""

import numpy as np
import pytest
from scipy import sparse

from sparsegen_classic.metrics import support_moments


def random_codes(rng, n, m=6, share=0.4):
    return np.where(rng.random((n, m)) < share, rng.normal(size=(n, m)), 0.0)


def test_moments_equal_dense_counts():
    rng = np.random.default_rng(0)
    codes, real = random_codes(rng, 50), random_codes(rng, 80)
    found = support_moments(sparse.csr_array(codes), real)
    states, real_states = (np.hstack([part > 0, part < 0]).astype(float) for part in (codes, real))
    np.testing.assert_allclose(found.states, states.mean(axis=0))
    np.testing.assert_allclose(found.real_states, real_states.mean(axis=0))
    difference = states.mean(axis=0) - real_states.mean(axis=0)
    assert found.state_error == pytest.approx(np.sqrt((difference**2).mean()))
    above = np.triu_indices(12, 1)
    pairs, real_pairs = ((part.T @ part / len(part))[above] for part in (states, real_states))
    assert found.pair_correlation == pytest.approx(np.corrcoef(pairs, real_pairs)[0, 1])
    for sizes, part in ((found.sizes, codes), (found.real_sizes, real)):
        counts = np.bincount((part != 0).sum(axis=1), minlength=len(sizes))
        np.testing.assert_allclose(sizes, counts / len(part))


def test_equal_sets_and_equal_laws():
    rng = np.random.default_rng(1)
    codes = random_codes(rng, 60)
    same = support_moments(codes, codes)
    assert same.state_error == 0
    assert same.pair_correlation == pytest.approx(1)
    errors = [support_moments(random_codes(rng, 300), random_codes(rng, 400)) for _ in range(50)]
    ratio = np.mean([e.state_error**2 for e in errors]) / np.mean([e.state_noise**2 for e in errors])
    assert ratio == pytest.approx(1, abs=0.15)


def test_signs_are_states_and_values_do_not_matter():
    codes = np.array([[2.0, -1.0], [0.5, 0.0]])
    np.testing.assert_array_equal(support_moments(codes, np.sign(codes)).state_error, 0)
    assert support_moments(codes, -codes).state_error > 0


def test_sets_must_fit():
    with pytest.raises(
        ValueError, match=r"same n_components and n at least 1, got shapes \(2, 3\) and \(2, 4\)"
    ):
        support_moments(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="n at least 1"):
        support_moments(np.ones((0, 3)), np.ones((2, 3)))
