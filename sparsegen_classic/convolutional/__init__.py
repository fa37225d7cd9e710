"""Convolutional sparse coding: dictionaries of small filters, shifted over the whole image."""

from sparsegen_classic.convolutional.counts import SparsityCounts, sparsity_counts
from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.convolutional.projections import (
    project_l0,
    project_l1,
    project_needle,
    project_topk,
    soft_threshold,
)
from sparsegen_classic.convolutional.sparse_maps import SparseMaps

__all__ = [
    "ConvDictionary",
    "SparseMaps",
    "SparsityCounts",
    "project_l0",
    "project_l1",
    "project_needle",
    "project_topk",
    "soft_threshold",
    "sparsity_counts",
]
