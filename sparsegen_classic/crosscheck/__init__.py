"""A neural sparsity layer or encoder, held against the certified reference."""

from sparsegen_classic.crosscheck.layer import assert_layer_matches, crosscheck_layer
from sparsegen_classic.crosscheck.verdicts import Example, LayerReport, Verdict

__all__ = ["Example", "LayerReport", "Verdict", "assert_layer_matches", "crosscheck_layer"]
