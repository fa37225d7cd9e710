"""Files of convolutional codes: plain arrays in a ``.npz``, nothing that executes."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._archive import ArchiveError, open_archive
from sparsegen_classic._files import atomic_write, write_npz
from sparsegen_classic._validation import check_integer
from sparsegen_classic.convolutional.l1 import Floats
from sparsegen_classic.convolutional.learning import ConvDictionaryLearning
from sparsegen_classic.convolutional.learning_steps import split_lowpass
from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.convolutional.sparse_maps import SparseMaps

_NAMES = ("shape", "indices", "values", "atom_shape", "objective", "duality_gap", "lam", "low", "filters")


@dataclass(frozen=True, eq=False)
class SavedCodes:
    """Codes of images of one size, and what is needed, with the filters, to bring the images back.

    Attributes
    ----------
    maps : SparseMaps
        Of shape (n_images, n_atoms, height, width).
    atom_shape : tuple of int
        Size of the filters.
    objective, duality_gap : ndarray of shape (n_images,)
        As in :class:`ConvCode`.
    lam : float
        The penalty.
    low : ndarray of shape (n_images, n_channels, height, width)
        The smooth part that was taken from the images before; zeros if none was.
    filters : str
        :func:`fingerprint` of the filters.
    """

    maps: SparseMaps
    atom_shape: tuple[int, ...]
    objective: NDArray[np.float64]
    duality_gap: NDArray[np.float64]
    lam: float
    low: Floats
    filters: str

    @classmethod
    def of(cls, model: ConvDictionaryLearning, X: Floats, mask: Any = None, **options: Any) -> SavedCodes:
        """Code images (n_images, n_channels, height, width); ``options`` are those of ``model.encode``."""
        code = model.encode(X, mask, **options)
        low = split_lowpass(X, model.lowpass, mask)[1] if model.lowpass else np.zeros_like(X)
        lam = options.get("lam")
        return cls(
            code.maps,
            model.dictionary_.atom_shape,
            code.objective,
            code.duality_gap,
            model.lam_ if lam is None else lam,
            low,
            fingerprint(model.dictionary_),
        )

    @property
    def nonzeros(self) -> NDArray[np.int64]:
        """Number of non-zeros of every image, shape (n_images,)."""
        return np.bincount(self.maps.coordinates[0], minlength=self.maps.shape[0])

    @property
    def largest_relative_gap(self) -> float:
        """Largest duality gap of an image in units of its objective."""
        return float(np.max(self.duality_gap / np.maximum(self.objective, np.finfo(float).tiny)))

    def reconstruct(self, dictionary: ConvDictionary) -> Floats:
        """Return the images (n_images, n_channels, height, width) that the codes stand for."""
        if fingerprint(dictionary) != self.filters:
            raise ValueError(
                "filters must be those that the codes were made with, but they differ; give the file that "
                "was given to encode, or encode again"
            )
        images = dictionary.synthesize(self.maps)
        if images.shape != self.low.shape:
            raise ValueError(f"low must have the shape {images.shape} of the images, got {self.low.shape}")
        return images + self.low


def fingerprint(dictionary: ConvDictionary) -> str:
    """Return a SHA-256 checksum of shape, type and values of the filters."""
    head = f"{dictionary.filters.shape} {dictionary.dtype.str}".encode()
    return hashlib.sha256(head + dictionary.filters.tobytes()).hexdigest()


def save_codes(codes: SavedCodes, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write codes to a ``.npz`` file, whole or not at all; the same codes give the same bytes."""
    arrays: dict[str, Any] = {name: getattr(codes, name, None) for name in _NAMES}
    arrays |= {"shape": codes.maps.shape, "indices": codes.maps.indices, "values": codes.maps.values}
    with atomic_write(path, overwrite) as file:
        write_npz(file, {name: np.asarray(array) for name, array in arrays.items()})
    return Path(path)


def load_codes(path: str | os.PathLike[str]) -> SavedCodes:
    """Read what :func:`save_codes` wrote; nothing in it is executed or unpickled."""
    try:
        with open_archive(path) as archive:
            return _checked({name: archive.read(name) for name in _NAMES})
    except ArchiveError as error:
        raise ValueError(f"{path} is no file of codes ({error}); give one that encode wrote") from error


def _checked(found: dict[str, NDArray[Any]]) -> SavedCodes:
    """Return the codes that arrays stand for, after these were found to fit each other."""
    if found["shape"].shape != (4,) or found["atom_shape"].shape != (2,) or found["filters"].size != 1:
        raise ArchiveError("its shapes are no shapes")
    shape, atom_shape = (
        tuple(check_integer(name, side, 1) for side in found[name].tolist())
        for name in ("shape", "atom_shape")
    )
    if len(shape) != 4 or prod(shape) >= 2**62:
        raise ArchiveError(f"its maps cannot have the shape {shape}")
    indices, values, low, lam = (found[name] for name in ("indices", "values", "low", "lam"))
    for name in ("values", "low", "objective", "duality_gap", "lam"):
        if found[name].dtype not in (np.float32, np.float64) or not np.isfinite(found[name]).all():
            raise ArchiveError(f"its {name} must be finite numbers")
    if indices.dtype != np.int64 or indices.ndim != 1 or indices.shape != values.shape:
        raise ArchiveError("its arrays do not fit each other")
    if len(indices) and not (indices[0] >= 0 and indices[-1] < prod(shape) and (np.diff(indices) > 0).all()):
        raise ArchiveError("its indices must ascend and lie inside of the maps")
    image = tuple(side + size - 1 for side, size in zip(shape[2:], atom_shape, strict=True))
    if low.ndim != 4 or (low.shape[0], *low.shape[2:]) != (shape[0], *image):
        raise ArchiveError(f"its maps of shape {shape} and smooth parts of shape {low.shape} do not fit")
    numbers = found["objective"], found["duality_gap"]
    if any(array.shape != shape[:1] for array in numbers) or lam.shape or found["filters"].shape:
        raise ArchiveError("its numbers do not fit its images")
    return SavedCodes(
        SparseMaps(shape, indices, values), atom_shape, *numbers, float(lam), low, str(found["filters"])
    )
