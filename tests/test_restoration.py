"""Denoising and inpainting: gains over the noise and over interpolation, published figures, bad input."""

import numpy as np
import pytest
from scipy.interpolate import griddata

from sparsegen_classic.dictionary import dct_atoms
from sparsegen_classic.images import open_images
from sparsegen_classic.restoration import denoise, estimate_sigma, inpaint


def psnr(image, clean):
    return -10 * np.log10(np.mean((np.clip(image, 0, 1) - clean) ** 2))


def cartoon(n=96):
    """Flat areas, an edge, a circle and a patch of stripes, in [0.1, 0.9]."""
    y, x = np.mgrid[:n, :n] / n
    image = 0.3 + 0.3 * (x + 0.3 * y > 0.6) + 0.2 * ((x - 0.3) ** 2 + (y - 0.6) ** 2 < 0.04)
    stripes = 0.2 * np.sin(60 * (x + y)) * ((x > 0.6) & (y > 0.5))
    return image + stripes


@pytest.fixture(scope="module")
def clean():
    return cartoon()


@pytest.fixture(scope="module")
def noisy(clean):
    return clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)


def test_sigma_is_estimated(clean):
    for sigma in (0.02, 0.1):
        noise = np.random.default_rng(1).normal(0, sigma, (*clean.shape, 3))
        grey = estimate_sigma(clean + noise[..., 0])
        assert grey == pytest.approx(sigma, rel=0.1)  # edges count as noise
        assert estimate_sigma(clean[..., None] + noise) == pytest.approx(sigma, rel=0.1)
    assert estimate_sigma(np.full((8, 8), 0.5)) == 0
    half = 0.5 + np.random.default_rng(1).normal(0, 0.05, clean.shape) * (np.arange(96) > 60)
    assert estimate_sigma(half) == pytest.approx(0.05, rel=0.15)  # areas without noise do not hide it


def test_denoising_gains_and_learning_gains_more(clean, noisy):
    before = psnr(noisy, clean)
    by_dct = psnr(denoise(noisy, 0.1, dictionary="dct"), clean)
    by_image = psnr(denoise(noisy, 0.1, random_state=0), clean)
    assert by_dct > before + 8
    assert by_image > by_dct + 0.3
    given = psnr(denoise(noisy, 0.1, dictionary=dct_atoms((8, 8), 256)), clean)
    assert given == by_dct
    estimated = psnr(denoise(noisy, random_state=0), clean)
    assert estimated > by_image - 0.3


def test_colour_noise_is_removed_in_all_channels(clean):
    colour = np.stack([clean, clean**2, 1 - clean], axis=-1)
    noisy = (colour + np.random.default_rng(0).normal(0, 0.1, colour.shape)).astype(np.float32)
    restored = denoise(noisy, 0.1, dictionary="dct")
    assert restored.dtype == np.float32
    alone = np.stack([denoise(noisy[..., c], 0.1, dictionary="dct") for c in range(3)], axis=-1)
    assert psnr(restored, colour) > psnr(alone, colour)
    assert min(psnr(restored[..., c], colour[..., c]) for c in range(3)) > psnr(noisy, colour) + 8
    grey = denoise(np.repeat(noisy[..., :1], 3, axis=2), 0.1, dictionary="dct")
    np.testing.assert_allclose(grey[..., 0], grey[..., 2], atol=1e-6)


def test_output_keeps_shape_type_and_range(clean):
    image = np.rint(255 * clean).astype(np.uint8)[:40, :30]
    restored = denoise(image, 0.05, stride=3, patch_shape=(8, 6), random_state=0)
    assert restored.shape == image.shape
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, image / 255, atol=0.15)
    assert denoise(clean[:20, :20], 1.0, dictionary="dct").min() >= 0


def test_flat_noise_becomes_flat():
    noisy = 0.5 + np.random.default_rng(0).normal(0, 0.1, (64, 64))
    restored = denoise(noisy, 0.1, random_state=0)
    assert np.std(restored) < 0.015


def test_same_bits_for_any_number_of_threads(noisy):
    one = denoise(noisy, 0.1, random_state=3, max_iter=3, n_jobs=1)
    two = denoise(noisy, 0.1, random_state=3, max_iter=3, n_jobs=2)
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, denoise(noisy, 0.1, random_state=4, max_iter=3))
    mask = np.random.default_rng(0).random(noisy.shape) < 0.6
    filled = [inpaint(noisy, mask, random_state=3, max_iter=2, n_jobs=n) for n in (1, 2)]
    np.testing.assert_array_equal(*filled)


