"""Model files: a ``.npz`` archive of plain arrays with a JSON header, and nothing that executes.

The header is the first member. It states the format version, the class, parameters and state of the model
(nested models in place), name, shape and type of every array, library versions and a SHA-256 checksum over
header and arrays.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numba
import numpy as np
import scipy
import sklearn
from sklearn.base import BaseEstimator

from sparsegen_classic._archive import ArchiveError, damage_named, open_archive
from sparsegen_classic._files import atomic_write
from sparsegen_classic._states import decode, encode, read_state, write_state
from sparsegen_classic._version import __version__
from sparsegen_classic.coefficients import GaussianCoefficients, MissingDataGaussian
from sparsegen_classic.convolutional import ConvDictionaryLearning
from sparsegen_classic.dictionary import KSVD, Trainlets
from sparsegen_classic.generator import SparseImageGenerator
from sparsegen_classic.model_checks import check_model
from sparsegen_classic.pursuit import SparseCoder
from sparsegen_classic.sketches import SketchedCodes
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
        SketchedCodes,
        SparseImageGenerator,
    )
}


class ModelFileError(ArchiveError):
    """A file is no model of ours, is damaged or inconsistent, or was written by a newer version."""


def save_model(model: BaseEstimator, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a model to a ``.npz`` file, whole or not at all.

    Parameters
    ----------
    model : estimator of this package
        A SparseImageGenerator, a dictionary (KSVD, Trainlets, ConvDictionaryLearning) or another, fitted or
        not. A ``random_state`` that is an object instead of an int or None is saved as None; ``n_jobs`` and
        ``verbose``, which say how it was computed, are not saved.
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
    node = encode(model, arrays, "model", _CLASSES)
    check_model(model)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": node,
        "versions": {
            "sparsegen_classic": __version__,
            "python": platform.python_version(),
            **{library.__name__: library.__version__ for library in (np, scipy, sklearn, numba)},
        },
    }
    with atomic_write(path, overwrite) as file:
        write_state(file, header, arrays)
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
        ``parameters``, ``arrays`` (their number) and, for a fitted generator, its ``summary``.
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
    drawing = isinstance(model, SparseImageGenerator) and hasattr(model, "dictionaries_")
    return about | ({"summary": model.summary()} if drawing else {})


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
            return read_state(archive, lambda header: _check_header(path, header))
    except ModelFileError:
        raise
    except ArchiveError as error:
        raise ModelFileError(f"{path} is truncated or damaged ({error}); write the model again") from error


def _model(path: Path, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """Return the estimator, after the checks of its parts."""
    try:
        with damage_named():
            model = decode(header["model"], arrays, _CLASSES, _completed)
            if not isinstance(model, BaseEstimator):
                raise ArchiveError("it holds no model")
            check_model(model)
            return model
    except ArchiveError as error:
        raise ModelFileError(f"{path} is damaged: {error}; write the model again") from error


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


def _completed(model: Any) -> Any:
    """Give a model from before there were groups, tone curves and sketches what later ones have for them."""
    if (
        isinstance(model, MarkovSupports)
        and hasattr(model, "supports_")
        and not hasattr(model, "group_shares_")
    ):
        model.groups_ = np.zeros(len(model.supports_), np.intp)
        model.log_group_factors_, model.group_shares_ = model.log_factors_[None], np.ones(1)
    if isinstance(model, SparseImageGenerator) and hasattr(model, "means_"):
        for name in ("tone_curves_", "draw_curves_", "sketches_"):
            setattr(model, name, getattr(model, name, None))
        if not hasattr(model, "draw_contrasts_"):
            curves = model.draw_curves_
            model.draw_contrasts_ = None if curves is None else np.ones(np.shape(curves)[:1])
    return model
