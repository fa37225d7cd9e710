"""``sparsegen-classic sample``."""

from __future__ import annotations

import tempfile
from typing import Any

import click

from sparsegen_classic.cli._cluster import cluster_option, on_cluster
from sparsegen_classic.cli._common import (
    common_options,
    computing,
    guarded,
    image_options,
    report,
    resolve_seed,
)
from sparsegen_classic.cli._drawn import load_generator, open_like

_SHOWN = 60  # pairs in the picture of neighbours


@click.command()
@click.argument("model")
@click.option("-n", "--n-samples", type=click.IntRange(1), default=100, help="Images.")
@click.option("-o", "--output", required=True, help="sheet.png, samples.npz or folder/.")
@click.option("--class", "class_", metavar="C", help="Draw this class only (of a model per class).")
@click.option("--neighbours", metavar="SOURCE", help="Also find the nearest image of SOURCE for each sample.")
@cluster_option
@image_options
@common_options
@guarded
def sample(
    model: str, output: str, n_samples: int, class_: str | None, neighbours: str | None, **options: Any
) -> None:
    """Draw images from MODEL and write them to OUTPUT.

    The suffix of OUTPUT chooses the form: .png one sheet, .npz arrays (images, labels), a name without
    suffix a folder of PNG files. With --neighbours, a picture OUTPUT_neighbours.png shows samples above
    their nearest images; the options on images apply to SOURCE, whose size is that of the model unless
    --size is given.

    \b
    Examples:
      sparsegen-classic sample mnist.npz -n 100 -o sheet.png
      sparsegen-classic sample mnist.npz -n 50 --class 3 -o threes/
      sparsegen-classic sample mnist.npz -n 1000 -o samples.npz --neighbours mnist/
    """
    import numpy as np

    from sparsegen_classic import save_images
    from sparsegen_classic._files import check_output
    from sparsegen_classic.images import check_target

    force = options["force"]
    target = check_target(output, force)
    pairs = target.with_name(f"{target.stem}_neighbours.png")
    if neighbours:
        check_output(pairs, force)
    generator = load_generator(model)
    shape = generator.image_shape_.tolist()
    if neighbours and len(shape) < 2:
        raise ValueError("--neighbours needs a model of images; this one was fitted on rows of numbers")
    with tempfile.TemporaryDirectory(prefix="sparsegen-") as folder:
        references = None
        if neighbours:
            references = open_like(neighbours, options, shape, options["split"], folder).images
        seed = resolve_seed(options["seed"])
        generator.set_params(**computing(options))
        with on_cluster(options["cluster"]):
            draws = generator.draw(n_samples, seed, class_=class_)
        images, labels = draws.images, draws.labels
        if target.suffix.lower() == ".png" and labels is not None:
            images = images[np.argsort(labels, kind="stable")]  # a sheet shows class after class
            labels = None
        save_images(images, output, labels=labels, overwrite=force)
        share = float(draws.in_training.mean())
        result = {"output": str(target), "images": n_samples, "seed": seed, "supports_in_training": share}
        text = (
            f"drew {n_samples} images with seed {seed}; wrote {target}\n"
            f"supports equal to that of a training image: {share:.1%}"
        )
        if references is not None:
            found = _save_neighbours(images, references, pairs, options)
            result |= found
            text += (
                f"\ndistance to the nearest image of {neighbours}: median {found['distance_median']:.3g}, "
                f"smallest {found['distance_min']:.3g}; wrote {pairs}"
            )
    report(result, text, options)


def _save_neighbours(images: Any, references: Any, path: Any, options: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from sparsegen_classic import nearest_images
    from sparsegen_classic.plots import plot_neighbours, save_figure

    nearest, distances = nearest_images(images, references, n_jobs=options["jobs"])
    ax = plot_neighbours(images[:_SHOWN], references[nearest[:_SHOWN]])
    save_figure(ax, path, overwrite=options["force"])
    return {
        "neighbours": str(path),
        "distance_median": float(np.median(distances)),
        "distance_min": float(distances.min()),
    }
