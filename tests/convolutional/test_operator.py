"""The convolutional operator against its definition, its adjoint, and closed forms."""

import itertools

import numpy as np
import pytest

from sparsegen_classic.convolutional import ConvDictionary, SparseMaps
from tests import naive_conv

GEOMETRIES = [
    # atom, stride, padding, output_padding, maps
    ((1, 1), (1, 1), (0, 0), (0, 0), (4, 5)),
    ((3, 3), (1, 1), (0, 0), (0, 0), (5, 4)),
    ((4, 3), (1, 1), (0, 0), (0, 0), (1, 1)),
    ((3, 3), (1, 1), (1, 1), (0, 0), (6, 5)),
    ((4, 4), (2, 2), (1, 1), (0, 0), (4, 5)),
    ((4, 5), (2, 3), (1, 2), (1, 2), (4, 3)),
    ((5, 2), (4, 2), (3, 1), (2, 1), (3, 6)),
    ((3, 4), (3, 2), (0, 3), (1, 0), (3, 5)),
]


def make(atom, *geometry, n_atoms=3, n_channels=2, boundary="zero", dtype=np.float64, seed=0):
    filters = np.random.default_rng(seed).standard_normal((n_atoms, n_channels, *atom)).astype(dtype)
    return ConvDictionary(filters, *geometry, boundary=boundary)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("atom", "stride", "padding", "output_padding", "maps_shape"), GEOMETRIES)
def test_both_are_torchs_convolutions_by_definition(atom, stride, padding, output_padding, maps_shape, dtype):
    dictionary = make(atom, stride, padding, output_padding, dtype=dtype)
    rng = np.random.default_rng(1)
    maps = rng.standard_normal((2, 3, *maps_shape)).astype(dtype)
    images = dictionary.synthesize(maps)
    assert images.dtype == dtype
    tolerance = {"atol": 1e-4 if dtype == np.float32 else 1e-12}
    for z, image in zip(maps, images, strict=True):
        expected = naive_conv.synthesize(z, dictionary.filters, stride, padding, output_padding)
        np.testing.assert_allclose(image, expected, **tolerance)
    assert dictionary.image_shape(maps_shape) == images.shape[2:]
    assert dictionary.maps_shape(images.shape[2:]) == maps_shape
    noise = rng.standard_normal(images.shape).astype(dtype)
    for image, z in zip(noise, dictionary.analyze(noise), strict=True):
        np.testing.assert_allclose(
            z, naive_conv.analyze(image, dictionary.filters, stride, padding), **tolerance
        )


@pytest.mark.parametrize(("atom", "stride", "padding", "output_padding", "maps_shape"), GEOMETRIES)
def test_synthesis_and_analysis_are_adjoint(atom, stride, padding, output_padding, maps_shape):
    dictionary = make(atom, stride, padding, output_padding)
    rng = np.random.default_rng(2)
    z = rng.standard_normal((3, *maps_shape))
    x = rng.standard_normal((2, *dictionary.image_shape(maps_shape)))
    assert np.vdot(dictionary.synthesize(z), x) == pytest.approx(np.vdot(z, dictionary.analyze(x)), rel=1e-11)
    matrix = dictionary.as_matrix(x.shape[1:])
    np.testing.assert_allclose(matrix @ z.ravel(), dictionary.synthesize(z).ravel(), atol=1e-12)


@pytest.mark.parametrize(
    ("atom", "stride", "maps_shape"),
    [((3, 2), (1, 1), (5, 4)), ((3, 4), (2, 3), (3, 2)), ((4, 4), (1, 1), (4, 4)), ((1, 1), (1, 1), (2, 3))],
)
def test_circular_atoms_go_on_at_the_opposite_border(atom, stride, maps_shape):
    dictionary = make(atom, stride, boundary="circular")
    rng = np.random.default_rng(3)
    z = rng.standard_normal((3, *maps_shape))
    image = dictionary.synthesize(z)
    np.testing.assert_allclose(
        image, naive_conv.synthesize_circular(z, dictionary.filters, stride), atol=1e-12
    )
    x = rng.standard_normal(image.shape)
    assert np.vdot(image, x) == pytest.approx(np.vdot(z, dictionary.analyze(x)), rel=1e-11)
    assert dictionary.maps_shape(image.shape[1:]) == maps_shape
    largest = np.linalg.norm(dictionary.as_matrix(image.shape[1:]), 2) ** 2
    assert dictionary.lipschitz(image.shape[1:]) == pytest.approx(largest, rel=1e-11)


