"""The models of a generator, fitted one by one, wherever that is: in this process or by a worker."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsegen_classic._archive import check_compressed
from sparsegen_classic._blocks import Paths, fill_blocks, writing_kept
from sparsegen_classic._checkpoint import CheckpointError, Stages
from sparsegen_classic._parallel import map_blocks
from sparsegen_classic._random import seed_sequence
from sparsegen_classic._rows import ArrayFile, Rows
from sparsegen_classic._validation import check_integer
from sparsegen_classic.generator.defaults import default_n_groups, make_parts
from sparsegen_classic.generator.tones import Tones, fit_tones
from sparsegen_classic.images import group_images

_log = logging.getLogger(__name__)
_BLOCK = 2048  # images that are looked at, or coded, at a time

Images = Any  # NDArray (n, n_features) or Rows


@dataclass(frozen=True)
class FittedModel:
    """What is fitted to the images of a class."""

    parts: list[Any]
    mean: NDArray[np.float32]
    tones: Tones
    lowest: float
    highest: float


def fit_models(
    generator: Any,
    source: Any,
    members: list[NDArray[np.intp]],
    stages: Stages | None,
    step: Callable[[], Any],
) -> list[FittedModel]:
    """Fit a model to each class: one with all workers for its blocks, several side by side."""
    single = generator.classes_ is None
    seeds = None if stages is None else stages.load("seeds")
    if seeds is None:
        seeds = seed_sequence(generator.random_state).generate_state(len(members))
        if stages is not None:
            stages.save("seeds", seeds)
    if np.shape(seeds) != (len(members),) or np.asarray(seeds).dtype != np.uint32:
        raise CheckpointError("the seeds in the checkpoint are not of this fit; begin in a new folder")
    fitting = Fitting(
        source,
        members,
        [""] if single else [f" of class {label}" for label in generator.classes_],
        seeds.tolist(),
        generator._parts(),
        {"n_jobs": generator.n_jobs, "verbose": int(generator.verbose and single)},
        generator.mean,
        generator.tone,
        generator.n_groups,
        tuple(generator.image_shape_.tolist()),
        stages,
    )
    fitted = []
    made = [fitting(slice(0, 1))] if single else map_blocks(fitting, len(members), 1, generator.n_jobs)
    for model in made:
        fitted.append(model)
        step()
    return fitted


@dataclass(frozen=True)
class Fitting:
    """All that it takes to fit the models; called with the slice of one of them."""

    source: Any
    members: list[NDArray[np.intp]]
    names: list[str]
    seeds: list[int]
    parts: tuple[Any, Any, Any, Any]
    shared: dict[str, Any]  # n_jobs and verbose, for all parts
    mean: str
    tone: str
    n_groups: int | None
    image_shape: tuple[int, ...]
    stages: Stages | None

    def __call__(self, which: slice) -> FittedModel:
        """Fit the model ``which.start``."""
        number, n_jobs = which.start, self.shared["n_jobs"]
        members = None if len(self.members) == 1 else self.members[number]
        with _timed("looking"):
            rows = Rows(self.source, members)
            mean, lowest, highest, differ = look_at(rows, n_jobs)
        if not differ:
            raise ValueError(
                f"all {len(rows)} images{self.names[number]} are equal; there is nothing to learn, "
                "give others"
            )
        if self.mean == "pixel":
            rows = Rows(self.source, members, mean)
        else:
            mean = np.zeros_like(mean)
        images = rows[:] if isinstance(self.source, np.ndarray) else rows
        shared = self.shared | {"random_state": self.seeds[number]}
        parts = make_parts(*self.parts, self.image_shape, min(map(len, self.members)), shared)
        stages = None if self.stages is None else self.stages.within(f"model-{number}")
        with _timed("dictionary"):
            parts[0] = learn_dictionary(parts[0], images, stages)
        with _timed("coding"):
            codes = code_images(parts[0], images, n_jobs, stages)
        fit_codes(images, codes, parts, self.n_groups, self.seeds[number])
        with _timed("tone"):
            tones = fit_tones(self.tone, images, codes, parts, mean, self.seeds[number])
        return FittedModel(parts, mean, tones, lowest, highest)


@contextmanager
def _timed(stage: str) -> Iterator[None]:
    """Log how long a stage took."""
    start = time.perf_counter()
    yield
    _log.info("%s took %.3f s", stage, time.perf_counter() - start)


def learn_dictionary(dictionary: Any, images: Images, stages: Stages | None) -> Any:
    """Return the dictionary fitted to centred images, with a checkpoint from where that is on."""
    if stages is None:
        return dictionary.fit(images if hasattr(dictionary, "learn_steps") else images[:])
    return stages.learn("dictionary", dictionary, images)


def code_images(
    dictionary: Any, images: Images, n_jobs: int | None, stages: Stages | None
) -> sparse.csr_array:
    """Return the codes of images, made block by block; with a checkpoint, in files that are mapped."""
    given = (_code, len(images), _BLOCK, n_jobs, images, dictionary)
    if stages is None:
        blocks = list(map_blocks(*given))
        sizes, indices, values = (np.concatenate(part) for part in zip(*blocks, strict=True))
        return _assembled(sizes, indices, values, len(images), dictionary)
    function, *others = given
    files = fill_blocks(stages.path("codes"), function, 3, *others)
    try:
        sizes = np.concatenate([ArrayFile.open_npy(paths[0])[:] for paths in files])
        indices, values = (
            _joined(stages.path(f"{name}.npy"), files, i)
            for i, name in enumerate(("atoms", "coefficients"), 1)
        )
        codes = _assembled(sizes, indices, values, len(images), dictionary)
        check_compressed(codes.data, codes.indices, codes.indptr, codes.shape)
    except ValueError as error:
        raise CheckpointError(
            f"the codes in {stages.path('codes')} do not fit together ({error}); remove that folder, and run "
            "the same again"
        ) from error
    return codes


def _assembled(
    sizes: NDArray, indices: NDArray, values: NDArray, n: int, dictionary: Any
) -> sparse.csr_array:
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    integer = np.int32 if indptr[-1] < 2**31 else np.int64
    parts = values, indices.astype(integer, copy=False), indptr.astype(integer)
    return sparse.csr_array(parts, shape=(n, len(dictionary.components_)))


def fit_codes(
    images: Images, codes: sparse.csr_array, parts: list[Any], n_groups: int | None, seed: int
) -> None:
    """Fit supports and coefficients to the codes of images.

    ``n_groups`` families of images become the latent groups; None is their default number, or what
    ``supports`` finds by itself if it is made for that.
    """
    dictionary, supports, coefficients, *sketches = parts
    n_groups = wanted_groups(n_groups, supports, len(images))
    groups = None
    if n_groups is not None:
        check_integer("n_groups", n_groups, 1, len(images), "each needs an image")
        with _timed("groups"):
            groups = group_images(images, n_groups, seed)
        if "n_groups" in supports.get_params():
            supports.set_params(n_groups=int(groups.max()) + 1)
    with _timed("supports"):
        if groups is not None and groups.any():
            supports.fit(codes, groups=groups)
        else:
            supports.fit(codes)
            groups = supports.most_probable_groups(codes) if n_groups_of(supports) > 1 else None
    with _timed("coefficients"):
        coefficients.fit(codes, **({} if groups is None else {"groups": groups}))
    for part in sketches:
        with _timed("sketches"):
            part.fit(codes, components=dictionary.components_, groups=groups)


def wanted_groups(n_groups: int | None, supports: Any, n_images: int) -> int | None:
    """Return how many families of images to look for; None leaves the groups to the supports."""
    by_default = n_groups is None and supports.get_params().get("n_groups") == 1
    return default_n_groups(n_images) if by_default else n_groups


def n_groups_of(supports: Any) -> int:
    """Return the number of groups of fitted supports, of which there may be no talk."""
    return len(getattr(supports, "group_shares_", (1.0,)))


def look_at(rows: Rows, n_jobs: int | None) -> tuple[NDArray[np.float32], float, float, bool]:
    """Return the mean image, the lowest and highest value, and whether images differ."""
    first, total = rows[:1], np.zeros(rows.shape[1])
    lowest, highest, differ = np.inf, -np.inf, False
    for part, low, high, other in map_blocks(_look_at, len(rows), _BLOCK, n_jobs, rows, first):
        total += part
        lowest, highest, differ = min(lowest, low), max(highest, high), differ or other
        if not np.isfinite(part).all():
            raise ValueError("Input X contains NaN or infinity; leave such images out, or repair them")
    return (total / len(rows)).astype(np.float32), lowest, highest, differ


def _look_at(block: slice, rows: Rows, first: NDArray) -> tuple[NDArray[np.float64], float, float, bool]:
    images = rows[block]
    total = images.sum(axis=0, dtype=np.float64)
    return total, float(images.min()), float(images.max()), bool((images != first).any())


def _code(block: slice, images: Images, dictionary: Any) -> tuple[NDArray[Any], ...]:
    """Return the codes of a block as sizes of rows, atoms and coefficients."""
    codes = sparse.csr_array(dictionary.transform(images[block]))
    codes.sort_indices()
    return np.diff(codes.indptr).astype(np.int32), codes.indices.astype(np.int32), codes.data


def _joined(path: Path, files: list[Paths], which: int) -> NDArray[Any]:
    """Return one array of all blocks, a map of a file."""
    parts = [ArrayFile.open_npy(paths[which]) for paths in files]
    about = np.empty((0,), parts[0].dtype)
    header = np.lib.format.header_data_from_array_1_0(about) | {"shape": (sum(map(len, parts)),)}
    with writing_kept(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(part[:].data)
    return np.load(path, mmap_mode="r")
