"""Running somebody's encoder: whatever it is made of, numpy maps come out, or a finding that says why not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.crosscheck.adapters import EPS, Adapter, adapter_of

Floats = NDArray[np.floating]
SMALLEST = 1e-100  # objective that others are divided by: that of an image of zeros is 0


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    name : str
        What kind of thing: "raises", "shape", "finite", "batch", "positive", "values", "objective", "count",
        "dead maps", or the cause of a deviation, such as "lam" or "filters flipped".
    message : str
        What is wrong, in a sentence.
    """

    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class Unusable(Exception):
    """The encoder gave nothing that could be compared; the argument is the finding."""

    @property
    def finding(self) -> Finding:
        """Why not."""
        return self.args[0]


@dataclass(frozen=True, eq=False)
class Stack:
    """A plain network of convolutions, each followed by a ReLU."""

    convolutions: list[Any]
    activations: list[Any]

    def dictionaries(self, image_shape: Sequence[int]) -> list[ConvDictionary]:
        """Return its weights as dictionaries; the output padding follows from the size of the images."""
        layers: list[ConvDictionary] = []
        shape = tuple(image_shape)
        for conv in self.convolutions:
            filters = conv.weight.detach().double().cpu().numpy()
            sizes = zip(shape, conv.padding, filters.shape[2:], conv.stride, strict=True)
            spare = [(n + 2 * p - k) % s for n, p, k, s in sizes]
            layers.append(ConvDictionary(filters, conv.stride, conv.padding, spare))
            shape = layers[-1].maps_shape(shape)
        return layers

    def thresholds(self) -> list[Any]:
        """Return minus its biases, one array a layer."""
        return [
            np.zeros(c.out_channels) if c.bias is None else -c.bias.detach().double().cpu().numpy()
            for c in self.convolutions
        ]

    def __str__(self) -> str:
        sizes = " - ".join(str(c.in_channels) for c in self.convolutions)
        return (
            f"{len(self.convolutions)} x (convolution + ReLU), {sizes} - {self.convolutions[-1].out_channels}"
        )


