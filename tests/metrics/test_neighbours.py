"""The nearest image against a brute-force search."""

import numpy as np
import pytest

from sparsegen_classic.metrics import nearest_images


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
