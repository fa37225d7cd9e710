"""Patches: extraction and overlap-add are adjoint, and putting back what was taken gives the image."""

import numpy as np
import pytest

from sparsegen_classic.images import (
    PatchGrid,
    add_means,
    assemble_patches,
    extract_patches,
    sample_patches,
    split_means,
)

SHAPES = [
    ((9, 11), (3, 4), 1),
    ((9, 11), (3, 4), 2),
    ((10, 7, 3), (4, 3), (3, 2)),
    ((6, 7, 8), (2, 3, 4), 2),
    ((12,), (5,), 4),
    ((5, 5), 5, 1),
]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def naive_patches(image, sides, steps):
    """Every position by the rule in words: multiples of the step, and one more at the border."""
    places = []
    for length, side, step in zip(image.shape, sides, steps, strict=False):
        starts = [s for s in range(length) if s % step == 0 and s + side <= length]
        places.append(starts if starts[-1] + side == length else [*starts, length - side])
    grid = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(-1, len(sides))
    cuts = [tuple(slice(s, s + side) for s, side in zip(at, sides, strict=True)) for at in grid]
    return np.stack([image[cut].ravel() for cut in cuts])


@pytest.mark.parametrize(("shape", "sides", "stride"), SHAPES)
def test_patches_lie_where_the_rule_says_and_go_back(rng, shape, sides, stride):
    image = rng.random(shape)
    patches = extract_patches(image, sides, stride)
    full = (sides, sides) if isinstance(sides, int) else sides
    steps = stride if isinstance(stride, tuple) else (stride,) * len(full)
    np.testing.assert_array_equal(patches, naive_patches(image, full, steps))
    np.testing.assert_allclose(assemble_patches(patches, shape, sides, stride), image, rtol=1e-14)
    weights = rng.random(len(patches)) + 0.1
    np.testing.assert_allclose(assemble_patches(patches, shape, sides, stride, weights), image, rtol=1e-13)


@pytest.mark.parametrize(("shape", "sides", "stride"), SHAPES)
def test_add_is_the_adjoint_of_extract(rng, shape, sides, stride):
    grid = PatchGrid(shape, sides, stride)
    image, patches, weights = (
        rng.random(shape),
        rng.random((grid.n_patches, grid.n_features)),
        rng.random((grid.n_patches, grid.n_features)),
    )
    total = np.zeros(shape)
    grid.add(total, patches, weights=weights)
    np.testing.assert_allclose(np.vdot(total, image), np.vdot(patches * weights, grid.extract(image)))


def test_weights_of_patches_and_of_pixels(rng):
    grid = PatchGrid((4, 6), (4, 3), stride=3)
    patches = rng.random((2, 12))
    window = rng.random((1, 12))
    np.testing.assert_allclose(grid.assemble(patches, window)[:, :3].ravel(), patches[0])
    result = PatchGrid((1, 3), (1, 2)).assemble(np.array([[1.0, 1.0], [3.0, 3.0]]), [1.0, 3.0])
    np.testing.assert_allclose(result, [[1, 2.5, 3]])
    assert np.isnan(PatchGrid((1, 5), (1, 2), stride=4).assemble(np.ones((2, 2)))[0, 2])


def test_types_are_kept_and_nothing_wraps():
    image = np.full((4, 4), 200, np.uint8)
    patches = extract_patches(image, 2)
    assert patches.dtype == np.uint8
    result = assemble_patches(patches, (4, 4), 2)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, 200)
    assert assemble_patches(patches.astype(np.float32), (4, 4), 2).dtype == np.float32


def test_blocks_are_the_patches_in_order(rng):
    image = rng.random((9, 8, 3))
    grid = PatchGrid(image.shape, 3, 2)
    blocks = list(grid.blocks(image, 5))
    assert [len(patches) for _, patches in blocks] == [5, 5, 5, 1]
    np.testing.assert_array_equal(np.concatenate([patches for _, patches in blocks]), grid.extract(image))
    total = np.zeros(image.shape)
    for block, patches in blocks:
        grid.add(total, patches, block)
    whole = np.zeros(image.shape)
    grid.add(whole, grid.extract(image))
    np.testing.assert_array_equal(total, whole)


def test_means_come_off_and_go_back(rng):
    patches = rng.random((5, 12))
    centred, means = split_means(patches, n_channels=3)
    np.testing.assert_allclose(centred.reshape(5, 4, 3).mean(axis=1), 0, atol=1e-15)
    np.testing.assert_allclose(add_means(centred, means), patches)
    same, zero = split_means(patches, "none")
    assert same is patches
    assert zero.shape == (5, 1)
    with pytest.raises(ValueError, match="mean must be one of 'none', 'patch', got 'pixel'"):
        split_means(patches, "pixel")


def test_sampled_patches_are_distinct_and_uniform_over_positions():
    small, large = np.arange(16.0).reshape(4, 4), 100 + np.arange(100.0).reshape(10, 10)
    everything = np.concatenate([extract_patches(small, 2), extract_patches(large, 2)])
    some = sample_patches([small, large], 1000, 2, random_state=0)
    np.testing.assert_array_equal(some[np.argsort(some[:, 0])], everything)
    n_trials, n = 2000, 10
    counts = np.zeros(len(everything))
    for seed in range(n_trials):
        drawn = sample_patches(iter([small, np.zeros((1, 9)), large]), n, 2, random_state=seed)[:, 0]
        assert len(set(drawn)) == n
        counts += np.isin(everything[:, 0], drawn)
    expected = n_trials * n / len(everything)
    standard_error = np.sqrt(expected * (1 - n / len(everything)))
    assert np.abs(counts - expected).max() < 4.5 * standard_error
    assert np.abs(counts[:9].sum() - 9 * expected) < 4 * 3 * standard_error


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: PatchGrid((4, 4), 5),
            r"patch_shape=\(5, 5\) is larger than the image of shape \(4, 4\)",
        ),
        (lambda: PatchGrid((4,), 2), r"patch_shape=\(2, 2\) has more axes than the image"),
        (lambda: PatchGrid((4, 4), 0), "patch_shape must be at least 1, got 0"),
        (lambda: PatchGrid((4, 4), 2, 0), "stride must be at least 1, got 0"),
        (lambda: PatchGrid((4, 4), 2, (1, 1, 1)), r"one for each of patch_shape=\(2, 2\), got \(1, 1, 1\)"),
        (lambda: PatchGrid((4, 4), 2).extract(np.zeros((4, 5))), r"shape \(4, 4\), found \(4, 5\)"),
        (lambda: assemble_patches(np.zeros((3, 4)), (4, 4), 2), r"\(n_patches, n_features\)=\(9, 4\)"),
        (
            lambda: assemble_patches(np.zeros((9, 4)), (4, 4), 2, weights=np.ones(5)),
            "must have 9 rows",
        ),
        (lambda: sample_patches([np.zeros((3, 3))], 5, 4), r"no image is as large as patch_shape=\(4, 4\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
