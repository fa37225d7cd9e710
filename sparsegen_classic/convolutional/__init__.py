"""Convolutional sparse coding: dictionaries of small filters, shifted over the whole image."""

from sparsegen_classic.convolutional.coder import ConvSparseCoder
from sparsegen_classic.convolutional.counts import SparsityCounts, sparsity_counts
from sparsegen_classic.convolutional.l0 import L0Result, csc_iht, csc_mp, csc_omp
from sparsegen_classic.convolutional.l1 import ConvCode
from sparsegen_classic.convolutional.learning import ConvDictionaryLearning
from sparsegen_classic.convolutional.learning_steps import split_lowpass
from sparsegen_classic.convolutional.multilayer import MultiLayerCode, MultiLayerCSC
from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.convolutional.projections import (
    project_l0,
    project_l1,
    project_needle,
    project_topk,
    soft_threshold,
)
from sparsegen_classic.convolutional.sparse_maps import SparseMaps
from sparsegen_classic.convolutional.stripe import StripeProjection, project_stripe

__all__ = [
    "ConvCode",
    "ConvDictionary",
    "ConvDictionaryLearning",
    "ConvSparseCoder",
    "L0Result",
    "MultiLayerCSC",
    "MultiLayerCode",
    "SparseMaps",
    "SparsityCounts",
    "StripeProjection",
    "csc_iht",
    "csc_mp",
    "csc_omp",
    "project_l0",
    "project_l1",
    "project_needle",
    "project_stripe",
    "project_topk",
    "soft_threshold",
    "sparsity_counts",
    "split_lowpass",
]
