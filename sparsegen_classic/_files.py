"""Files are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray


def check_output(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Return ``path`` if a file may be written there; else raise before any work is done."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; give a file name")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists; choose another name, or overwrite it on purpose (--force, overwrite=True)"
        )
    check_parent(path)
    return path


def check_parent(path: Path) -> None:
    """Raise if nothing can be written beside ``path``."""
    parent = path.absolute().parent
    if not parent.is_dir():
        raise FileNotFoundError(f"the directory {parent} does not exist; create it first")
    if not os.access(parent, os.W_OK):
        raise PermissionError(f"the directory {parent} is not writable; choose another place")


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Return a folder to write in, made if it is not there; the folder around it must be."""
    folder = Path(path)
    if folder.is_file():
        raise FileExistsError(f"{folder} exists and is a file; give a new folder")
    if not folder.is_dir():
        check_parent(folder)
        folder.mkdir()
    check_parent(folder / "file")
    return folder


@contextmanager
def atomic_write(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` and move it there on success; on any error leave no trace.

    Of several writers without leave to overwrite the first to finish wins; the others get a FileExistsError.
    """
    path = check_output(path, overwrite)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        _move(temporary, path, overwrite)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _move(temporary: str, path: Path, overwrite: bool) -> None:
    """Give a file its name in one step."""
    if not overwrite:
        try:
            os.link(temporary, path)  # unlike a move this fails if the name was taken in the meantime
        except FileExistsError:
            check_output(path)  # the error that says what to do
            raise
        except OSError:  # a file system without links
            check_output(path)
        else:
            os.unlink(temporary)
            return
    os.replace(temporary, path)


def write_npz(file: IO[bytes], arrays: Mapping[str, NDArray[Any]], *, compress: bool = True) -> None:
    """Write what ``numpy.load`` reads, with a fixed date: the same arrays, the same bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            write_array(archive, name, array, compress)


def write_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any], compress: bool = True) -> None:
    """Add one array to an archive that :func:`write_npz` would write, for arrays that come one by one."""
    entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with archive.open(entry, "w", force_zip64=True) as member:
        np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
