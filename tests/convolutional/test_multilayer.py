"""The multi-layer model: a network's forward pass, known optima, consistency and guarantees."""

from itertools import product

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from sparsegen_classic.convolutional import (
    ConvDictionary,
    MultiLayerCSC,
    csc_omp,
    soft_threshold,
    sparsity_counts,
)


def unit_filters(rng, *shape):
    filters = rng.standard_normal(shape)
    return filters / np.linalg.norm(filters.reshape(shape[0], -1), axis=1).reshape(
        -1, *[1] * (len(shape) - 1)
    )


def two_layers(seed=0, **settings):
    rng = np.random.default_rng(seed)
    return MultiLayerCSC(
        [
            ConvDictionary(unit_filters(rng, 6, 2, 4, 4), stride=2, padding=1, **settings),
            ConvDictionary(unit_filters(rng, 5, 6, 3, 3), stride=2, padding=1, output_padding=(0, 1)),
        ]
    )


def sparse_layers(seed=0):
    """A second layer whose filters have two non-zeros each, so that Z_1 is sparse too."""
    rng = np.random.default_rng(seed)
    second = np.zeros((8, 6, 3, 3))
    for atom in second:
        atom.flat[rng.choice(54, 2, replace=False)] = [1, -0.8]
    first = ConvDictionary(unit_filters(rng, 6, 1, 5, 5))
    return MultiLayerCSC([first, ConvDictionary(second)])


def c56():
    first = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, -1, 1]], float)
    second = np.array([[1, 0, 1, 0], [0, 1, 1, 1], [1, 1, 0, -1]], float)
    layers = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in (first, second)]
    model = MultiLayerCSC([ConvDictionary(m[:, :, None, None]) for m in layers])
    return model, np.array([1.0, 2, -1]).reshape(3, 1, 1)


def conv_relu(x, weights, bias, stride, padding):
    """A convolutional layer followed by ReLU, as its definition."""
    x = np.pad(x, [(0, 0), *[(padding, padding)] * 2])
    h, w = (np.array(x.shape[1:]) - weights.shape[2:]) // stride + 1
    out = np.empty((len(weights), h, w))
    for k, i, j in product(range(len(weights)), range(h), range(w)):
        top, left = i * stride, j * stride
        patch = x[:, top : top + weights.shape[2], left : left + weights.shape[3]]
        out[k, i, j] = (patch * weights[k]).sum() + bias[k]
    return np.maximum(out, 0)


def test_layered_thresholding_is_a_networks_forward_pass():
    model = two_layers()
    rng = np.random.default_rng(1)
    images = rng.standard_normal((3, 2, 14, 16))
    biases = [rng.uniform(-0.2, 1, 6), rng.uniform(-0.1, 0.3, 5)]  # of either sign, as networks have them
    first, second = model.threshold(images, biases)
    for image, z1, z2 in zip(images, first, second, strict=True):
        expected = conv_relu(image, model.dictionaries[0].filters, -biases[0], 2, 1)
        np.testing.assert_allclose(z1, expected, atol=1e-13)
        expected = conv_relu(expected, model.dictionaries[1].filters, -biases[1], 2, 1)
        np.testing.assert_allclose(z2, expected, atol=1e-13)
        assert 0 < np.count_nonzero(z2) < z2.size
    soft = model.threshold(images, [0.3, 0.2], positive=False)
    np.testing.assert_array_equal(soft[0], soft_threshold(model.dictionaries[0].analyze(images), 0.3))
    assert soft[1].min() < 0


@pytest.mark.parametrize(
    ("first", "stride", "second", "second_stride", "size", "step"),
    [(4, 2, 3, 2, 8, 4), (4, 2, 3, 1, 8, 2), (4, 2, 4, 2, 10, 4)],
)
def test_effective_dictionary_synthesizes_alike(first, stride, second, second_stride, size, step):
    rng = np.random.default_rng(2)
    outer = ConvDictionary(rng.standard_normal((6, 3, first, first)), stride, padding=1)
    inner = ConvDictionary(rng.standard_normal((4, 6, second, second)), second_stride)
    model = MultiLayerCSC([outer, inner])
    effective = model.effective_dictionary()
    assert effective.filters.shape == (4, 3, size, size)
    assert effective.stride == (step, step)
    deepest = rng.standard_normal((2, 4, 5, 6))
    np.testing.assert_allclose(effective.synthesize(deepest), model.synthesize(deepest), atol=1e-12)
    assert model.effective_dictionary(1) is outer


