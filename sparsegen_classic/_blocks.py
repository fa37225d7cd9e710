"""Arrays in files of one block of rows each: what has its files is done.

A file is named after its block, which array of the block it is, and the digest of its content, and written
whole or not at all. So any number of workers may write blocks, in any order and even twice, and damage is
found when they are opened again.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._files import atomic_write
from sparsegen_classic._parallel import for_blocks, map_blocks

_NAME = re.compile(r"([0-9]{8})-([0-9])-([0-9a-f]{32})\.npy")

Paths = tuple[Path, ...]  # of the arrays of one block


def fill_blocks(
    folder: Path,
    function: Callable[..., tuple[NDArray[Any], ...]],
    n_arrays: int,
    n_samples: int,
    block_size: int,
    n_jobs: int | None,
    *arguments: Any,
    step: Callable[[int], Any] = lambda n: None,
) -> list[Paths]:
    """Write the ``n_arrays`` arrays ``function(slice, *arguments)`` of every block that is not done yet.

    Runs through :func:`map_blocks`; the workers write. ``step(n)`` is told of every ``n`` samples done.
    Returns the files of all blocks, in order.
    """
    folder.mkdir(exist_ok=True)
    done = finished_blocks(folder, n_arrays, n_jobs)
    starts = range(0, n_samples, block_size)
    missing = [number for number in range(len(starts)) if number not in done]
    step(min(block_size * (len(starts) - len(missing)), n_samples))
    task = _Fill(folder, function, n_samples, block_size, arguments, missing)
    for number, paths in map_blocks(task, len(missing), 1, n_jobs):
        done[number] = paths
        step(min(block_size, n_samples - starts[number]))
    return [done[number] for number in range(len(starts))]


@dataclass(frozen=True)
class _Fill:
    """What a worker does: make and write one missing block."""

    folder: Path
    function: Callable[..., tuple[NDArray[Any], ...]]
    n_samples: int
    block_size: int
    arguments: tuple[Any, ...]
    missing: list[int]

    def __call__(self, which: slice) -> tuple[int, Paths]:
        number = self.missing[which.start]
        start = number * self.block_size
        rows = slice(start, min(start + self.block_size, self.n_samples))
        arrays = self.function(rows, *self.arguments)
        return number, tuple(_write(self.folder, number, i, array) for i, array in enumerate(arrays))


def finished_blocks(folder: Path, n_arrays: int, n_jobs: int | None = None) -> dict[int, Paths]:
    """Return the files of the blocks that are done; what is damaged is removed, with a warning."""
    found = [path for path in sorted(folder.iterdir()) if _NAME.fullmatch(path.name)]
    sound = np.zeros(len(found), bool)

    def verify(block: slice) -> None:
        path = found[block.start]
        sound[block] = path.stem.endswith(_digest(path.read_bytes()))

    for_blocks(verify, len(found), 1, n_jobs)
    blocks: dict[int, dict[int, Path]] = {}
    for path, whole in zip(found, sound, strict=True):
        if whole:
            blocks.setdefault(int(path.name[:8]), {})[int(path.name[9])] = path
        else:
            warnings.warn(f"{path} is damaged; what it held is done again", stacklevel=3)
            path.unlink()
    return {number: tuple(parts.values()) for number, parts in blocks.items() if len(parts) == n_arrays}


def remove_blocks(folder: Path, numbers: set[int]) -> None:
    """Remove the files of blocks, which are not done then."""
    for path in folder.glob("*.npy"):
        if _NAME.fullmatch(path.name) and int(path.name[:8]) in numbers:
            path.unlink()


def remove_partial(folder: Path) -> None:
    """Remove what a writer that was killed has left."""
    for path in folder.glob("**/.*.partial"):
        path.unlink(missing_ok=True)


@contextmanager
def writing_kept(path: Path) -> Iterator[IO[bytes]]:
    """Write a file whole or not at all; if that fails, say that the others are there for a new start."""
    try:
        with atomic_write(path, overwrite=True) as file:
            yield file
    except OSError as error:
        raise OSError(
            f"{path} could not be written ({error.strerror or error}); what was done so far is kept in "
            f"{path.parent}: see to the cause, and run the same again"
        ) from error


def _write(folder: Path, number: int, part: int, array: NDArray[Any]) -> Path:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    path = folder / f"{number:08d}-{part}-{_digest(buffer.getbuffer())}.npy"
    with writing_kept(path) as file:
        file.write(buffer.getbuffer())
    return path


def _digest(content: Any) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
