"""sparsegen_classic."""

from sparsegen_classic._version import __version__

__all__ = ["__version__"]
