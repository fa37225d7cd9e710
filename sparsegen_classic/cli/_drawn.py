"""Generators from files, and images like those that they draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_MANY = 20_000  # images from which on they are read from disk


def load_generator(path: str) -> Any:
    """Return the fitted generator of a model file."""
    from sparsegen_classic import SparseImageGenerator, load_model

    generator = load_model(path)
    if not isinstance(generator, SparseImageGenerator):
        raise ValueError(
            f"{path} holds a {type(generator).__name__}, which draws no images; give a model of `fit`"
        )
    if not hasattr(generator, "image_shape_"):
        raise ValueError(f"{path} holds a generator that has not been fitted; give a model of `fit`")
    return generator


def open_like(
    source: str, options: dict[str, Any], shape: list[int] | None, split: str = "train", folder: str = ""
) -> Any:
    """Open images at the size and mode of the model, if there is one; many of them on disk, in ``folder``."""
    from sparsegen_classic import ImageSet, open_images, store_images
    from sparsegen_classic.images.store import survey_images

    rules = {name: options[name] for name in ("fit", "background")}
    rules["mode"] = options.get("mode") or ("RGB" if shape and len(shape) == 3 else "L")
    rules["size"] = options["size"] or (tuple(shape[:2]) if shape else None)
    reading = {"errors": options["errors"], "verbose": not options["quiet"]}
    found = survey_images(source, **rules) if folder and source != "digits" else None
    if found is None or found[0] <= _MANY:
        return open_images(source, split=split, **rules, **reading)
    store: Any = store_images(source, Path(folder, "images"), n_jobs=options["jobs"], **rules, **reading)
    return ImageSet(store, store.labels)
