"""The dictionary of a convolutional model as a torch module."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsegen_classic.convolutional.operator import ConvDictionary

_CONV = {1: functional.conv1d, 2: functional.conv2d}
_TRANSPOSE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d}


class ConvSynthesis(nn.Module):
    """Images from sparse maps: the last, linear layer of a sparse generator.

    ``synthesis(maps)`` is D maps, ``synthesis.analysis(images)`` is D^T images, its exact adjoint, both with
    the filters in ``weight``.

    Parameters
    ----------
    dictionary : ConvDictionary
        Filters and geometry, either boundary, signals or images.
    trainable : bool, default=True
        Whether the filters are a parameter, or a buffer that training leaves alone.

    Attributes
    ----------
    weight : Parameter or Tensor of shape (n_atoms, n_channels, h, w) or (n_atoms, n_channels, length)
        The filters, in the dtype of the dictionary.

    Raises
    ------
    TypeError
        If ``dictionary`` is something else.

    Examples
    --------
    >>> import torch
    >>> from sparsegen_classic import ConvDictionary
    >>> from sparsegen_classic.neural import ConvSynthesis
    >>> synthesis = ConvSynthesis(ConvDictionary([[[1.0, 2.0, 3.0]], [[1.0, -1.0, 0.0]]]), trainable=False)
    >>> synthesis(torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]], dtype=torch.float64))
    tensor([[[0., 1., 2., 3., 0.]]], dtype=torch.float64)
    >>> synthesis.to_dictionary().n_atoms
    2
    """

    weight: Tensor

    def __init__(self, dictionary: ConvDictionary, trainable: bool = True):
        super().__init__()
        if not isinstance(dictionary, ConvDictionary):
            raise TypeError(f"dictionary must be a ConvDictionary, got {type(dictionary).__name__}")
        filters = torch.tensor(dictionary.filters)
        if trainable:
            self.weight = nn.Parameter(filters)
        else:
            self.register_buffer("weight", filters)
        self.stride, self.padding = dictionary.stride, dictionary.padding
        self.output_padding, self.boundary = dictionary.output_padding, dictionary.boundary

    def to_dictionary(self) -> ConvDictionary:
        """Return the filters as they are now, for the numpy side; half precision becomes float32."""
        weight = self.weight.detach().cpu()
        filters = weight.to(torch.promote_types(weight.dtype, torch.float32)).numpy()
        return ConvDictionary(filters, self.stride, self.padding, self.output_padding, self.boundary)

    def forward(self, maps: Tensor) -> Tensor:
        """Return D maps: (n, n_atoms, *maps_shape) to (n, n_channels, *image_shape)."""
        transpose = _TRANSPOSE[self.weight.ndim - 2]
        image = transpose(
            maps, self.weight, stride=self.stride, padding=self.padding, output_padding=self.output_padding
        )
        if self.boundary == "circular":
            for axis, (n, step) in enumerate(zip(maps.shape[2:], self.stride, strict=True), 2):
                image = _wrap(image, axis, n * step)
        return image

    def analysis(self, images: Tensor) -> Tensor:
        """Return D^T images: (n, n_channels, *image_shape) to (n, n_atoms, *maps_shape)."""
        if self.boundary == "circular":
            for axis, (size, step) in enumerate(zip(self.weight.shape[2:], self.stride, strict=True), 2):
                if size > step:
                    images = torch.cat([images, images.narrow(axis, 0, size - step)], axis)
        return _CONV[self.weight.ndim - 2](images, self.weight, stride=self.stride, padding=self.padding)

    def extra_repr(self) -> str:
        """Return shape and geometry."""
        geometry = f"stride={self.stride}, padding={self.padding}, output_padding={self.output_padding}"
        return f"filters {tuple(self.weight.shape)}, {geometry}, boundary={self.boundary!r}"


def _wrap(image: Tensor, axis: int, n: int) -> Tensor:
    """Cut an axis to ``n`` and add what was cut off to its beginning."""
    beyond = image.shape[axis] - n
    if beyond <= 0:
        return image
    head = image.narrow(axis, 0, beyond) + image.narrow(axis, n, beyond)
    return torch.cat([head, image.narrow(axis, beyond, n - beyond)], axis)
