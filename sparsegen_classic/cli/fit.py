"""``sparsegen-classic fit``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from sparsegen_classic.cli._cluster import check_visible, cluster_option, on_cluster
from sparsegen_classic.cli._common import (
    Bytes,
    common_options,
    guarded,
    image_options,
    mode_option,
    report,
    resolve_seed,
)
from sparsegen_classic.cli._model import check_model_options, make_generator, model_options
from sparsegen_classic.cli._training import (
    checkpoint_option,
    continued_by,
    recall_seed,
    stopwatch,
    training_images,
)


@click.command()
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="MODEL", help="Model file to write (.npz).")
@model_options
@mode_option
@checkpoint_option
@click.option(
    "--memory",
    type=Bytes(),
    help="Most memory to take, e.g. 2GB: images that would take more are kept on disk.",
)
@cluster_option
@image_options
@common_options
@guarded
def fit(source: str, output: str, **options: Any) -> None:
    """Learn a model from SOURCE and write it to MODEL.

    SOURCE is a folder of images, an idx file or directory (MNIST), a .npz or .npy file, or "digits".

    \b
    Examples:
      sparsegen-classic fit digits --per-class -o digits.npz
      sparsegen-classic fit mnist/ --per-class -o mnist.npz
      sparsegen-classic fit mnist/ --per-class --paper -o as_in_the_paper.npz
      sparsegen-classic fit photos/ --mode RGB --size 64 --fit crop -o photos.npz
      sparsegen-classic fit faces/ --dictionary trainlets --memory 2GB --checkpoint work/ -o faces.npz
    """
    from sparsegen_classic import save_model
    from sparsegen_classic._files import check_output, make_folder
    from sparsegen_classic.images.folder import list_skipped

    check_model_options(options)
    checkpoint = options["checkpoint"]
    if options["cluster"] and not checkpoint:
        raise click.UsageError("--cluster needs --checkpoint DIR, a folder that the workers see as well")
    check_output(output, options["force"])
    if checkpoint:
        make_folder(checkpoint)
    start, loud = time.perf_counter(), not options["quiet"]
    at = None if checkpoint is None else Path(checkpoint, "fit")
    seed = resolve_seed(recall_seed(at) if options["seed"] is None else options["seed"])
    generator = make_generator(options, seed)
    with (
        continued_by(["sparsegen-classic", *sys.argv[1:]], checkpoint),
        on_cluster(options["cluster"]) as client,
        stopwatch() as stages,
    ):
        if client is not None:
            check_visible(client, checkpoint, written=True)
            if Path(source).exists():
                check_visible(client, source)
        with training_images(source, generator, options) as (images, labels, skipped):
            if options["per_class"] and labels is None:
                raise ValueError(
                    f"--per-class needs labels, and {source} has none; give sub-folders or a labels file"
                )
            chosen = _select(generator, images, labels, seed, loud) if options["select"] else {}
            generator.set_params(**chosen).fit(images, labels, checkpoint=at)
            n_images = len(images)
    save_model(generator, output, overwrite=options["force"])
    seconds = time.perf_counter() - start
    result = {
        "model": output,
        "images": n_images,
        "skipped": len(skipped),
        "skipped_files": {str(file): reason for file, reason in skipped},
        "seed": seed,
        "seconds": round(seconds, 2),
        "stages": {stage: round(value, 2) for stage, value in stages.items()},
    } | ({"selected": chosen} if chosen else {})
    n_skipped = f" ({len(skipped)} files skipped)" if skipped else ""
    text = f"learned {n_images} images{n_skipped} in {seconds:.1f} s with seed {seed}; wrote {output}"
    report(result, "\n  ".join([text, *list_skipped(skipped)]), options)


_ENOUGH = 100_000  # images to select settings on


def _select(generator: Any, images: Any, labels: Any, seed: int, loud: bool) -> dict[str, Any]:
    """Return the settings that win; the table of all goes to stderr."""
    import numpy as np

    from sparsegen_classic import select_settings

    some = np.linspace(0, len(images) - 1, min(len(images), _ENOUGH)).astype(int)
    selection = select_settings(
        generator, images[some], labels[some] if generator.per_class else None, random_state=seed,
        n_jobs=generator.n_jobs, verbose=int(loud),
    )  # fmt: skip
    if loud:
        click.echo(str(selection), err=True)
    return selection.best_params
