"""Dictionary learning: atoms from signals."""

from sparsegen_classic.dictionary.atoms import dct_atoms
from sparsegen_classic.dictionary.ksvd import KSVD
from sparsegen_classic.dictionary.trainlets import Trainlets
from sparsegen_classic.dictionary.wavelets import cropped_wavelets

__all__ = ["KSVD", "Trainlets", "cropped_wavelets", "dct_atoms"]
