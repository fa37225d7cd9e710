"""Folders of image files, read through Pillow."""

from __future__ import annotations

import errno
import os
import stat
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm import tqdm

from sparsegen_classic.images.pixels import PixelRules, check_pixels, to_size, to_unit

_FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
EXTENSIONS = (
    *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"),
    *(".pbm", ".pfm", ".pgm", ".pnm", ".ppm"),
)
_NOT_OF_THE_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # the machine is at its limit
_BUFFER = 2**16  # bytes: one call of the system reads a small file


def read_files(
    source: Path, rules: PixelRules, *, errors: str, verbose: bool
) -> tuple[NDArray[np.float32], list[Path], list[tuple[Path, str]]]:
    """Return images, their paths, and what was left out with the reason, of a folder or of one file."""
    files = find_images(source) if source.is_dir() else [source]
    bar = tqdm(files, desc="reading images", unit="image", disable=None) if verbose else files
    images, kept, skipped, reduced = read_block(bar, rules, errors)
    report_left_out(source, len(files), skipped, reduced, errors, stacklevel=4)
    return images, [files[i] for i in kept], skipped


def read_block(
    files: Collection[Path], rules: PixelRules, errors: str = "raise"
) -> tuple[NDArray[np.float32], NDArray[np.intp], list[tuple[Path, str]], list[Path]]:
    """Read image files of one size.

    Parameters
    ----------
    files : collection of Path
        Any number of them, e.g. a block of a folder.
    rules : PixelRules
        What every image is turned into.
    errors : {"raise", "skip", "warn"}, default="raise"
        "raise" names the first file that cannot be read; the others leave such files out.

    Returns
    -------
    images : ndarray of shape (m, h, w) or (m, h, w, 3), float32
        In the order of the files. Without any, h and w are those of the rules, or 0.
    kept : ndarray of shape (m,), int
        Their numbers in ``files``.
    skipped : list of (Path, str)
        What was left out, and why.
    reduced : list of Path
        Files of which Pillow gave 8 of 16 bits.

    Raises
    ------
    ValueError
        If a file cannot be read, or is not of the size of the first one.
    """
    images = np.empty((0, *rules.output_shape(0, 0)), np.float32)
    kept: list[int] = []
    skipped: list[tuple[Path, str]] = []
    reduced: list[Path] = []
    for i, file in enumerate(files):
        try:
            pixels, eight_of_sixteen = decode(file)
            image = to_unit(pixels, rules)
        except Exception as error:  # on bad files Pillow raises OSError, SyntaxError, struct.error, ...
            if isinstance(error, MemoryError) or getattr(error, "errno", None) in _NOT_OF_THE_FILE:
                raise
            reason = _reason(error)
            if errors == "raise":
                raise ValueError(
                    f"{file} cannot be read as an image: {reason}; repair or remove it, or pass "
                    "errors='skip' or 'warn' to go on without such files"
                ) from error
            skipped.append((file, reason))
            continue
        image = to_size(image, rules, str(file))
        if not kept:
            first, images = file, np.empty((len(files), *image.shape), np.float32)
        check_one_size(first, images.shape[1:], file, image.shape)
        images[len(kept)] = image
        kept.append(i)
        if eight_of_sixteen:
            reduced.append(file)
    return images[: len(kept)], np.array(kept, np.intp), skipped, reduced


def report_left_out(
    source: Path,
    n_files: int,
    skipped: list[tuple[Path, str]],
    reduced: list[Path],
    errors: str,
    stacklevel: int = 3,
) -> None:
    """Raise if no file was left, and warn of what ``errors="warn"`` and 16-bit files ask for."""
    named = "; ".join(list_skipped(skipped))
    if len(skipped) == n_files:
        raise ValueError(f"none of the {n_files} image files of {source} could be read; {named}")
    if reduced:
        warnings.warn(
            f"{len(reduced)} of {n_files} files hold 16 bits per channel in colour or with alpha, of "
            f"which Pillow reads the upper 8: {reduced[0]}{', ...' if len(reduced) > 1 else ''}",
            stacklevel=stacklevel,
        )
    if skipped and errors == "warn":
        message = f"{len(skipped)} of {n_files} image files could not be read and were left out"
        warnings.warn(f"{message}; {named}", stacklevel=stacklevel)


def check_one_size(first: Path, shape: tuple[int, ...], second: Path, other: tuple[int, ...]) -> None:
    """Raise, naming two files, if their images (h, w[, 3]) are not of one size."""
    if shape != other:
        raise ValueError(
            f"images differ in size (height x width): {first} is {shape[0]}x{shape[1]}, {second} is "
            f"{other[0]}x{other[1]}; pass size and fit='resize', 'crop' or 'pad'"
        )


