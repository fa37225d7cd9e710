"""The layers against their numpy references, gradients by definition and by finite differences."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsegen_classic.convolutional import project_l0, project_needle, project_topk, soft_threshold

torch = pytest.importorskip("torch", reason="the layers are torch modules")
neural = pytest.importorskip("sparsegen_classic.neural")

L0Projection, NeedleProjection, TopK = neural.L0Projection, neural.NeedleProjection, neural.TopK
SoftThreshold, L1Penalty = neural.SoftThreshold, neural.L1Penalty

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
    ),
]
LAYERS = {
    "l0": (L0Projection(5), lambda x: project_l0(x, 5, return_mask=True)),
    "l0-batch": (L0Projection(7, per="batch"), lambda x: project_l0(x, 7, "batch", return_mask=True)),
    "l0-fraction": (L0Projection(0.4), lambda x: project_l0(x, 0.4, return_mask=True)),
    "needle": (NeedleProjection(2), lambda x: project_needle(x, 2, return_mask=True)),
    "needle-last": (
        NeedleProjection(2, dim=-1),
        lambda x: project_needle(x, 2, layout="NHWC", return_mask=True),
    ),
    "topk": (TopK(5), lambda x: project_topk(x, 5, return_mask=True)),
    "topk-magnitude": (TopK(5, by="magnitude"), lambda x: project_topk(x, 5, "magnitude", return_mask=True)),
    "soft": (SoftThreshold(1.0), lambda x: soft_threshold(x, 1.0, return_mask=True)),
    "soft-positive": (
        SoftThreshold(1.0, positive=True),
        lambda x: soft_threshold(x, 1.0, positive=True, return_mask=True),
    ),
}
PROJECTIONS = [name for name in LAYERS if not name.startswith("soft")]
C61 = torch.tensor([[[[3, -1], [0, 2]], [[-4, 2], [1, -2.5]], [[1, 0.5], [-3, 2.2]]]], dtype=torch.float64)


def as_numpy(x):
    return x.detach().to(torch.float64).cpu().numpy()


# -- values and gradients of the papers


def test_c61_values():
    needle = NeedleProjection(1)(C61)
    assert needle.tolist() == [[[[0, 0], [0, 0]], [[-4, 2], [0, -2.5]], [[0, 0], [-3, 0]]]]
    kept = L0Projection(4)(C61)
    assert sorted(kept[kept != 0].tolist()) == [-4, -3, -2.5, 3]
    kept = TopK(4)(C61)
    assert kept.flatten().nonzero().ravel().tolist() == [0, 3, 5, 11]
    assert kept[kept != 0].tolist() == [3, 2, 2, 2.2]


def test_c61_gradient():
    x = C61.clone().requires_grad_()
    weights = torch.arange(12, dtype=torch.float64).reshape(1, 3, 2, 2)
    (NeedleProjection(1)(x) * weights).sum().backward()
    assert x.grad.tolist() == [[[[0, 0], [0, 0]], [[4, 5], [0, 7]], [[0, 0], [10, 0]]]]
    x.grad = None
    (NeedleProjection(1, gradient="straight-through")(x) * weights).sum().backward()
    assert torch.equal(x.grad, weights)


# -- agreement with numpy


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", LAYERS)
def test_values_and_masks_are_those_of_numpy(name, dtype, device):
    layer, reference = LAYERS[name]
    for seed in range(5):
        x = torch.randn(3, 4, 5, 4, generator=torch.Generator().manual_seed(seed)).to(device, dtype)
        if seed % 2:
            x = (2 * x).round() / 2  # ties, zeros and negative zeros
        x.requires_grad_()
        y = layer(x)
        values, mask = reference(as_numpy(x))
        assert y.dtype == dtype
        assert y.device == x.device
        np.testing.assert_array_equal(as_numpy(y), as_numpy(torch.tensor(values).to(dtype)))
        weights = torch.arange(1, x.numel() + 1, device=device).reshape(x.shape).to(dtype)
        (gradient,) = torch.autograd.grad(y, x, weights)
        np.testing.assert_array_equal(as_numpy(gradient), as_numpy(weights) * mask)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.tuples(*[st.integers(1, 4)] * 4),
    levels=st.integers(1, 4),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_exact_k_at_ties(shape, levels, share, seed):
    x = np.random.default_rng(seed).integers(-levels, levels + 1, shape).astype(np.float32)
    for layer, reference, size in (
        (L0Projection, project_l0, x[0].size),
        (TopK, project_topk, x[0].size),
        (NeedleProjection, project_needle, shape[1]),
    ):
        k = round(share * size)
        expected, mask = reference(x, k, return_mask=True)
        np.testing.assert_array_equal(layer(k)(torch.tensor(x)).numpy(), expected)
        np.testing.assert_array_equal(layer(k).mask(torch.tensor(x)).numpy(), mask)


@pytest.mark.parametrize("name", LAYERS)
def test_memory_layouts(name):
    layer, reference = LAYERS[name]
    base = torch.randn(3, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    for x in (
        base.to(memory_format=torch.channels_last),
        base.swapaxes(2, 3),
        base[:, :, ::2, 1::3],
        base[:, :3].contiguous().expand(3, 3, 6, 8),
    ):
        before, y = x.clone(), layer(x)
        np.testing.assert_array_equal(y.numpy(), reference(x.numpy())[0])
        assert torch.equal(x, before)
    x = base.to(memory_format=torch.channels_last)
    assert layer(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_projections_are_idempotent_after_relu_and_do_not_mix_samples(name):
    layer, _ = LAYERS[name]
    x = torch.randn(6, 4, 5, 4, generator=torch.Generator().manual_seed(1)).relu()
    assert torch.equal(layer(layer(x)), layer(x))
    if name != "l0-batch":
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        assert torch.equal(layer(x[order]), layer(x)[order])
        assert torch.equal(layer(x[:1]), layer(x)[:1])


# -- edges


@pytest.mark.parametrize("layer", [L0Projection, TopK, NeedleProjection])
def test_edges_of_k(layer):
    x = torch.randn(2, 4, 3, 3)
    size = 4 if layer is NeedleProjection else 36
    assert not layer(0)(x).any()
    assert torch.equal(layer(size)(x), x)
    assert torch.equal(layer(1.0)(x), x)
    assert layer(1e-9)(x).count_nonzero() == layer(1)(x).count_nonzero()
    with pytest.raises(ValueError, match=f"k must be at most {size}"):
        layer(size + 1)(x)
    for wrong, error in ((-1, ValueError), (1.5, ValueError), (True, TypeError), ("2", TypeError)):
        with pytest.raises(error, match="k must be"):
            layer(wrong)
    with pytest.raises(ValueError, match="gradient must be one of"):
        layer(1, gradient="none")
    with pytest.raises(ValueError, match="x must be real floating point"):
        layer(1)(torch.ones(4))
    with pytest.raises(ValueError, match="x must be real floating point"):
        layer(1)(torch.ones(2, 4, dtype=torch.int64))
    assert layer(1)(x[:0]).shape == (0, 4, 3, 3)


def test_nan_and_infinity_stay_to_be_seen():
    nan, inf = float("nan"), float("inf")
    x = torch.tensor([[1.0, nan, -inf, 2.0, 5.0]])
    for layer in (L0Projection(2), NeedleProjection(2)):
        assert layer(x).nan_to_num(7.0).tolist() == [[0, 7, -torch.finfo(x.dtype).max, 0, 0]]
    assert TopK(2)(x).nan_to_num(7.0).tolist() == [[0, 7, 0, 0, 5]]
    assert torch.isnan(SoftThreshold(1.0)(x)[0, 1])
    assert SoftThreshold(1.0)(x)[0, 2] == -inf


def test_dim_must_be_an_axis():
    with pytest.raises(ValueError, match="dim=3 must be an axis"):
        NeedleProjection(1, dim=3)(torch.ones(2, 3))


# -- gradients


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_against_finite_differences_away_from_ties(name):
    layer, _ = LAYERS[name]
    generator = torch.Generator().manual_seed(3)
    x = torch.randperm(96, generator=generator).double().reshape(2, 4, 3, 4) / 24 - 2.013
    x.requires_grad_()
    assert torch.autograd.gradcheck(layer, x, eps=1e-6)
    assert torch.autograd.gradgradcheck(layer, x, eps=1e-6)


def test_straight_through_has_second_derivatives_and_vmap():
    layer = L0Projection(2, gradient="straight-through")
    x = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad((layer(x) ** 3).sum(), x, create_graph=True)
    torch.testing.assert_close(gradient, 3 * layer(x) ** 2)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    torch.testing.assert_close(second, 6 * layer(x).detach())
    for gradient in ("mask", "straight-through"):
        loss = torch.func.grad(lambda one: L0Projection(2, gradient=gradient)(one[None]).square().sum())  # noqa: B023
        each = torch.func.vmap(loss)(x.detach())
        torch.testing.assert_close(each, 2 * layer(x).detach())


def test_soft_threshold_learns_its_threshold():
    x = torch.tensor([[3.0, -2.0, 0.5]], dtype=torch.float64)
    for positive, slope in ((False, [-1, 1, 0]), (True, [-1, 0, 0])):
        layer = SoftThreshold([1.0, 1.0, 1.0], positive, trainable=True).double()
        layer(x).sum().backward()
        assert layer.threshold.grad.tolist() == slope
        assert torch.autograd.gradcheck(layer, x.clone().requires_grad_())
    assert list(layer.state_dict()) == ["threshold"]
    fixed = SoftThreshold([0.1, 0.2])
    assert [*fixed.parameters()] == []
    assert list(fixed.state_dict()) == ["threshold"]
    image = torch.ones(1, 2, 3, 3)
    assert torch.equal(fixed(image)[0, :, 0, 0], 1 - torch.tensor([0.1, 0.2]))
    for wrong in (-1.0, float("nan"), [0.1, -0.2]):
        with pytest.raises(ValueError, match="threshold must be"):
            SoftThreshold(wrong)


@pytest.mark.parametrize(("reduction", "divisor"), [("batchmean", 4), ("mean", 24), ("sum", 1)])
def test_l1_penalty(reduction, divisor):
    x = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[0, 0] = 0
    x.requires_grad_()
    penalty = L1Penalty(0.3, reduction)(x)
    torch.testing.assert_close(penalty, 0.3 * x.abs().sum() / divisor)
    penalty.backward()
    torch.testing.assert_close(x.grad, 0.3 * x.detach().sign() / divisor)
    assert L1Penalty()(x[:0]) == 0


def test_half_precision_penalty_does_not_overflow():
    x = torch.full((1, 1000), 100.0, dtype=torch.float16)
    assert L1Penalty()(x).item() == 100_000


# -- what torch users do with modules


@pytest.mark.parametrize("name", ["l0", "needle", "topk", "soft"])
@pytest.mark.filterwarnings("ignore")  # of torch's compiler about itself
def test_compile_gives_the_same_values_and_gradients(name):
    layer, _ = LAYERS[name]
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for x in (torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3, 5).round()):
        grads = []
        for function in (layer, compiled):
            leaf = x.clone().requires_grad_()
            y = function(leaf)
            (y * torch.arange(y.numel()).reshape(y.shape)).sum().backward()
            grads.append((y.detach(), leaf.grad))
        assert torch.equal(grads[0][0], grads[1][0])
        assert torch.equal(grads[0][1], grads[1][1])


@pytest.mark.filterwarnings("ignore")
def test_export():
    x = torch.randn(2, 4, 3, 5).round()
    for layer in (NeedleProjection(2), L0Projection(0.25), TopK(3)):
        assert torch.equal(torch.export.export(layer, (x,)).module()(x), layer(x))


@pytest.mark.filterwarnings("ignore")
def test_generated_code_gives_the_same_values():
    layer, x = NeedleProjection(2), torch.randn(2, 4, 3, 5).round()
    try:
        compiled = torch.compile(layer, fullgraph=True)(x)
    except Exception as error:  # whatever torch raises where it finds no compiler
        pytest.skip(f"torch.compile has no working compiler here: {str(error)[:80]}")
    assert torch.equal(compiled, layer(x))


@pytest.mark.parametrize("device", DEVICES)
def test_autocast(device):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3), NeedleProjection(2), SoftThreshold([0.1] * 8, trainable=True)
    ).to(device)
    x = torch.randn(2, 1, 8, 8, device=device)
    with torch.autocast(device, dtype=torch.bfloat16):
        y = network(x)
    assert y.dtype == torch.bfloat16
    assert (y != 0).sum(1).max() <= 2
    y.float().square().sum().backward()
    assert network[0].weight.grad.isfinite().all()


def test_annealing_and_repr():
    layer = L0Projection(3)
    x = torch.randn(2, 10)
    layer.k = 0.5
    assert layer(x).count_nonzero(dim=1).tolist() == [5, 5]
    assert repr(layer) == "L0Projection(k=0.5)"
    texts = {
        TopK(2, by="magnitude", gradient="straight-through"): (
            "TopK(k=2, gradient='straight-through', by='magnitude')"
        ),
        L0Projection(2, per="batch"): "L0Projection(k=2, per='batch')",
        NeedleProjection(2, dim=-1): "NeedleProjection(k=2, dim=-1)",
        SoftThreshold(0.5, positive=True): "SoftThreshold(0.5, positive=True)",
        SoftThreshold([0.5, 1.0]): "SoftThreshold((2,) thresholds)",
        L1Penalty(0.5): "L1Penalty(weight=0.5, reduction='batchmean')",
    }
    for module, text in texts.items():
        assert repr(module) == text


def test_without_torch_the_remedy_is_named():
    code = "import sys; sys.modules['torch'] = None; import sparsegen_classic.neural"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert 'pip install "sparsegen-classic[torch]"' in run.stderr
