"""The synthesis module: equal to ConvDictionary, adjoint, trainable, and the TopK generator's identity."""

import numpy as np
import pytest

from sparsegen_classic.convolutional import ConvDictionary, MultiLayerCSC

torch = pytest.importorskip("torch", reason="the layers are torch modules")
neural = pytest.importorskip("sparsegen_classic.neural")
ConvSynthesis = neural.ConvSynthesis

CASES = {
    "plain": ((6, 2, 5, 4), {}, (4, 7)),
    "strided": ((6, 2, 4, 4), {"stride": 2, "padding": 1, "output_padding": (1, 0)}, (5, 6)),
    "circular": ((6, 2, 5, 4), {"stride": (2, 1), "boundary": "circular"}, (6, 7)),
    "circular, stride = size": ((6, 2, 3, 3), {"stride": 3, "boundary": "circular"}, (4, 4)),
    "signal": ((6, 1, 7), {"stride": 3, "padding": 2}, (9,)),
    "circular signal": ((6, 1, 7), {"stride": 3, "boundary": "circular"}, (9,)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_synthesis_and_analysis_are_those_of_the_dictionary(name, dtype):
    shape, geometry, maps_shape = CASES[name]
    rng = np.random.default_rng(0)
    dictionary = ConvDictionary(rng.standard_normal(shape).astype(dtype), **geometry)
    module = ConvSynthesis(dictionary)
    maps = rng.standard_normal((3, shape[0], *maps_shape)).astype(dtype)
    images = dictionary.synthesize(maps)
    tol = 1e-5 if dtype == np.float32 else 1e-12
    synthesis = module(torch.tensor(maps)).detach()
    np.testing.assert_allclose(synthesis.numpy(), images, atol=tol)
    other = torch.tensor(rng.standard_normal(images.shape).astype(dtype))
    analysis = module.analysis(other).detach()
    np.testing.assert_allclose(analysis.numpy(), dictionary.analyze(other.numpy()), atol=5 * tol)
    inner = (synthesis * other).sum().item(), (torch.tensor(maps) * analysis).sum().item()
    assert inner[0] == pytest.approx(inner[1], rel=100 * tol, abs=100 * tol)
    back = module.to_dictionary()
    assert repr(back) == repr(dictionary)
    np.testing.assert_array_equal(back.filters, dictionary.filters)


def test_modules_are_modules():
    dictionary = ConvDictionary(np.random.default_rng(0).standard_normal((3, 1, 3, 3)))
    module, fixed = ConvSynthesis(dictionary), ConvSynthesis(dictionary, trainable=False)
    assert len([*module.parameters()]) == 1
    assert [*fixed.parameters()] == []
    other = ConvSynthesis(ConvDictionary(np.ones((3, 1, 3, 3))))
    other.load_state_dict(module.state_dict())
    np.testing.assert_array_equal(other.to_dictionary().filters, dictionary.filters)
    maps = torch.randn(1, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, maps)
    assert torch.autograd.gradcheck(module.analysis, torch.randn(1, 1, 7, 7).double().requires_grad_())
    assert "filters (3, 1, 3, 3)" in repr(module)
    assert module.to(torch.bfloat16).to_dictionary().dtype == np.float32
    with pytest.raises(TypeError, match="dictionary must be a ConvDictionary"):
        ConvSynthesis(dictionary.filters)


def test_two_layers_are_the_multi_layer_model():
    rng = np.random.default_rng(1)
    layers = [
        ConvDictionary(rng.standard_normal((4, 1, 4, 4)), stride=2),
        ConvDictionary(rng.standard_normal((5, 4, 3, 3))),
    ]
    network = torch.nn.Sequential(ConvSynthesis(layers[1]), ConvSynthesis(layers[0]))
    maps = rng.standard_normal((2, 5, 6, 6))
    expected = MultiLayerCSC(layers).synthesize(maps)
    np.testing.assert_allclose(network(torch.tensor(maps)).detach().numpy(), expected, atol=1e-12)


class Generator(torch.nn.Module):
    """The TopK generator of Xing, Zhu and Wu: fm = ReLU(TopK(deconvolution, k)), linear output."""

    def __init__(self, ks):
        super().__init__()
        sizes = [(3, 8, 4, 1), (8, 6, 4, 2), (6, 2, 4, 2)]
        self.layers = torch.nn.ModuleList(
            torch.nn.ConvTranspose2d(c_in, c_out, size, stride) for c_in, c_out, size, stride in sizes
        )
        self.topk = [neural.TopK(k) for k in ks]

    def activations(self, z):
        found, masks = [], []
        for layer, topk in zip(self.layers, self.topk, strict=False):
            before = layer(z)
            z = topk(before).relu()
            masks.append(topk.mask(before) & (before > 0))
            found.append(z)
        return found, masks, self.layers[-1](z)


@pytest.mark.parametrize("ks", [(5, 40), (1, 1), (0.5, 0.5), (1.0, 1.0)])
def test_c71_the_output_is_the_sum_of_its_atoms(ks):
    torch.manual_seed(0)
    network = Generator(ks).double()
    z = torch.randn(1, 3, 1, 1, dtype=torch.float64)
    activations, masks, output = network.activations(z)
    for i, active in enumerate(activations):
        where = active.nonzero()
        total = torch.zeros_like(output)
        for position in where:
            atom = torch.zeros_like(active)
            atom[tuple(position)] = active[tuple(position)]
            for j in range(i + 1, len(network.layers)):
                bias = network.layers[j].bias[:, None, None]
                atom = network.layers[j](atom) - bias + bias / len(where)
                if j < len(masks):
                    atom = atom * masks[j]
            total += atom
        assert (total - output).abs().max() < 1e-10
    if ks == (1.0, 1.0) and isinstance(ks[0], float):
        dense = torch.nn.Sequential(
            network.layers[0], torch.nn.ReLU(), network.layers[1], torch.nn.ReLU(), network.layers[2]
        )
        assert torch.equal(dense(z), output)
