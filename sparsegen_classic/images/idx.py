"""The idx files of MNIST and its relatives, plain or gzip."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._archive import max_bytes

_IMAGES = re.compile(r"(?:.*-)?(?P<split>train|t10k|test)-images[-.]idx3-ubyte(?:\.gz)?$")


def is_idx(path: Path) -> bool:
    """Say if ``path`` is an idx file by its name, or a folder that holds idx images."""
    if path.is_dir():
        return any(_IMAGES.match(entry.name) for entry in path.iterdir())
    return re.search(r"idx\d-ubyte(\.gz)?$", path.name) is not None


def read_idx(source: Path, split: str, labels: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Return images (n, h, w) uint8 and labels (n,), None if not asked for or if a labels file is missing."""
    files = [source]
    if source.is_dir():
        files = [_find(source, name) for name in (("train", "test") if split == "all" else (split,))]
    images = [read_idx_file(file, n_dims=3) for file in files]
    for file, block in zip(files, images, strict=True):
        if block.shape[1:] != images[0].shape[1:]:
            raise ValueError(f"{files[0]} holds images of {images[0].shape[1:]}, {file} of {block.shape[1:]}")
    label_files = [_labels_beside(file) for file in files] if labels else [None]
    if None in label_files:
        return np.concatenate(images), None
    targets = [read_idx_file(file, n_dims=1) for file in label_files if file]
    for block, target, label_file in zip(images, targets, label_files, strict=True):
        if len(block) != len(target):
            raise ValueError(
                f"{label_file} must hold one label per image, expected {len(block)}, found {len(target)}; "
                "take both files from the same set, or pass labels=False"
            )
    return np.concatenate(images), np.concatenate(targets).astype(np.int64)


def read_idx_file(path: Path, n_dims: int) -> NDArray[np.uint8]:
    """Return the array of an idx file of unsigned bytes with ``n_dims`` dimensions (3 images, 1 labels)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            shape = _shape(path, file.read(4 + 4 * n_dims), n_dims)
            expected = math.prod(shape)
            at_most = max_bytes(size) if packed else size - 4 - 4 * n_dims
            data = file.read(min(expected + 1, at_most + 1))
    except (OSError, EOFError, zlib.error) as error:
        if not packed:
            raise
        raise ValueError(f"{path} is a damaged gzip file ({error}); fetch it again") from error
    if len(data) != expected:
        fault = "is truncated" if len(data) < expected else "has trailing bytes"
        raise ValueError(
            f"{path} {fault}: it announces {' x '.join(map(str, shape))} values, expected "
            f"{4 + 4 * n_dims + expected} bytes, found {4 + 4 * n_dims + len(data)}; fetch it again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _shape(path: Path, head: bytes, n_dims: int) -> tuple[int, ...]:
    """Return what the header of an idx file announces."""
    length, magic = 4 + 4 * n_dims, int.from_bytes(head[:4], "big")
    if len(head) < length or magic != 2048 + n_dims:
        raise ValueError(
            f"{path} must start with a header of {length} bytes and the magic number {2048 + n_dims} (idx, "
            f"unsigned bytes, {n_dims} dimension{'s' * (n_dims > 1)}), found {len(head)} bytes and {magic}"
        )
    shape = struct.unpack(f">{n_dims}I", head[4:])
    if math.prod(max(side, 1) for side in shape) >= 2**62:
        raise ValueError(f"{path} announces {' x '.join(map(str, shape))} values, which no memory holds")
    return shape


def _find(folder: Path, split: str) -> Path:
    """Return the images file of a split; a plain file goes before its gzip."""
    wanted = ("train",) if split == "train" else ("t10k", "test")
    found = {}
    for path in sorted(folder.iterdir(), reverse=True):
        match = _IMAGES.match(path.name)
        if match and match["split"] in wanted:
            found[path.name.removesuffix(".gz")] = path
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no images for split={split!r}; expected e.g. {wanted[0]}-images-idx3-ubyte[.gz]"
        )
    if len(found) > 1:
        raise ValueError(f"{folder} holds several {split} sets: {', '.join(sorted(found))}; give one file")
    return next(iter(found.values()))


def _labels_beside(images: Path) -> Path | None:
    stem = images.name.removesuffix(".gz").replace("-images", "-labels").replace("idx3", "idx1")
    other = stem.replace(".idx1", "-idx1") if ".idx1" in stem else stem.replace("-idx1", ".idx1")
    candidates = (images.with_name(name + suffix) for name in (stem, other) for suffix in ("", ".gz"))
    return next((path for path in candidates if path != images and path.is_file()), None)
