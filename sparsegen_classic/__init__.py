"""sparsegen_classic."""

from sparsegen_classic._version import __version__
from sparsegen_classic.dictionary import KSVD
from sparsegen_classic.pursuit import orthogonal_mp

__all__ = ["KSVD", "__version__", "orthogonal_mp"]
