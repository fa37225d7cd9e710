"""Layers that make activations sparse, with the gradients that the papers mean."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from sparsegen_classic._validation import check_choice, check_integer, check_real

_GRADIENTS = ("mask", "straight-through")


def dropped(keys: Tensor, k: int, dim: int) -> Tensor:
    """Mark all but the k largest along ``dim``; among equals the earlier one stays, and NaN always does.

    Only the level comes from ``topk``: which of several equal entries that one picks is not defined, and
    differs between devices.
    """
    if k in (0, keys.shape[dim]):
        return torch.full_like(keys, k == 0, dtype=torch.bool)
    top = keys.topk(k + 1, dim, sorted=False).values
    level = top.nan_to_num(nan=inf, posinf=inf, neginf=-inf).amin(dim, keepdim=True)
    drop = keys <= level
    room = k - (~(top <= level)).sum(dim, keepdim=True)  # greater than 0 where the k-th equals the next
    if _known_to_be_zero(room):
        return drop
    equal = keys == level
    return drop & ~(equal & (equal.cumsum(dim, dtype=torch.int32) <= room))


def _known_to_be_zero(count: Tensor) -> bool:
    """Look where that stops no device and breaks no graph: ties are rare, and cost as much again."""
    if count.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    try:
        return not bool(count.any())
    except RuntimeError:  # inside of vmap
        return False


class _Identity(torch.autograd.Function):
    """Return the second argument; the gradient goes to the first."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, projected: Tensor) -> Tensor:
        return projected.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return grad, None


