"""The nearest image against a brute-force search."""

import numpy as np
import pytest

from sparsegen_classic._rows import Rows
from sparsegen_classic.metrics import copy_test, nearest_images
from tests.metrics.recording import Recording


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_brute_force_across_blocks_and_jobs(dtype):
    rng = np.random.default_rng(0)
    images, references = rng.random((600, 4, 5)).astype(dtype), rng.random((5000, 4, 5)).astype(dtype)
    distance = np.sqrt(
        ((images[:, None].astype(float) - references[None].astype(float)) ** 2).sum(axis=(2, 3))
    )
    indices, distances = nearest_images(images, references, n_jobs=2)
    np.testing.assert_allclose(distances, distance.min(axis=1), rtol=1e-5)
    assert (indices == distance.argmin(axis=1)).mean() > 0.995  # float32 may settle near-ties otherwise
    np.testing.assert_array_equal(indices, nearest_images(images, references)[0])


def test_copies_are_at_distance_zero_and_the_first_of_equals_wins():
    references = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    indices, distances = nearest_images(references, references)
    assert indices.tolist() == [0, 0, 2, 2, 4, 4]
    assert (distances == 0).all()


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="images have 16 values each but references have 25; bring both"):
        nearest_images(np.zeros((1, 4, 4)), np.zeros((1, 5, 5)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_references_in_files_give_the_same_bits_and_are_read_in_parts(tmp_path, dtype):
    rng = np.random.default_rng(1)
    images, references = ((255 * rng.random((n, 4, 5))).astype(dtype) for n in (300, 9000))
    np.save(tmp_path / "references.npy", references)
    source = Recording(references)
    expected = nearest_images(images, references)
    for form in (source, Rows(source), np.load(tmp_path / "references.npy", mmap_mode="r")):
        for part, same in zip(nearest_images(images, form, n_jobs=2), expected, strict=True):
            np.testing.assert_array_equal(part, same)
    assert max(source.asked) == 4096
    assert sum(source.asked) == 2 * (9000 + 300)  # every reference once, and the nearest again
    some = Rows(references, np.arange(0, 9000, 2))
    assert nearest_images(references[1000:1010], some)[0].tolist()[::2] == list(range(500, 505))
    np.testing.assert_array_equal(copy_test(images, images, source).nearest, expected[0])


def test_bad_references_are_named():
    references = np.zeros((5000, 3))
    references[4999, 1] = np.nan
    with pytest.raises(ValueError, match="references contains NaN"):
        nearest_images(np.zeros((2, 3)), Recording(references))
    for bad in (np.zeros((0, 3)), np.zeros(3), np.array([["a", "b", "c"]])):
        with pytest.raises(
            ValueError, match="references must be numbers in images or feature rows.*found sh"
        ):
            nearest_images(np.zeros((2, 3)), bad)
