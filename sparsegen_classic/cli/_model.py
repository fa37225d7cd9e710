"""The options of ``fit`` that say what the model is, and the generator that they describe."""

from __future__ import annotations

from typing import Any

import click

from sparsegen_classic.cli._common import computing, together

_CALLED = {  # options whose parameters have another name in Python, where each part has its own
    "support_method": "method",
    "coefficient_method": "method",
    "coefficient_scale": "scale",
    "sketch_components": "n_components",
}
_OF_SUPPORTS = (
    *("smoothing", "pair_exponent", "pair_reference", "min_count", "group_smoothing"),
    *("group_pair_smoothing", "support_method", "l2", "rank"),
)
_OF_COEFFICIENTS = (
    *("prior_strength", "draw", "coefficient_method", "coefficient_scale", "min_overlap", "overlap_power"),
    "group_weight",
)
_OTHERS = "mean", "tone", "n_groups", "select", "sketches", "burn_in"  # that the paper has an opinion of
_OF_SKETCHES = ("sketch_components", "noise", "bandwidth", "shrinkage")

model_options = together(
    click.option(
        "--dictionary",
        type=click.Choice(["ksvd", "trainlets"]),
        default="ksvd",
        help="How to learn atoms; trainlets suit large images.",
    ),
    click.option("--online", is_flag=True, help="Learn K-SVD by mini-batches, for more images than memory."),
    click.option(
        "--batch-size",
        type=click.IntRange(1),
        default=512,
        help="Images of a mini-batch (trainlets, --online); the workers of a cluster share larger ones.",
    ),
    click.option(
        "--per-class", is_flag=True, help="One model for each label (sub-folder names, idx labels)."
    ),
    click.option(
        "--n-components", type=int, help="Atoms of the dictionary.  [default: by the number of images]"
    ),
    click.option("--n-nonzero-coefs", type=int, help="Atoms of an image.  [default: by the size of images]"),
    click.option("--max-iter", type=int, default=10, help="Iterations over the images."),
    click.option(
        "--update",
        type=click.Choice(["approximate", "exact"]),
        default="approximate",
        help="Atom update of K-SVD.",
    ),
    click.option(
        "--mean",
        type=click.Choice(["none", "pixel"]),
        default="pixel",
        help="Subtract the mean image (of the class) before coding.",
    ),
    click.option(
        "--tone",
        type=click.Choice(["auto", "match", "clip"]),
        default="auto",
        help="Give draws the distribution of real pixels, or just clip them (the paper), or what suits these "
        "images.",
    ),
    click.option(
        "--n-groups",
        type=click.IntRange(1),
        help="Latent groups of a model; 1 is the paper.  [default: by the number of images]",
    ),
    click.option("--smoothing", type=float, default=0.5, help="Pseudo-count of every pair; 0 is the paper."),
    click.option(
        "--pair-exponent", type=float, default=0.4, help="Power of the pair factors; 1 is the paper."
    ),
    click.option(
        "--pair-reference",
        type=click.Choice(["auto", "all", "groups"]),
        default="auto",
        help="Count pairs against atoms that are independent in all images, or within each group.",
    ),
    click.option("--min-count", type=int, default=1, help="Leave out atoms used by fewer images."),
    click.option(
        "--group-smoothing", type=float, default=1.0, help="Average images that are added to every group."
    ),
    click.option(
        "--group-pair-smoothing",
        type=float,
        help="Give groups pair factors of their own, shrunk to the shared ones by so many expected uses.",
    ),
    click.option(
        "--support-method",
        type=click.Choice(["counts", "pseudo-likelihood", "contrastive-divergence"]),
        default="counts",
        help="Fit of the network: eq. (2), or from there on.",
    ),
    click.option("--l2", type=float, default=1.0, help="Precision that draws these fits to eq. (2)."),
    click.option("--rank", type=click.IntRange(1), help="Of what pseudo-likelihood changes.  [default: any]"),
    click.option(
        "--sketches/--no-sketches",
        default=True,
        help="Draw a coarse view of an image first; without, a support and then coefficients (the paper).",
    ),
    click.option("--sketch-components", type=int, default=50, help="Principal components of a sketch."),
    click.option("--noise", type=float, default=0.4, help="Of sketches, in root mean square coefficients."),
    click.option(
        "--bandwidth",
        type=float,
        default=1.0,
        help="Variation of sketches about those of training images, in their spread within a group.",
    ),
    click.option(
        "--shrinkage",
        type=float,
        default=5.0,
        help="Sketches of average spread that are added to every group.",
    ),
    click.option(
        "--burn-in",
        type=int,
        help="Gibbs sweeps for each image drawn.  [default: 5, without sketches 20]",
    ),
    click.option(
        "--prior-strength",
        type=float,
        default=1.0,
        help="Pseudo-observations of the coefficients' prior; without sketches, as all up to --group-weight.",
    ),
    click.option(
        "--draw",
        type=click.Choice(["truncated", "gaussian", "clip"]),
        default="clip",
        help="How coefficients are kept positive.",
    ),
    click.option(
        "--coefficient-method",
        type=click.Choice(["em", "pooled"]),
        default="em",
        help="EM for each support (the paper), or one Gaussian of all codes: faster.",
    ),
    click.option(
        "--coefficient-scale",
        type=click.Choice(["linear", "sqrt", "cbrt", "log"]),
        default="linear",
        help="What is Gaussian: coefficients, their roots or logarithms.",
    ),
    click.option("--min-overlap", type=int, default=1, help="Leave out codes that share fewer atoms."),
    click.option(
        "--overlap-power", type=float, default=0.0, help="Weight of codes by the share of atoms they share."
    ),
    click.option(
        "--group-weight", type=click.FloatRange(0, 1), default=0.0, help="Weight of codes of other groups."
    ),
    click.option(
        "--select",
        is_flag=True,
        help="Try groups, pairs, tone, sketches and their noise, and take the settings whose draws are "
        "nearest to images set aside.",
    ),
    click.option(
        "--paper",
        is_flag=True,
        help="The model of the paper as it stands: eq. (2) unsmoothed, one group, no sketches, mean or tone.",
    ),
)


