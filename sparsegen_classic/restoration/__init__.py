"""Restoration over sparse dictionaries: :func:`denoise`, :func:`inpaint`, :func:`estimate_sigma`."""

from sparsegen_classic.restoration.denoising import denoise
from sparsegen_classic.restoration.inpainting import inpaint
from sparsegen_classic.restoration.noise import estimate_sigma

__all__ = ["denoise", "estimate_sigma", "inpaint"]
