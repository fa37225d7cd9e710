"""``sparsegen-classic vary``."""

from __future__ import annotations

from typing import Any

import click

from sparsegen_classic.cli._common import (
    common_options,
    computing,
    guarded,
    image_options,
    report,
    resolve_seed,
)
from sparsegen_classic.cli._drawn import load_generator, open_like


@click.command()
@click.argument("model")
@click.argument("source")
@click.option("-n", "--n-images", type=click.IntRange(1), default=10, help="Images, the first of SOURCE.")
@click.option("--n-variations", type=click.IntRange(1), default=9, help="Of each image.")
@click.option("-o", "--output", required=True, help="sheet.png, variations.npz or folder/.")
@image_options
@common_options
@guarded
def vary(model: str, source: str, n_images: int, n_variations: int, output: str, **options: Any) -> None:
    """Draw variations of the images of SOURCE: other codes that explain a coarse view of them.

    A sheet (.png) has a row for each image, which comes first; an .npz file or a folder has the variations
    alone, image after image. Images are brought to the size of the model only if --fit says how.

    \b
    Examples:
      sparsegen-classic vary mnist.npz mnist/ --split test -o sheet.png
      sparsegen-classic vary faces.npz photos/ --fit crop -n 3 --n-variations 20 -o more/
    """
    import numpy as np

    from sparsegen_classic import save_images
    from sparsegen_classic.images import check_target

    target = check_target(output, options["force"])
    generator = load_generator(model).set_params(**computing(options))
    shape = generator.image_shape_.tolist()
    if len(shape) < 2:
        raise ValueError("vary needs a model of images; this one was fitted on rows of numbers")
    data, seed = open_like(source, options, shape, options["split"]), resolve_seed(options["seed"])
    if generator.classes_ is not None and data.labels is None:
        raise ValueError(f"{model} has a model per class, which needs labels, and {source} has none")
    given, labels = data.images[:n_images], None if generator.classes_ is None else data.labels[:n_images]
    images = generator.vary(given, labels, seed, n_variations=n_variations)
    n_columns, n = None, len(images)
    if target.suffix.lower() == ".png":
        sides, n_columns, labels = images.shape[1:], n_variations + 1, None
        rows = images.reshape(-1, n_variations, *sides)
        images = np.concatenate([given[:, None], rows], axis=1).reshape(-1, *sides)
    elif labels is not None:
        labels = labels.repeat(n_variations)
    save_images(images, output, labels=labels, n_columns=n_columns, overwrite=options["force"])
    result = {"output": str(target), "images": n, "seed": seed}
    report(result, f"drew {n} variations of {len(given)} images with seed {seed}; wrote {target}", options)