def test_published_figure(data_root):
    """House at sigma 25: 32.15 dB (Elad and Aharon 2006, adaptive dictionary)."""
    clean = open_images(data_root / "natural/Set12/02.png").images[0].astype(float)
    noisy = clean + np.random.default_rng(0).normal(0, 25 / 255, clean.shape)
    assert psnr(denoise(noisy, 25 / 255, random_state=0, n_jobs=2), clean) > 32.15 - 0.15
    assert estimate_sigma(noisy) == pytest.approx(25 / 255, rel=0.03)


@pytest.mark.parametrize("missing", [0.3, 0.6])
def test_inpainting_beats_interpolation(clean, missing):
    mask = np.random.default_rng(0).random(clean.shape) >= missing
    known, everywhere = np.argwhere(mask), np.argwhere(np.ones_like(mask))
    nearest = griddata(known, clean[mask], everywhere, "nearest")
    baselines = [nearest]
    for method in ("linear", "cubic"):
        values = griddata(known, clean[mask], everywhere, method)
        baselines.append(np.where(np.isnan(values), nearest, values))
    best = max(psnr(values.reshape(clean.shape), clean) for values in baselines)
    restored = inpaint(np.where(mask, clean, np.nan), "nan", n_training=3000, max_iter=3, random_state=0)
    assert psnr(restored, clean) > best + 0.5
    np.testing.assert_allclose(restored[mask], clean[mask], rtol=1e-12)


def test_holes_wider_than_a_patch_are_filled():
    clean = 0.5 + 0.3 * np.sin(np.mgrid[:64, :64][1] / 5)
    mask = np.ones(clean.shape, bool)
    mask[20:44, 25:47] = False
    restored = inpaint(clean * mask, mask, dictionary="dct")
    assert np.isfinite(restored).all()
    assert np.sqrt(np.mean((restored - clean)[~mask] ** 2)) < 0.7 * np.std(clean[~mask])


def test_inpainting_also_denoises(clean, noisy):
    mask = np.random.default_rng(0).random(clean.shape) >= 0.3
    restored = inpaint(noisy, mask, 0.1, random_state=0)
    assert psnr(restored, clean) > psnr(noisy, clean) + 6
    colour = np.stack([clean] * 3, axis=-1)
    filled = inpaint(np.where(mask[..., None], colour, 0), mask, dictionary="dct")
    alone = inpaint(np.where(mask, clean, 0), mask, dictionary="dct")
    assert psnr(filled[..., 1], clean) == pytest.approx(psnr(alone, clean), abs=1.5)


@pytest.mark.parametrize("dictionary", ["dct", "image"])
@pytest.mark.parametrize("missing", [0.3, 0.6])
def test_channels_with_masks_of_their_own(missing, dictionary):
    clean = cartoon(64)
    colour = np.stack([clean, 0.2 + 0.6 * clean**2, 0.9 - 0.8 * clean], axis=-1)
    mask = np.random.default_rng(0).random(colour.shape) >= missing
    options = {"dictionary": dictionary, "n_training": 1500, "max_iter": 2, "random_state": 0}
    restored = inpaint(np.where(mask, colour, np.nan), "nan", **options)
    np.testing.assert_array_equal(restored[mask], colour[mask])
    np.testing.assert_array_equal(restored, inpaint(colour * mask, mask, **options))
    common = np.where(mask, colour, inpaint(colour, mask.all(axis=2), **options))
    assert psnr(restored, colour) > psnr(common, colour) + 2


def test_a_mask_whose_channels_agree_is_that_of_the_pixels(clean):
    colour = np.stack([clean, clean**2, 1 - clean], axis=-1)[:40, :40]
    mask = np.random.default_rng(0).random((40, 40)) >= 0.3
    by_pixel = inpaint(colour, mask, dictionary="dct")
    np.testing.assert_array_equal(by_pixel, inpaint(colour, np.dstack([mask] * 3), dictionary="dct"))