def find_images(folder: Path) -> list[Path]:
    """Return the image files below ``folder``, by their relative posix path; hidden ones are passed over."""
    names = sorted(_walk(os.fspath(folder), "", frozenset([os.path.realpath(folder)])))
    if not names:
        raise ValueError(f"{folder} holds no images; files ending in {' '.join(EXTENSIONS)} are looked for")
    return [folder / name for name in names]


def _walk(folder: str, prefix: str, above: frozenset[str]) -> Iterator[str]:
    """Follow links to folders, but not back to a folder that is being walked."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            # what the listing says of an entry costs nothing, but it says nothing of links
            if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                real = os.path.realpath(entry.path)
                if real not in above:
                    yield from _walk(entry.path, f"{prefix}{entry.name}/", above | {real})
            elif entry.name.lower().endswith(EXTENSIONS):
                yield prefix + entry.name


def folder_labels(folder: Path, files: list[Path]) -> NDArray[np.str_] | None:
    """Return the first-level sub-folder of every file, or None if a file lies in ``folder`` itself."""
    root = folder if files[0].is_relative_to(folder) else folder.resolve()  # as the files name it
    parts = [file.relative_to(root).parts for file in files]
    return np.array([part[0] for part in parts]) if all(len(part) > 1 for part in parts) else None


def decode(file: Path) -> tuple[NDArray[Any], bool]:
    """Return the upright first frame, (h, w, c) of uint8, uint16 or float32, and if 16 bits were cut to 8."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError("it is no regular file")  # a pipe would keep us waiting
    # a stream, not a path: Pillow maps files given by path, and then misreads rotated uncompressed TIFF
    with file.open("rb", buffering=_BUFFER) as stream, _open(stream) as image:
        reduced = _eight_of_sixteen(image)
        declares_16_bits = image.mode == "I" and image.format in ("PNG", "PPM")  # Pillow < 11
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _stored_pixels(image, declares_16_bits), reduced


def _open(stream: IO[bytes]) -> Image.Image:
    """Open an image of the formats we name: others can start programs (PostScript), whatever the suffix."""
    image = Image.open(stream, formats=_FORMATS)
    # Pillow raises above twice its limit, and up to there warns; warning filters are not for threads
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError
    return image


def _eight_of_sixteen(image: Image.Image) -> bool:
    """Say if the file holds more bits per channel than Pillow will decode; its tiles name the raw format."""
    if image.mode not in ("LA", "RGB", "RGBA", "RGBX", "CMYK"):
        return False
    formats = [(tile[0], tile[3]) for tile in getattr(image, "tile", ())]
    return any(";16" in str(raw) or (codec == "ppm" and raw[1] > 255) for codec, raw in formats)


def _stored_pixels(image: Image.Image, declares_16_bits: bool) -> NDArray[Any]:
    if declares_16_bits or image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint16)
        clear = image.info.get("transparency")
        return (
            grey[..., np.newaxis] if clear is None else np.dstack([grey, np.uint16(65535) * (grey != clear)])
        )
    if image.mode == "I":
        raise ValueError("32-bit integers declare no range; store 8 or 16 bits, or floats in [0, 1]")
    if image.mode == "F":
        pixels = np.asarray(image)[..., np.newaxis]
        check_pixels("an image", pixels)
        return pixels
    if image.has_transparency_data:
        return np.asarray(image.convert("RGBA"))
    if image.mode in ("1", "L"):
        return np.asarray(image if image.mode == "L" else image.convert("L"))[..., np.newaxis]
    return np.asarray(image.convert("RGB"))


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return (
            "it holds more pixels than the decompression-bomb limit of Pillow (PIL.Image.MAX_IMAGE_PIXELS = "
            f"{Image.MAX_IMAGE_PIXELS}); raise that limit if you trust the file"
        )
    if isinstance(error, Image.UnidentifiedImageError):
        return "Pillow does not recognise its content"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without the path, which is named already
    return str(error) or type(error).__name__


def list_skipped(skipped: list[tuple[Path, str]], n_shown: int = 5) -> list[str]:
    """Return lines that name the first files left out, each with the reason."""
    shown = [f"{file}: {reason}" for file, reason in skipped[:n_shown]]
    return shown + [f"and {len(skipped) - n_shown} more"] * (len(skipped) > n_shown)