def check_model_options(options: dict[str, Any]) -> None:
    """Refuse options that contradict each other, or would do nothing."""
    if options["paper"]:
        _refuse("--paper", (*_OF_SUPPORTS, *_OF_COEFFICIENTS, *_OF_SKETCHES, *_OTHERS))
    elif options["sketches"]:
        _refuse("--sketches, the default,", _OF_COEFFICIENTS, "add --no-sketches, or leave it out")
    else:
        _refuse("--no-sketches", _OF_SKETCHES)
    if options["support_method"] == "counts":
        _refuse("--support-method counts, the default,", ("l2", "rank"))
    if options["select"]:
        tried = "smoothing", "pair_exponent", "pair_reference", "group_smoothing", "group_pair_smoothing"
        _refuse("--select", ("n_groups", *tried, "tone", "noise", "bandwidth"))


def _refuse(flag: str, fixed: tuple[str, ...], remedy: str = "leave one of them out") -> None:
    """Refuse options that a flag decides about."""
    context = click.get_current_context()
    for name in fixed:
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{flag} decides about --{name.replace('_', '-')}; {remedy}")


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
        return {_CALLED.get(name, name): options[name] for name in names}

    sizes = chosen("n_components", "n_nonzero_coefs", "max_iter", "batch_size")
    ksvd = options["dictionary"] == "ksvd"
    dictionary = KSVD(**sizes, **chosen("update", "online")) if ksvd else Trainlets(**sizes)
    shared = {"random_state": seed, "per_class": options["per_class"], **computing(options)}
    if options["paper"]:
        return SparseImageGenerator.paper(dictionary, **shared)
    sketched = options["sketches"]
    sweeps = {} if options["burn_in"] is None else chosen("burn_in")
    return SparseImageGenerator(
        dictionary,
        MarkovSupports(**chosen(*_OF_SUPPORTS), **({} if sketched else sweeps)),
        GaussianCoefficients(**chosen(*_OF_COEFFICIENTS)),
        sketches=SketchedCodes(**chosen(*_OF_SKETCHES), **sweeps) if sketched else "none",
        **chosen("mean", "tone", "n_groups"),
        **shared,
    )
