"""An encoder and its dictionary by name, for the command line."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from sparsegen_classic._archive import ArchiveError, is_npz, open_archive, read_npy
from sparsegen_classic.convolutional.operator import ConvDictionary


def load_encoder(spec: str) -> Any:
    """Return what ``spec`` names: ``package.module:name``, ``file.py:name`` or the path of an ONNX file.

    A class, or a function without parameters, is called for the encoder it makes.
    """
    if spec.lower().endswith(".onnx"):
        if not Path(spec).is_file():
            raise FileNotFoundError(f"no file {spec}")
        return spec
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise ValueError(f"encoder must be module:name, file.py:name or a .onnx file, got {spec!r}")
    found = _import(place)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{place} has no {name!r}")
        found = getattr(found, part)
    if inspect.isclass(found) or (inspect.isfunction(found) and not inspect.signature(found).parameters):
        found = found()
    return found


def _import(place: str) -> Any:
    """Import a module by name (the current folder first) or from its file."""
    try:
        if not place.endswith(".py"):
            if "" not in sys.path:
                sys.path.insert(0, "")
            return import_module(place)
        path = Path(place)
        if not path.is_file():
            raise FileNotFoundError(f"no file {place}")
        spec = spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except (FileNotFoundError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a module of somebody may raise anything, SystemExit too
        raise ValueError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error


def load_dictionary(path: str, stride: int = 1, padding: int = 0) -> ConvDictionary:
    """Return the dictionary in a file.

    A ``.npy`` of filters (n_atoms, n_channels, h, w), or a ``.npz`` with ``filters`` and, if given there,
    ``stride``, ``padding``, ``output_padding`` and ``boundary``, which count more than the arguments.
    """
    try:
        if is_npz(path):
            with open_archive(path) as archive:
                arrays = {name: archive.read(name) for name in archive.names}
        else:
            arrays = {"filters": read_npy(path)}
    except ArchiveError as error:
        raise ValueError(f"{path} is no .npz or .npy of numbers; give one that holds filters") from error
    if "filters" not in arrays:
        raise ValueError(f"{path} must hold an array 'filters', it has {sorted(arrays)}")
    geometry: dict[str, Any] = {"stride": stride, "padding": padding}
    for name in ("stride", "padding", "output_padding", "boundary"):
        if name in arrays:
            value = arrays[name].tolist()
            geometry[name] = tuple(value) if isinstance(value, list) else value
    return ConvDictionary(arrays["filters"], **geometry)
