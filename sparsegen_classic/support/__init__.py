"""Which atoms an image uses: a Markov network over supports, its Gibbs sampler, and what to check.

A support is a row of *states* of the doubled dictionary [D, -D], ascending and padded with -1: state ``m``
is atom ``m`` with a positive coefficient, ``n_components + m`` the same atom with a negative one.

:class:`MarkovSupports` is equation (2) of Vaksman and Elad with counts for marginals;
:func:`fit_pseudo_likelihood` and :func:`fit_contrastive_divergence` go on from there, and
:class:`PairwiseSupports` holds factors from anywhere. :class:`GibbsSampler` draws, given evidence if there
is any; :func:`split_rhat` and :func:`effective_sample_size` say whether its chains have mixed.
:func:`enumerate_supports` lists all probabilities where the model is small, :func:`log_partition` estimates
log Z elsewhere, :func:`pseudo_likelihood` does without it, and :func:`to_pgmpy` and :func:`from_pgmpy` lead
to pgmpy and back. :func:`matching_rows` and :func:`largest_overlaps` say how new the drawn supports are.
"""

from sparsegen_classic.support.annealed import LogPartition, log_partition
from sparsegen_classic.support.contrastive import fit_contrastive_divergence
from sparsegen_classic.support.diagnostics import effective_sample_size, split_rhat
from sparsegen_classic.support.exact import enumerate_supports
from sparsegen_classic.support.fitting import fit_pseudo_likelihood
from sparsegen_classic.support.gibbs import GibbsSampler
from sparsegen_classic.support.likelihood import pseudo_likelihood
from sparsegen_classic.support.markov import MarkovSupports
from sparsegen_classic.support.novelty import largest_overlaps, matching_rows, matching_share
from sparsegen_classic.support.pairwise import PairwiseSupports
from sparsegen_classic.support.pgmpy_bridge import from_pgmpy, to_pgmpy
from sparsegen_classic.support.report import SupportReport, report_supports

__all__ = [
    "GibbsSampler",
    "LogPartition",
    "MarkovSupports",
    "PairwiseSupports",
    "SupportReport",
    "effective_sample_size",
    "enumerate_supports",
    "fit_contrastive_divergence",
    "fit_pseudo_likelihood",
    "from_pgmpy",
    "largest_overlaps",
    "log_partition",
    "matching_rows",
    "matching_share",
    "pseudo_likelihood",
    "report_supports",
    "split_rhat",
    "to_pgmpy",
]
