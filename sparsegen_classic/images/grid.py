"""Images out: one array of tiles, a sheet, a npz file or a folder of numbered files."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from sparsegen_classic._files import atomic_write, check_output, check_parent, write_npz
from sparsegen_classic._validation import check_integer

_READABLE, _LARGEST_SHEET = 64, 4096  # pixels: what a tile is enlarged up to, and what its sheet may grow to
_OURS = re.compile(r"\d{5,}\.png$")


def image_grid(
    images: ArrayLike, n_columns: int | None = None, pad: int = 1, background: float = 1.0
) -> NDArray[np.float32]:
    """Tile images into one.

    Parameters
    ----------
    images : array-like of shape (n, h, w) or (n, h, w, 3)
        Any values; they are copied as they are.
    n_columns : int, optional
        Tiles per row; by default as many as make the sheet about square.
    pad : int, default=1
        Pixels between tiles and around the sheet.
    background : float, default=1.0
        Value of these, and of the tiles that the last row lacks.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, 3), float32

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.images import image_grid
    >>> image_grid(np.zeros((5, 8, 8)), n_columns=3).shape
    (19, 28)
    """
    tiles = check_stack(images)
    n, height, width = tiles.shape[:3]
    pad = check_integer("pad", pad, 0)
    if n_columns is None:
        n_columns = min(n, round(np.sqrt(n * height / width)) or 1)
    n_columns = check_integer("n_columns", n_columns, 1)
    n_rows = -(-n // n_columns)
    shape = (n_rows * (height + pad) + pad, n_columns * (width + pad) + pad, *tiles.shape[3:])
    sheet = np.full(shape, background, np.float32)
    for i, tile in enumerate(tiles):
        top, left = (
            pad + at * (side + pad) for at, side in zip(divmod(i, n_columns), (height, width), strict=True)
        )
        sheet[top : top + height, left : left + width] = tile
    return sheet


def save_images(
    images: ArrayLike,
    path: str | os.PathLike[str],
    *,
    labels: ArrayLike | None = None,
    n_columns: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Save images as a sheet, as a npz file or as a folder; the same images give the same bytes.

    Parameters
    ----------
    images : array-like of shape (n, h, w) or (n, h, w, 3)
        In [0, 1]; PNG files hold them rounded to 8 bits.
    path : path
        The suffix chooses the form. ``.png``: one sheet (:func:`image_grid`), images smaller than 64 pixels
        enlarged by a whole factor. ``.npz``: ``images`` as float32 and ``labels``. No suffix, a trailing
        slash or an existing folder: a folder of files 00000.png, 00001.png, ..., in a sub-folder per label.
        All but the sheet are opened again by :func:`open_images`.
    labels : array-like of shape (n,), optional
        Labels for a npz file or a folder; a sheet has no place for them.
    n_columns : int, optional
        Images per row of a sheet.
    overwrite : bool, default=False
        Replace what is there. A folder is replaced as a whole, and only if this function wrote all of it.

    Returns
    -------
    Path
        Where the images are. Nothing is there if the call fails; a folder that was there stays.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from sparsegen_classic.images import open_images, save_images
    >>> digits = open_images("digits")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_images(digits.images, pathlib.Path(folder, "digits.npz"), labels=digits.labels)
    ...     open_images(path).labels[:3]
    array([0, 1, 2])
    """
    target = check_target(path, overwrite)
    stack = check_stack(images)
    low, high = stack.min(), stack.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"images must be finite and lie in [0, 1], found values from {low:.6g} to {high:.6g}; "
            "clip them, e.g. numpy.clip(X, 0, 1)"
        )
    names = None if labels is None else np.asarray(labels)
    if names is not None and (names.shape != (len(stack),) or names.dtype.kind not in "biuU"):
        raise ValueError(
            f"labels must be one integer or string per image, expected shape ({len(stack)},), found shape "
            f"{names.shape} of {names.dtype}"
        )
    if _is_folder(path):
        _save_folder(stack, target, names, overwrite)
    elif target.suffix.lower() == ".npz":
        with atomic_write(target, overwrite) as file:
            write_npz(file, {"images": stack} | ({} if names is None else {"labels": names}))
    else:
        if names is not None:
            raise ValueError(f"labels have no place in the sheet {target}; save a .npz file or a folder")
        with atomic_write(target, overwrite) as file:
            file.write(_png(_sheet(stack, n_columns)))
    return target