def test_propagated_maps_are_consistent():
    model = two_layers()
    deepest = np.random.default_rng(3).standard_normal((5, 4, 4))
    first, second = model.propagate(deepest)
    np.testing.assert_array_equal(second, deepest)
    np.testing.assert_array_equal(first, model.dictionaries[1].synthesize(second))
    np.testing.assert_array_equal(model.synthesize(deepest), model.dictionaries[0].synthesize(first))


# -- multi-layer basis pursuit


@pytest.mark.parametrize("accelerate", [False, True])
def test_c56_optimum(accelerate):
    model, y = c56()
    result = model.basis_pursuit(y, [0.1, 0.2], accelerate=accelerate, tol=1e-10)
    assert result.converged
    assert result.objective == pytest.approx(2.5217771672, abs=1e-9)
    np.testing.assert_allclose(result.maps[1].ravel(), [0.6072576, 0, 0.3603911], atol=1e-7)
    np.testing.assert_allclose(
        result.maps[0].ravel(), [0.6374679, 0.2080719, 0.4293960, -0.2080719], atol=1e-7
    )
    assert [d.lipschitz((1, 1)) for d in model.dictionaries] == pytest.approx([2.2287136, 1.5773503])


def test_c56_smaller_steps_end_at_the_same_optimum():
    model, y = c56()
    result = model.basis_pursuit(y, [0.1, 0.2], steps=[0.1, 0.2], tol=1e-10)
    assert result.objective == pytest.approx(2.5217771672, abs=1e-9)


def test_thresholds_without_coupling_would_solve_another_problem():
    model, y = c56()
    mu = [1 / d.lipschitz((1, 1)) for d in model.dictionaries]
    # th_2 = mu_2 lam_2 instead of mu_1 mu_2 lam_2 is the coupled iteration for lam_2 / mu_1
    wrong = model.basis_pursuit(y, [0.1, 0.2 / mu[0]], tol=1e-10)
    assert model.objective(y, wrong.maps[1], [0.1, 0.2]) == pytest.approx(2.5606034, abs=1e-6)
    np.testing.assert_allclose(wrong.maps[1].ravel(), [0.5721088, 0, 0.0795486], atol=1e-6)


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("boundary", ["zero", "circular"])
def test_one_layer_is_ista_and_fista(accelerate, boundary):
    rng = np.random.default_rng(4)
    dictionary = ConvDictionary(unit_filters(rng, 5, 2, 3, 3), boundary=boundary)
    x = rng.standard_normal((2, 9, 8))
    step, lam = 1 / dictionary.lipschitz((9, 8)), 0.3
    z = point = np.zeros_like(dictionary.analyze(x))
    t = 1.0
    for _ in range(25):
        gradient = dictionary.analyze(dictionary.synthesize(point) - x)
        old, z = z, soft_threshold(point - step * gradient, step * lam)
        following = (1 + np.sqrt(1 + 4 * t * t)) / 2
        point = z + ((t - 1) / following * (z - old) if accelerate else 0)
        t = following
    with pytest.warns(ConvergenceWarning, match="max_iter=25 iterations"):
        result = MultiLayerCSC([dictionary]).basis_pursuit(x, [lam], accelerate=accelerate, max_iter=25)
    np.testing.assert_allclose(result.maps[0], z, atol=1e-14)
    assert not result.converged


def test_basis_pursuit_of_a_batch_is_that_of_its_images():
    model = sparse_layers()
    x = np.random.default_rng(5).standard_normal((2, 1, 12, 12))
    batch = model.basis_pursuit(x, [0.05, 0.1], tol=1e-4)
    each = [model.basis_pursuit(image, [0.05, 0.1], tol=1e-4) for image in x]
    assert batch.objective == pytest.approx(sum(r.objective for r in each), rel=1e-4)
    np.testing.assert_allclose(batch.maps[0], [r.maps[0] for r in each], atol=0.02)
    zero = model.basis_pursuit(x, [0.0, 1e4])
    assert not zero.maps[1].any()


