"""Image stores: images decoded once into blocks on disk, for data larger than memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sparsegen_classic._blocks import Paths, fill_blocks
from sparsegen_classic._checkpoint import Checkpoint, CheckpointError
from sparsegen_classic._files import atomic_write
from sparsegen_classic._rows import ArrayFile, as_source
from sparsegen_classic._validation import check_choice
from sparsegen_classic.images.arrays import convert_array
from sparsegen_classic.images.folder import (
    check_one_size,
    find_images,
    folder_labels,
    read_block,
    report_left_out,
)
from sparsegen_classic.images.idx import is_idx
from sparsegen_classic.images.pixels import PixelRules

_BLOCK = 1024  # images a file
_KINDS = {(ndim, np.dtype(dtype).str) for ndim in (3, 4) for dtype in (np.uint8, np.float32)}


def store_images(
    source: str | os.PathLike[str] | np.memmap,
    folder: str | os.PathLike[str],
    *,
    mode: str = "L",
    size: int | tuple[int, int] | None = None,
    fit: str = "error",
    background: float = 0.0,
    errors: str = "raise",
    n_jobs: int | None = None,
    verbose: bool = False,
) -> ImageStore:
    """Decode images once into a folder, where they are read from when they are asked for.

    Memory holds a block of 1,024 images for each job. What is in the folder already is not done again: an
    interrupted call is repeated, a finished one returns at once.

    Parameters
    ----------
    source : path or memory map
        A folder of images, as for :func:`open_images`; or a ``.npy`` file, or a map of one, of images
        (n, h, w) or (n, h, w, c). Both are left as they are.
    folder : path
        Where to keep the images: new, empty, or a store of the same source. It takes a byte a pixel for
        8-bit images that keep their size, else four.
    mode, size, fit, background, errors
        As for :func:`open_images`.
    n_jobs : int, default=None
        Number of threads, as in joblib; under ``joblib.parallel_config`` its workers, which must see source
        and folder. The result does not depend on it.
    verbose : bool, default=False
        Show the progress on stderr, if that is a terminal.

    Returns
    -------
    ImageStore

    Raises
    ------
    CheckpointError
        If the folder holds something else, or a store of another source (files are told by name, size and
        date) or of other parameters.
    ValueError, OSError
        As for :func:`open_images`, and if the disk is full; what was done is kept.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from sparsegen_classic.images import store_images
    >>> with tempfile.TemporaryDirectory() as place:
    ...     np.save(f"{place}/images.npy", np.arange(60, dtype=np.uint8).reshape(5, 3, 4))
    ...     store = store_images(f"{place}/images.npy", f"{place}/store")
    ...     store.shape, store[[4, 0]].shape
    ((5, 3, 4), (2, 3, 4))
    """
    rules = PixelRules(mode, size, fit, background)
    check_choice("errors", errors, ("raise", "skip", "warn"))
    array, files = _open_source(source)
    about = _fingerprint(source, array, files)
    work = {"work": "images", "rules": asdict(rules), "errors": errors, "source": about}
    n = len(files if array is None else array)
    with Checkpoint(folder, work) as checkpoint:
        if array is None and not checkpoint.path("files.npy").exists():
            with atomic_write(checkpoint.path("files.npy")) as file:
                np.save(file, np.array([os.fspath(path) for path in files]))
        origin = array or ArrayFile.open_npy(checkpoint.path("files.npy"))
        with tqdm(total=n, desc="storing images", unit="image", disable=not verbose or None) as bar:
            given = origin, rules, errors
            place = checkpoint.path("blocks")
            blocks = fill_blocks(place, _read, 2, n, _BLOCK, n_jobs, *given, step=bar.update)
    store = ImageStore(Path(folder).resolve(), blocks, str(about["digest"]), files or None, str(source))
    if files:
        left_out = store.skipped
        report_left_out(Path(str(source)), n, left_out, [], errors)
    return store


def survey_images(source: Any, **rules: Any) -> tuple[int, ...] | None:
    """Return the shape (n, h, w[, 3]) of the images of a source that can be stored; None for any other.

    ``rules`` are ``mode``, ``size``, ``fit`` and ``background``; one image is read at most.
    """
    path = Path(source) if isinstance(source, str | os.PathLike) else None
    if path is not None and (is_idx(path) or not (path.is_dir() or path.suffix.lower() == ".npy")):
        return None
    if path is None and not isinstance(source, np.memmap):
        return None
    array, files = _open_source(source)
    some = _read(slice(0, 1), array, PixelRules(**rules), "raise") if array else None
    images = read_block(files[:1], PixelRules(**rules))[0] if some is None else some[0]
    return len(files or array or ()), *images.shape[1:]


class ImageStore:
    """Images in files, read when they are asked for; :func:`store_images` makes one.

    Takes the place of an array of images in ``SparseImageGenerator.fit``, and of the ``images`` of an
    ``ImageSet``: ``store[10:20]`` and ``store[[3, 1, 4]]`` are float32 arrays.

    Attributes
    ----------
    shape : tuple
        (n, h, w) or (n, h, w, 3).
    dtype : dtype
        float32. On disk it is uint8 where that loses nothing.
    labels : ndarray of shape (n,) or None
        Names of the sub-folders.
    paths : list of Path, or None
        The file of each image; None if it came from an array.
    skipped : list of (Path, str)
        Files left out.
    folder : Path
        Where the store is.
    fingerprint : str
        Stands for the content.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        folder: Path,
        blocks: Sequence[Paths],
        fingerprint: str,
        names: list[Path] | None,
        source: str,
    ):
        self.folder, self.fingerprint, self.source = folder, fingerprint, source
        self._names, self._blocks = names, blocks
        files = [ArrayFile.open_npy(pixels) for pixels, _ in blocks]
        self._files = [file for file in files if len(file)]
        self._starts = np.cumsum([0, *(len(file) for file in self._files)])
        shapes = [file.shape[1:] for file in self._files]
        kinds = {(len(file.shape), file.dtype.str) for file in self._files}
        if not kinds <= _KINDS or (names is None and len(set(shapes)) > 1):
            raise CheckpointError(f"the blocks in {folder} do not fit together; remove that folder")
        for number, shape in enumerate(shapes):
            if self.paths and shape != shapes[0]:
                check_one_size(self.paths[0], shapes[0], self.paths[self._starts[number]], shape)
        self.shape = (int(self._starts[-1]), *(shapes[0] if shapes else (0, 0)))

    @cached_property
    def paths(self) -> list[Path] | None:
        """The file of each image."""
        return None if self._names is None else [self._names[i] for i in self._kept]

    @cached_property
    def labels(self) -> NDArray[np.str_] | None:
        """Names of the sub-folders, if all images lie in one."""
        return None if self.paths is None else folder_labels(Path(self.source), self.paths)

    @cached_property
    def skipped(self) -> list[tuple[Path, str]]:
        """Files left out."""
        if self._names is None:
            return []
        left_out = np.setdiff1d(np.arange(len(self._names)), self._kept)
        return [(self._names[i], "it could not be read") for i in left_out]

    @cached_property
    def _kept(self) -> NDArray[np.integer]:
        return np.concatenate([ArrayFile.open_npy(kept)[:] for _, kept in self._blocks])

    def __reduce__(self) -> Any:  # workers have no need of the names
        return ImageStore, (self.folder, self._blocks, self.fingerprint, None, self.source)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        sides = "x".join(map(str, self.shape[1:]))
        return (
            f"ImageStore({len(self)} images of {sides}, source={self.source!r}, folder={str(self.folder)!r})"
        )

    def __getitem__(self, which: Any) -> NDArray[np.float32]:
        index = np.arange(len(self))[which]
        images = np.empty((len(index), *self.shape[1:]), np.float32)
        file_of = np.searchsorted(self._starts, index, side="right") - 1
        for number in np.unique(file_of):
            places = np.flatnonzero(file_of == number)
            rows = self._files[number][index[places] - self._starts[number]]
            images[places] = rows / np.float32(255) if rows.dtype == np.uint8 else rows
        return images


