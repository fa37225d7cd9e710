"""Image data in and out: :func:`open_images` reads every source, :func:`save_images` writes every form.

:func:`store_images` keeps on disk what memory cannot hold.

Inside the package images are (n, h, w) or (n, h, w, 3), float32, in [0, 1], C-contiguous. The policies
(range, grey, alpha, orientation, size, damaged files) are explicit parameters; nothing is rescaled by guess.
"""

from sparsegen_classic.images.families import group_images
from sparsegen_classic.images.grid import check_target, image_grid, save_images
from sparsegen_classic.images.patches import (
    PatchGrid,
    add_means,
    assemble_patches,
    extract_patches,
    sample_patches,
    split_means,
)
from sparsegen_classic.images.sources import ImageSet, open_images
from sparsegen_classic.images.store import ImageStore, store_images
from sparsegen_classic.images.tone import N_LEVELS, apply_tone, contrast_and_curve, flat_curve, tone_curve

__all__ = [
    "N_LEVELS",
    "ImageSet",
    "ImageStore",
    "PatchGrid",
    "add_means",
    "apply_tone",
    "assemble_patches",
    "check_target",
    "contrast_and_curve",
    "extract_patches",
    "flat_curve",
    "group_images",
    "image_grid",
    "open_images",
    "sample_patches",
    "save_images",
    "split_means",
    "store_images",
    "tone_curve",
]
