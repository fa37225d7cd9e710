"""Sparse coding over a fixed dictionary: ``X ~ codes @ components``.

A pursuit is a function ``(X, components, n_nonzero_coefs, *, n_jobs, ...) -> codes``, CSR.
"""

from sparsegen_classic.pursuit.boltzmann import (
    boltzmann_from_spins,
    boltzmann_pursuit,
    fit_boltzmann,
    prior_factors,
    support_log_posterior,
)
from sparsegen_classic.pursuit.coder import SparseCoder
from sparsegen_classic.pursuit.omp import omp_arrays, orthogonal_mp
from sparsegen_classic.pursuit.thresholding import (
    iterative_hard_thresholding,
    subspace_pursuit,
    thresholding,
)

__all__ = [
    "SparseCoder",
    "boltzmann_from_spins",
    "boltzmann_pursuit",
    "fit_boltzmann",
    "iterative_hard_thresholding",
    "omp_arrays",
    "orthogonal_mp",
    "prior_factors",
    "subspace_pursuit",
    "support_log_posterior",
    "thresholding",
]
