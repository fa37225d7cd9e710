"""Dictionary learning: atoms from signals."""

from sparsegen_classic.dictionary.ksvd import KSVD

__all__ = ["KSVD"]
