"""The training images, wherever they are, and what a checkpoint of their fit is of."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import validate_data

from sparsegen_classic._checkpoint import Checkpoint, Stages, describe
from sparsegen_classic._parallel import workers_are_remote
from sparsegen_classic._rows import ArrayFile, Rows, as_source
from sparsegen_classic.generator.defaults import make_parts
from sparsegen_classic.generator.fitting import wanted_groups
from sparsegen_classic.images import ImageStore

_BLOCK = 2048  # images hashed at a time


def check_images(generator: Any, X: Any) -> Any:
    """Return images that can be read by blocks, an array of rows or files, and note their shape."""
    source = as_source(X)
    if isinstance(source, ArrayFile | ImageStore):
        if len(source.shape) < 2 or len(source) < 2 or source.dtype.kind not in "biuf":
            raise ValueError(
                f"X must hold at least 2 images of numbers, got shape {source.shape} of {source.dtype}"
            )
        generator.image_shape_ = np.array(source.shape[1:])
        generator.n_features_in_ = prod(source.shape[1:])
        return source
    rows: Any = X
    if np.ndim(rows) > 2:
        rows = np.asarray(rows)
        rows = rows.reshape(len(rows), -1)
    generator.image_shape_ = np.array(np.shape(X)[1:])
    return validate_data(generator, rows, dtype=(np.float32, np.float64), ensure_min_samples=2)


@contextmanager
def open_stages(
    generator: Any,
    source: Any,
    y: ArrayLike | None,
    members: list[NDArray[np.intp]],
    checkpoint: str | os.PathLike[str] | None,
) -> Iterator[tuple[Any, Stages | None]]:
    """Return the source as workers can read it, and the stages of the checkpoint asked for, if any."""
    remote_array = workers_are_remote() and isinstance(source, np.ndarray)
    if checkpoint is None:
        with tempfile.TemporaryDirectory(prefix="sparsegen-") as folder:
            yield (_stored(source, Path(folder, "images.npy")) if remote_array else source), None
        return
    if generator.dictionary is not None and not hasattr(generator.dictionary, "learn_steps"):
        raise ValueError(
            f"checkpoint={os.fspath(checkpoint)!r} needs a dictionary that can be resumed (Trainlets, KSVD), "
            f"got {type(generator.dictionary).__name__}; fit it without checkpoint"
        )
    work = {
        "work": "fit",
        "parameters": _resolved(generator, [len(member) for member in members]),
        "data": _fingerprint(source, y if generator.per_class else None),
    }
    with Checkpoint(checkpoint, work) as stages:
        if remote_array:
            source = _stored(source, stages.path("images.npy"))
        yield source, stages


def _stored(images: np.ndarray, path: Path) -> ArrayFile:
    np.save(path, images)
    return ArrayFile.open_npy(path)


def _resolved(generator: Any, sizes: list[int]) -> dict[str, Any]:
    """Return what a fit to classes of these sizes depends on: of what is left to a default, what it is."""
    given: tuple[Any, Any, Any, Any] = generator._parts()
    shape = tuple(generator.image_shape_.tolist())
    parts = make_parts(*given, shape, min(sizes), {"random_state": None})  # they get the generator's
    groups = [wanted_groups(generator.n_groups, parts[1], size) for size in sizes]
    if groups[0] is not None and "n_groups" in parts[1].get_params():
        parts[1].set_params(n_groups=1)  # they get what is found
    names = "dictionary", "supports", "coefficients", "sketches"
    resolved = {name: describe(part) for name, part in zip(names, parts, strict=False)}
    same = len(set(groups)) == 1
    return describe(generator) | resolved | {"n_groups": groups[0] if same else groups}


def _fingerprint(source: Any, y: ArrayLike | None) -> dict[str, Any]:
    """Tell the data by shape and content."""
    labels = "none" if y is None else hashlib.sha256(repr(np.asarray(y).tolist()).encode()).hexdigest()
    if isinstance(source, ImageStore):
        content = source.fingerprint
    else:
        digest, rows = hashlib.sha256(str(source.dtype).encode()), Rows(source)
        for start in range(0, len(rows), _BLOCK):  # here: workers would be sent an array in memory
            digest.update(hashlib.sha256(rows[start : start + _BLOCK].data).digest())
        content = digest.hexdigest()
    about = {"number of images": len(source), "values of an image": prod(source.shape[1:])}
    return about | {"content": content, "labels": labels}
