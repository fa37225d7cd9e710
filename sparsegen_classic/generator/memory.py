"""How much memory a fit will take, before it is begun."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from joblib import effective_n_jobs

from sparsegen_classic._validation import check_integer
from sparsegen_classic.generator.defaults import make_parts
from sparsegen_classic.generator.tones import n_toned
from sparsegen_classic.images.families import SOME

_PROCESS = 3e8  # bytes of an interpreter with all libraries, compiled kernels included
_BLOCK, _BATCH = 2048, 512


@dataclass(frozen=True)
class MemoryPlan:
    """What a fit will take at most, stage by stage.

    Attributes
    ----------
    stages : dict of str to float
        Bytes resident in each stage, with all that stays from the stages before.
    disk : float
        Bytes that codes take in a checkpoint.
    """

    stages: dict[str, float]
    disk: float

    @property
    def peak(self) -> float:
        """Bytes resident in the stage that takes most."""
        return max(self.stages.values())

    def __str__(self) -> str:
        rows = [f"  {stage:13}{amount / 1e9:6.2f} GB" for stage, amount in self.stages.items()]
        return "\n".join(["memory, at most", *rows])


def plan_memory(
    generator: Any, n_images: int, image_shape: tuple[int, ...], *, in_memory: bool = True
) -> MemoryPlan:
    """Estimate the memory that ``generator.fit`` takes for grey or colour images of float32.

    Parameters
    ----------
    generator : SparseImageGenerator
        With the parameters of the fit. With ``per_class=True`` one class of all images is reckoned with.
    n_images : int
        Number of images.
    image_shape : tuple of ints
        Shape of one image.
    in_memory : bool, default=True
        Whether the images are an array, or a store or a memory map.

    Returns
    -------
    MemoryPlan

    Examples
    --------
    >>> from sparsegen_classic import SparseImageGenerator, Trainlets, plan_memory
    >>> generator = SparseImageGenerator(Trainlets(1000, n_nonzero_coefs=40))
    >>> plan = plan_memory(generator, 200_000, (64, 64), in_memory=False)
    >>> plan.peak < 2.5e9 < plan_memory(generator, 200_000, (64, 64)).peak
    True
    """
    n = check_integer("n_images", n_images, 2)
    width, n_jobs = prod(image_shape), effective_n_jobs(generator.n_jobs)
    given: tuple[Any, Any, Any, Any] = generator._parts()
    dictionary, _, _, *sketches = make_parts(*given, tuple(image_shape), n, {})
    sizes = dictionary.get_params(deep=False)
    atoms = sizes.get("n_components") or width
    entries = n * (sizes.get("n_nonzero_coefs") or max(1, width // 10))
    by_blocks = hasattr(dictionary, "learn_steps") and sizes.get("online", True)
    images = 2 * 4.0 * n * width if in_memory else 0.0  # as they are, and centred
    if not in_memory and not by_blocks:
        images = 4.0 * n * width
    block = 0.0 if in_memory else 3 * 4.0 * _BLOCK * width * n_jobs
    base = _PROCESS + images
    learning = 4.0 * atoms * width * (12 if by_blocks else 3) + 4.0 * n * width * (not by_blocks)
    dictionary_size = 2 * 4.0 * atoms * width
    codes, tables = 8.0 * entries, 8.0 * (2 * atoms) ** 2
    grouped = 4 * 4.0 * min(n, SOME) * width  # the images that tell the components of groups
    stages = {
        "looking": base + block,
        "dictionary": base + learning + 6 * 4.0 * _BATCH * width,
        "coding": base + dictionary_size + block + 4.0 * _BLOCK * atoms * n_jobs + codes,
        "groups": base + dictionary_size + codes + (0.0 if generator.n_groups == 1 else grouped),
        "supports": base + dictionary_size + 4 * codes + 5 * tables,
        "coefficients": base + dictionary_size + 2 * tables + 5 * codes,
    }
    if generator.tone != "clip":
        values = 8.0 * n_toned(n, width) * width
        stages["tone"] = base + dictionary_size + 2 * tables + 3 * codes + 10 * values
    if sketches:
        positions = 8.0 * n * min(sketches[0].n_components, atoms)  # and once more as float32
        stages["sketches"] = base + dictionary_size + 3.5 * tables + 5 * codes + 2.5 * positions
    return MemoryPlan(stages, 2 * codes)
