"""``sparsegen-classic fit``."""

from __future__ import annotations

import time
from typing import Any

import click

from sparsegen_classic.cli._common import common_options, guarded, image_options, report, resolve_seed


@click.command()
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="MODEL", help="Model file to write (.npz).")
@click.option(
    "--dictionary",
    type=click.Choice(["ksvd", "trainlets"]),
    default="ksvd",
    show_default=True,
    help="How to learn atoms; trainlets suit large images.",
)
@click.option("--per-class", is_flag=True, help="One model for each label (sub-folder names, idx labels).")
@click.option("--n-components", type=int, help="Atoms of the dictionary.  [default: by the number of images]")
@click.option("--n-nonzero-coefs", type=int, help="Atoms of an image.  [default: by the size of images]")
@click.option("--max-iter", type=int, default=10, show_default=True, help="Iterations over the images.")
@click.option(
    "--update",
    type=click.Choice(["approximate", "exact"]),
    default="approximate",
    show_default=True,
    help="Atom update of K-SVD.",
)
@click.option(
    "--mean",
    type=click.Choice(["none", "pixel"]),
    default="pixel",
    show_default=True,
    help="Subtract the mean image (of the class) before coding.",
)
@click.option(
    "--smoothing",
    type=float,
    default=0.5,
    show_default=True,
    help="Pseudo-count of every pair of atoms; 0 is the paper.",
)
@click.option(
    "--pair-exponent",
    type=float,
    default=0.4,
    show_default=True,
    help="Power of the pair factors; 1 is the paper.",
)
@click.option(
    "--n-groups",
    type=click.IntRange(1),
    help="Latent groups of a model; 1 is the paper.  [default: by the number of images]",
)
@click.option(
    "--tone",
    type=click.Choice(["match", "clip"]),
    default="match",
    show_default=True,
    help="Give draws the distribution of real pixels, or just clip them (the paper).",
)
@click.option(
    "--select",
    is_flag=True,
    help="Try groups and pair exponents, and take those whose draws are nearest to images set aside.",
)
@click.option(
    "--paper",
    is_flag=True,
    help="The model of the paper as it stands: eq. (2) unsmoothed, one group, no mean image, clipping.",
)
@click.option(
    "--min-count", type=int, default=1, show_default=True, help="Leave out atoms used by fewer images."
)
@click.option("--burn-in", type=int, default=20, show_default=True, help="Gibbs sweeps for each image drawn.")
@click.option(
    "--prior-strength",
    type=float,
    default=1.0,
    show_default=True,
    help="Pseudo-observations of the coefficients' prior.",
)
@click.option(
    "--draw",
    type=click.Choice(["truncated", "gaussian", "clip"]),
    default="clip",
    show_default=True,
    help="How coefficients are kept positive.",
)
@click.option(
    "--mode", type=click.Choice(["L", "RGB"]), default="L", show_default=True, help="Grey or colour."
)
@image_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
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
    """
    from sparsegen_classic import open_images, save_model
    from sparsegen_classic._files import check_output

    if options["paper"]:
        _check_options("--paper", _OF_THE_PAPER)
    if options["select"]:
        _check_options("--select", ("n_groups", "pair_exponent"))
    check_output(output, options["force"])
    start, seed, loud = time.perf_counter(), resolve_seed(options["seed"]), not options["quiet"]
    names = ("mode", "size", "fit", "background", "split", "errors")
    data = open_images(source, verbose=loud, **{name: options[name] for name in names})
    if options["per_class"] and data.labels is None:
        raise ValueError(
            f"--per-class needs labels, and {source} has none; give sub-folders or a labels file"
        )
    generator = make_generator(options, seed)
    chosen = _select(generator, data, seed, loud) if options["select"] else {}
    generator.set_params(**chosen).fit(data.images, data.labels)
    save_model(generator, output, overwrite=options["force"])
    seconds = time.perf_counter() - start
    result = {
        "model": output,
        "images": len(data),
        "skipped": len(data.skipped),
        "seed": seed,
        "seconds": round(seconds, 2),
    } | ({"selected": chosen} if chosen else {})
    skipped = f" ({len(data.skipped)} files skipped)" if data.skipped else ""
    report(
        result,
        f"learned {len(data)} images{skipped} in {seconds:.1f} s with seed {seed}; wrote {output}",
        as_json=options["as_json"],
        quiet=options["quiet"],
    )


_OF_THE_PAPER = (
    "smoothing", "pair_exponent", "min_count", "mean", "tone", "n_groups", "prior_strength", "draw", "select",
)  # fmt: skip


def _check_options(flag: str, fixed: tuple[str, ...]) -> None:
    """Refuse options that a flag decides about."""
    context = click.get_current_context()
    for name in fixed:
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{flag} decides about --{name.replace('_', '-')}; leave one of them out")


def _select(generator: Any, data: Any, seed: int, loud: bool) -> dict[str, Any]:
    """Return the settings that win; the table of all goes to stderr."""
    from sparsegen_classic import select_settings

    selection = select_settings(
        generator, data.images, data.labels if generator.per_class else None, random_state=seed,
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
        SparseImageGenerator,
        Trainlets,
    )

    def chosen(*names: str) -> dict[str, Any]:
        return {name: options[name] for name in names}

    sizes = chosen("n_components", "n_nonzero_coefs", "max_iter")
    ksvd = options["dictionary"] == "ksvd"
    dictionary = KSVD(**sizes, **chosen("update")) if ksvd else Trainlets(**sizes)
    shared = {"random_state": seed, "n_jobs": options["jobs"], "verbose": int(not options["quiet"])}
    if options["paper"]:
        return SparseImageGenerator.paper(dictionary, **chosen("per_class"), **shared)
    return SparseImageGenerator(
        dictionary,
        MarkovSupports(**chosen("smoothing", "pair_exponent", "min_count", "burn_in")),
        GaussianCoefficients(**chosen("prior_strength", "draw")),
        **chosen("mean", "tone", "n_groups", "per_class"),
        **shared,
    )