def _open_source(source: Any) -> tuple[ArrayFile | None, list[Path]]:
    """Return the array in a file, or the files of a folder."""
    array = as_source(source)
    if isinstance(array, ArrayFile):
        return array, []
    if isinstance(source, str | os.PathLike):
        path = Path(source).resolve()
        if path.suffix.lower() == ".npy" and path.is_file():
            return ArrayFile.open_npy(path), []
        if path.is_dir():
            return None, find_images(path)
    raise ValueError(
        f"source must be a folder of images, or a .npy file or a memory map of one, got {source!r}; "
        "other sources are read into memory by open_images"
    )


def _fingerprint(source: Any, array: ArrayFile | None, files: list[Path]) -> dict[str, Any]:
    """Tell the files by their names, sizes and dates, as they are now."""
    digest = hashlib.sha256(repr(array and (array.offset, array.shape, str(array.dtype))).encode())
    for path in files or [array.path]:  # type: ignore[union-attr]
        about = path.stat()
        name = path.relative_to(Path(source).resolve()) if files else path.name
        digest.update(f"{name}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
    return {"number of images": len(files or array), "digest": digest.hexdigest()}  # type: ignore[arg-type]


def _read(block: slice, origin: ArrayFile, rules: PixelRules, errors: str) -> tuple[NDArray[Any], ...]:
    """Return a block of images, in bytes if they lose nothing, and which of the block they are."""
    raw = origin[block]
    if raw.dtype.kind == "U":
        images, kept, _, _ = read_block([Path(name) for name in raw], rules, errors)
    else:
        images, kept = convert_array(f"images of {origin.path}", raw, rules), np.arange(len(raw))
    levels = np.rint(images * 255).astype(np.uint8)
    exact = np.array_equal(levels / np.float32(255), images)
    return (levels if exact else images), block.start + kept
