"""Whole images as codes over a dictionary of patches.

One image at a time is in memory, whatever the folder holds and whatever the sizes of its images.
"""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import sparse
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from sparsegen_classic._archive import Archive, ArchiveError, check_compressed, open_archive, pack_json
from sparsegen_classic._files import atomic_write, check_output, write_array
from sparsegen_classic._validation import check_choice, check_integer
from sparsegen_classic.dictionary import KSVD
from sparsegen_classic.images import open_images
from sparsegen_classic.images.folder import EXTENSIONS, find_images, read_files
from sparsegen_classic.images.patches import PatchGrid, add_means, split_means
from sparsegen_classic.images.pixels import PixelRules
from sparsegen_classic.pursuit import orthogonal_mp
from sparsegen_classic.restoration.planes import BLOCK

_FORMAT, _FORMAT_VERSION = "sparsegen_classic patch codes", 1
_PARTS = ("data", "indices", "indptr", "means")


def iterate_images(
    source: str | os.PathLike[str] | NDArray[Any],
    *,
    mode: str = "L",
    errors: str = "raise",
    verbose: int = 0,
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the name and the pixels of one image after another, of any sizes.

    Parameters
    ----------
    source : path, ndarray or "digits"
        A folder of images or an image file is read file by file; everything else as by ``open_images``.
    mode : {"L", "RGB"}, default="L"
        Grey (h, w) or colour (h, w, 3).
    errors : {"raise", "skip", "warn"}, default="raise"
        What to do about files that cannot be read; "warn" counts and names them at the end.
    verbose : int, default=0
        With 1, a progress bar on stderr if that is a terminal.

    Yields
    ------
    name : str
        Path below the folder, with forward slashes; the number of an image that is no file.
    image : ndarray of float32, in [0, 1]
    """
    rules = PixelRules(mode)
    check_choice("errors", errors, ("raise", "skip", "warn"))
    path = Path(source) if isinstance(source, str | os.PathLike) else None
    files = [] if path is None else image_files(path)
    if path is None or not files:
        for i, image in enumerate(open_images(source, mode=mode).images):
            yield f"{i:05d}", image
        return
    unreadable: list[str] = []
    for file in tqdm(files, desc="images", unit="image", disable=None if verbose else True):
        try:
            images, _, _ = read_files(file, rules, errors="raise", verbose=False)
        except ValueError as error:
            if errors == "raise":
                raise
            unreadable.append(str(error).partition(";")[0])
            continue
        yield (file.relative_to(path).as_posix() if path.is_dir() else file.name), images[0]
    if len(unreadable) == len(files):
        raise ValueError(f"none of the {len(files)} image files of {path} could be read; {unreadable[0]}")
    if unreadable and errors == "warn":
        message = f"{len(unreadable)} of {len(files)} image files could not be read and were left out"
        warnings.warn(f"{message}; {'; '.join(unreadable[:5])}", stacklevel=2)


def read_image(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Return one image file as (h, w), or (h, w, 3) if its channels differ, float32 in [0, 1]."""
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a directory; give an image file")
    ((_, pixels),) = iterate_images(path, mode="RGB")
    grey = (pixels == pixels[..., :1]).all()
    return np.ascontiguousarray(pixels[..., 0]) if grey else pixels


def encode_images(
    source: str | os.PathLike[str] | NDArray[Any],
    model: KSVD,
    path: str | os.PathLike[str],
    *,
    stride: int | None = None,
    n_nonzero_coefs: int | None = None,
    tol: float | None = None,
    errors: str = "raise",
    overwrite: bool = False,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> dict[str, Any]:
    """Code all patches of all images of ``source`` and write the codes to a ``.npz`` file.

    Parameters
    ----------
    source, errors
        As for :func:`iterate_images`; grey or colour as the dictionary is.
    model : KSVD
        From :func:`learn_patch_dictionary`.
    path : path
        File to write: for image i the arrays ``i.data``, ``i.indices``, ``i.indptr`` (CSR codes, a row for a
        patch) and ``i.means``; and ``header``, JSON with names and shapes of the images.
    stride : int, default=None
        Step between patches, at most the side of a patch. None puts them side by side, without overlap.
    n_nonzero_coefs, tol : default=None
        As for ``orthogonal_mp``; None for both takes those of the model.
    overwrite : bool, default=False
        Replace an existing file.
    n_jobs, verbose
        As for ``KSVD``.

    Returns
    -------
    dict
        ``images`` and ``patches`` (counts), ``nonzeros`` (mean of a patch) and ``rmse`` (of the patches).
    """
    path = check_output(path, overwrite)
    patch_shape, mean = _patch_rules(model)
    sides, n_channels = tuple(patch_shape[:2]), (patch_shape[2] if len(patch_shape) > 2 else 1)
    step = sides if stride is None else check_integer("stride", stride, 1, min(sides))
    if n_nonzero_coefs is None and tol is None:
        n_nonzero_coefs, tol = model.n_nonzero_coefs, cast(float | None, model.tol)
    mode = "RGB" if n_channels == 3 else "L"
    entries: list[dict[str, Any]] = []
    n_patches, n_nonzeros, squared = 0, 0, 0.0
    with atomic_write(path, overwrite) as file, zipfile.ZipFile(file, "w") as archive:
        images = iterate_images(source, mode=mode, errors=errors, verbose=verbose)
        for name, image in images:
            grid = _grid(name, image.shape, sides, step)
            codes, means = [], []
            for _, patches in grid.blocks(image, BLOCK):
                X, mean_of = split_means(patches, mean, n_channels)
                codes.append(orthogonal_mp(X, model.components_, n_nonzero_coefs, tol, n_jobs=n_jobs))
                means.append(mean_of)
                squared += float(np.sum((X - codes[-1] @ model.components_) ** 2, dtype=np.float64))
            rows = sparse.csr_array(sparse.vstack(codes, format="csr"))
            for part, array in zip(
                _PARTS, (rows.data, rows.indices, rows.indptr, np.concatenate(means)), strict=True
            ):
                write_array(archive, f"{len(entries)}.{part}", array)
            entries.append({"name": name, "shape": list(image.shape)})
            n_patches += grid.n_patches
            n_nonzeros += rows.nnz
        header = {
            "format": _FORMAT,
            "format_version": _FORMAT_VERSION,
            "patch_shape": patch_shape,
            "stride": list(step) if isinstance(step, tuple) else [step, step],
            "dictionary": _digest(model.components_),
            "images": entries,
        }
        write_array(archive, "header", pack_json(header))
    return {
        "images": len(entries),
        "patches": n_patches,
        "nonzeros": n_nonzeros / n_patches,
        "rmse": (squared / (n_patches * model.components_.shape[1])) ** 0.5,
    }


def decode_images(path: str | os.PathLike[str], model: KSVD) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Yield name and pixels, clipped to [0, 1], of one image after another of a file of codes.

    ``path`` was written by :func:`encode_images` with the dictionary ``model``; another one is an error.
    """
    (patch_shape, _), components = _patch_rules(model), model.components_
    with _codes_named(path), open_archive(path) as archive:
        header = _read_header(archive)
        if header["dictionary"] != _digest(components):
            raise ArchiveError("it was coded with another dictionary than the one given; give that one")
        if header["patch_shape"] != patch_shape:
            raise ArchiveError(
                f"its patches are {header['patch_shape']}, those of the dictionary {patch_shape}"
            )
        for i, entry in enumerate(header["images"]):
            yield entry["name"], _decode_image(archive, i, entry["shape"], header, components)


def reconstruct_images(
    path: str | os.PathLike[str],
    model: KSVD,
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write the images that a file of codes stands for.

    Parameters
    ----------
    path, model
        As for :func:`decode_images`.
    output : path
        A ``.png`` file, for codes of one image; else a folder, in which each image becomes a PNG file under
        its name (with .png added if it ended in something else).
    overwrite : bool, default=False
        Replace existing files; others in the folder are left alone.

    Returns
    -------
    list of Path
        The files written.
    """
    output = Path(output)
    if output.suffix.lower() == ".png":
        check_output(output, overwrite)
        images = list(_first_two(decode_images(path, model)))
        if len(images) != 1:
            raise ValueError(f"{path} holds several images; give a folder instead of {output}")
        return [save_image(images[0][1], output, overwrite=overwrite)]
    if not output.absolute().parent.is_dir():
        raise FileNotFoundError(f"the directory {output.absolute().parent} does not exist; create it first")
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} exists and is a file; choose another name, or end it in .png")
    if output.exists() and any(output.iterdir()) and not overwrite:
        raise FileExistsError(
            f"{output} is not empty; choose another name, or overwrite it (--force, overwrite=True)"
        )
    written = []
    for name, image in decode_images(path, model):
        target = output / (name if name.lower().endswith(".png") else f"{name}.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        written.append(save_image(image, target, overwrite=overwrite))
    return written


def save_image(image: ArrayLike, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write one image (h, w) or (h, w, 3) in [0, 1] as an 8-bit PNG file, pixel for pixel."""
    pixels = np.rint(np.clip(np.asarray(image), 0, 1) * 255).astype(np.uint8)
    with atomic_write(path, overwrite) as file:
        Image.fromarray(pixels).save(file, format="PNG")
    return Path(path)


def image_files(path: Path) -> list[Path]:
    """Return the image files at a path; none if it is a source of another kind."""
    if not path.exists():
        return []  # open_images knows what to say
    if path.is_dir():
        return [] if any("idx3-ubyte" in file.name for file in path.iterdir()) else find_images(path)
    return [path] if path.suffix.lower() in EXTENSIONS else []


def _patch_rules(model: KSVD) -> tuple[list[int], str]:
    check_is_fitted(model)
    if not hasattr(model, "patch_shape_"):
        raise ValueError(
            "model is no dictionary of patches (it has no patch_shape_); make one by learn_patch_dictionary "
            "or learn-dictionary"
        )
    return list(model.patch_shape_), str(model.patch_mean_)


def _grid(name: str, shape: tuple[int, ...], sides: tuple[int, ...], step: Any) -> PatchGrid:
    try:
        return PatchGrid(shape, sides, step)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


@contextmanager
def _codes_named(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except ArchiveError as error:
        raise ValueError(f"{path} is no file of codes ({error}); write it by encode_images") from error


def _read_header(archive: Archive) -> dict[str, Any]:
    """Return the header of a file of codes, its names and numbers checked."""
    header = archive.read_json()
    if header["format"] != _FORMAT or header["format_version"] != _FORMAT_VERSION:
        raise ArchiveError(f"its format is {header['format']!r}, version {header['format_version']!r}")
    for entry in header["images"]:
        name = PurePosixPath(entry["name"])
        if name.is_absolute() or ".." in name.parts or "\\" in entry["name"] or "\0" in entry["name"]:
            raise ArchiveError(f"it names an image {entry['name']!r}, which lies outside the folder")
    return header


def _decode_image(
    archive: Archive, i: int, shape: list[int], header: dict[str, Any], components: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return the pixels of image ``i``, after its arrays were found to fit its shape."""
    data, indices, indptr, means = (archive.read(f"{i}.{part}") for part in _PARTS)
    sides, steps, channels = header["patch_shape"][:2], header["stride"], header["patch_shape"][2:]
    n_patches = 1  # counted before a grid is made, which takes memory
    for length, side, step in zip(shape[:2], sides, steps, strict=True):
        check_integer("stride", step, 1, side)
        n_patches *= -(-(check_integer("shape", length, side) - side) // step) + 1
    if shape[2:] != channels or indptr.shape != (n_patches + 1,):
        raise ArchiveError(f"image {i} has codes of shape {indptr.shape}, which do not fit its shape {shape}")
    check_compressed(data, indices, indptr, (n_patches, len(components)))
    codes = sparse.csr_array((data, indices, indptr), shape=(n_patches, len(components)))
    fits = means.shape == (n_patches, *(channels or [1])) and means.dtype in (np.float32, np.float64)
    if not (fits and np.isfinite(means).all()):
        raise ArchiveError(f"image {i} must have a finite mean for each of its {n_patches} patches")
    patches = add_means(np.asarray(codes @ components), means)
    return np.clip(PatchGrid(tuple(shape), tuple(sides), tuple(steps)).assemble(patches), 0, 1)


def _digest(components: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(components).tobytes()).hexdigest()


def _first_two(items: Iterator[Any]) -> Iterator[Any]:
    for _, item in zip(range(2), items, strict=False):
        yield item
