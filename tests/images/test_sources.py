import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from sparsegen_classic.images import ImageSet, open_images


@pytest.fixture
def stripes(tmp_path):
    """A folder with one image of 8x12 whose right third is white."""
    image = np.zeros((8, 12), np.uint8)
    image[:, 8:] = 255
    Image.fromarray(image).save(tmp_path / "x.png")
    return tmp_path


def test_digits():
    digits = open_images("digits")
    assert digits.images.shape == (1797, 8, 8)
    assert digits.images.dtype == np.float32
    np.testing.assert_array_equal(digits.images * 16, load_digits().images)
    np.testing.assert_array_equal(digits.labels, load_digits().target)
    assert digits.paths is None
    assert digits.source == "digits"
    assert len(digits) == 1797
    assert open_images("digits", labels=False).labels is None


def test_a_folder_called_digits_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    Image.new("L", (3, 2)).save("digits/x.png")
    assert open_images("digits").images.shape == (1797, 8, 8)
    assert open_images("./digits").images.shape == (1, 2, 3)
    assert open_images(Path("digits")).images.shape == (1, 2, 3)


def test_image_set_is_frozen_and_short_in_print():
    images = ImageSet(np.zeros((2, 3, 4, 3), np.float32))
    assert repr(images) == "ImageSet(2 RGB images of 3x4, source='array')"
    with pytest.raises(dataclasses.FrozenInstanceError):
        images.labels = None


def test_resize_stretches(stripes):
    image = open_images(stripes, size=(8, 6), fit="resize").images[0]
    assert image.shape == (8, 6)
    np.testing.assert_allclose(image[:, [0, 5]], [[0, 1]] * 8, atol=0.02)
    assert 0 <= image.min() <= image.max() <= 1  # Lanczos overshoots; clipped


def test_crop_covers_and_cuts_the_centre(stripes):
    image = open_images(stripes, size=8, fit="crop").images[0]
    np.testing.assert_allclose(
        image, [[0] * 6 + [1] * 2] * 8, atol=1e-6
    )  # columns 2 to 9: cut, not resampled
    assert open_images(stripes, size=(4, 2), fit="crop").images.shape == (1, 4, 2)


def test_pad_fits_inside(stripes):
    image = open_images(stripes, size=12, fit="pad", background=0.25).images[0]
    np.testing.assert_allclose(image[2:10], [[0] * 8 + [1] * 4] * 8, atol=1e-6)
    np.testing.assert_array_equal(image[[0, 1, 10, 11]], 0.25)
    image = open_images(stripes, size=(8, 6), fit="pad", mode="RGB", background=0.25).images[0]
    assert image.shape == (8, 6, 3)
    np.testing.assert_array_equal(image[[0, 1, 6, 7]], 0.25)


def test_resampling_is_antialiased_and_keeps_16_bits(tmp_path):
    board = np.indices((64, 64)).sum(axis=0) % 2
    Image.fromarray((board * 65535).astype(np.uint16)).save(tmp_path / "x.png")
    small = open_images(tmp_path, size=16, fit="resize").images[0]
    np.testing.assert_allclose(small[2:-2, 2:-2], 0.5, atol=0.01)
    Image.fromarray(np.full((9, 9), 1001, np.uint16)).save(tmp_path / "x.png")
    np.testing.assert_allclose(open_images(tmp_path, size=4, fit="resize").images, 1001 / 65535, rtol=1e-5)


def test_8_bit_resampling_agrees_with_pillow(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(90, 166, (40, 30, 3), dtype=np.uint8))
    image.save(tmp_path / "x.png")
    ours = open_images(tmp_path, mode="RGB", size=(20, 21), fit="resize").images[0]
    theirs = np.asarray(image.resize((21, 20), Image.Resampling.LANCZOS))
    np.testing.assert_allclose(ours * 255, theirs, atol=1.5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mode": "rgb"}, r"mode must be one of 'L', 'RGB', got 'rgb'"),
        (
            {"fit": "stretch", "size": 8},
            r"fit must be one of 'error', 'resize', 'crop', 'pad', got 'stretch'",
        ),
        ({"fit": "crop"}, r"fit='crop' needs the size to fit to; pass e\.g\. size=64"),
        ({"size": 0}, r"size must be at least 1, got 0"),
        ({"size": (1, 2, 3)}, r"size must be an integer or \(height, width\), got \(1, 2, 3\)"),
        ({"background": 255}, r"background must be at least 0 and at most 1, got 255"),
        ({"errors": "ignore"}, r"errors must be one of 'raise', 'skip', 'warn', got 'ignore'"),
        ({"split": "valid"}, r"split must be one of 'train', 'test', 'all', got 'valid'"),
        ({"labels": "yes"}, r"labels must be one of True, False, got 'yes'"),
        ({"split": "test"}, r"split='test' applies to folders of idx files only; 'digits' has no splits"),
        ({"size": 9}, r"each image of digits is 8x8 .*, not size=9x9; pass fit="),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        open_images("digits", **parameters)


def test_bad_sources(tmp_path):
    with pytest.raises(TypeError, match=r"size must be an integer, got 2\.5 of type float"):
        open_images("digits", size=2.5)
    with pytest.raises(TypeError, match="source must be a path, an array or 'digits', got list"):
        open_images([[1, 2]])
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; give a folder"):
        open_images(tmp_path / "nowhere")
    (tmp_path / "x.mat").touch()
    with pytest.raises(ValueError, match=r"x\.mat must be a folder or a file ending in \.npz"):
        open_images(tmp_path / "x.mat")
    for source in (tmp_path, np.zeros((1, 2, 2))):
        with pytest.raises(ValueError, match="split='all' applies to folders of idx files only"):
            open_images(source, split="all")