@pytest.mark.parametrize("boundary", ["zero", "circular"])
def test_signals_are_images_of_height_one(boundary):
    rng = np.random.default_rng(4)
    filters = rng.standard_normal((3, 2, 4))
    flat = ConvDictionary(filters, 2, boundary=boundary)
    tall = ConvDictionary(filters[:, :, None], (1, 2), boundary=boundary)
    z = rng.standard_normal((5, 3, 6))
    np.testing.assert_array_equal(flat.synthesize(z), tall.synthesize(z[:, :, None])[:, :, 0])
    x = flat.synthesize(z)
    np.testing.assert_array_equal(flat.analyze(x), tall.analyze(x[:, :, None])[:, :, 0])
    assert flat.lipschitz(x.shape[2:]) == pytest.approx(tall.lipschitz((1, *x.shape[2:])))
    assert flat.mutual_coherence() == tall.mutual_coherence()
    assert flat.welch_bound() == tall.welch_bound()


def test_large_images_are_done_in_chunks():
    dictionary = make((5, 6), n_atoms=40, n_channels=1)
    image = np.random.default_rng(5).standard_normal((1, 70, 90))
    expected = naive_conv.analyze(image, dictionary.filters)
    np.testing.assert_allclose(dictionary.analyze(image), expected, atol=1e-11)
    assert np.vdot(dictionary.synthesize(expected), image) == pytest.approx(np.vdot(expected, expected))


@pytest.mark.parametrize("boundary", ["zero", "circular"])
@pytest.mark.parametrize("ndim", [1, 2])
def test_sparse_maps_are_synthesised_like_dense_ones(boundary, ndim):
    rng = np.random.default_rng(6)
    filters = rng.standard_normal((3, 2, *(4, 3)[:ndim]))
    dictionary = ConvDictionary(filters, 2, boundary=boundary)
    maps = rng.standard_normal((4, 3, *(5, 6)[:ndim])) * (rng.random((4, 3, *(5, 6)[:ndim])) < 0.2)
    maps[1] = 0
    kept = SparseMaps.from_dense(maps)
    np.testing.assert_array_equal(kept.to_dense(), maps)
    assert kept.nnz == np.count_nonzero(maps)
    np.testing.assert_array_equal(kept.coordinates, np.nonzero(maps))
    np.testing.assert_allclose(dictionary.synthesize(kept), dictionary.synthesize(maps), atol=1e-12)
    one = SparseMaps.from_dense(maps[0])
    np.testing.assert_allclose(dictionary.synthesize(one), dictionary.synthesize(maps[0]), atol=1e-12)