@pytest.mark.parametrize("positive", [False, True])
def test_layered_basis_pursuit_certifies_every_layer(positive):
    model = two_layers()
    images = np.random.default_rng(10).standard_normal((2, 2, 14, 16))
    codes = model.layered_basis_pursuit(images, [0.4, 0.1], positive)
    signal = images
    for layer, code, lam in zip(model.dictionaries, codes, [0.4, 0.1], strict=True):
        maps = code.maps.to_dense()
        assert code.converged.all()
        objective = 0.5 * ((signal - layer.synthesize(maps)) ** 2).sum() + lam * np.abs(maps).sum()
        assert code.objective.sum() == pytest.approx(objective)
        correlation = layer.analyze(signal - layer.synthesize(maps))
        assert (correlation if positive else np.abs(correlation)).max() <= lam * 1.01
        signal = maps


def test_float32_stays():
    rng = np.random.default_rng(12)
    first = ConvDictionary(unit_filters(rng, 6, 1, 5, 5).astype(np.float32))
    model = MultiLayerCSC([first, ConvDictionary(unit_filters(rng, 4, 6, 3, 3).astype(np.float32))])
    x = rng.standard_normal((1, 12, 12))
    single = model.basis_pursuit(x, [0.1, 0.2], tol=1e-4)
    assert [z.dtype for z in single.maps + model.threshold(x, [0.1, 0.2])] == 4 * [np.float32]
    double = MultiLayerCSC([ConvDictionary(d.filters.astype(float)) for d in model.dictionaries])
    reference = double.basis_pursuit(x, [0.1, 0.2], tol=1e-6)
    assert single.objective == pytest.approx(reference.objective, rel=1e-4)


# -- projection pursuit


def test_projection_pursuit_takes_as_many_atoms_as_the_caps_allow():
    model = sparse_layers()
    x = np.random.default_rng(6).standard_normal((1, 24, 24))
    result = model.project(x, [5, None])
    counts = [
        sparsity_counts(z, d.atom_shape).stripe for z, d in zip(result.maps, model.dictionaries, strict=True)
    ]
    assert counts[0] <= 5
    np.testing.assert_array_equal(result.maps[0], model.dictionaries[1].synthesize(result.maps[1]))
    residual = x - model.synthesize(result.maps[1])
    assert result.objective == pytest.approx((residual**2).sum() / 2)
    k = result.n_iter
    assert k == np.count_nonzero(result.maps[1]) > 3
    more = model.propagate(csc_omp(model.effective_dictionary(), x, k + 1).maps)
    assert sparsity_counts(more[0], 2 * (5,)).stripe > 5


def test_projection_pursuit_finds_a_planted_code():
    model = sparse_layers(1)
    maps = np.zeros((8, 22, 22))
    maps[[0, 3, 5, 7], [1, 10, 20, 12], [2, 18, 4, 8]] = [1.5, -2, 1, 1.2]
    result = model.project(model.synthesize(maps), [4, 2], tol=1e-18)
    np.testing.assert_allclose(result.maps[1], maps, atol=1e-9)
    assert model.project(model.synthesize(maps), [4, 2], n_nonzero=2).n_iter == 2
    assert model.project(np.zeros((1, 28, 28)), [1, 1]).n_iter == 0


def test_caps_that_one_atom_exceeds_are_refused():
    model = two_layers()
    padded = np.random.default_rng(7).standard_normal((2, 14, 16))
    with pytest.raises(ValueError, match="deeper layers must have padding=0"):
        model.project(padded, [3, 3])
    rng = np.random.default_rng(8)
    dense = MultiLayerCSC(
        [ConvDictionary(unit_filters(rng, 6, 1, 5, 5)), ConvDictionary(unit_filters(rng, 4, 6, 3, 3))]
    )
    with pytest.raises(ValueError, match=r"leave no room: one atom has \[54, 1\]"):
        dense.project(rng.standard_normal((1, 16, 16)), [10, None])


