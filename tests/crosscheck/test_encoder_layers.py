"""Networks and encoders of several layers: layered thresholding, layered and multi-layer basis pursuit."""

import numpy as np
import pytest

from sparsegen_classic.convolutional import ConvDictionary, ConvSparseCoder, MultiLayerCSC
from sparsegen_classic.crosscheck import crosscheck_encoder
from sparsegen_classic.crosscheck.encoder_reference import MultiLayerReference, spread


def unit_filters(rng, *shape):
    filters = rng.standard_normal(shape)
    norms = np.linalg.norm(filters.reshape(shape[0], -1), axis=1)
    return filters / norms.reshape(-1, *[1] * (len(shape) - 1))


def two_layers(seed=0):
    rng = np.random.default_rng(seed)
    return MultiLayerCSC(
        [
            ConvDictionary(unit_filters(rng, 6, 1, 4, 4), stride=2, padding=1),
            ConvDictionary(unit_filters(rng, 5, 6, 3, 3)),
        ]
    )


MODEL = two_layers()
IMAGES = np.random.default_rng(1).standard_normal((3, 1, 16, 16))
BIASES = [np.linspace(0.2, 0.6, 6), np.linspace(-0.1, 0.4, 5)]


def names(report):
    return [failure.name for failure in report.failures]


def c56():
    first = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, -1, 1]], float)
    second = np.array([[1, 0, 1, 0], [0, 1, 1, 1], [1, 1, 0, -1]], float)
    layers = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in (first, second)]
    model = MultiLayerCSC([ConvDictionary(m[:, :, None, None]) for m in layers])
    return model, np.array([1.0, 2, -1]).reshape(1, 3, 1, 1)


# -- layered thresholding


def forward(biases=BIASES, model=MODEL):
    return lambda x: model.threshold(x, biases)


def test_a_forward_pass_agrees_to_rounding():
    report = crosscheck_encoder(forward(), MODEL, "layered-thresholding", IMAGES, lam=BIASES)
    assert report.passed, report
    assert [layer.error <= layer.allowed for layer in report.layers] == [True, True]
    assert report.layers[0].objective is not None
    assert report.layers[1].objective is None  # a bias of the other sign is no penalty
    single = crosscheck_encoder(
        lambda x: [z.astype(np.float32) for z in MODEL.threshold(x, BIASES)],
        MODEL.dictionaries,
        "layered-thresholding",
        IMAGES,
        lam=BIASES,
    )
    assert single.passed
    assert single.dtype == "float32"


def one_bias_off(x):
    biases = [b.copy() for b in BIASES]
    biases[1][3] += 0.05
    return MODEL.threshold(x, biases)


def dead_in_the_second(x):
    first, second = MODEL.threshold(x, BIASES)
    second[:, 4] = 0
    return [first, second]


def with_flipped_second(x):
    first, second = MODEL.dictionaries
    flipped = ConvDictionary(second.filters[:, :, ::-1, ::-1])
    return MultiLayerCSC([first, flipped]).threshold(x, BIASES)


def without_last_relu(x):
    first, _ = MODEL.threshold(x, BIASES)
    return [first, MODEL.dictionaries[1].analyze(first) - BIASES[1][:, None, None]]


