"""The one reader of ``.npz`` and ``.npy`` files: numbers and text, and nothing that anybody else wished for.

A file may come from anywhere. What it declares is compared with the bytes that are there before memory is
asked for; nothing in it is executed, unpickled or used as a path.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_SMALL = 2**28  # bytes: what any file may unpack to, however short it is
_RATIO = 100  # bytes unpacked for each byte of the file, beyond that
_DEFLATE = 1032  # the most that deflate can make of one byte
_CHUNK = 2**20
_LONGEST_HEADER, _HEADER_RATIO = 2**26, 40
_FLOATS, _INDICES = (np.dtype("f4"), np.dtype("f8")), (np.dtype("i4"), np.dtype("i8"))
_HEADER = (  # of an array: type, order and shape
    re.compile(r"""['"]descr['"]\s*:\s*['"]([<>|=]?[biufUS]\d{1,9})['"]"""),
    re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)"""),
    re.compile(r"""['"]shape['"]\s*:\s*\(([\d,\s]{0,800})\)"""),
)
_DAMAGE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError),
    *(RuntimeError, struct.error, zipfile.BadZipFile, zlib.error),  # RuntimeError has RecursionError below it
)


class ArchiveError(ValueError):
    """A file is no archive of plain arrays, or is damaged; the message says what is wrong with it."""


class Archive:
    """The arrays of an open ``.npz`` file; :func:`open_archive` makes one.

    Attributes
    ----------
    names : list of str
        Names of the arrays, in the order of the file. Other members are passed over.
    """

    def __init__(self, file: IO[bytes]):
        self._zip = zipfile.ZipFile(file)
        self._size = os.fstat(file.fileno()).st_size
        self._left = max_bytes(self._size)
        entries = self._zip.infolist()
        if sum(entry.compress_size for entry in entries) > self._size:
            raise ArchiveError("its members overlap")
        arrays = [entry for entry in entries if entry.filename.endswith(".npy")]
        self._entries = {entry.filename.removesuffix(".npy"): entry for entry in arrays}
        if len(self._entries) < len(arrays):
            raise ArchiveError("a member comes twice")
        self.names = list(self._entries)

    def read(self, name: str) -> NDArray[Any]:
        """Return an array, after its declared shape was found to be what its bytes fill."""
        if name not in self._entries:
            raise ArchiveError(f"it has no array {name!r}")
        entry = self._entries[name]
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveError(f"{name!r} is encrypted or compressed in a way that is not read")
        if entry.file_size > _DEFLATE * entry.compress_size + 64:
            raise ArchiveError(f"{name!r} declares more bytes than it can hold")
        self._left -= entry.file_size
        if self._left < 0:
            raise ArchiveError(
                f"{name!r} would unpack to {entry.file_size} bytes, out of all proportion to the file"
            )
        with self._zip.open(entry) as member:
            return read_array(member, entry.file_size, name)

    def read_json(self, name: str = "header") -> Any:
        """Return the JSON that :func:`pack_json` made an array of: finite numbers, no name twice."""
        entry = self._entries.get(name)
        if entry and entry.file_size > min(_LONGEST_HEADER, _CHUNK + _HEADER_RATIO * entry.compress_size):
            raise ArchiveError(f"its {name} of {entry.file_size} bytes is too long")
        text = self.read(name)
        if text.dtype != np.uint8 or text.ndim != 1:
            raise ArchiveError(f"its {name} is no text")
        return json.loads(
            text.tobytes().decode(), object_pairs_hook=_object, parse_float=_float, parse_constant=_float
        )


@contextmanager
def open_archive(path: str | os.PathLike[str]) -> Iterator[Archive]:
    """Open a ``.npz`` file; whatever is wrong with it, here or inside the block, is an ArchiveError."""
    with open(path, "rb") as file, damage_named():
        yield Archive(file)


def is_npz(path: str | os.PathLike[str]) -> bool:
    """Say whether a file is a zip archive by its first bytes, whatever its name."""
    with open(path, "rb") as file:
        return file.read(2) == b"PK"


