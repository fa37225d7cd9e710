"""Right layers in PyTorch, JAX and ONNX."""

import jax
import jax.numpy as jnp
import torch
from torch import nn

from tests.crosscheck.gallery import Gallery

RIGHT = Gallery()
K = 3


@RIGHT.shows("needle", K)
def topk_and_scatter(x):
    top = x.abs().topk(min(K, x.shape[1]), dim=1).indices
    return torch.zeros_like(x).scatter(1, top, x.gather(1, top))


@RIGHT.shows("needle", K)
class TimesMask(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k = k

    def forward(self, x):
        with torch.no_grad():
            mask = torch.zeros_like(x).scatter(1, x.abs().topk(self.k, dim=1).indices, 1)
        return x * mask


@RIGHT.shows("l0", K)
def sorted_ranks(x):
    ranks = x.flatten(1).abs().argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return x.masked_fill((ranks >= K).view(x.shape), 0)


@RIGHT.shows("l0", K, gradient="straight-through")
def straight_through(x):
    flat = x.flatten(1)
    top = flat.abs().topk(min(K, flat.shape[1]), dim=1).indices
    kept = torch.zeros_like(flat).scatter(1, top, flat.gather(1, top)).view_as(x)
    return x + (kept - x).detach()


@RIGHT.shows("l0", K)
def kthvalue_with_ties_by_position(x):
    flat = x.flatten(1)
    if flat.shape[1] <= K or not len(x):
        return x.clone()
    keys = flat.detach().abs()
    level = keys.kthvalue(flat.shape[1] - K + 1, dim=1, keepdim=True).values
    above, equal = keys > level, keys == level
    room = K - above.sum(1, keepdim=True)
    return (flat * (above | (equal & (equal.cumsum(1) <= room)))).view_as(x)


class Needle(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        top = x.abs().topk(min(K, x.shape[1]), dim=1).indices
        mask = torch.zeros_like(x).scatter(1, top, 1)
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0]


@RIGHT.shows("needle", K)
def with_its_own_backward(x):
    return Needle.apply(x)


@RIGHT.shows("soft-threshold", 0.5)
def softshrink(x):
    return nn.functional.softshrink(x, 0.5)


@RIGHT.shows("soft-threshold", 0.5)
class LearnedThreshold(nn.Module):
    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return x.sign() * (x.abs() - self.level).relu()


@RIGHT.shows("l1-ball", 2.0)
def duchi(x):
    if not len(x):
        return x
    flat = x.flatten(1)
    size = flat.abs().sort(dim=1, descending=True).values
    ranks = torch.arange(1, flat.shape[1] + 1, device=x.device, dtype=x.dtype)
    level = ((size.cumsum(1) - 2.0) / ranks).amax(1, keepdim=True).clamp(min=0)
    return (flat.sign() * (flat.abs() - level).relu()).view_as(x)


@RIGHT.shows("l1-penalty", 0.1)
def norm_of_samples(x):
    return 0.1 * torch.linalg.vector_norm(x.flatten(1), 1, dim=1).mean()


@RIGHT.shows("needle", K)
@jax.jit
def jax_where(x):
    ranks = jnp.argsort(jnp.argsort(-jnp.abs(x), axis=1), axis=1)
    return jnp.where(ranks < K, x, 0)


@RIGHT.shows("topk", K)
@jax.jit
def jax_scatter(x):
    def one(sample):
        flat = sample.ravel()
        value, index = jax.lax.top_k(flat, min(K, flat.size))
        return jnp.zeros_like(flat).at[index].set(value).reshape(sample.shape)

    return jax.vmap(one)(x)


def onnx_needle(path):
    """Write |x| -> TopK -> ScatterElements of the chosen entries, sizes of all axes free."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def constant(name, values, dtype):
        import numpy as np

        return numpy_helper.from_array(np.array(values, dtype), name)

    nodes = [
        helper.make_node("Abs", ["x"], ["size"]),
        helper.make_node("TopK", ["size", "k"], ["top", "index"], axis=1),
        helper.make_node("GatherElements", ["x", "index"], ["kept"], axis=1),
        helper.make_node("Sub", ["x", "x"], ["zeros"]),
        helper.make_node("ScatterElements", ["zeros", "index", "kept"], ["y"], axis=1),
    ]
    shape = ["n", "c", "h", "w"]
    graph = helper.make_graph(
        nodes,
        "needle",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [constant("k", [K], "int64")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path
