"""Model files: a ``.npz`` archive of plain arrays with a JSON header, and nothing that executes.

The header is the first member. It states the format version, the class, parameters and state of the model
(nested models in place), name, shape and type of every array, library versions and a SHA-256 checksum over
header and arrays.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import numba
import numpy as np
import scipy
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator

from sparsegen_classic._archive import ArchiveError, damage_named, open_archive, pack_json
from sparsegen_classic._files import atomic_write, write_npz
from sparsegen_classic._validation import check_real
from sparsegen_classic._version import __version__
from sparsegen_classic.coefficients import GaussianCoefficients, MissingDataGaussian
from sparsegen_classic.convolutional import ConvDictionaryLearning
from sparsegen_classic.dictionary import KSVD, Trainlets
from sparsegen_classic.generator import SparseImageGenerator
from sparsegen_classic.model_checks import check_model
from sparsegen_classic.pursuit import SparseCoder
from sparsegen_classic.support import MarkovSupports

FORMAT, FORMAT_VERSION = "sparsegen_classic model", 1
_CLASSES = {
    cls.__name__: cls
    for cls in (
        KSVD,
        Trainlets,
        SparseCoder,
        ConvDictionaryLearning,
        MarkovSupports,
        GaussianCoefficients,
        MissingDataGaussian,
        SparseImageGenerator,
    )
}
_STATE_NAME = re.compile(r"_?[a-z][a-z0-9_]*_?")


class ModelFileError(ArchiveError):
    """A file is no model of ours, is damaged or inconsistent, or was written by a newer version."""


def save_model(model: BaseEstimator, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a model to a ``.npz`` file, whole or not at all.

    Parameters
    ----------
    model : estimator of this package
        A SparseImageGenerator, a dictionary (KSVD, Trainlets, ConvDictionaryLearning) or another, fitted or
        not. A ``random_state`` that is an object instead of an int or None is saved as None.
    path : path
        The file to write; the same model gives the same bytes.
    overwrite : bool, default=False
        Replace an existing file.

    Returns
    -------
    Path
        Where the model is.

    Raises
    ------
    FileExistsError, FileNotFoundError, PermissionError
        If the file exists, or its directory does not, or cannot be written.
    TypeError, ValueError
        If the model is of another class, or its parts do not fit each other so that no file could be loaded.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from sparsegen_classic import KSVD, load_model, save_model
    >>> model = KSVD(4, random_state=0).fit(np.random.default_rng(0).random((20, 6)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_model(model, pathlib.Path(folder, "atoms.npz"))
    ...     np.array_equal(load_model(path).components_, model.components_)
    True
    """
    arrays: dict[str, np.ndarray] = {}
    node = _encode(model, arrays, "model")
    check_model(model)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": node,
        "arrays": _kinds(arrays),
        "versions": {
            "sparsegen_classic": __version__,
            "python": platform.python_version(),
            **{library.__name__: library.__version__ for library in (np, scipy, sklearn, numba)},
        },
    }
    header["sha256"] = _checksum(header, arrays)
    with atomic_write(path, overwrite) as file:
        write_npz(file, {"header": pack_json(header)} | arrays)
    return Path(path)


def load_model(path: str | os.PathLike[str]) -> Any:
    """Read a model written by :func:`save_model`.

    Parameters
    ----------
    path : path
        The model file. Nothing in it is executed or unpickled.

    Returns
    -------
    model
        The estimator, as it was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is no model, is truncated or altered, holds parts that do not fit each other, or was
        written by a newer version.
    """
    return _model(Path(path), *_read(Path(path)))


