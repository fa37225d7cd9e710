"""Sparse coding over a fixed dictionary: ``X ~ codes @ components``."""

from sparsegen_classic.pursuit.omp import omp_arrays, orthogonal_mp

__all__ = ["omp_arrays", "orthogonal_mp"]
