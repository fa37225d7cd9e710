"""Wrong layers in PyTorch and JAX; those of JAX, which compiles for every shape, meet fewer checks."""

import jax
import jax.numpy as jnp
import torch
from torch import nn

from tests.crosscheck.gallery import Gallery

WRONG = Gallery()
K = 3


def mask_of(keys, k=K):
    top = keys.topk(min(k, keys.shape[1]), dim=1).indices
    return torch.zeros_like(keys).scatter(1, top, 1)


class Needle(nn.Module):
    def forward(self, x):
        return x * mask_of(x.detach().abs())


# gradients


@WRONG.shows("needle", K, "gradient", "finite-differences", only=True)
def gradient_leaks_through_zeros(x):
    mask = mask_of(x.detach().abs())
    return x * mask + (x - x.detach()) * (1 - mask)


@WRONG.shows("needle", K, "gradient", only=True, gradient="straight-through")
def mask_where_straight_through_is_claimed(x):
    return x * mask_of(x.detach().abs())


@WRONG.shows("needle", K, "gradient", "gradient-at-zeros", "finite-differences", only=True)
def detached(x):
    return (x * mask_of(x.abs())).detach()


@WRONG.shows("needle", K, "gradient", "finite-differences", only=True)
def gradient_twice(x):
    y = x * mask_of(x.detach().abs())
    return y + y - y.detach()


@WRONG.shows("needle", K, "gradient-at-zeros", only=True)
def magnitude_by_a_square_root(x):
    scale = torch.nan_to_num((x**2).sqrt() / x.abs().detach(), nan=1.0, posinf=1.0)
    return x * mask_of(x.detach().abs()) * torch.where(x.detach().abs() < 1e-15, scale * 0 + 1, 1.0)


@WRONG.shows("soft-threshold", 0.5, "gradient", "finite-differences", only=True)
def dead_zone_passes_gradients(x):
    y = x.sign() * (x.abs() - 0.5).relu()
    return x + (y - x).detach()


@WRONG.shows("l1-ball", 2.0, "gradient", "finite-differences", only=True)
def level_of_the_ball_taken_for_a_constant(x):
    rows = x.flatten(1)
    size = rows.detach().abs().sort(dim=1, descending=True).values
    ranks = torch.arange(1, rows.shape[1] + 1, device=x.device)
    level = ((size.cumsum(1) - 2.0) / ranks).amax(1, keepdim=True).clamp(min=0)
    return (rows.sign() * (rows.abs() - level).relu()).view_as(x) if len(x) else x


@WRONG.shows("l1-penalty", 0.1, "gradient", "finite-differences", only=True)
def penalty_of_a_detached_batch(x):
    return 0.1 * x.detach().abs().sum() / max(len(x), 1) + 0 * x.sum()


# modes and state


@WRONG.shows("needle", K, "train-eval", only=True)
class EvalSkipsTheProjection(Needle):
    def forward(self, x):
        return super().forward(x) if self.training else x


@WRONG.shows("needle", K, "deterministic")
class DropoutOnWhatIsKept(Needle):
    def forward(self, x):
        return nn.functional.dropout(super().forward(x), 0.5, self.training)


@WRONG.shows("soft-threshold", 0.5, "deterministic", "values")
class ThresholdAsARunningMean(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.tensor(0.5))

    def forward(self, x):
        if self.training and x.numel():
            self.level = 0.9 * self.level + 0.1 * x.detach().abs().mean().float()
        return x.sign() * (x.abs() - self.level.to(x.dtype)).relu()


@WRONG.shows("needle", K, "input-unchanged", only=True)
def multiplied_in_place(x):
    mask = mask_of(x.detach().abs())
    with torch.no_grad():
        y = x.data.mul_(mask)
    return x * mask if x.requires_grad else y.clone()


# numbers and memory


@WRONG.shows("needle", K, "float16", "large", "tiny", only=True)
def squares_overflow_half_precision(x):
    return x * mask_of(x.detach() ** 2)


@WRONG.shows("needle", K, "float16", only=True)
def normalised_in_half_precision(x):
    keys = x.detach().abs()
    if x.dtype == torch.float16:
        keys = keys / (x.detach() ** 2).sum(1, keepdim=True)
    return x * mask_of(keys)


@WRONG.shows("needle", K, "answer-dtype", "values", "magnitudes")
def left_in_bfloat16_by_autocast(x):
    y = x.bfloat16()
    return y * mask_of(y.detach().abs())


@WRONG.shows("l0", K, "non-contiguous", only=True)
def view_of_what_is_not_contiguous(x):
    flat = x.view(len(x), x[0].numel() if len(x) else 0)
    return (flat * mask_of(flat.detach().abs())).view_as(x)


@WRONG.shows("l0", K, "values", "kept")
def kthvalue_counts_from_below(x):
    flat = x.flatten(1)
    level = flat.abs().kthvalue(K, dim=1, keepdim=True).values
    return torch.where(flat.abs() <= level, flat, 0).view_as(x)


@WRONG.shows("needle", K, "output", only=True)
def answered_in_numpy(x):
    return (x * mask_of(x.abs())).detach().numpy()


@WRONG.shows("l1-penalty", 0.1, "output", only=True)
def a_number_without_its_graph(x):
    return (0.1 * x.abs().sum() / len(x)).item()


# JAX


@WRONG.shows("topk-magnitude", K, "values", "kept", only=True, checks=("values", "kept", "feasible"))
def jax_top_k_without_abs(x):
    rows = x.reshape(len(x), -1)
    level = jax.lax.top_k(rows, K)[0][:, -1:]
    return jnp.where(rows >= level, rows, 0).reshape(x.shape)


@WRONG.shows(
    "needle", K, "gradient", "finite-differences", only=True,
    checks=("values", "gradient", "finite-differences"),
)  # fmt: skip
def jax_stop_gradient_around_everything(x):
    ranks = jnp.argsort(jnp.argsort(-jnp.abs(x), axis=1), axis=1)
    return jax.lax.stop_gradient(jnp.where(ranks < K, x, 0))


@WRONG.shows("soft-threshold", 0.5, "values", "magnitudes", checks=("values", "magnitudes", "signs"))
@jax.jit
def jax_hard_threshold(x):
    return jnp.where(jnp.abs(x) > 0.5, x, 0)