def describe_model(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Say what a model file holds, in values that JSON can carry.

    Parameters
    ----------
    path : path
        The model file, checked as by :func:`load_model`.

    Returns
    -------
    about : dict
        ``file``, ``bytes``, ``class``, ``format_version``, ``versions`` (of the libraries that wrote it),
        ``parameters``, ``arrays`` (their number) and, for a generator, its ``summary``.
    """
    path = Path(path)
    header, arrays = _read(path)
    about = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "class": header["model"]["class"],
        "format_version": header["format_version"],
        "versions": header["versions"],
        "parameters": _parameters(header["model"]),
        "arrays": len(arrays),
    }
    model = _model(path, header, arrays)
    return about | ({"summary": model.summary()} if isinstance(model, SparseImageGenerator) else {})


def _parameters(node: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of an encoded model, nested models as {class: parameters}."""
    return {
        name: {value["class"]: _parameters(value)} if isinstance(value, dict) and "class" in value else value
        for name, value in node["parameters"].items()
    }


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and arrays after every check that needs no knowledge of the classes."""
    with open(path, "rb") as file:
        magic = file.read(4)
    if magic[:1] == b"\x80":
        raise ModelFileError(
            f"{path} is a pickle, which can execute code and is never loaded; give a model file"
        )
    if magic != b"PK\x03\x04":
        raise ModelFileError(f"{path} is not a model file of sparsegen_classic (no .npz archive)")
    try:
        with open_archive(path) as archive:
            if "header" not in archive.names:
                raise ModelFileError(
                    f"{path} is not a model file of sparsegen_classic (a .npz without header)"
                )
            header = archive.read_json()
            _check_header(path, header)
            if sorted(archive.names) != sorted(["header", *header["arrays"]]):
                raise ArchiveError("its arrays are others than its header says")
            arrays = {name: archive.read(name) for name in header["arrays"]}
            checksum = _checksum({key: value for key, value in header.items() if key != "sha256"}, arrays)
    except ModelFileError:
        raise
    except ArchiveError as error:
        raise ModelFileError(f"{path} is truncated or damaged ({error}); write the model again") from error
    if checksum != header.get("sha256") or header["arrays"] != _kinds(arrays):
        raise ModelFileError(
            f"{path} was altered: its content does not match its checksum; write the model again"
        )
    return header, arrays


def _model(path: Path, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """Return the estimator, after the checks of its parts."""
    try:
        with damage_named():
            model = _decode(header["model"], arrays)
            if not isinstance(model, BaseEstimator):
                raise ArchiveError("it holds no model")
            check_model(model)
            return model
    except ArchiveError as error:
        raise ModelFileError(f"{path} is damaged: {error}; write the model again") from error


def _kinds(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}


def _check_header(path: Path, header: Any) -> None:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ModelFileError(f"{path} is not a model file of sparsegen_classic (its header is foreign)")
    version = header.get("format_version")
    if version != FORMAT_VERSION:
        writer = header.get("versions", {}).get("sparsegen_classic", "unknown")
        raise ModelFileError(
            f"{path} has format version {version}, written by sparsegen_classic {writer}; this is "
            f"{__version__}, which reads format version {FORMAT_VERSION}; install a version that reads it"
        )


def _checksum(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(header).encode())
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _encode(value: Any, arrays: dict[str, np.ndarray], name: str) -> Any:
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
            "csc": {key: _encode(part, arrays, f"{name}.{key}") for key, part in parts.items()},
            "shape": list(value.shape),
        }
    if isinstance(value, list | tuple):
        return {"list": [_encode(item, arrays, f"{name}.{i}") for i, item in enumerate(value)]}
    if isinstance(value, BaseEstimator) and type(value).__name__ in _CLASSES:
        parameters = value.get_params(deep=False)
        state = {key: item for key, item in vars(value).items() if key not in parameters}
        if not isinstance(parameters.get("random_state"), int):
            parameters.pop("random_state", None)
        return {
            "class": type(value).__name__,
            "parameters": {key: _encode(item, arrays, f"{name}.{key}") for key, item in parameters.items()},
            "state": {key: _encode(item, arrays, f"{name}.{key}") for key, item in state.items()},
        }
    raise TypeError(f"{name} is of class {type(value).__name__}, which a model file cannot hold")


def _decode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "csc" in value:
        parts = tuple(_decode(value["csc"][key], arrays) for key in ("data", "indices", "indptr"))
        return sparse.csc_array(parts, shape=value["shape"])
    if "list" in value:
        return [_decode(item, arrays) for item in value["list"]]
    cls = _CLASSES[value["class"]]
    model = cls(**{key: _decode(item, arrays) for key, item in value["parameters"].items()})
    for key, item in value["state"].items():
        if not _STATE_NAME.fullmatch(key) or hasattr(cls, key):
            raise ValueError(f"{key!r} is no attribute of a fitted {value['class']}")
        setattr(model, key, _decode(item, arrays))
    return _completed(model)


def _completed(model: Any) -> Any:
    """Give a model from before there were groups and tone curves what later ones have in their place."""
    if (
        isinstance(model, MarkovSupports)
        and hasattr(model, "supports_")
        and not hasattr(model, "group_shares_")
    ):
        model.groups_ = np.zeros(len(model.supports_), np.intp)
        model.log_group_factors_, model.group_shares_ = model.log_factors_[None], np.ones(1)
    if isinstance(model, SparseImageGenerator) and hasattr(model, "means_"):
        model.tone_curves_ = getattr(model, "tone_curves_", None)
    return model
