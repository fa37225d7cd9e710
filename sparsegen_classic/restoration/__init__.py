"""Restoration over sparse dictionaries, and codes of whole images.

:func:`denoise` and :func:`inpaint` restore one image; :func:`learn_patch_dictionary`, :func:`encode_images`
and :func:`reconstruct_images` work through folders of images of mixed sizes.
"""

from sparsegen_classic.restoration.denoising import denoise
from sparsegen_classic.restoration.inpainting import inpaint
from sparsegen_classic.restoration.noise import estimate_sigma
from sparsegen_classic.restoration.patch_codes import (
    decode_images,
    encode_images,
    iterate_images,
    read_image,
    reconstruct_images,
    save_image,
)
from sparsegen_classic.restoration.patch_learning import learn_patch_dictionary

__all__ = [
    "decode_images",
    "denoise",
    "encode_images",
    "estimate_sigma",
    "inpaint",
    "iterate_images",
    "learn_patch_dictionary",
    "read_image",
    "reconstruct_images",
    "save_image",
]
