"""The sparsity layers of the papers as torch modules; needs ``pip install "sparsegen-classic[torch]"``.

Each layer computes what its numpy reference in ``convolutional`` computes, on any device and dtype.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        'sparsegen_classic.neural needs PyTorch; pip install "sparsegen-classic[torch]"'
    ) from error

from sparsegen_classic.neural.layers import L0Projection, L1Penalty, NeedleProjection, SoftThreshold, TopK
from sparsegen_classic.neural.levels import LayerSparsity, sparsify, sparsity_levels
from sparsegen_classic.neural.synthesis import ConvSynthesis

__all__ = [
    "ConvSynthesis",
    "L0Projection",
    "L1Penalty",
    "LayerSparsity",
    "NeedleProjection",
    "SoftThreshold",
    "TopK",
    "sparsify",
    "sparsity_levels",
]
