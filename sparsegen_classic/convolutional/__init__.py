"""Convolutional sparse coding: dictionaries of small filters, shifted over the whole image."""

from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.convolutional.sparse_maps import SparseMaps

__all__ = ["ConvDictionary", "SparseMaps"]
