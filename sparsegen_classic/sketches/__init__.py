"""Sketches: a coarse and noisy view of an image is drawn first, then the code that it is a view of.

A pairwise network knows which atoms go together, and a Gaussian how strongly they are used; neither knows
what the atoms add up to. A sketch does: it is the image seen through its first principal components and white
noise, so smooth a law that a few normals hold it, and :class:`SketchedCodes` draws support and coefficients
given it.
"""

from sparsegen_classic.sketches.codes import SketchedCodes

__all__ = ["SketchedCodes"]
