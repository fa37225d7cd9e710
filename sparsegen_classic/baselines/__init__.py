"""Simple generators to hold others against: fit on images, ``sample``, and a density where there is one.

============================ ==================================================== =================
baseline                     what it is                                           density
============================ ==================================================== =================
``PPCA``                     one normal of low rank plus noise, in closed form    of the image
``MixtureOfFactorAnalysers`` a mixture of them (or of factor analysers), by EM    of the image
``GroupedGaussians``         one in each group of k-means: the strong one         of the image
``ProjectedDensity``         scikit-learn's mixtures or kernel density on PCA     of the projection
``TrainingCopies``           training images plus noise: must fail the copy test  none
``IndependentPixels``        every pixel by itself: must fail everything else     none
============================ ==================================================== =================

All take ``per_class=True``: one model for each label.
"""

from sparsegen_classic.baselines.base import LabelledImages
from sparsegen_classic.baselines.gaussians import PPCA, GroupedGaussians
from sparsegen_classic.baselines.mixture import MixtureOfFactorAnalysers
from sparsegen_classic.baselines.simple import IndependentPixels, ProjectedDensity, TrainingCopies

__all__ = [
    "PPCA",
    "GroupedGaussians",
    "IndependentPixels",
    "LabelledImages",
    "MixtureOfFactorAnalysers",
    "ProjectedDensity",
    "TrainingCopies",
]
