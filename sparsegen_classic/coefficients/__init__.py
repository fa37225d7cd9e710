"""Coefficients given a support: Gaussian moments by EM with missing data, positive draws."""

from sparsegen_classic.coefficients.gaussian import GaussianCoefficients
from sparsegen_classic.coefficients.missing_data import MissingDataGaussian
from sparsegen_classic.coefficients.truncated import sample_truncated_normal

__all__ = ["GaussianCoefficients", "MissingDataGaussian", "sample_truncated_normal"]
