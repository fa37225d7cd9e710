"""Tone curves and families of images."""

import numpy as np
import pytest

from sparsegen_classic.images import (
    apply_tone,
    contrast_and_curve,
    flat_curve,
    group_images,
    open_images,
    tone_curve,
)


def test_a_tone_curve_gives_values_the_distribution_of_the_targets():
    rng = np.random.default_rng(0)
    values, targets = rng.normal(size=(100, 50)), rng.beta(0.3, 0.6, 4000)
    mapped = apply_tone(values, tone_curve(values, targets))
    levels = np.linspace(0, 1, 41)
    np.testing.assert_allclose(np.quantile(mapped, levels), np.quantile(targets, levels), atol=5e-3)
    order = np.argsort(values.ravel())
    assert (np.diff(mapped.ravel()[order]) >= 0).all()


def test_a_tone_curve_onto_the_values_themselves_changes_nothing():
    values = np.random.default_rng(1).uniform(size=1025)
    np.testing.assert_allclose(apply_tone(values, tone_curve(values, values)), values, atol=1e-12)


def test_values_outside_the_curve_go_to_its_ends():
    curve = tone_curve([0.0, 1.0], [0.2, 0.8])
    np.testing.assert_allclose(apply_tone([-5.0, 0.5, 7.0], curve), [0.2, 0.5, 0.8])


def test_a_flat_curve_clips():
    values = np.linspace(-1, 2, 301)
    clipped = apply_tone(values, flat_curve(0.1, 0.9))
    np.testing.assert_allclose(clipped, np.clip(values, 0.1, 0.9), atol=1e-12)


@pytest.mark.parametrize("share", [0.7, 1.0, 1.6])
def test_contrast_and_curve_give_images_the_variance_and_the_pixels_of_the_targets(share):
    images = open_images("digits").images.reshape(-1, 64).astype(float)
    mean = images.mean(axis=0)
    deviations = share * (images - mean)
    contrast, curve = contrast_and_curve(deviations, mean, images)
    assert abs(contrast * share - 1) < 0.03
    values = apply_tone(mean + contrast * deviations, curve)
    assert abs(values.var(axis=0).sum() / images.var(axis=0).sum() - 1) < 0.01
    np.testing.assert_array_equal(curve, tone_curve(mean + contrast * deviations, images))


def test_the_contrast_is_one_where_it_makes_no_difference():
    deviations = np.random.default_rng(0).normal(size=(50, 9))
    assert contrast_and_curve(deviations, np.zeros(9), 3 * deviations)[0] == 1  # the curve undoes it
    assert contrast_and_curve(deviations, np.arange(9.0), np.ones((5, 9)))[0] == 1  # nothing varies so little


def test_groups_of_planted_clusters():
    rng = np.random.default_rng(0)
    label = rng.integers(4, size=300)
    rows = 10 * rng.normal(size=(4, 30))[label] + 0.1 * rng.normal(size=(300, 30))
    groups = group_images(rows, 4, 0)
    assert len(set(zip(groups.tolist(), label.tolist(), strict=True))) == 4
    assert (group_images(rows, 1) == 0).all()


def test_groups_are_the_same_bits_with_any_number_of_openmp_threads():
    from threadpoolctl import threadpool_limits

    rows = open_images("digits").images.reshape(-1, 64)
    runs = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, "openmp"):
            runs.append(group_images(rows, 30, 1))
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize("n_distinct", [1, 3])
def test_equal_images_make_fewer_groups(n_distinct):
    rows = np.repeat(np.random.default_rng(0).normal(size=(n_distinct, 9)), 5, axis=0)
    assert group_images(rows, 5).max() + 1 == n_distinct
