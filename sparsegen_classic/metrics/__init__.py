"""What can be said about samples: distances between sets, variety, classes, copies.

Every metric takes arrays: images or feature rows, one a row. None holds all pairs of two sets at once, sums
are in float64, and results do not depend on the number of threads. :func:`evaluate` puts them into one
table, beside what real images, copies and noise get.
"""

from sparsegen_classic.metrics.bins import NDB, TrainingBins, compare_counts, ndb
from sparsegen_classic.metrics.classes import ClassStatistics, class_statistics
from sparsegen_classic.metrics.copies import CopyTest, compare_distances, copy_test
from sparsegen_classic.metrics.coverage import Coverage, precision_recall
from sparsegen_classic.metrics.digit_network import DigitNetwork
from sparsegen_classic.metrics.evaluation import Evaluation, SetFigures, SupportComparison
from sparsegen_classic.metrics.frechet import frechet_distance, frechet_from_moments
from sparsegen_classic.metrics.judge import Judge
from sparsegen_classic.metrics.mmd import MMD, mmd
from sparsegen_classic.metrics.neighbours import nearest_images
from sparsegen_classic.metrics.sliced import sliced_wasserstein
from sparsegen_classic.metrics.supports import SupportMoments, support_moments
from sparsegen_classic.metrics.table import evaluate

__all__ = [
    "MMD",
    "NDB",
    "ClassStatistics",
    "CopyTest",
    "Coverage",
    "DigitNetwork",
    "Evaluation",
    "Judge",
    "SetFigures",
    "SupportComparison",
    "SupportMoments",
    "TrainingBins",
    "class_statistics",
    "compare_counts",
    "compare_distances",
    "copy_test",
    "evaluate",
    "frechet_distance",
    "frechet_from_moments",
    "mmd",
    "ndb",
    "nearest_images",
    "precision_recall",
    "sliced_wasserstein",
    "support_moments",
]
