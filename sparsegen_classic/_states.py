"""Estimators and states as plain arrays and JSON: what model files and checkpoints are made of."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator

from sparsegen_classic._archive import Archive, ArchiveError, pack_json
from sparsegen_classic._files import write_npz
from sparsegen_classic._validation import check_real

Arrays = dict[str, np.ndarray]
Classes = Mapping[str, type[BaseEstimator]]
_HOW = ("n_jobs", "verbose")  # it was computed, which is no part of what it is
_STATE_NAME = re.compile(r"_[a-z][a-z0-9_]*|[a-z][a-z0-9_]*_")


def encode(value: Any, arrays: Arrays, name: str, classes: Classes) -> Any:
    """Return a JSON value; arrays go into ``arrays`` under names that say where they belong."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return check_real(name, value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        arrays[name] = value
        return {"array": name}
    if isinstance(value, sparse.csc_array):
        parts = {"data": value.data, "indices": value.indices, "indptr": value.indptr}
        return {
            "csc": {key: encode(part, arrays, f"{name}.{key}", classes) for key, part in parts.items()},
            "shape": list(value.shape),
        }
    if isinstance(value, list | tuple):
        return {"list": [encode(item, arrays, f"{name}.{i}", classes) for i, item in enumerate(value)]}
    if isinstance(value, dict):
        return {"dict": {key: encode(item, arrays, f"{name}.{key}", classes) for key, item in value.items()}}
    if isinstance(value, BaseEstimator) and type(value).__name__ in classes:
        parameters = value.get_params(deep=False)
        state = {key: item for key, item in sorted(vars(value).items()) if key not in parameters}
        parameters = {key: item for key, item in parameters.items() if key not in _HOW}
        if not isinstance(parameters.get("random_state"), int):
            parameters.pop("random_state", None)
        return {"class": type(value).__name__} | {
            kind: {key: encode(item, arrays, f"{name}.{key}", classes) for key, item in items.items()}
            for kind, items in (("parameters", parameters), ("state", state))
        }
    raise TypeError(f"{name} is of class {type(value).__name__}, which a file cannot hold")


def decode(
    value: Any, arrays: Arrays, classes: Classes, complete: Callable[[Any], Any] = lambda model: model
) -> Any:
    """Return what :func:`encode` made a JSON value of; ``complete`` has the last word on estimators."""

    def inner(part: Any) -> Any:
        return decode(part, arrays, classes, complete)

    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "csc" in value:
        parts = tuple(inner(value["csc"][key]) for key in ("data", "indices", "indptr"))
        return sparse.csc_array(parts, shape=value["shape"])
    if "list" in value:
        return [inner(item) for item in value["list"]]
    if "dict" in value:
        return {key: inner(item) for key, item in value["dict"].items()}
    cls = classes[value["class"]]
    model = cls(**{key: inner(item) for key, item in value["parameters"].items()})
    for key, item in value["state"].items():
        if not _STATE_NAME.fullmatch(key) or hasattr(cls, key):
            raise ValueError(f"{key!r} is no attribute of a fitted {value['class']}")
        setattr(model, key, inner(item))
    return complete(model)


def write_state(file: IO[bytes], header: dict[str, Any], arrays: Arrays, *, compress: bool = True) -> None:
    """Write header and arrays, with their names, shapes, types and a checksum in the header."""
    header = header | {"arrays": _kinds(arrays)}
    header["sha256"] = _checksum(header, arrays)
    write_npz(file, {"header": pack_json(header)} | arrays, compress=compress)


def read_state(
    archive: Archive, check_header: Callable[[Any], None] = lambda header: None
) -> tuple[dict[str, Any], Arrays]:
    """Return what :func:`write_state` wrote, or raise an ArchiveError."""
    header = archive.read_json()
    check_header(header)
    if sorted(archive.names) != sorted(["header", *header["arrays"]]):
        raise ArchiveError("its arrays are others than its header says")
    arrays = {name: archive.read(name) for name in header["arrays"]}
    checksum = _checksum({key: value for key, value in header.items() if key != "sha256"}, arrays)
    if checksum != header.get("sha256") or header["arrays"] != _kinds(arrays):
        raise ArchiveError("its content does not match its checksum")
    return header, arrays


def _kinds(arrays: Arrays) -> dict[str, Any]:
    return {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}


def _checksum(header: dict[str, Any], arrays: Arrays) -> str:
    digest = hashlib.sha256(json.dumps(header).encode())
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