def check_target(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Return ``path`` if :func:`save_images` may write there; else raise before any work is done."""
    target = Path(path)
    if _is_folder(path):
        with _alone(target):
            _check_folder(target, overwrite)
    elif target.suffix.lower() in (".png", ".npz"):
        check_output(target, overwrite)
    else:
        raise ValueError(f"path must end in .png (a sheet), .npz, or have no suffix (a folder), got {target}")
    return target


def check_stack(images: ArrayLike, name: str = "images") -> NDArray[np.float32]:
    """Return (n, h, w) or (n, h, w, 3) as float32, or raise; one last channel is dropped."""
    stack = np.ascontiguousarray(images, dtype=np.float32)
    if stack.ndim == 4 and stack.shape[-1] == 1:
        stack = stack[..., 0]
    if stack.ndim not in (3, 4) or (stack.ndim == 4 and stack.shape[-1] != 3) or stack.size == 0:
        raise ValueError(
            f"{name} must be (n, h, w) or (n, h, w, 3) with at least one image, found shape {stack.shape}; "
            "give a single image as X[numpy.newaxis]"
        )
    return stack


def _is_folder(path: str | os.PathLike[str]) -> bool:
    return not Path(path).suffix or os.fspath(path).endswith(("/", os.sep)) or Path(path).is_dir()


def _sheet(images: NDArray[np.float32], n_columns: int | None) -> NDArray[np.float32]:
    sheet = image_grid(images, n_columns)
    factor = max(1, min(_READABLE // max(images.shape[1:3]), _LARGEST_SHEET // max(sheet.shape)))
    return sheet.repeat(factor, axis=0).repeat(factor, axis=1)


def _png(image: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def _save_folder(
    images: NDArray[np.float32], folder: Path, labels: NDArray[Any] | None, overwrite: bool
) -> None:
    """Write a sibling of ``folder``, then rename it."""
    classes = None if labels is None else [str(label) for label in labels]
    for name in set(classes or ()):
        if not name or name.startswith(".") or set(name) & set('/\\:*?"<>|\0'):
            raise ValueError(
                f"labels name sub-folders, which {name!r} cannot; rename it, or save a .npz file"
            )
    folder = folder.absolute()
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".partial"))
    fresh, old = scratch / "new", scratch / "old"
    try:
        fresh.mkdir()
        for i, image in enumerate(images):
            place = fresh / classes[i] if classes else fresh
            place.mkdir(exist_ok=True)
            (place / f"{i:05d}.png").write_bytes(_png(image))
        with _alone(folder):
            _check_folder(folder, overwrite)  # once more: another writer may have been here in the meantime
            if folder.exists():
                folder.rename(old)
            fresh.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            with suppress(OSError):  # another writer put its own there
                old.rename(folder)
        shutil.rmtree(scratch)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Say so if a folder changes under our hands."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY):
            raise
        raise FileExistsError(
            f"{folder} is being written by somebody else at this moment; choose another name"
        ) from error


def _check_folder(folder: Path, overwrite: bool) -> None:
    check_parent(folder)
    try:
        mode = folder.stat().st_mode  # asked once: between two questions another writer may move it away
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        raise FileExistsError(f"{folder} exists and is a file; choose another name, or give a suffix")
    files = [file for file in sorted(folder.rglob("*")) if not file.is_dir()]
    if files and not overwrite:
        raise FileExistsError(
            f"{folder} is not empty; choose another name, or overwrite it on purpose (overwrite=True)"
        )
    for file in files:
        if not _OURS.match(file.name):
            raise FileExistsError(
                f"{folder} holds {file}, which save_images did not write; choose another folder"
            )