def test_a_channel_that_lacks_nothing_comes_back():
    colour = np.dstack([cartoon(32)] * 3)
    mask = np.ones(colour.shape, bool)
    mask[..., 2] = np.random.default_rng(0).random((32, 32)) >= 0.5
    restored = inpaint(np.where(mask, colour, 0), mask, random_state=0, max_iter=1)
    np.testing.assert_array_equal(restored[..., :2], colour[..., :2])
    assert psnr(restored[..., 2], colour[..., 2]) > 20
    mosaic = np.indices((32, 32)).sum(axis=0)[..., np.newaxis] % 3 == np.arange(3)  # no pixel is complete
    assert psnr(inpaint(colour * mosaic, mosaic, dictionary="dct"), colour) > 20


IMAGE = cartoon(24)
MASK = np.ones((24, 24), bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: denoise(IMAGE[0], 0.1), r"image must be \(h, w\) or \(h, w, c\) and not empty, found shape"),
        (
            lambda: denoise(IMAGE, 0.0),
            "sigma must be greater than 0 and at most 1, got 0.0; give the",
        ),
        (lambda: denoise(IMAGE, -1.0), "sigma must be greater than 0 .* got -1.0"),
        (lambda: denoise(IMAGE, 25.0), "at most 1, got 25.0; .* on the scale"),
        (lambda: denoise(np.full((9, 9), 0.5)), "sigma=None found no noise in the image"),
        (lambda: estimate_sigma(IMAGE[:2, :2]), "at least 3 x 3 pixels to estimate sigma"),
        (lambda: denoise(255 * IMAGE, 0.1), r"scale \[0, 1\], found a mean of .*; divide .* \(image / 255\)"),
        (lambda: denoise(IMAGE.astype(int), 0.1), "must be bool, uint8, uint16 or float"),
        (
            lambda: denoise(np.where(IMAGE > 0.4, np.nan, IMAGE), 0.1),
            "found .* values that are NaN .*; fill them by inpaint",
        ),
        (lambda: denoise(IMAGE, 0.1, patch_shape=30), "is larger than the image of shape"),
        (lambda: denoise(IMAGE, 0.1, stride=9), "stride must be at least 1 and at most 8, got 9"),
        (lambda: denoise(IMAGE, 0.1, max_iter=0), "max_iter must be at least 1, got 0"),
        (lambda: denoise(IMAGE, 0.1, dictionary="global"), "dictionary must be one of 'image', 'dct'"),
        (lambda: denoise(IMAGE, 0.1, dictionary=np.eye(9)), "dictionary must have 64 features"),
        (lambda: denoise(IMAGE, 0.1, dictionary=2 * np.eye(64)), "rows of unit norm"),
        (lambda: inpaint(IMAGE, ~MASK), "mask must mark at least one pixel as observed .* inverted"),
        (lambda: inpaint(IMAGE, MASK[:9]), r"shape \(h, w\)=\(24, 24\) of the image, found \(9, 24\)"),
        (
            lambda: inpaint(IMAGE, np.dstack([MASK] * 3)),
            r"found \(24, 24, 3\); only the mask of a colour image",
        ),
        (
            lambda: inpaint(np.dstack([IMAGE] * 3), np.dstack([MASK, MASK, ~MASK])),
            "at least one pixel as observed .*, in every channel, found none",
        ),
        (lambda: inpaint(IMAGE, "none"), "mask must be 'nan' or a boolean array .* got 'none'"),
        (lambda: inpaint(IMAGE, MASK, -0.1), "sigma must be at least 0 and at most 1, got -0.1"),
        (
            lambda: inpaint(np.where(IMAGE > 0.4, np.nan, IMAGE), MASK),
            "values that are NaN or infinite; mark them False in mask",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(TypeError, match="mask must be boolean .* int64; compare it"):
        inpaint(IMAGE, MASK.astype(np.int64))


@pytest.mark.parametrize(("side", "stride"), [(1, 1), (4, 4)])
def test_holes_that_no_patch_bridges_are_refused(side, stride):
    mask = np.ones((12, 12), bool)
    mask[4:8, 4:8] = False
    rules = {"patch_shape": side, "stride": stride, "dictionary": "dct", "n_components": 16}
    with pytest.raises(ValueError, match="leave pixels missing that share no patch with an observed one"):
        inpaint(np.full((12, 12), 0.5), mask, **rules)
