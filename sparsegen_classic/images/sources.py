"""One way in: whatever the source, an :class:`ImageSet`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._validation import check_choice
from sparsegen_classic.images.arrays import convert_array, load_digits, read_array_file
from sparsegen_classic.images.folder import EXTENSIONS, folder_labels, read_files
from sparsegen_classic.images.idx import is_idx, read_idx
from sparsegen_classic.images.pixels import PixelRules


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Images with what is known about them.

    Attributes
    ----------
    images : ndarray of shape (n, h, w) or (n, h, w, 3), float32
        In [0, 1], C-contiguous.
    labels : ndarray of shape (n,) or None
        Integers (idx, digits), sub-folder names (folders), or what the file holds (npz).
    paths : list of Path or None
        The file of every image, for folders and single image files.
    skipped : list of (Path, str)
        Files left out and why.
    source : str
        Where the images come from.
    """

    images: NDArray[np.float32]
    labels: NDArray[Any] | None = None
    paths: list[Path] | None = None
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    source: str = "array"

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        height, width, *colour = self.images.shape[1:]
        classes = "" if self.labels is None else f", {len(np.unique(self.labels))} classes"
        skipped = f", {len(self.skipped)} files skipped" if self.skipped else ""
        kind = "RGB" if colour else "grey"
        what = f"{len(self)} {kind} images of {height}x{width}{classes}{skipped}"
        return f"ImageSet({what}, source={self.source!r})"


def open_images(
    source: str | os.PathLike[str] | NDArray[Any],
    *,
    mode: str = "L",
    size: int | tuple[int, int] | None = None,
    fit: str = "error",
    background: float = 0.0,
    labels: bool = True,
    split: str = "train",
    errors: str = "raise",
    verbose: bool = False,
) -> ImageSet:
    """Open images from a folder, an image, idx, npz or npy file, an array, or the built-in digits.

    Parameters
    ----------
    source : path, ndarray or "digits"
        - A folder of images: searched recursively, in the order of the relative posix paths; extensions in
          any case; names starting with a dot are passed over; links to folders are followed.
        - An image file.
        - An idx file, or a folder that holds idx files under the names of MNIST, plain or gzip.
        - A ``.npz`` file with ``images`` and optionally ``labels``, or a ``.npy`` file (never unpickled).
        - An array (n, h, w) or (n, h, w, c): 1 to 4 channels, grey or RGB, with alpha if even. It is copied.
        - The string ``"digits"``: the 1797 8x8 digits bundled with scikit-learn (``"./digits"`` is a path).
    mode : {"L", "RGB"}, default="L"
        Grey or colour. Grey is ITU-R 601 luma (0.299 R + 0.587 G + 0.114 B): for opaque 8-bit images exactly
        Pillow's ``convert("L")``, for others unrounded. Grey sources are repeated for "RGB".
    size : int or (height, width), optional
        Size of the images. By default that of the source, which must then be one size.
    fit : {"error", "resize", "crop", "pad"}, default="error"
        What to do with an image that is not of ``size``: raise; stretch it; cover ``size`` and cut the
        centre; or fit inside ``size``, centred on ``background``. Resampling is Lanczos, antialiased, in
        float, clipped to [0, 1].
    background : float, default=0.0
        Grey level in [0, 1], black by default, behind transparent pixels (alpha, palette, tRNS) and around
        padded images.
    labels : bool, default=True
        Keep the labels the source has: the first-level sub-folders if all images lie in one, the labels file
        beside idx images, ``labels`` of a npz file.
    split : {"train", "test", "all"}, default="train"
        Which part of a folder of idx files; "all" is train, then test.
    errors : {"raise", "skip", "warn"}, default="raise"
        What to do about image files that cannot be read: raise, naming the file; go on and list them in
        ``skipped``; or that, and warn once at the end. A file of another size is never skipped.
    verbose : bool, default=False
        Show the progress over image files on stderr, if that is a terminal.

    Returns
    -------
    ImageSet
        ``images`` (n, h, w) for "L", (n, h, w, 3) for "RGB", float32 in [0, 1], and what belongs to them.

    Raises
    ------
    FileNotFoundError
        If the path, or the idx split, does not exist.
    ValueError
        For parameters out of their range, damaged files, pixels without a declared range, mixed sizes, and if
        nothing is left. The message names the file, the rule, what was found and the remedy.

    Notes
    -----
    Ranges are declared by the type, never guessed: bool, 8 bits / 255, 16 bits / 65535, floats (TIFF, PFM,
    arrays) must lie in [0, 1]. Of 16-bit *colour* files Pillow reads the upper 8 bits, which is warned of.
    EXIF orientation is applied. Of animations and multi-page files the first frame is taken. Pillow's limit
    against decompression bombs (``PIL.Image.MAX_IMAGE_PIXELS``) counts as a file that cannot be read.

    Examples
    --------
    >>> from sparsegen_classic.images import open_images
    >>> digits = open_images("digits")
    >>> digits
    ImageSet(1797 grey images of 8x8, 10 classes, source='digits')
    >>> open_images(digits.images[:5], mode="RGB", size=(12, 16), fit="pad").images.shape
    (5, 12, 16, 3)
    """
    rules = PixelRules(mode, size, fit, background)
    check_choice("labels", labels, (True, False))
    check_choice("split", split, ("train", "test", "all"))
    check_choice("errors", errors, ("raise", "skip", "warn"))
    if isinstance(source, np.ndarray):
        _no_split(split, "an array")
        return ImageSet(convert_array("the array", source, rules))
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"source must be a path, an array or 'digits', got {type(source).__name__}")
    if source == "digits":
        _no_split(split, "'digits'")
        pixels, digits = load_digits()
        return ImageSet(convert_array("digits", pixels, rules), digits if labels else None, source="digits")
    path = Path(source)
    targets: NDArray[Any] | None
    if not path.exists():
        raise FileNotFoundError(f"source {path} does not exist; give a folder, a file or 'digits'")
    if is_idx(path):
        if not path.is_dir():
            _no_split(split, str(path))
        raw, targets = read_idx(path, split, labels)
        return ImageSet(convert_array(f"images of {path}", raw, rules), targets, source=str(path))
    _no_split(split, str(path))
    if path.suffix.lower() in (".npz", ".npy"):
        raw, targets = read_array_file(path, labels)
        return ImageSet(convert_array(f"images of {path}", raw, rules), targets, source=str(path))
    if path.is_file() and path.suffix.lower() not in EXTENSIONS:
        known = " ".join((".npz", ".npy", "idx3-ubyte[.gz]", *EXTENSIONS))
        raise ValueError(f"source {path} must be a folder or a file ending in {known}")
    images, kept, skipped = read_files(path, rules, errors=errors, verbose=verbose)
    names = folder_labels(path, kept) if labels and path.is_dir() else None
    return ImageSet(images, names, kept, skipped, str(path))


def _no_split(split: str, source: str) -> None:
    if split != "train":
        raise ValueError(f"split={split!r} applies to folders of idx files only; {source} has no splits")
