"""What the commands that restore an image share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from sparsegen_classic.cli._common import computing, together


def restoration_options(
    *, patch_shape: int, max_iter: int, n_training: int
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that ``denoise`` and ``inpaint`` have in common, with their defaults."""
    return together(
        click.option(
            "--dictionary",
            metavar="image|dct|MODEL",
            default="image",
            help="Learn from the image, take the DCT, or a model of learn-dictionary.",
        ),
        click.option(
            "--patch-shape", type=int, help=f"Side of a patch.  [default: {patch_shape}, or the model's]"
        ),
        click.option("--n-components", type=int, default=256, help="Atoms."),
        click.option("--max-iter", type=int, default=max_iter, help="Iterations of K-SVD."),
        click.option("--n-training", type=int, default=n_training, help="Patches K-SVD learns from."),
        click.option("--stride", type=int, default=1, help="Step between patches."),
    )


def restoration_arguments(options: dict[str, Any], patch_shape: int, seed: int) -> dict[str, Any]:
    """Return the keyword arguments of ``denoise`` or ``inpaint``; a model file brings its patch_shape."""
    arguments = {name: options[name] for name in ("n_components", "max_iter", "n_training", "stride")}
    dictionary, side = options["dictionary"], options["patch_shape"]
    if dictionary not in ("image", "dct"):
        from sparsegen_classic import load_model

        model = load_model(dictionary)
        shape = getattr(model, "patch_shape_", None)
        if shape is None or len(shape) != 2:
            raise ValueError(
                f"--dictionary {dictionary} is no dictionary of grey patches; make one by learn-dictionary"
            )
        dictionary, side = model.components_, side or tuple(shape)
    return arguments | {
        "dictionary": dictionary,
        "patch_shape": side or patch_shape,
        "random_state": seed,
        **computing(options),
    }