def read_npy(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Return the array of a ``.npy`` file, or raise an ArchiveError."""
    with open(path, "rb") as file, damage_named():
        return read_array(file, os.fstat(file.fileno()).st_size, "the array")


def pack_json(content: Any) -> NDArray[np.uint8]:
    """Return JSON as an array of its bytes; NaN and infinity raise a ValueError."""
    return np.frombuffer(json.dumps(content, allow_nan=False).encode(), np.uint8)


def max_bytes(size: int) -> int:
    """Return how many bytes a file of ``size`` bytes may unpack to."""
    return _SMALL + _RATIO * size


def read_npy_header(path: str | os.PathLike[str]) -> tuple[int, tuple[int, ...], np.dtype]:
    """Return where the rows of a ``.npy`` file start, its shape and type, or raise an ArchiveError."""
    with open(path, "rb") as file, damage_named():
        shape, columns_first, dtype = _checked_header(file, os.fstat(file.fileno()).st_size, "the array")
        if columns_first and len(shape) > 1:
            raise ArchiveError("'the array' is stored by columns; save numpy.ascontiguousarray of it")
        return file.tell(), shape, dtype


def read_array(file: IO[bytes], n_bytes: int, name: str) -> NDArray[Any]:
    """Return an array in the format of ``numpy.save`` that is said to fill ``n_bytes``."""
    shape, columns_first, dtype = _checked_header(file, n_bytes, name)
    array = np.empty(shape[::-1] if columns_first else shape, dtype)
    _fill(array.reshape(-1).view(np.uint8), file, name)
    if dtype.kind == "b" and (array.view(np.uint8) > 1).any():
        raise ArchiveError(f"{name!r} holds truth values other than true and false")
    if dtype.kind == "U" and (array.reshape(-1).view(dtype.byteorder + "u4") > 0x10FFFF).any():
        raise ArchiveError(f"{name!r} holds text that is no text")
    return np.array(array.T, order="C") if columns_first else array


def check_compressed(
    data: NDArray[Any], indices: NDArray[Any], indptr: NDArray[Any], shape: tuple[int, int]
) -> None:
    """Raise unless the arrays are the rows (CSR), or columns (CSC), of a sparse array (rows, length).

    Compiled code trusts such arrays, and scipy's own check is satisfied by some that lead it astray.
    """
    rows, length = shape
    for part, types in ((data, _FLOATS), (indices, _INDICES), (indptr, _INDICES)):
        if part.dtype not in types:  # byte order and all
            raise ArchiveError(f"the parts of a sparse array cannot be of type {part.dtype}")
    if data.ndim != 1 or not np.isfinite(data).all():
        raise ArchiveError("the values of a sparse array must be finite")
    if indices.shape != data.shape or indptr.shape != (rows + 1,):
        raise ArchiveError(f"the parts of a sparse array do not fit each other and {rows} rows")
    bounds_hold = indptr.min() >= 0 and indptr.max() <= len(data)  # before differences, which could overflow
    if not bounds_hold or (np.diff(indptr) < 0).any() or indptr[0] != 0 or indptr[-1] != len(data):
        raise ArchiveError("the rows of a sparse array must follow each other")
    if len(data) and not (indices.min() >= 0 and indices.max() < length):
        raise ArchiveError("the indices of a sparse array lie outside of it")
    starts = np.zeros(len(data) + 1, bool)
    starts[indptr] = True
    if not (np.diff(indices) > 0)[~starts[1:-1]].all():
        raise ArchiveError("the indices of a sparse array must ascend in every row")


def _checked_header(file: IO[bytes], n_bytes: int, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, order and type of an array in a file, if with its header they fill ``n_bytes``."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ArchiveError(f"{name!r} is in a format that arrays of numbers do not need")
    (length,) = struct.unpack("<H", file.read(2))
    shape, columns_first, dtype = _array_header(file.read(length), name)
    if math.prod(shape) * dtype.itemsize != n_bytes - 10 - length:
        raise ArchiveError(f"{name!r} declares the shape {shape} of {dtype}, which its bytes do not fill")
    return shape, columns_first, dtype


def _array_header(header: bytes, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and type; the header is Python source, of which only literals are recognised."""
    text = header.decode("latin-1")
    found = [pattern.findall(text) for pattern in _HEADER]
    if any(len(matches) != 1 for matches in found):
        raise ArchiveError(f"{name!r} is not of numbers or text in a plain array; objects are never read")
    ((kind,), (order,), (sides,)) = found
    dtype, shape = np.dtype(kind), tuple(int(side) for side in sides.split(",") if side.strip())
    bound = math.prod(max(side, 1) for side in shape) * dtype.itemsize
    if not 0 < bound < 2**62 or len(shape) > 32:
        raise ArchiveError(f"{name!r} declares the shape {shape} of {dtype}, which no memory holds")
    return shape, order == "True", dtype


def _fill(view: NDArray[np.uint8], file: IO[bytes], name: str) -> None:
    """Read exactly the bytes of ``view``, to the end of the member: there zipfile compares its checksum."""
    done = 0
    while part := file.read(min(_CHUNK, len(view) - done) or 1):
        if done + len(part) > len(view):
            raise ArchiveError(f"{name!r} has more bytes than its shape")
        view[done : done + len(part)] = np.frombuffer(part, np.uint8)
        done += len(part)
    if done < len(view):
        raise ArchiveError(f"{name!r} has fewer bytes than its shape")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ArchiveError("a name comes twice in its header")
    return made


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ArchiveError(f"its header holds the number {text}")
    return number


@contextmanager
def damage_named() -> Iterator[None]:
    """Turn whatever a damaged file can raise into an ArchiveError."""
    try:
        yield
    except ArchiveError:
        raise
    except _DAMAGE as error:
        raise ArchiveError(str(error)[:300] or type(error).__name__) from error
