"""Sparsity in whole networks: projections put after named layers, and how sparse every layer is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class SparsityHandle:
    """What :func:`sparsify` returns: takes the projections off again, by ``remove()`` or as a context."""

    def __init__(self, handles: list[RemovableHandle]):
        self._handles = handles

    def remove(self) -> None:
        """Take the projections off."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> SparsityHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


@dataclass(frozen=True)
class _After:
    """A forward hook that sends the output of a module through another."""

    projection: Callable[[Tensor], Tensor]

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return self.projection(output)


def sparsify(network: nn.Module, projections: Mapping[str, Callable[[Tensor], Tensor]]) -> SparsityHandle:
    """Send the outputs of named layers of a network through projections: multi-layer sparsity.

    Parameters
    ----------
    network : torch.nn.Module
        Stays as it is otherwise: no names and no entries of its ``state_dict`` change.
    projections : mapping from name to module
        Names as in ``network.named_modules()``, each with its own layer and k. A trainable projection is not
        among the parameters of the network: give its own to the optimizer.

    Returns
    -------
    SparsityHandle
        ``remove()`` takes the projections off; so does the end of a ``with`` block.

    Raises
    ------
    ValueError
        If the network has no layer of a name.

    Notes
    -----
    The multi-layer variant of Ganz and Elad projects two consecutive activations by needles; in their deep
    image prior, the outputs of all scales of the encoder. Call it before ``torch.compile``.

    References
    ----------
    R. Ganz, M. Elad, "Improved image generation via sparsity" (2021).

    Examples
    --------
    >>> import torch
    >>> from sparsegen_classic.neural import NeedleProjection, sparsify, sparsity_levels
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 3))
    >>> with sparsify(network, {"1": NeedleProjection(2)}):
    ...     sparsity_levels(network, torch.randn(4, 1, 12, 12), ["1"])[0].largest_needle
    2
    """
    modules = dict(network.named_modules())
    _check_names("projections", projections, modules)
    return SparsityHandle(
        [modules[name].register_forward_hook(_After(projection)) for name, projection in projections.items()]
    )


@dataclass(frozen=True, eq=False)
class LayerSparsity:
    """How sparse the activations of one layer are.

    Attributes
    ----------
    name : str
        The layer.
    shape : tuple of int
        Shape of one sample, (channels, *positions).
    n_samples : int
        Samples that were counted.
    share : float
        Share of entries that are not zero.
    needle_map : ndarray of shape positions, float64
        Mean number of non-zeros of the needle at every position; () where the activations are vectors.
    largest_needle : int
        The most non-zeros of any needle.
    """

    name: str
    shape: tuple[int, ...]
    n_samples: int
    share: float
    needle_map: NDArray[np.float64]
    largest_needle: int

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape))
        return (
            f"{self.name} ({size}): {self.share:.1%} non-zeros, {self.needle_map.mean():.3g} of "
            f"{self.shape[0]} a needle, at most {self.largest_needle}"
        )


def sparsity_levels(
    network: nn.Module, x: Tensor | Iterable[Any], layers: Iterable[str] | None = None
) -> list[LayerSparsity]:
    """Count the non-zeros of the activations of a network, layer by layer.

    Parameters
    ----------
    network : torch.nn.Module
        Any; it runs without gradients, in its own mode (call ``eval()`` before).
    x : Tensor or iterable of Tensor
        One batch or many, such as a ``DataLoader``; of tuples the first entry. On the network's device.
    layers : iterable of str, optional
        Names as in ``network.named_modules()``, each called at most once a pass. By default all modules
        without children whose output is floating point with an axis of samples.

    Returns
    -------
    list of LayerSparsity
        In the order of the first pass. Draw them with ``plots_encoder.plot_sparsity_levels`` and
        ``plot_needle_map``: Fig. 3 of Ganz and Elad.

    Raises
    ------
    ValueError
        If there is no layer of a name, a layer was not reached, or changed its shape between batches.

    Examples
    --------
    >>> import torch
    >>> from sparsegen_classic.neural import TopK, sparsity_levels
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), TopK(3))
    >>> for level in sparsity_levels(network, torch.arange(1.0, 13).reshape(2, 6, 1)):
    ...     print(level)
    0 (6): 100.0% non-zeros, 6 of 6 a needle, at most 6
    1 (6): 50.0% non-zeros, 3 of 6 a needle, at most 3
    """
    modules = dict(network.named_modules())
    wanted = list(layers) if layers is not None else [n for n, m in modules.items() if not [*m.children()]]
    _check_names("layers", wanted, modules)
    counts: dict[str, _Counts] = {}

    def count(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.is_floating_point() and output.ndim >= 2:
            counts.setdefault(name, _Counts(name, tuple(output.shape[1:]))).add(output)

    handles = [
        modules[name].register_forward_hook(lambda module, args, output, name=name: count(name, output))
        for name in wanted
    ]
    try:
        with torch.no_grad():
            for batch in [x] if isinstance(x, Tensor) else x:
                network(batch[0] if isinstance(batch, list | tuple) else batch)
    finally:
        for handle in handles:
            handle.remove()
    missed = [name for name in wanted if name not in counts] if layers is not None else []
    if missed:
        raise ValueError(f"layers {missed} gave no floating-point activations; leave them out")
    return [one.result() for one in counts.values()]


class _Counts:
    """Sums over the batches of one layer."""

    def __init__(self, name: str, shape: tuple[int, ...]):
        self.name, self.shape = name, shape
        self.n_samples, self.largest, self.total = 0, 0, np.zeros(shape[1:])

    def add(self, output: Tensor) -> None:
        if tuple(output.shape[1:]) != self.shape:
            raise ValueError(
                f"layer {self.name!r} must keep its shape {self.shape}, got {tuple(output.shape[1:])}; give "
                "images of one size, and no layer that is called more than once"
            )
        needles = torch.count_nonzero(output, dim=1).cpu().numpy()
        self.n_samples += len(needles)
        self.total = self.total + needles.sum(axis=0)
        self.largest = max(self.largest, int(needles.max(initial=0)))

    def result(self) -> LayerSparsity:
        needle_map = self.total / max(self.n_samples, 1)
        share = float(needle_map.mean()) / self.shape[0] if needle_map.size else 0.0
        return LayerSparsity(self.name, self.shape, self.n_samples, share, needle_map, self.largest)


def _check_names(parameter: str, names: Iterable[str], modules: Mapping[str, nn.Module]) -> None:
    unknown = [name for name in names if name not in modules]
    if unknown:
        known = ", ".join(name for name in modules if name)
        raise ValueError(f"{parameter} names {unknown}, which the network has not; it has {known}")