class _Projection(nn.Module):
    """Zero what ``_dropped`` marks."""

    def __init__(self, k: int | float, gradient: str):
        super().__init__()
        if isinstance(k, float):
            self.k: int | float = check_real("k", k, 0, 1, "(]", "a float is a fraction of the entries")
        else:
            self.k = check_integer("k", k, 0)
        self.gradient = check_choice("gradient", gradient, _GRADIENTS)

    def mask(self, x: Tensor) -> Tensor:
        """Return which entries of ``x`` are kept, bool of its shape."""
        return ~self._dropped(x.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with all but the kept entries 0, in its shape, dtype and memory format."""
        projected = x.clone().masked_fill_(self._dropped(x.detach()), 0)  # clone keeps the memory format
        return projected if self.gradient == "mask" else _Identity.apply(x, projected.detach())

    def extra_repr(self) -> str:
        """Return the parameters that differ from their defaults."""
        return f"k={self.k}" + (f", gradient={self.gradient!r}" if self.gradient != "mask" else "")

    def _dropped(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _count(self, size: int) -> int:
        if isinstance(self.k, float):
            return max(1, round(self.k * size))
        if self.k > size:
            raise ValueError(f"k must be at most {size}, the number of entries to choose from, got {self.k}")
        return self.k

    @staticmethod
    def _check(x: Tensor) -> None:
        if x.ndim < 2 or not x.is_floating_point():
            raise ValueError(
                "x must be real floating point with an axis of samples in front, got shape "
                f"{tuple(x.shape)} and {x.dtype}; use x[None] for one sample"
            )


class L0Projection(_Projection):
    """Keep the k largest magnitudes of every sample, or of the whole batch; the rest becomes 0.

    The L0 layer of Ganz and Elad. Their papers do not say what k counts; a sample is what does not make one
    image depend on the others in its batch.

    Parameters
    ----------
    k : int or float
        Entries to keep: a count from 0, or with a float their fraction in (0, 1], rounded, at least 1. 1
        keeps one entry, 1.0 keeps all. May be changed at any time, for example to anneal it.
    per : {"sample", "batch"}, default="sample"
        What k counts: the entries of one sample, all axes but the first, or of the batch.
    gradient : {"mask", "straight-through"}, default="mask"
        "mask" passes gradients to the kept entries only: what automatic differentiation gives for
        ``x * mask``. "straight-through" passes them to all entries.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range; in ``forward`` if x has fewer than k entries, is not floating point,
        or has no axis of samples.

    Notes
    -----
    Among equal entries the one that comes first (C order, whatever the memory format) stays, on all devices:
    always exactly k are kept, zeros included. NaN counts as the largest and is always kept, so that it is
    seen. Values are those of :func:`sparsegen_classic.project_l0`.

    References
    ----------
    R. Ganz, M. Elad, "Improved image generation via sparsity" (2021).

    Examples
    --------
    >>> import torch
    >>> from sparsegen_classic.neural import L0Projection
    >>> L0Projection(2)(torch.tensor([[3.0, -1.0, 2.0, -4.0]]))
    tensor([[ 3.,  0.,  0., -4.]])
    """

    def __init__(self, k: int | float, per: str = "sample", gradient: str = "mask"):
        super().__init__(k, gradient)
        self.per = check_choice("per", per, ("sample", "batch"))

    def _dropped(self, x: Tensor) -> Tensor:
        self._check(x)
        rows = x.abs().flatten(1 if self.per == "sample" else 0)
        return dropped(rows, self._count(rows.shape[-1]), -1).reshape(x.shape)

    def extra_repr(self) -> str:
        """Return the parameters that differ from their defaults."""
        return super().extra_repr() + (f", per={self.per!r}" if self.per != "sample" else "")


class TopK(_Projection):
    """Keep the k largest entries of every sample; the rest becomes 0.

    The TopK layer of Xing, Zhu and Wu takes the largest *values*; a ReLU before or after it gives the same.

    Parameters
    ----------
    k : int or float
        Entries of a sample to keep, or their fraction, as in :class:`L0Projection`.
    by : {"value", "magnitude"}, default="value"
        What is compared. By magnitude this is ``L0Projection(k)``.
    gradient : {"mask", "straight-through"}, default="mask"
        As in :class:`L0Projection`.

    Raises
    ------
    ValueError, TypeError
        As :class:`L0Projection` does.

    Notes
    -----
    Ties and NaN are as in :class:`L0Projection`. By value, k entries stay even where they are negative.
    Values are those of :func:`sparsegen_classic.project_topk`.

    References
    ----------
    X. Xing, S.-C. Zhu, Y. N. Wu, "Inducing sparse coding and And-Or grammar from generator network" (2019).

    Examples
    --------
    >>> import torch
    >>> from sparsegen_classic.neural import TopK
    >>> TopK(2)(torch.tensor([[3.0, -1.0, 2.0, -4.0]]))
    tensor([[3., 0., 2., 0.]])
    """

    def __init__(self, k: int | float, by: str = "value", gradient: str = "mask"):
        super().__init__(k, gradient)
        self.by = check_choice("by", by, ("value", "magnitude"))

    def _dropped(self, x: Tensor) -> Tensor:
        self._check(x)
        rows = (x if self.by == "value" else x.abs()).flatten(1)
        return dropped(rows, self._count(rows.shape[1]), 1).reshape(x.shape)

    def extra_repr(self) -> str:
        """Return the parameters that differ from their defaults."""
        return super().extra_repr() + (f", by={self.by!r}" if self.by != "value" else "")


class NeedleProjection(_Projection):
    """Keep the k largest magnitudes at every position; the rest becomes 0.

    A needle is all channels at one position: the L0,inf layer of Ganz and Elad, and the exact projection onto
    the codes of needle count k.

    Parameters
    ----------
    k : int or float
        Entries of a needle to keep: a count from 0, or with a float the fraction of the channels in (0, 1].
    dim : int, default=1
        Axis of the channels: 1 for (n, channels, h, w) in any memory format, -1 for (n, h, w, channels).
    gradient : {"mask", "straight-through"}, default="mask"
        As in :class:`L0Projection`.

    Raises
    ------
    ValueError, TypeError
        As :class:`L0Projection` does.

    Notes
    -----
    Among equal entries the lower channel stays; NaN as in :class:`L0Projection`. Values are those of
    :func:`sparsegen_classic.project_needle`.

    References
    ----------
    R. Ganz, M. Elad, "Improved image generation via sparsity" (2021).

    Examples
    --------
    >>> import torch
    >>> from sparsegen_classic.neural import NeedleProjection
    >>> NeedleProjection(1)(torch.tensor([[3.0, -1.0, 2.0], [-0.5, 1.0, 1.0]]))
    tensor([[3., 0., 0.],
            [0., 1., 0.]])
    """

    def __init__(self, k: int | float, dim: int = 1, gradient: str = "mask"):
        super().__init__(k, gradient)
        self.dim = check_integer("dim", dim, -8, 8)

    def _dropped(self, x: Tensor) -> Tensor:
        self._check(x)
        if not -x.ndim <= self.dim < x.ndim:
            raise ValueError(f"dim={self.dim} must be an axis of x, got shape {tuple(x.shape)}")
        return dropped(x.abs(), self._count(x.shape[self.dim]), self.dim)

    def extra_repr(self) -> str:
        """Return the parameters that differ from their defaults."""
        return super().extra_repr() + (f", dim={self.dim}" if self.dim != 1 else "")


class SoftThreshold(nn.Module):
    """Shrink towards zero: ``sign(x) * max(abs(x) - threshold, 0)``.

    Parameters
    ----------
    threshold : float or sequence of float, one a channel (axis 1 of x)
        At least 0.
    positive : bool, default=False
        Return ``max(x - threshold, 0)``: a ReLU with bias ``-threshold``.
    trainable : bool, default=False
        Make the threshold a parameter, as in LISTA. Training may carry it below 0, which then grows what it
        should shrink: clamp it after each step.

    Raises
    ------
    ValueError, TypeError
        If a threshold is not a finite number from 0.

    Notes
    -----
    The gradient is 1 where the result is not zero, 0 elsewhere, at ``abs(x) == threshold`` too. Values are
    those of :func:`sparsegen_classic.soft_threshold`.

    Examples
    --------
    >>> import torch
    >>> from sparsegen_classic.neural import SoftThreshold
    >>> SoftThreshold(1.0)(torch.tensor([3.0, -2.0, 0.5]))
    tensor([ 2., -1.,  0.])
    """

    threshold: float | Tensor

    def __init__(self, threshold: float | Sequence[float], positive: bool = False, trainable: bool = False):
        super().__init__()
        single = isinstance(threshold, int | float)
        given = [threshold] if isinstance(threshold, int | float) else threshold
        levels = [check_real("threshold", level, 0) for level in given]
        self.positive = bool(positive)
        if single and not trainable:
            self.threshold = levels[0]  # a number is exact in every dtype
            return
        value = torch.tensor(levels[0] if single else levels)
        if trainable:
            self.threshold = nn.Parameter(value)
        else:
            self.register_buffer("threshold", value)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` shrunk, in its shape and dtype."""
        level = self.threshold
        if isinstance(level, Tensor):
            level = level.to(x.dtype)  # under autocast x may be narrower than the parameter
            if level.ndim:
                level = level.reshape(-1, *[1] * (x.ndim - 2))
        shrunk = (x - level).relu()
        return shrunk if self.positive else shrunk - (-x - level).relu()

    def extra_repr(self) -> str:
        """Return the parameters that differ from their defaults."""
        level = self.threshold
        text = f"{tuple(level.shape)} thresholds" if isinstance(level, Tensor) else f"{level}"
        return text + (", positive=True" if self.positive else "")


class L1Penalty(nn.Module):
    """The l1 penalty on activations, a term of the loss: it does not change them.

    Parameters
    ----------
    weight : float, default=1.0
        Factor of the penalty, at least 0.
    reduction : {"batchmean", "mean", "sum"}, default="batchmean"
        Sum over the entries of a sample and mean over samples; mean over all entries; or sum of all.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    The gradient is ``weight * sign(x)`` over the divisor, 0 at 0. Half precision is summed in float32.

    References
    ----------
    R. Ganz, M. Elad, "Improved image generation via sparsity" (2021).

    Examples
    --------
    >>> import torch
    >>> from sparsegen_classic.neural import L1Penalty
    >>> L1Penalty(0.5)(torch.tensor([[3.0, -1.0], [0.0, 2.0]]))
    tensor(1.5000)
    """

    def __init__(self, weight: float = 1.0, reduction: str = "batchmean"):
        super().__init__()
        self.weight = check_real("weight", weight, 0)
        self.reduction = check_choice("reduction", reduction, ("batchmean", "mean", "sum"))

    def forward(self, x: Tensor) -> Tensor:
        """Return the penalty, a tensor without axes."""
        wide = torch.promote_types(x.dtype, torch.float32)
        total = self.weight * x.abs().sum(dtype=wide)
        divisor = {"batchmean": len(x) if x.ndim else 1, "mean": x.numel(), "sum": 1}[self.reduction]
        return total / max(divisor, 1)

    def extra_repr(self) -> str:
        """Return the parameters."""
        return f"weight={self.weight}, reduction={self.reduction!r}"
