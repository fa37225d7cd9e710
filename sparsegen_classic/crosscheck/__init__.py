"""A neural sparsity layer or encoder, held against the certified reference."""

from sparsegen_classic.crosscheck.encoder import crosscheck_encoder
from sparsegen_classic.crosscheck.encoder_report import EncoderReport
from sparsegen_classic.crosscheck.layer import assert_layer_matches, crosscheck_layer
from sparsegen_classic.crosscheck.verdicts import Example, LayerReport, Verdict

__all__ = [
    "EncoderReport",
    "Example",
    "LayerReport",
    "Verdict",
    "assert_layer_matches",
    "crosscheck_encoder",
    "crosscheck_layer",
]
