"""The copy test against counting, and on samples that are copies by construction."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from sparsegen_classic.metrics import compare_distances, copy_test


def test_probability_counts_pairs_with_ties_half():
    rng = np.random.default_rng(0)
    one, other = rng.integers(6, size=30).astype(float), rng.integers(7, size=40).astype(float)
    result = compare_distances(one, other)
    pairs = (one[:, None] > other).mean() + (one[:, None] == other).mean() / 2
    assert result.probability == pytest.approx(pairs, rel=1e-12)
    assert result.p_value == mannwhitneyu(one, other, method="asymptotic").pvalue
    by_sample = ((one[:, None] > other) + (one[:, None] == other) / 2).mean(axis=1)
    by_held_out = ((one[:, None] > other) + (one[:, None] == other) / 2).mean(axis=0)
    expected = np.sqrt(by_sample.var(ddof=1) / 30 + by_held_out.var(ddof=1) / 40)
    assert result.standard_error == pytest.approx(expected, rel=1e-12)


def test_the_error_is_the_spread_of_repetitions():
    rng = np.random.default_rng(1)
    results = [compare_distances(rng.normal(size=80) + 0.5, rng.normal(size=120)) for _ in range(400)]
    values = np.array([result.probability for result in results])
    errors = np.array([result.standard_error for result in results])
    assert errors.mean() == pytest.approx(values.std(), rel=0.12)
    # P[N(.5, 1) > N(0, 1)] = Phi(.5 / sqrt 2)
    assert values.mean() == pytest.approx(0.63816, abs=4 * values.std() / 20)


def test_new_images_pass_and_copies_and_blurs_are_told():
    rng = np.random.default_rng(2)
    training, held_out, new = (rng.normal(size=(n, 3)) for n in (2000, 500, 500))
    fair = copy_test(new, held_out, training)
    assert abs(fair.probability - 0.5) < 4 * fair.standard_error
    assert fair.near_copies < 0.04
    copies = copy_test(training[:300], held_out, training, n_jobs=2)
    assert copies.probability == 0
    assert copies.near_copies == 1
    assert copies.p_value < 1e-50
    assert copies.nearest.tolist() == list(range(300))
    assert (copies.distances == 0).all()
    assert copy_test(new + 3, held_out, training).probability > 0.9


def test_near_copies_have_their_law():
    rng = np.random.default_rng(4)
    p_values = []
    for _ in range(500):
        result = compare_distances(rng.random(150), rng.random(300))
        p_values.append(result.near_copies_p)
    for level in (0.01, 0.05, 0.2):
        share = np.mean(np.array(p_values) < level)
        assert share < level + 4 * np.sqrt(level * (1 - level) / 500)
    certain = compare_distances([0.1, 0.2], [1.0, 2.0, 3.0], near=0)
    assert certain.near_copies == 1
    # in 3 of the 10 orders of two samples and three held-out distances both are below the second of these
    assert certain.near_copies_p == pytest.approx(3 / 10)


def test_a_few_copies_among_far_samples_are_found():
    rng = np.random.default_rng(3)
    training, held_out, new = (rng.normal(size=(n, 3)) for n in (2000, 500, 500))
    mixed = np.concatenate([training[:100], new[:400] * 1.3])
    result = copy_test(mixed, held_out, training)
    assert abs(result.probability - 0.5) < 0.1
    assert result.near_copies == pytest.approx(0.2, abs=0.02)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="distances must be at least two finite numbers"):
        compare_distances([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="held_out_distances must be at least two finite numbers"):
        compare_distances([1.0, 2.0], [1.0, np.nan])
    with pytest.raises(ValueError, match="images have 4 values each but references have 3"):
        copy_test(np.zeros((2, 4)), np.zeros((2, 3)), np.zeros((2, 3)))
