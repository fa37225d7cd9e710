"""Tone curves and contrast of a generator: which, and what they do."""

import numpy as np
import pytest
from scipy import sparse

from sparsegen_classic import KSVD, SparseImageGenerator, open_images, save_model
from sparsegen_classic.generator.tones import fit_tones
from sparsegen_classic.images import apply_tone, flat_curve
from sparsegen_classic.model_io import _completed


@pytest.fixture(scope="module")
def digits():
    return open_images("digits")


@pytest.fixture(scope="module")
def per_class(digits):
    return SparseImageGenerator(per_class=True, random_state=0).fit(digits.images, digits.labels)


def test_tone_gives_reconstructions_the_pixels_of_the_images(digits):
    generator = SparseImageGenerator(KSVD(30), random_state=0).fit(digits.images[:600])
    levels = np.linspace(0.02, 0.98, 25)
    rebuilt = generator.reconstruct(digits.images[:600])
    bare = generator.reconstruct(digits.images[:600], clip=False).clip(0, 1)
    wanted = np.quantile(digits.images[:600], levels)
    assert np.abs(np.quantile(rebuilt, levels) - wanted).max() < 0.07  # a grey level is 1/16
    assert np.abs(np.quantile(bare, levels) - wanted).max() > 0.08
    assert ((rebuilt - digits.images[:600]) ** 2).mean() < 0.7 * digits.images[:600].var()


def test_auto_takes_the_tone_that_is_nearer_to_the_images(digits, per_class):
    flat = flat_curve(0, 1)
    assert (per_class.draw_contrasts_ > 1).all()
    assert not any(np.array_equal(curve, flat) for curve in per_class.draw_curves_)
    images = digits.images[:300].reshape(300, -1).astype(float)
    mean, codes, parts = images.mean(axis=0), sparse.csr_array(images - images.mean(axis=0)), [Atoms(), 0, 0]
    clipped = fit_tones("auto", images - mean, codes, parts, mean, 0)
    np.testing.assert_array_equal(clipped.curve, flat)  # sums that are the images already
    soft = np.sqrt(images)  # a curve makes them the images again
    codes = sparse.csr_array(soft - mean)
    curve = fit_tones("auto", images - mean, codes, parts, mean, 0).curve
    np.testing.assert_array_equal(curve, fit_tones("match", images - mean, codes, parts, mean, 0).curve)
    assert np.abs(apply_tone(soft, curve) - images).max() < 0.05
    assert fit_tones("clip", images - mean, codes, parts, mean, 0).curve is None


class Atoms:
    components_ = np.eye(64)


def test_models_from_before_there_was_contrast_have_none(digits, tmp_path):
    generator = SparseImageGenerator(random_state=0).fit(digits.images[:300])
    del generator.draw_contrasts_
    with pytest.raises(ValueError, match="draw_contrasts_ must come with draw_curves_"):
        save_model(generator, tmp_path / "half.npz")
    assert _completed(generator).draw_contrasts_.tolist() == [1.0]
    sums = generator.sample(5, 0, clip=False)
    toned = apply_tone(sums, generator.draw_curves_[0]).astype(np.float32)
    np.testing.assert_array_equal(generator.sample(5, 0), toned)
