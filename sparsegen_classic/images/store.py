"""Image stores: images decoded once into blocks on disk, for data larger than memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sparsegen_classic._blocks import Paths, fill_blocks, remove_blocks
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
    interrupted call is repeated, also after files were repaired or removed; a finished one returns at once.

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
        If the folder holds something else, or a store of another source, of other parameters, or of files
        that have another name, size or date now.
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
    origin: Any = array or files
    listing = _list_blocks(source, origin)
    where = Path(source).resolve() if array is None else array.path  # type: ignore[arg-type]
    work = {"work": "images", "rules": asdict(rules), "errors": errors, "source": str(where)}
    with Checkpoint(folder, work) as checkpoint:
        place = checkpoint.path("blocks")
        _forget_what_changed(checkpoint, place, listing)
        if files:
            with atomic_write(checkpoint.path("files.npy"), overwrite=True) as file:
                np.save(file, np.array([os.fspath(path) for path in files]))
        readable = array or ArrayFile.open_npy(checkpoint.path("files.npy"))
        with tqdm(total=len(origin), desc="storing images", unit="image", disable=not verbose or None) as bar:
            given = readable, rules, errors
            blocks = fill_blocks(place, _read, 3, len(origin), _BLOCK, n_jobs, *given, step=bar.update)
        checkpoint.save("listing", {"blocks": listing, "finished": True})
    fingerprint = hashlib.sha256("".join(listing).encode()).hexdigest()
    store = ImageStore(Path(folder).resolve(), blocks, fingerprint, files or None, str(source))
    if files:
        cut = [files[number] for number, is_cut in store._kept if is_cut]
        report_left_out(where, len(files), store.skipped, cut, errors)
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
        Files left out, and why.
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
        files = [ArrayFile.open_npy(pixels) for pixels, _, _ in blocks]
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
        return None if self._names is None else [self._names[i] for i in self._kept[:, 0]]

    @cached_property
    def labels(self) -> NDArray[np.str_] | None:
        """Names of the sub-folders, if all images lie in one."""
        return None if self.paths is None else folder_labels(Path(self.source), self.paths)

    @cached_property
    def skipped(self) -> list[tuple[Path, str]]:
        """Files left out, and why."""
        if self._names is None:
            return []
        left_out = np.setdiff1d(np.arange(len(self._names)), self._kept[:, 0])
        reasons = [reason for _, _, path in self._blocks for reason in ArrayFile.open_npy(path)[:].tolist()]
        if len(reasons) != len(left_out):
            raise CheckpointError(f"the blocks in {self.folder} do not fit together; remove that folder")
        return [(self._names[i], str(reason)) for i, reason in zip(left_out, reasons, strict=True)]

    @cached_property
    def _kept(self) -> NDArray[np.integer]:
        return np.concatenate([ArrayFile.open_npy(kept)[:] for _, kept, _ in self._blocks])

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


def _list_blocks(source: Any, origin: Any) -> list[str]:
    """Return a digest of each block: names, sizes and dates of its files, as they are now."""
    if isinstance(origin, ArrayFile):
        about = origin.path.stat()
        kind = origin.offset, origin.shape, str(origin.dtype), about.st_size, about.st_mtime_ns
        lines = [repr(kind)] * len(origin)
    else:
        root, stats = Path(source).resolve(), [(path, path.stat()) for path in origin]
        lines = [f"{path.relative_to(root)}\0{it.st_size}\0{it.st_mtime_ns}" for path, it in stats]
    blocks = ("\0".join(lines[start : start + _BLOCK]) for start in range(0, len(lines), _BLOCK))
    return [hashlib.sha256(block.encode()).hexdigest() for block in blocks]


def _forget_what_changed(checkpoint: Checkpoint, place: Path, listing: list[str]) -> None:
    """Drop the blocks whose files are others than before; a store that was finished stays as it is."""
    before = checkpoint.load("listing") or {"blocks": [], "finished": False}
    if not isinstance(before, dict) or not isinstance(before.get("blocks"), list):
        raise CheckpointError(f"{checkpoint.folder} has no proper listing; remove that folder")
    if before["blocks"] == listing:
        return
    if before.get("finished"):
        raise CheckpointError(
            f"the images in {checkpoint.folder} were made from other files, some have another name, size or "
            "date now; remove that folder to read them again, or give another"
        )
    pairs = zip_longest(before["blocks"], listing)
    remove_blocks(place, {number for number, (old, new) in enumerate(pairs) if old != new})
    checkpoint.save("listing", {"blocks": listing, "finished": False})


def _read(block: slice, origin: ArrayFile, rules: PixelRules, errors: str) -> tuple[NDArray[Any], ...]:
    """Return what a block is kept as.

    Images, in bytes if that loses nothing; their numbers, with whether 8 of 16 bits are left; and why each of
    the others was left out.
    """
    raw = origin[block]
    reasons: list[str] = []
    if raw.dtype.kind == "U":
        files = [Path(name) for name in raw]
        images, kept, skipped, cut = read_block(files, rules, errors)
        reasons = [reason for _, reason in skipped]
        is_cut = np.isin(kept, [files.index(path) for path in cut])
    else:
        images, kept = convert_array(f"images of {origin.path}", raw, rules), np.arange(len(raw))
        is_cut = np.zeros(len(raw), bool)
    levels = np.rint(images * 255).astype(np.uint8)
    exact = np.array_equal(levels / np.float32(255), images)
    numbers = np.column_stack([block.start + kept, is_cut])
    return (levels if exact else images), numbers, np.array(reasons, str)