@pytest.mark.parametrize(("atom", "stride", "padding", "output_padding", "maps_shape"), GEOMETRIES)
def test_lipschitz_is_the_norm_and_never_below_it(atom, stride, padding, output_padding, maps_shape):
    dictionary = make(atom, stride, padding, output_padding)
    image_shape = dictionary.image_shape(maps_shape)
    largest = np.linalg.norm(dictionary.as_matrix(image_shape), 2) ** 2
    value = dictionary.lipschitz(image_shape)
    assert largest * (1 - 1e-12) <= value <= largest * (1 + 1e-5)
    assert value <= dictionary.lipschitz_bound(image_shape) * (1 + 1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_gram_and_coherence_are_those_of_the_matrix(stride):
    dictionary = make((3, 2), stride)
    gram = dictionary.local_gram()
    j, k, dy, dx = 2, 1, -1, 1
    moved = np.zeros((2, 7, 6))
    moved[:, 2 + dy : 5 + dy, 2 + dx : 4 + dx] = dictionary.filters[k]
    assert gram[j, k, 2 + dy, 1 + dx] == pytest.approx(np.sum(moved[:, 2:5, 2:4] * dictionary.filters[j]))
    np.testing.assert_allclose(gram, gram[..., ::-1, ::-1].swapaxes(0, 1), atol=1e-12)
    columns = dictionary.as_matrix(dictionary.image_shape((5, 5)))
    columns /= np.linalg.norm(columns, axis=0)
    off_diagonal = np.abs(columns.T @ columns) - np.eye(columns.shape[1])
    assert dictionary.mutual_coherence() == pytest.approx(off_diagonal.max())
    assert dictionary.mutual_coherence() >= dictionary.welch_bound()
    np.testing.assert_allclose(dictionary.norms**2, gram[range(3), range(3), 2, 1])


def test_welch_bound_of_the_papers_and_its_equality():
    assert make((64,), n_atoms=2, n_channels=1).welch_bound() == pytest.approx(0.0628695, abs=1e-7)
    assert make((2, 2), n_atoms=2, n_channels=3).welch_bound() == 0
    simplex = np.array([[1, 0], [-0.5, 3**0.5 / 2], [-0.5, -(3**0.5) / 2]])[:, :, None, None]
    frame = ConvDictionary(simplex)  # 1x1 filters: an equiangular tight frame attains the bound
    assert frame.welch_bound() == pytest.approx(0.5)
    assert frame.mutual_coherence() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("k1", "s1", "k2", "s2", "size"), [(4, 2, 3, 2, 8), (4, 2, 4, 2, 10), (3, 1, 1, 1, 3)]
)
def test_effective_dictionary_is_the_product(k1, s1, k2, s2, size):
    first = make((k1, k1), s1, n_atoms=4, n_channels=3)
    second = make((k2, k2), s2, n_atoms=5, n_channels=4, seed=1)
    both = first.effective(second)
    assert (both.atom_shape, both.stride) == ((size, size), (s1 * s2,) * 2)
    z = np.random.default_rng(2).standard_normal((5, 4, 3))
    np.testing.assert_allclose(both.synthesize(z), first.synthesize(second.synthesize(z)), atol=1e-12)
    assert first.effective() is first


def test_effective_dictionary_with_padding_and_three_layers():
    first = make((4, 4), 2, 1, 1, n_atoms=3, n_channels=1)
    second, third = make((3, 3), 2, 0, 1, n_channels=3, seed=1), make((2, 2), 1, n_channels=3, seed=2)
    z = np.random.default_rng(3).standard_normal((3, 4, 4))
    layered = first.synthesize(second.synthesize(third.synthesize(z)))
    np.testing.assert_allclose(first.effective(second, third).synthesize(z), layered, atol=1e-12)


def test_inner_padding_loses_only_the_border():
    first, second = make((4, 4), 2, 1, n_atoms=4, n_channels=3), make((3, 3), 2, 1, n_channels=4, seed=1)
    z = np.random.default_rng(2).standard_normal((3, 9, 9))
    layered, joint = first.synthesize(second.synthesize(z)), first.effective(second).synthesize(z)
    assert layered.shape == joint.shape
    np.testing.assert_allclose(layered[:, 2:-2, 2:-2], joint[:, 2:-2, 2:-2], atol=1e-12)
    assert not np.allclose(layered, joint)


def test_circular_layers_are_exact():
    first = make((3, 3), 2, n_atoms=4, boundary="circular")
    second = make((2, 2), 1, n_channels=4, boundary="circular", seed=1)
    z = np.random.default_rng(2).standard_normal((3, 4, 4))
    np.testing.assert_allclose(
        first.effective(second).synthesize(z), first.synthesize(second.synthesize(z)), atol=1e-12
    )


def test_image_without_channel_axis_and_batches():
    dictionary = make((3, 3), n_channels=1)
    image = np.random.default_rng(0).standard_normal((6, 7))
    np.testing.assert_array_equal(dictionary.analyze(image), dictionary.analyze(image[None]))
    np.testing.assert_array_equal(dictionary.analyze(image[None, None])[0], dictionary.analyze(image))


