import numpy as np
import pytest

from sparsegen_classic.images import open_images


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("dtype", "highest"), [(bool, 1), (np.uint8, 255), (np.uint16, 65535), (">u2", 65535), (np.float64, 1)]
)
def test_the_type_declares_the_range(dtype, highest):
    pixels = np.array([[[0, 1], [highest, highest]]], dtype)
    images = open_images(pixels).images
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, np.float32(pixels) / np.float32(highest))


def test_an_array_is_copied_contiguously(rng):
    pixels = rng.random((600, 3, 4), dtype=np.float32)[:, :, ::-1]
    images = open_images(pixels).images
    np.testing.assert_array_equal(images, pixels)
    assert not np.shares_memory(images, pixels)
    assert images.flags.c_contiguous


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_and_modes(rng, channels):
    pixels = rng.integers(0, 256, (300, 4, 5, channels), dtype=np.uint8)
    grey, colour = open_images(pixels).images, open_images(pixels, mode="RGB").images
    assert grey.shape == (300, 4, 5)
    assert colour.shape == (300, 4, 5, 3)
    expected = np.broadcast_to(pixels[..., :3] if channels > 2 else pixels[..., :1], colour.shape) / 255
    if channels in (2, 4):
        expected = expected * (pixels[..., -1:] / 255)  # on black
    np.testing.assert_allclose(colour, expected, atol=1e-6)
    np.testing.assert_allclose(grey, expected @ [0.299, 0.587, 0.114], atol=0.51 / 255)


def test_size_applies_to_arrays(rng):
    pixels = rng.random((300, 6, 9))
    assert open_images(pixels, size=3, fit="resize").images.shape == (300, 3, 3)
    np.testing.assert_allclose(open_images(pixels, size=6, fit="crop").images, pixels[:, :, 1:7], atol=1e-6)
    with pytest.raises(ValueError, match=r"each image of the array is 6x9 .*, not size=3x3"):
        open_images(pixels, size=3)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4, 4)), r"the array must be \(n, h, w\) .*found shape \(4, 4\).*X\[numpy.newaxis\]"),
        (np.zeros((5, 3, 8, 8)), r"1 to 4 channels in the last one, found shape \(5, 3, 8, 8\).*moveaxis"),
        (np.zeros((0, 8, 8)), r"at least one pixel, found shape \(0, 8, 8\)"),
        (np.zeros((1, 8, 8), int), "must be bool, uint8, uint16 or float .* found int64, .*astype"),
        (
            np.full((1, 2, 2), 255.0),
            r"finite and lie in \[0, 1\], found values from 255 to 255; divide .*X / 255",
        ),
        (np.full((1, 2, 2), -1e-3), "found values from -0.001 to -0.001"),
        (np.full((1, 2, 2), np.nan), "found values from nan to nan"),
        (np.full((1, 2, 2), np.inf), "found values from inf to inf"),
        (np.full((1, 2, 2), 1j), "found complex128"),
    ],
)
def test_bad_arrays(pixels, message):
    with pytest.raises(ValueError, match=message):
        open_images(pixels)


def test_npz_and_npy(tmp_path, rng):
    pixels = rng.integers(0, 256, (5, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=pixels, labels=np.array(list("abcab")), score=pixels)
    np.save(tmp_path / "x.npy", pixels)
    found = open_images(tmp_path / "x.npz")
    np.testing.assert_array_equal(found.images, np.float32(pixels) / 255)
    assert found.labels.tolist() == list("abcab")
    assert open_images(tmp_path / "x.npz", labels=False).labels is None
    np.testing.assert_array_equal(open_images(str(tmp_path / "x.npy")).images, found.images)


def test_bad_npz_and_npy(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, data=np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match=r"x\.npz must hold the key 'images', found data; rename it"):
        open_images(path)
    np.savez(path, images=np.zeros((2, 2, 2)), labels=np.arange(3))
    with pytest.raises(
        ValueError, match=r"x\.npz: labels must be one per image, expected shape \(2,\), found \(3,\)"
    ):
        open_images(path)
    np.savez(path, images=np.array([None]))
    with pytest.raises(
        ValueError, match=r"x\.npz cannot be read as a \.npz file without pickle: .* objects are never read"
    ):
        open_images(path)
    np.savez(path, images=np.zeros((2, 2, 2)) + 7)
    with pytest.raises(ValueError, match=r"images of .*x\.npz of floats must be finite"):
        open_images(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"x\.npz cannot be read as a \.npz file"):
        open_images(path)
    (tmp_path / "x.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"x\.npy cannot be read as a \.npy file"):
        open_images(tmp_path / "x.npy")


def test_real_colour(data_root):
    cifar = open_images(data_root / "cifar10" / "cifar10_test5000.npz", mode="RGB")
    assert cifar.images.shape == (5000, 32, 32, 3)
    assert np.bincount(cifar.labels).tolist() == [500] * 10