# -- guarantees of section 5.6


@pytest.fixture
def planted():
    """Two layers of little coherence (many channels; filters that meet in one entry), Z_1, Z_2 and x."""
    rng = np.random.default_rng(9)
    first = ConvDictionary(unit_filters(rng, 2, 200, 12), boundary="circular")
    second = np.zeros((2, 2, 8))
    second[0, [0, 0, 1], [0, 1, 5]] = second[1, [0, 0, 1], [3, 5, 0]] = 3**-0.5
    model = MultiLayerCSC([first, ConvDictionary(second, boundary="circular")])
    deepest = np.zeros((2, 128))
    deepest[rng.integers(0, 2, 4), [0, 32, 64, 96]] = rng.choice([-1, 1], 4)
    truth = model.propagate(deepest)
    return model, truth, first.synthesize(truth[0])


def test_layered_thresholding_finds_both_supports_where_its_guarantee_holds(planted):
    model, truth, x = planted
    mu = [d.mutual_coherence() for d in model.dictionaries]
    error = 0.0  # largest norm of the error over a patch of the layer below
    biases = []
    for layer, z, coherence in zip(model.dictionaries, truth, mu, strict=True):
        stripe = sparsity_counts(z, layer.atom_shape, boundary="circular").stripe
        small, large = np.abs(z[z != 0]).min(), np.abs(z).max()
        assert stripe < 0.5 * (1 + small / large / coherence) - error / (coherence * large)
        biases.append(coherence * stripe * large + error)  # above everything off the support
        levels = [*biases, 0.0][:2]
        estimate = model.threshold(x, levels, positive=False)[len(biases) - 1]
        np.testing.assert_array_equal(estimate != 0, z != 0)
        if layer is model.dictionaries[0]:
            squares = ((estimate - z) ** 2).sum(axis=0)
            windows = [np.roll(squares, -s)[:8].sum() for s in range(len(squares))]
            error = float(np.sqrt(max(windows)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: MultiLayerCSC([]), TypeError, "non-empty sequence of ConvDictionary"),
        (lambda m: MultiLayerCSC(m.dictionaries[::-1]), ValueError, "as many channels as dictionary 1"),
        (lambda m: m.threshold(np.zeros((2, 14, 16)), [0.1]), ValueError, "one entry for each of 2 layers"),
        (lambda m: m.threshold(np.zeros((2, 14, 16)), [0.1, np.ones(6)]), ValueError, r"n_atoms=5"),
        (lambda m: m.threshold(np.zeros((2, 14, 16)), [0.1, -1], False), ValueError, "at least 0"),
        (lambda m: m.basis_pursuit(np.zeros((2, 14, 16)), [0.1, -1]), ValueError, "lams must be at least 0"),
        (lambda m: m.threshold(np.full((2, 14, 16), np.nan), [1, 1]), ValueError, "x must be finite"),
        (lambda m: m.basis_pursuit(np.full((2, 14, 16), np.nan), [1, 1]), ValueError, "x must be finite"),
        (
            lambda m: m.basis_pursuit(np.zeros((2, 14, 16)), [1, 1], steps=[9, 9]),
            ValueError,
            "steps must be at most",
        ),
        (lambda m: m.project(np.zeros((2, 14, 16)), [0, 1]), ValueError, "caps must be at least 1"),
        (lambda m: m.effective_dictionary(3), ValueError, "layer must be at least 1 and at most 2"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(two_layers())


def test_layered_basis_pursuit_finds_both_supports_where_its_guarantee_holds(planted):
    model, truth, x = planted
    for layer, z in zip(model.dictionaries, truth, strict=True):
        stripe = sparsity_counts(z, layer.atom_shape, boundary="circular").stripe
        assert stripe < (1 + 1 / layer.mutual_coherence()) / 3
    codes = model.layered_basis_pursuit(x, [1e-3, 4e-3], tol=1e-10)
    for code, z in zip(codes, truth, strict=True):
        estimate = code.maps.to_dense()
        assert (z[estimate != 0] != 0).all()
        np.testing.assert_allclose(estimate, z, atol=0.03)