def test_torch_agrees():
    torch = pytest.importorskip("torch")
    for (atom, stride, padding, output_padding, maps_shape), dtype in itertools.product(
        GEOMETRIES, (np.float32, np.float64)
    ):
        dictionary = make(atom, stride, padding, output_padding, dtype=dtype)
        weight = torch.from_numpy(dictionary.filters.copy())
        z = np.random.default_rng(0).standard_normal((2, 3, *maps_shape)).astype(dtype)
        functional = torch.nn.functional
        x = functional.conv_transpose2d(torch.from_numpy(z), weight, None, stride, padding, output_padding)
        np.testing.assert_allclose(dictionary.synthesize(z), x.numpy(), rtol=1e-4, atol=1e-5)
        back = functional.conv2d(x, weight, None, stride, padding).numpy()
        np.testing.assert_allclose(dictionary.analyze(x.numpy()), back, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": np.ones((2, 3))}, "filters must have shape"),
        ({"filters": np.ones((2, 0, 3, 3))}, "filters must have shape"),
        ({"filters": np.array([[[1.0, np.nan]]])}, "filter 0 has NaN"),
        ({"filters": np.array([[[1.0, 1.0]], [[0.0, 0.0]]])}, "filter 1 is; remove it"),
        ({"stride": 3}, "stride must be at least 1 and at most 2, got 3; a larger stride leaves gaps"),
        ({"stride": (1, 1, 1)}, "stride must be one integer or 2"),
        ({"padding": 2}, "padding must be at least 0 and at most 1, got 2"),
        ({"output_padding": 1}, "output_padding must be at least 0 and at most 0"),
        ({"boundary": "mirror"}, "boundary must be one of"),
        ({"boundary": "circular", "padding": 1}, "must be 0 with boundary='circular'"),
    ],
)
def test_bad_dictionaries_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConvDictionary(**{"filters": np.ones((2, 1, 2, 2)), **arguments})


def test_bad_images_and_maps_are_refused():
    dictionary = ConvDictionary(np.ones((2, 3, 4, 4)), 2)
    with pytest.raises(ValueError, match="at least as large as the filters"):
        dictionary.analyze(np.ones((3, 3, 8)))
    with pytest.raises(ValueError, match=r"n_channels=3, height, width\), got \(1, 8, 8\)"):
        dictionary.analyze(np.ones((1, 8, 8)))
    with pytest.raises(ValueError, match="n_atoms=2"):
        dictionary.synthesize(np.ones((3, 8, 8)))
    with pytest.raises(ValueError, match=r"maps must have shape"):
        dictionary.synthesize(SparseMaps.from_dense(np.ones((3, 8, 8))))
    with pytest.raises(ValueError, match=r"needs output_padding=\(1, 0\)"):
        dictionary.analyze(np.ones((3, 9, 8)))
    with pytest.raises(ValueError, match="multiple of the stride"):
        ConvDictionary(np.ones((2, 3, 4, 4)), 2, boundary="circular").maps_shape((8, 9))
    with pytest.raises(ValueError, match="smaller than the filters"):
        ConvDictionary(np.ones((2, 3, 4, 4)), padding=1).image_shape((1, 3))
    with pytest.raises(ValueError, match="must have 2 numbers"):
        dictionary.maps_shape((8,))
    with pytest.raises(ValueError, match="4 atoms"):
        ConvDictionary(np.ones((4, 1, 2, 2))).effective(dictionary)
    with pytest.raises(ValueError, match="same boundary"):
        ConvDictionary(np.ones((3, 1, 2, 2)), boundary="circular").effective(dictionary)


def test_filters_are_a_read_only_copy():
    given = np.ones((1, 1, 2, 2))
    dictionary = ConvDictionary(given)
    given[:] = 0
    assert dictionary.filters.all()
    with pytest.raises(ValueError, match="read-only"):
        dictionary.filters[:] = 0