def as_stack(encoder: Any) -> Stack | None:
    """Return the encoder as a plain stack if it is one: a torch ``Sequential`` of Conv and ReLU in turn."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(encoder, torch.nn.Sequential):
        return None
    idle = torch.nn.Identity | torch.nn.Dropout | torch.nn.Dropout2d
    leaves = [m for m in _leaves(encoder, torch.nn.Sequential) if not isinstance(m, idle)]
    convolutions, activations = leaves[::2], leaves[1::2]
    plain = len(convolutions) == len(activations) and len(leaves) > 0
    plain = plain and all(isinstance(m, torch.nn.ReLU) for m in activations)
    plain = plain and all(
        isinstance(m, torch.nn.Conv1d | torch.nn.Conv2d)
        and (m.groups, m.padding_mode, set(m.dilation)) == (1, "zeros", {1})
        and not isinstance(m.padding, str)
        and all(s <= k and p < k for s, p, k in zip(m.stride, m.padding, m.kernel_size, strict=True))
        for m in convolutions
    )
    return Stack(convolutions, activations) if plain else None


def _leaves(module: Any, container: Any) -> list[Any]:
    if not isinstance(module, container):
        return [module]
    return [leaf for child in module for leaf in _leaves(child, container)]


class Encoder:
    """An encoder behind numpy: images (n, n_channels, *image_shape) in, a list of maps out."""

    def __init__(self, encoder: Any, framework: str = "auto", device: Any = None):
        self.adapter: Adapter = adapter_of(encoder, framework, device)
        self.stack = as_stack(encoder)
        self.dtype = ""
        self.eps = 0.0

    def __call__(self, images: Floats) -> list[Floats]:
        """Return the maps of all layers, float64, or raise :class:`Unusable`."""
        known = (self.dtype,) if self.dtype else self.adapter.main_dtypes[::-1]
        raised: Exception | None = None
        for dtype in known:  # float64 first: the less rounding, the sharper the comparison
            try:
                answers = self._run(self.adapter.native(images, dtype))
            except Exception as error:  # a user's code may raise anything
                raised = error
                continue
            maps = [self._read(answer) for answer in answers]
            for z in maps:
                if not np.isfinite(z).all():
                    message = f"{np.count_nonzero(~np.isfinite(z))} of {z.size} entries are NaN or infinite"
                    raise Unusable(Finding("finite", message))
            return maps
        text = f"{type(raised).__name__}: {raised}".splitlines()[0][:300]
        raise Unusable(Finding("raises", f"images of shape {images.shape} make the encoder raise {text}"))

    def _run(self, native: Any) -> list[Any]:
        layer, torch = self.adapter.layer, sys.modules.get("torch")
        if self.adapter.framework != "torch" or torch is None:
            return _as_list(self.adapter.run(native))
        training = bool(getattr(layer, "training", False))
        caught: list[Any] = []
        hooks = [
            module.register_forward_hook(lambda m, args, output: caught.append(output.clone()))
            for module in self._activations()
        ]
        try:
            self.adapter.set_training(False)
            with torch.no_grad():
                answer = self.adapter.run(native)
        finally:
            self.adapter.set_training(training)
            for hook in hooks:
                hook.remove()
        return caught or _as_list(answer)

    def _activations(self) -> list[Any]:
        return list({id(m): m for m in self.stack.activations}.values()) if self.stack else []

    def _read(self, answer: Any) -> Floats:
        if not self.adapter.is_own(answer):
            message = f"must return maps or a list of them, got {type(answer).__name__}"
            raise Unusable(Finding("raises", message))
        maps, self.dtype = self.adapter.read(answer)
        self.eps = EPS.get(self.dtype, 2.0**-52)
        return maps


def _as_list(answer: Any) -> list[Any]:
    return list(answer) if isinstance(answer, list | tuple) else [answer]


def check_shapes(maps: Sequence[Floats], n_images: int, layers: Sequence[ConvDictionary], image: Any) -> None:
    """Raise :class:`Unusable` if maps are not those of the layers; say of which stride they would be."""
    if len(maps) != len(layers):
        message = (
            f"must return the maps of all {len(layers)} layers as a list, the image's first, got {len(maps)}"
        )
        raise Unusable(Finding("shape", message))
    shape = tuple(image)
    for i, (z, layer) in enumerate(zip(maps, layers, strict=True), 1):
        spatial = layer.maps_shape(shape)
        wanted = (n_images, layer.n_atoms, *spatial)
        if z.shape != wanted:
            message = f"layer {i} must have maps of shape {wanted}, got {z.shape}{_misread(z, layer, shape)}"
            raise Unusable(Finding("shape", message))
        shape = spatial


def _misread(z: Floats, layer: ConvDictionary, image: Sequence[int]) -> str:
    """Name the geometry whose maps have the shape of z, the nearest to the true one first."""
    got = z.shape[2:]
    if len(got) != len(image) or z.shape[1] != layer.n_atoms:
        last = z.ndim == len(image) + 2 and z.shape[-1] == layer.n_atoms
        return "; channels come last, they must be axis 1" if last else ""
    step, crop = layer.stride[0], layer.padding[0]
    fitting = [
        (s, p)
        for s, p in product(range(1, max(layer.atom_shape) + 1), range(max(layer.atom_shape)))
        if all((n + 2 * p - k) // s + 1 == g for n, k, g in zip(image, layer.atom_shape, got, strict=True))
    ]
    if not fitting:
        return ""
    s, p = min(fitting, key=lambda f: ((f[0] != step) + (f[1] != crop), abs(f[1] - crop), abs(f[0] - step)))
    return (
        f": that is what stride {s} and padding {p} give, the dictionary has stride {step} and padding {crop}"
    )
