"""Convolutional dictionary learning: statistics and steps by their definitions, and what is learned."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from sparsegen_classic import load_model, save_model
from sparsegen_classic.convolutional import (
    ConvDictionary,
    ConvDictionaryLearning,
    ConvSparseCoder,
    SparseMaps,
    split_lowpass,
)
from sparsegen_classic.convolutional.learning_steps import better_filters, blend_statistics
from sparsegen_classic.dictionary import dct_atoms
from sparsegen_classic.images import open_images
from sparsegen_classic.plots_convolutional import plot_filters, plot_maps, plot_needle_density

ATOM = (3, 4)


def random_codes(rng, n=3, n_atoms=5, density=0.2):
    """Codes of images of different sizes, the images, and filters."""
    filters = rng.standard_normal((n_atoms, 2, *ATOM))
    filters /= np.linalg.norm(filters.reshape(n_atoms, -1), axis=1)[:, None, None, None]
    codes, images = [], []
    for i in range(n):
        shape = (n_atoms, 6 + i, 9 - i)
        maps = rng.standard_normal(shape) * (rng.random(shape) < density)
        codes.append(SparseMaps.from_dense(maps))
        images.append(rng.standard_normal((2, shape[1] + ATOM[0] - 1, shape[2] + ATOM[1] - 1)))
    return filters, codes, images


def statistics(filters, codes, images, weight=1.0, n_jobs=None):
    n_atoms, _, h, w = filters.shape
    gram, cross = np.zeros((n_atoms, n_atoms, 2 * h - 1, 2 * w - 1)), np.zeros(filters.shape)
    blend_statistics(gram, cross, images, codes, weight, n_jobs)
    return gram, cross


def objective(filters, codes, images):
    dictionary = ConvDictionary(filters)
    errors = [x - dictionary.synthesize(z) for x, z in zip(images, codes, strict=True)]
    return np.mean([0.5 * np.sum(error**2) for error in errors])


def test_statistics_by_their_definition():
    filters, codes, images = random_codes(np.random.default_rng(0))
    gram, cross = statistics(filters, codes, images)
    expected_gram, expected_cross = np.zeros_like(gram), np.zeros_like(cross)
    for code, image in zip(codes, images, strict=True):
        maps = code.to_dense()
        h, w = ATOM
        around = np.pad(maps, [(0, 0), (h - 1, h - 1), (w - 1, w - 1)])
        windows = sliding_window_view(around, (2 * h - 1, 2 * w - 1), (1, 2))
        expected_gram += np.einsum("kyx,jyxab->kjab", maps, windows) / 3
        patches = sliding_window_view(image, ATOM, (1, 2))
        expected_cross += np.einsum("kyx,cyxab->kcab", maps, patches) / 3
    np.testing.assert_allclose(gram, expected_gram, atol=1e-13)
    np.testing.assert_allclose(cross, expected_cross, atol=1e-13)
    again = statistics(filters, codes, images, n_jobs=2)
    np.testing.assert_array_equal(again[0], gram)
    np.testing.assert_array_equal(again[1], cross)


def test_statistics_know_the_objective():
    filters, codes, images = random_codes(np.random.default_rng(1))
    gram, cross = statistics(filters, codes, images)
    h, w = ATOM
    toeplitz = sliding_window_view(gram, ATOM, (2, 3))[:, :, ::-1, ::-1][:, :, :h, :w]
    quadratic = np.einsum("kcab,kjpqab,jcpq->", filters, toeplitz, filters)  # gram[k, j, a - p, b - q]
    value = 0.5 * quadratic - np.vdot(cross, filters) + np.mean([0.5 * np.sum(x**2) for x in images])
    assert value == pytest.approx(objective(filters, codes, images))


def test_blending_is_an_average():
    filters, codes, images = random_codes(np.random.default_rng(2))
    first, second = (statistics(filters, codes[part], images[part]) for part in (slice(2), slice(2, 3)))
    gram, cross = (part.copy() for part in first)
    blend_statistics(gram, cross, images[2:], codes[2:], 0.3)
    np.testing.assert_allclose(gram, 0.7 * first[0] + 0.3 * second[0], atol=1e-13)
    np.testing.assert_allclose(cross, 0.7 * first[1] + 0.3 * second[1], atol=1e-13)


@pytest.mark.parametrize("seed", range(5))
def test_the_filter_step_never_raises_the_objective_and_ends_at_its_minimum(seed):
    filters, codes, images = random_codes(np.random.default_rng(seed), density=0.5)
    gram, cross = statistics(filters, codes, images)
    values = [objective(filters, codes, images)]
    for _ in range(300):
        filters = better_filters(gram, cross, filters)
        values.append(objective(filters, codes, images))
    assert (np.diff(values) <= 1e-12 * values[0]).all()
    assert values[1] < values[0]
    assert np.linalg.norm(filters.reshape(len(filters), -1), axis=1).max() <= 1 + 1e-12
    # the minimum of a convex problem: the gradient points outwards of the ball, or is zero inside
    dictionary = ConvDictionary(filters)
    gradient = np.zeros_like(filters)
    for x, z in zip(images, codes, strict=True):
        patches = sliding_window_view(dictionary.synthesize(z) - x, ATOM, (1, 2))
        gradient += np.einsum("kyx,cyxab->kcab", z.to_dense(), patches) / len(images)
    for d, g in zip(filters, gradient, strict=True):
        multiplier = max(-np.vdot(d, g), 0)
        assert np.abs(g + multiplier * d).max() < 1e-5 * np.abs(cross).max()
        assert multiplier < 1e-6 or np.linalg.norm(d) > 1 - 1e-9


def test_a_filter_without_use_stays():
    filters, codes, images = random_codes(np.random.default_rng(0))
    codes = [SparseMaps.from_dense(z.to_dense() * (np.arange(5) != 2)[:, None, None]) for z in codes]
    better = better_filters(*statistics(filters, codes, images), filters)
    np.testing.assert_array_equal(better[2], filters[2])
    assert not np.allclose(better[1], filters[1])


@pytest.fixture(scope="module")
def planted():
    """Images made of sparse codes and six known filters."""
    rng = np.random.default_rng(0)
    filters = rng.standard_normal((6, 1, 5, 5))
    filters /= np.linalg.norm(filters.reshape(6, -1), axis=1)[:, None, None, None]
    maps = rng.choice([-1, 1], (20, 6, 28, 28)) * (1 + rng.random((20, 6, 28, 28)))
    maps *= rng.random(maps.shape) < 0.004
    return filters, ConvDictionary(filters).synthesize(maps)[:, 0]


def test_planted_filters_are_found(planted):
    filters, images = planted
    noise = np.random.default_rng(1).standard_normal(filters.shape) / 5
    model = ConvDictionaryLearning(6, 5, lam=0.1, init=filters + noise, max_iter=10).fit(images)
    start = filters + noise
    for found, least in ((start, 0.0), (model.filters_, 0.998)):
        norms = np.linalg.norm(found.reshape(6, -1), axis=1)
        correlation = np.einsum("kcij,kcij->k", found, filters) / norms
        assert correlation.min() > least
        assert least or correlation.max() < 0.85


def test_the_objective_falls_in_every_pass_over_one_batch(planted):
    _, images = planted
    model = ConvDictionaryLearning(6, 5, lam=0.1, max_iter=8, batch_size=20, tol=1e-6, random_state=1)
    assert (np.diff(model.fit(images).objectives_) < 0).all()
    code = ConvSparseCoder(ConvDictionary(model.filters_), 0.1).encode(images[:, None])
    assert code.objective.mean() < model.objectives_[-1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_for_any_number_of_jobs(planted, dtype):
    images = planted[1].astype(dtype)
    one, two = (
        ConvDictionaryLearning(9, 4, max_iter=2, random_state=3, n_jobs=n_jobs).fit(images)
        for n_jobs in (1, 2)
    )
    assert one.filters_.dtype == dtype
    np.testing.assert_array_equal(one.filters_, two.filters_)
    np.testing.assert_array_equal(one.objectives_, two.objectives_)
    assert one.n_iter_ == 2


def test_arrays_lists_iterators_and_streams(planted):
    _, images = planted
    model = ConvDictionaryLearning(5, (4, 3), max_iter=1, batch_size=20, random_state=0)
    array = clone(model).fit(images)
    for same in (images[:, None], list(images), iter(images)):
        np.testing.assert_array_equal(clone(model).fit(same).filters_, array.filters_)
    np.testing.assert_array_equal(clone(model).partial_fit(images).filters_, array.filters_)
    mixed = [images[0], images[1][:20], images[2][None, :, :9]]
    assert clone(model).fit(mixed).filters_.shape == (5, 1, 4, 3)
    stream = clone(model).set_params(batch_size=3)
    for start in range(0, 20, 10):
        stream.partial_fit(images[start : start + 10])
    assert (stream.n_iter_, len(stream.objectives_)) == (2, 2)
    colour = clone(model).fit(np.stack([images, -images, images], axis=1))
    assert colour.filters_.shape == (5, 3, 4, 3)
    signals = ConvDictionaryLearning(5, (1, 6), random_state=0).fit(images.reshape(20, 1, -1))
    assert signals.filters_.shape == (5, 1, 1, 6)


def orientation(filters):
    """How much the gradients of each filter point one way: 0 for all ways alike, 1 for a straight edge."""
    dy, dx = np.gradient(filters[:, 0], axis=(1, 2))
    xx, yy, xy = ((a * b).sum(axis=(1, 2)) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    return np.hypot(xx - yy, 2 * xy) / (xx + yy)


def test_natural_images_turn_noise_into_oriented_edges(data_root):
    images = open_images(data_root / "natural" / "train400_100").images[::5]
    noise = np.random.default_rng(0).standard_normal((36, 1, 8, 8))
    model = ConvDictionaryLearning(36, 8, lam=0.1, lowpass=10.0, init=noise, max_iter=2, random_state=0)
    filters = model.fit(images).filters_
    assert np.median(orientation(noise)) < 0.2  # .15; after five passes over 100 images .87
    assert np.median(orientation(filters)) > 0.5


def test_filters_without_use_are_replaced(planted):
    filters, images = planted
    init = np.concatenate([filters, np.tile([1.0, -1.0], (3, 1, 5, 3))[..., :5]])
    init[6:] *= 1 + np.arange(3)[:, None, None, None] * np.arange(25).reshape(5, 5) % 2
    model = ConvDictionaryLearning(9, 5, lam=1.0, init=init, max_iter=3, random_state=0).fit(images)
    assert model.n_replaced_ >= 1
    assert np.isfinite(model.filters_).all()


def test_masked_learning_inpaints_better_than_fixed_filters(planted):
    _, images = planted
    mask = np.random.default_rng(5).random(images.shape) > 0.4
    given = np.where(mask, images, np.nan)
    model = ConvDictionaryLearning(8, 7, lam=0.1, max_iter=10, random_state=0)
    model.fit(given, mask=mask)

    def error(model):
        return np.sqrt(np.mean((model.reconstruct(given, mask) - images)[~mask] ** 2))

    learned = error(model)
    rng = np.random.default_rng(0)
    for fixed in (dct_atoms((7, 7), 49), rng.standard_normal((49, 49))):
        other = clone(model).set_params(n_atoms=49, lam=0.1, max_iter=1).fit(given[:1], mask=mask[:1])
        other.filters_ = ConvDictionary(
            fixed.reshape(49, 1, 7, 7) / np.linalg.norm(fixed, axis=1)[:, None, None, None]
        ).filters
        assert learned < 0.75 * error(other)


def test_an_all_true_mask_changes_nothing(planted):
    _, images = planted
    model = ConvDictionaryLearning(5, 4, lam=0.2, max_iter=2, random_state=0)
    plain, masked = clone(model).fit(images), clone(model).fit(images, mask=np.ones((32, 32), bool))
    np.testing.assert_allclose(plain.filters_, masked.filters_, atol=1e-9)


def test_lowpass():
    images = open_images("digits").images[:5].astype(float)
    high, low = split_lowpass(images, 3.0)
    np.testing.assert_allclose(high + low, images)
    n = 8
    second = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    second[0, 0] = second[-1, -1] = 1  # mirrored borders
    system = np.eye(n * n) + 3.0 * (np.kron(second, np.eye(n)) + np.kron(np.eye(n), second))
    np.testing.assert_allclose(low.reshape(5, -1), np.linalg.solve(system, images.reshape(5, -1).T).T)
    mask = np.random.default_rng(0).random(images.shape) > 0.5
    high, low = split_lowpass(np.where(mask, 0.7, np.nan), mask=mask)
    np.testing.assert_allclose(low, 0.7)
    np.testing.assert_allclose(high, 0, atol=1e-12)


def test_reconstruction_with_lowpass_brings_the_smooth_part_back(planted):
    x = np.linspace(0, 1, 32)
    images = planted[1] + 5 * x[:, None] + 3 * x**2
    model = ConvDictionaryLearning(6, 5, lam=0.02, lowpass=10.0, max_iter=3, random_state=0).fit(images)
    assert np.abs(model.reconstruct(images) - images).std() < 0.1 * images.std()


def test_model_files_and_parameters(planted, tmp_path):
    _, images = planted
    model = ConvDictionaryLearning(5, (4, 3), max_iter=1, random_state=0)
    loaded = load_model(save_model(model.fit(images), tmp_path / "filters.npz"))
    np.testing.assert_array_equal(loaded.filters_, model.filters_)
    np.testing.assert_array_equal(loaded.encode(images).maps.values, model.encode(images).maps.values)
    stream = clone(model).partial_fit(images[:10])
    again = load_model(save_model(stream, tmp_path / "stream.npz")).partial_fit(images[10:])
    np.testing.assert_array_equal(again.filters_, stream.partial_fit(images[10:]).filters_)


def test_above_lambda_max_all_codes_are_zero_and_it_says_so(planted):
    with pytest.warns(ConvergenceWarning, match="lam=1000.0 is at least lambda_max"):
        model = ConvDictionaryLearning(4, 4, lam=1000.0, max_iter=1, random_state=0).fit(planted[1])
    assert model.encode(planted[1]).maps.nnz == 0


def test_pictures():
    rng = np.random.default_rng(0)
    for shape, expected in (
        ((5, 1, 3, 4), (3, 4)),
        ((5, 2, 3, 4), (3, 8)),
        ((5, 1, 6), (1, 6)),
        ((5, 3, 3, 4), (3, 4)),
    ):
        filters = rng.standard_normal(shape)
        (sheet,) = plot_filters(filters, n_columns=1).images
        tiles = np.asarray(sheet.get_array())
        assert tiles.shape[:2] == (5 * (expected[0] + 1) + 1, expected[1] + 2)
        assert tiles.ndim == (3 if shape[1] == 3 else 2)
    maps = np.zeros((3, 4, 5))
    maps[:2, 1, 2], maps[2, 3, 0] = (4.0, -8.0), 2.0
    ax = plot_needle_density(SparseMaps.from_dense(maps))
    np.testing.assert_array_equal(ax.images[0].get_array(), np.count_nonzero(maps, axis=0))
    sheet = np.asarray(plot_maps(maps, n_maps=2).images[0].get_array())
    assert np.unique(sheet).tolist() == [0.0, 0.5, 1.0]  # -8 at its magnitude, 4, and the grey in between
    with pytest.raises(ValueError, match=r"maps must be those of one image, .* got shape \(2, 3, 4, 5\)"):
        plot_maps(np.zeros((2, 3, 4, 5)))
    plt.close("all")


def test_codes_that_do_not_converge_are_warned_of():
    X = np.random.default_rng(0).random((2, 12, 12))
    with pytest.warns(
        ConvergenceWarning, match=r"the codes of 2 of 2 images did not reach .* tol=0.05 in 50"
    ):
        ConvDictionaryLearning(4, 3, lam=1e-7, max_iter=1, random_state=0).fit(X)


IMAGES = np.random.default_rng(0).random((3, 9, 9))


@pytest.mark.parametrize(
    ("parameters", "X", "mask", "message"),
    [
        ({}, np.full((2, 9, 9), np.nan), None, "image 0 of X must be finite"),
        ({}, IMAGES[0], None, r"X must be images .* got shape \(9, 9\); give a single image as"),
        ({}, [], None, "at least one image"),
        ({}, iter([]), None, "at least one image"),
        ({}, iter(IMAGES), IMAGES > 0, "mask must be None for an iterator"),
        ({}, np.zeros((2, 9, 9)), None, "X must have pixels that are not zero"),
        ({}, IMAGES[:, :3], None, r"image 0 of X must be at least as large as atom_shape=\(4, 4\)"),
        ({}, [IMAGES[0], np.zeros((2, 9, 9))], None, r"same number of channels, got \[1, 2\]"),
        ({}, [IMAGES[0].astype(complex)], None, "real numbers"),
        ({}, IMAGES, np.arange(3)[:, None, None] < 2, "mask must leave .* but image 2 of X has none"),
        ({}, list(IMAGES), [True], "one mask an image, 3, got 1"),
        ({"lam": 0.0}, IMAGES, None, "lam must be greater than 0, got 0.0"),
        ({"lowpass": -1.0}, IMAGES, None, "lowpass must be at least 0"),
        ({"decay": 0.0}, IMAGES, None, "decay must be greater than 0"),
        ({"atom_shape": (2, 2, 2)}, IMAGES, None, "atom_shape must be an int or"),
        ({"max_iter": 0}, IMAGES, None, "max_iter must be at least 1"),
        ({"init": np.ones((4, 1, 3, 4))}, IMAGES, None, r"init must have shape \(4, 1, 4, 4\)"),
        ({"init": np.zeros((4, 1, 4, 4))}, IMAGES, None, "filters must not be zero"),
    ],
)
def test_errors_name_parameter_rule_value_and_remedy(parameters, X, mask, message):
    with pytest.raises(ValueError, match=message):
        ConvDictionaryLearning(4, 4).set_params(**parameters).fit(X, mask=mask)


def test_misuse_after_fitting():
    model = ConvDictionaryLearning(4, 4, lam=0.3, random_state=0)
    with pytest.raises(NotFittedError):
        model.encode(IMAGES)
    model.fit(IMAGES)
    with pytest.raises(ValueError, match="X must have 1 channels as the filters have, got 2"):
        model.encode(np.zeros((1, 2, 9, 9)))
    with pytest.raises(ValueError, match="X must hold images of one size"):
        model.encode([IMAGES[0], IMAGES[1][:7]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.encode(IMAGES.astype(int)).maps.nnz == 0
