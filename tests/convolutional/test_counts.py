"""Sparsity counts against the sets of pixels that atoms touch."""

import numpy as np
import pytest

from sparsegen_classic.convolutional import SparseMaps
from sparsegen_classic.convolutional.counts import sparsity_counts
from tests import naive_sparsity


def c51_maps():
    maps = np.zeros((2, 12))
    maps[:, 0] = maps[0, [2, 3, 4, 8]] = 1
    return maps


def summary(counts):
    return counts.global_, counts.needle, counts.pixel, counts.stripe


def test_c51():
    counts = sparsity_counts(c51_maps(), 3, boundary="circular")
    assert summary(counts) == (6, 2, 3, 5)
    assert counts.needle_map.tolist() == [2, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0]
    assert (counts.needle_map <= counts.stripe_map).all()


@pytest.mark.parametrize("boundary", ["zero", "circular"])
@pytest.mark.parametrize(
    ("maps_shape", "atom_shape", "stride"),
    [
        ((12,), (3,), 1),
        ((9,), (4,), 2),
        ((7,), (5,), 3),
        ((4,), (4,), 1),  # circular: the stripe is longer than the signal
        ((3,), (6,), 2),
        ((5,), (1,), 1),
        ((6, 7), (2, 3), 1),
        ((5, 4), (4, 3), (2, 3)),
        ((3, 5), (3, 4), (1, 2)),
    ],
)
def test_counts_follow_their_definition(maps_shape, atom_shape, stride, boundary):
    rng = np.random.default_rng(0)
    steps = (stride,) * len(maps_shape) if isinstance(stride, int) else stride
    for density in (0.05, 0.3, 1.0):
        maps = rng.standard_normal((3, *maps_shape)) * (rng.random((3, *maps_shape)) < density)
        counts = sparsity_counts(maps, atom_shape, stride, boundary)
        assert summary(counts) == naive_sparsity.counts(maps, atom_shape, steps, boundary)
        assert counts.needle <= counts.pixel <= counts.stripe <= counts.global_
        overlap = naive_sparsity.stripes(maps_shape, atom_shape, steps, boundary)
        np.testing.assert_array_equal(counts.stripe_map.ravel(), overlap @ counts.needle_map.ravel())


def test_a_batch_has_the_counts_of_its_images_and_their_maximum():
    rng = np.random.default_rng(1)
    batch = rng.standard_normal((4, 3, 6, 7)) * (rng.random((4, 3, 6, 7)) < 0.2)
    counts = sparsity_counts(batch, (2, 3))
    each = [sparsity_counts(maps, (2, 3)) for maps in batch]
    np.testing.assert_array_equal(counts.per_image, [c.per_image for c in each])
    np.testing.assert_array_equal(counts.pixel_map, [c.pixel_map for c in each])
    assert summary(counts) == tuple(counts.per_image.max(axis=0))
    assert counts.pixel_map.shape == (4, 7, 9)


def test_sparse_maps_and_integers_count_alike():
    maps = c51_maps()
    expected = summary(sparsity_counts(maps, 3))
    assert summary(sparsity_counts(SparseMaps.from_dense(maps), 3)) == expected
    assert summary(sparsity_counts(maps.astype(int), 3)) == expected
    assert summary(sparsity_counts(np.zeros((2, 5)), 3)) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"atom_shape": (2, 2)}, ValueError, "2 spatial axes"),
        ({"atom_shape": (2, 2, 2)}, ValueError, r"a length or \(height, width\)"),
        ({"atom_shape": 0}, ValueError, "atom_shape must be at least 1"),
        ({"atom_shape": 3, "stride": 4}, ValueError, "leaves gaps"),
        ({"atom_shape": 3, "stride": (1, 1)}, ValueError, "stride must be one number"),
        ({"atom_shape": 3, "boundary": "mirror"}, ValueError, "boundary must be one of"),
        ({"atom_shape": 13, "boundary": "circular"}, ValueError, "smaller than the atoms"),
        ({"atom_shape": 2.5}, TypeError, "not iterable"),
        ({"atom_shape": 3, "maps": np.full((2, 5), np.nan)}, ValueError, "finite"),
        ({"atom_shape": 3, "maps": np.zeros((2, 0))}, ValueError, "got shape"),
    ],
)
def test_bad_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        sparsity_counts(**{"maps": c51_maps(), **arguments})