WRONG = {
    "biases forgotten": (forward([0.0, 0.0]), ["bias", "bias"], "layer 1: the biases are forgotten"),
    "sign of biases": (forward([-b for b in BIASES]), ["bias", "bias"], "layer 1: the sign of the biases"),
    "twice the threshold": (
        forward([2 * BIASES[0], BIASES[1]]), ["bias"], "layer 1: all thresholds are 2 times as large",
    ),
    "one bias": (one_bias_off, ["bias"], r"layer 2: the thresholds of maps 3 differ: 0\.325 for 0\.275"),
    "dead": (dead_in_the_second, ["dead maps"], r"layer 2: map 4 is never used"),
    "flipped": (with_flipped_second, ["filters flipped"], "layer 2: the codes fit the filters turned"),
    "no ReLU": (without_last_relu, ["ReLU"], "layer 2: the ReLU is missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_forward_passes_are_found_and_named(name):
    encoder, causes, message = WRONG[name]
    report = crosscheck_encoder(encoder, MODEL, "layered-thresholding", IMAGES, lam=BIASES)
    found = names(report)
    assert [n for n in found if n not in ("values", "positive")] == causes, report
    assert "values" in found
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("\n".join(failure.message for failure in report.failures))


# -- torch networks


def conv_relu(biases=BIASES, **changes):
    torch = pytest.importorskip("torch", reason="the network is one of torch")
    layers = []
    for dictionary, bias in zip(MODEL.dictionaries, biases, strict=True):
        geometry = {"stride": dictionary.stride, "padding": dictionary.padding, **changes}
        conv = torch.nn.Conv2d(dictionary.n_channels, dictionary.n_atoms, dictionary.atom_shape, **geometry)
        conv.weight.data = torch.tensor(dictionary.filters, dtype=conv.weight.dtype)
        conv.bias.data = torch.tensor(-bias, dtype=conv.bias.dtype)
        layers += [conv, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_plain_network_is_recognised_as_layered_thresholding(dtype):
    network = conv_relu().to(getattr(pytest.importorskip("torch"), dtype))
    network.train()
    report = crosscheck_encoder(network, None, "layered-thresholding", IMAGES)
    assert report.passed, report
    assert report.recognised.startswith("layered thresholding, 2 x (convolution + ReLU), 1 - 6 - 5; agrees")
    assert report.dtype == dtype
    assert len(report.layers) == 2
    assert network.training
    assert all(not module._forward_hooks for module in network.modules())
    against = crosscheck_encoder(network, MODEL, "layered-thresholding", IMAGES, lam=BIASES)
    assert against.passed, against


def test_a_stack_is_seen_through_containers_and_reused_activations():
    torch = pytest.importorskip("torch")
    conv1, relu, conv2, _ = conv_relu().double()
    network = torch.nn.Sequential(torch.nn.Sequential(conv1, relu, torch.nn.Dropout()), conv2, relu)
    assert crosscheck_encoder(network, MODEL, "layered-thresholding", IMAGES, lam=BIASES).passed
    inplace = torch.nn.Sequential(conv1, torch.nn.ReLU(inplace=True), conv2, torch.nn.ReLU(inplace=True))
    assert crosscheck_encoder(inplace, MODEL, "layered-thresholding", IMAGES, lam=BIASES).passed
    for other in (torch.nn.BatchNorm2d(6), torch.nn.LeakyReLU()):
        plain = torch.nn.Sequential(conv1, other, conv2, relu).eval().double()
        report = crosscheck_encoder(plain, MODEL, "layered-thresholding", IMAGES, lam=BIASES)
        assert report.recognised == ""
        assert names(report) == ["shape"]


def test_a_network_against_the_multi_layer_objective_and_one_with_a_zero_filter():
    network = conv_relu().double()
    report = crosscheck_encoder(network, MODEL, "multi-layer-basis-pursuit", IMAGES[:1], lam=[0.1, 0.1])
    assert names(report) == ["objective"]
    assert "agrees with MultiLayerCSC.threshold" in report.recognised
    network[0].weight.data[2] = 0
    report = crosscheck_encoder(network, MODEL, "layered-thresholding", IMAGES, lam=BIASES)
    assert names(report)[:1] == ["values"]
    assert "dead maps" in names(report)
    assert "filter 2 is" in report.notes[0].message


def test_stride_misread_by_a_network():
    network = conv_relu(stride=1, padding=1)
    report = crosscheck_encoder(network, MODEL, "layered-thresholding", IMAGES, lam=BIASES)
    assert names(report) == ["shape"]
    assert "what stride 1 and padding 1 give, the dictionary has stride 2" in report.failures[0].message


def test_a_network_of_one_layer_is_one_step_towards_the_lasso():
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(*conv_relu()[:2])
    first = MODEL.dictionaries[0]
    report = crosscheck_encoder(network, first, "lasso", IMAGES, lam=0.3, positive=True)
    assert names(report)[0] == "objective"
    assert report.recognised.startswith("layered thresholding")


class Lista(pytest.importorskip("torch", reason="the network is one of torch").nn.Module):
    def __init__(self, dictionary, lam, n_iterations, image_shape):
        from sparsegen_classic.neural import ConvSynthesis, SoftThreshold

        super().__init__()
        self.synthesis = ConvSynthesis(dictionary)
        self.step, self.n_iterations = 1 / dictionary.lipschitz(image_shape), n_iterations
        self.shrink = SoftThreshold(self.step * lam)

    def forward(self, x):
        maps = self.shrink(self.step * self.synthesis.analysis(x))
        for _ in range(self.n_iterations - 1):
            gradient = self.synthesis.analysis(x - self.synthesis(maps))
            maps = self.shrink(maps + self.step * gradient)
        return maps


def test_torch_lista_and_our_synthesis_as_dictionary():
    lista = Lista(MODEL.dictionaries[0], 0.3, 25, (16, 16))
    report = crosscheck_encoder(lista, lista.synthesis, "lasso", IMAGES, lam=0.3, tol=0.2)
    assert report.passed, report
    assert report.recognised == "ISTA after 25 iterations"
    single = crosscheck_encoder(lista.float(), MODEL.dictionaries[0], "lasso", IMAGES, lam=0.3, tol=0.2)
    assert single.passed
    assert single.dtype == "float32"
    assert single.recognised == "ISTA after 25 iterations"


# -- layered basis pursuit


def test_layered_basis_pursuit():
    lams = [0.3, 0.2]

    def encoder(x, lams=lams):
        return [code.maps.to_dense() for code in MODEL.layered_basis_pursuit(x, lams)]

    report = crosscheck_encoder(encoder, MODEL, "layered-basis-pursuit", IMAGES, lam=lams)
    assert report.passed, report
    assert all(layer.certified for layer in report.layers)
    assert report.layers[1].error < 1e-2
    off = crosscheck_encoder(
        lambda x: encoder(x, [0.3, 0.6]), MODEL, "layered-basis-pursuit", IMAGES, lam=lams
    )
    assert names(off) == ["objective", "lam"]
    assert "layer 2: the codes belong to a penalty 3 times" in off.failures[1].message
    deepest = crosscheck_encoder(lambda x: encoder(x)[1], MODEL, "layered-basis-pursuit", IMAGES, lam=lams)
    assert names(deepest) == ["shape"]


# -- multi-layer basis pursuit


def test_c56_the_multi_layer_optimum_is_certified():
    model, images = c56()
    reference = MultiLayerReference(model, [0.1, 0.2])
    deepest, lower = reference.solve(images[0])
    best = model.objective(images[0], deepest, [0.1, 0.2])
    assert best == pytest.approx(2.5217771672, abs=1e-8)
    assert best * (1 - 1.1e-6) <= lower <= 2.5217771672 + 1e-9


def test_ml_ista_passes_and_uncoupled_thresholds_do_not():
    model, images = c56()
    lams = [0.1, 0.2]

    def coupled(x):
        return np.stack([model.basis_pursuit(one, lams, accelerate=False).maps[-1] for one in x])

    report = crosscheck_encoder(coupled, model, "multi-layer-basis-pursuit", images, lam=lams, tol=1e-5)
    assert report.passed, report
    steps = [1 / layer.lipschitz((1, 1)) for layer in model.dictionaries]
    uncoupled = [0.1, 0.2 / steps[0]]  # th_2 = mu_2 lam_2 instead of mu_1 mu_2 lam_2

    def wrong(x):
        return np.stack(
            [model.basis_pursuit(one, uncoupled, tol=1e-12, accelerate=False).maps[-1] for one in x]
        )

    report = crosscheck_encoder(wrong, model, "multi-layer-basis-pursuit", images, lam=lams)
    assert names(report) == ["objective"]
    assert report.layers[-1].objective[0] == pytest.approx(2.5606034, abs=1e-6)
    assert report.layers[-1].iterations["ML-FISTA"] < 10
    assert [layer.layer for layer in report.layers] == [1, 2]


def test_multi_layer_bounds_hold_and_its_picture_adds_up():
    lams = [0.05, 0.2]
    rng = np.random.default_rng(0)
    reference = MultiLayerReference(MODEL, lams, max_iter=400)
    deepest, lower = reference.solve(IMAGES[0])
    best = MODEL.objective(IMAGES[0], deepest, lams)
    assert 0 <= best - lower < 0.02 * best
    for _ in range(20):
        other = deepest + 0.02 * rng.standard_normal(deepest.shape) * (rng.random(deepest.shape) < 0.2)
        assert MODEL.objective(IMAGES[0], other, lams) >= lower
    held = reference.hold(IMAGES[:1], deepest[None] * 0.9, 50)
    assert held.excess_map.sum() == pytest.approx(held.objective[0] - held.reference[0])
    assert held.objective[0] == pytest.approx(MODEL.objective(IMAGES[0], 0.9 * deepest, lams))


def test_with_one_layer_multi_layer_is_the_lasso():
    first = MODEL.dictionaries[0]
    coder = ConvSparseCoder(first, 0.4, tol=1e-8)
    deepest, lower = MultiLayerReference(MultiLayerCSC([first]), [0.4]).solve(IMAGES[0])
    code = coder.encode(IMAGES[0])
    assert lower <= code.objective <= MultiLayerCSC([first]).objective(IMAGES[0], deepest, [0.4]) * (1 + 1e-8)
    assert lower > code.objective * (1 - 1e-4)


def test_spread_keeps_sums():
    values = np.random.default_rng(0).standard_normal((2, 5, 7))
    for shape in ((11, 16), (5, 7), (3, 4)):
        placed = spread(values, shape)
        assert placed.shape == (2, *shape)
        np.testing.assert_allclose(placed.sum(axis=(1, 2)), values.sum(axis=(1, 2)))


def test_parameters_of_layers():
    cases = (
        ({"lam": 0.1}, "lam must have one entry for each of 2 layers"),
        ({"lam": BIASES, "positive": False}, "positive must not be False"),
        ({"lam": [0.1, np.ones(3)]}, r"lam must be numbers or of shape \(5,\)"),
        ({"lam": BIASES, "objective": "multi-layer-basis-pursuit"}, "lam must be numbers, got shape"),
    )
    for given, message in cases:
        with pytest.raises(ValueError, match=message):
            crosscheck_encoder(forward(), MODEL, **{"objective": "layered-thresholding", **given})
