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
    computing,
    guarded,
    image_options,
    mode_option,
    report,
    resolve_seed,
)
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
@click.option(
    "--dictionary",
    type=click.Choice(["ksvd", "trainlets"]),
    default="ksvd",
    help="How to learn atoms; trainlets suit large images.",
)
@click.option("--online", is_flag=True, help="Learn K-SVD by mini-batches, for images larger than memory.")
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=512,
    help="Images of a mini-batch (trainlets, --online); the workers of a cluster share larger ones.",
)
@click.option("--per-class", is_flag=True, help="One model for each label (sub-folder names, idx labels).")
@click.option("--n-components", type=int, help="Atoms of the dictionary.  [default: by the number of images]")
@click.option("--n-nonzero-coefs", type=int, help="Atoms of an image.  [default: by the size of images]")
@click.option("--max-iter", type=int, default=10, help="Iterations over the images.")
@click.option(
    "--update",
    type=click.Choice(["approximate", "exact"]),
    default="approximate",
    help="Atom update of K-SVD.",
)
@click.option(
    "--mean",
    type=click.Choice(["none", "pixel"]),
    default="pixel",
    help="Subtract the mean image (of the class) before coding.",
)
@click.option(
    "--smoothing", type=float, default=0.5, help="Pseudo-count of every pair of atoms; 0 is the paper."
)
@click.option("--pair-exponent", type=float, default=0.4, help="Power of the pair factors; 1 is the paper.")
@click.option(
    "--pair-reference",
    type=click.Choice(["auto", "all", "groups"]),
    default="auto",
    help="Count pairs against atoms that are independent in all images, or within each group.",
)
@click.option(
    "--n-groups",
    type=click.IntRange(1),
    help="Latent groups of a model; 1 is the paper.  [default: by the number of images]",
)
@click.option(
    "--tone",
    type=click.Choice(["auto", "match", "clip"]),
    default="auto",
    help="Give draws the distribution of real pixels, or just clip them (the paper), or what suits these "
    "images.",
)
@click.option(
    "--sketches/--no-sketches",
    default=True,
    help="Draw a coarse view of an image first; without, a support and then coefficients (the paper).",
)
@click.option("--noise", type=float, default=0.4, help="Of sketches, in root mean square coefficients.")
@click.option(
    "--bandwidth",
    type=float,
    default=1.0,
    help="Variation of sketches about those of training images, in their spread within a group.",
)
@click.option(
    "--select",
    is_flag=True,
    help="Try groups, pairs, tone and sketches, and take the settings whose draws are nearest to images set "
    "aside.",
)
@click.option(
    "--paper",
    is_flag=True,
    help="The model of the paper as it stands: eq. (2) unsmoothed, one group, no sketches, mean or tone.",
)
@click.option("--min-count", type=int, default=1, help="Leave out atoms used by fewer images.")
@click.option("--burn-in", type=int, default=20, help="Gibbs sweeps for each image drawn without sketch.")
@click.option(
    "--prior-strength",
    type=float,
    default=1.0,
    help="Pseudo-observations of the coefficients' prior, without sketches.",
)
@click.option(
    "--draw",
    type=click.Choice(["truncated", "gaussian", "clip"]),
    default="clip",
    help="How coefficients are kept positive, without sketches.",
)
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

    if options["paper"]:
        _check_options("--paper", _OF_THE_PAPER)
    elif options["sketches"]:
        _check_options("--sketches, the default,", _WITHOUT_SKETCHES, "add --no-sketches, or leave it out")
    else:
        _check_options("--no-sketches", ("noise", "bandwidth"))
    if options["select"]:
        _check_options("--select", ("n_groups", "pair_exponent", "pair_reference", "tone"))
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
_OF_THE_PAPER = (
    *("smoothing", "pair_exponent", "pair_reference", "min_count", "mean", "tone", "n_groups"),
    *("prior_strength", "draw", "select", "sketches", "noise", "bandwidth", "burn_in"),
)
_WITHOUT_SKETCHES = ("prior_strength", "draw", "burn_in")  # what draws then


def _check_options(flag: str, fixed: tuple[str, ...], remedy: str = "leave one of them out") -> None:
    """Refuse options that a flag decides about."""
    context = click.get_current_context()
    for name in fixed:
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{flag} decides about --{name.replace('_', '-')}; {remedy}")


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


def make_generator(options: dict[str, Any], seed: int) -> Any:
    """Return the unfitted generator that the options describe."""
    from sparsegen_classic import (
        KSVD,
        GaussianCoefficients,
        MarkovSupports,
        SketchedCodes,
        SparseImageGenerator,
        Trainlets,
    )

    def chosen(*names: str) -> dict[str, Any]:
        return {name: options[name] for name in names}

    sizes = chosen("n_components", "n_nonzero_coefs", "max_iter", "batch_size")
    ksvd = options["dictionary"] == "ksvd"
    dictionary = KSVD(**sizes, **chosen("update", "online")) if ksvd else Trainlets(**sizes)
    shared = {"random_state": seed, **computing(options)}
    if options["paper"]:
        return SparseImageGenerator.paper(dictionary, **chosen("per_class"), **shared)
    return SparseImageGenerator(
        dictionary,
        MarkovSupports(**chosen("smoothing", "pair_exponent", "pair_reference", "min_count", "burn_in")),
        GaussianCoefficients(**chosen("prior_strength", "draw")),
        sketches=SketchedCodes(**chosen("noise", "bandwidth")) if options["sketches"] else "none",
        **chosen("mean", "tone", "n_groups", "per_class"),
        **shared,
    )
