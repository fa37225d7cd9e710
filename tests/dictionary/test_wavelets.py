"""Cropped wavelets: counts, frame bounds, and the separable base against its Kronecker product."""

import numpy as np
import pytest

from sparsegen_classic.dictionary import cropped_wavelets
from sparsegen_classic.dictionary.wavelets import _synthesis, wavelet_base


@pytest.mark.parametrize("wavelet", ["haar", "sym8", "db3"])
@pytest.mark.parametrize("size", [2, 8, 64, 128])
def test_c21_the_wavelets_are_orthonormal_before_cropping(wavelet, size):
    whole = _synthesis(size, wavelet)
    np.testing.assert_allclose(whole.T @ whole, np.eye(size), atol=1e-11 if size < 8 else 1e-12)


@pytest.mark.parametrize(
    ("wavelet", "threshold", "counts"),
    [
        ("haar", 1e-3, (10, 18, 34, 66)),
        ("sym8", 1e-8, (16, 32, 56, 100)),
        ("sym8", 1e-3, (16, 32, 56, 96)),
        ("sym8", 0.1, (14, 25, 43, 77)),
    ],
)
def test_c21_kept_columns(wavelet, threshold, counts):
    assert tuple(cropped_wavelets(n, wavelet, threshold).shape[1] for n in (8, 16, 32, 64)) == counts


@pytest.mark.parametrize(
    ("wavelet", "n", "largest"), [("haar", 32, 1.414), ("sym8", 32, 3.05), ("sym8", 64, 3.55)]
)
def test_c21_frame_bounds(wavelet, n, largest):
    phi = cropped_wavelets(n, wavelet, threshold=1e-8)
    np.testing.assert_allclose(np.linalg.norm(phi, axis=0), 1)
    singular = np.linalg.svd(phi, compute_uv=False)
    assert singular[0] == pytest.approx(largest, abs=0.01)
    assert singular[-1] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (8, 8), (5, 12), (6, 4, 3)])
def test_c22_the_separable_base_is_the_kronecker_product(shape):
    base = wavelet_base(shape, "sym8")
    dense = np.kron(base.left, base.right)
    rng = np.random.default_rng(0)
    codes, images = rng.standard_normal((4, base.n_functions)), rng.standard_normal((4, np.prod(shape)))
    np.testing.assert_allclose(base.synthesize(codes), codes @ dense.T, atol=1e-12)
    np.testing.assert_allclose(base.analyze(images), images @ dense, atol=1e-12)
    np.testing.assert_allclose(base.analyze_columns(images).T, images @ dense, atol=1e-12)
    inner = (base.synthesize(codes) * images).sum(), (codes * base.analyze(images)).sum()
    assert inner[0] == pytest.approx(inner[1], abs=1e-12 * np.abs(inner).max() + 1e-12)
    np.testing.assert_allclose(base.synthesize(base.weights * base.analyze(images)), images, atol=1e-4)


def test_colours_are_brightness_and_contrasts():
    base = wavelet_base((4, 4, 3), "haar")
    grey = np.repeat(np.random.default_rng(0).random((1, 16)), 3, axis=1).reshape(1, -1)
    assert np.abs(base.analyze(grey).reshape(-1, 3)[:, 1:]).max() < 1e-12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "n must be at least 1, got 0"),
        ((8, "bior4.4"), "wavelet must be one of .*'sym8'.*, got 'bior4.4'"),
        ((8, "haar", 1.0), "threshold must be at least 0 and less than 1, got 1.0"),
    ],
)
def test_bad_parameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        cropped_wavelets(*arguments)
