"""``sparsegen-classic inpaint``."""

from __future__ import annotations

import time
from typing import Any

import click

from sparsegen_classic.cli._common import common_options, guarded, report, resolve_seed
from sparsegen_classic.cli._restoration import restoration_arguments, restoration_options


@click.command()
@click.argument("image")
@click.option(
    "--mask",
    required=True,
    metavar="MASK.png",
    help="Image of the same size: light = observed, dark = missing; in colour: of each channel by itself.",
)
@click.option("--invert", is_flag=True, help="In the mask light = missing, dark = observed.")
@click.option("-o", "--output", required=True, metavar="OUT.png", help="Image to write.")
@click.option(
    "--sigma", type=float, default=0.0, help="Standard deviation of noise in the observed pixels, in [0, 1]."
)
@restoration_options(patch_shape=12, max_iter=10, n_training=10_000)
@common_options
@guarded
def inpaint(image: str, mask: str, invert: bool, output: str, sigma: float, **options: Any) -> None:
    """Fill in the missing pixels of IMAGE by sparse coding of its patches.

    \b
    Examples:
      sparsegen-classic inpaint scratched.png --mask mask.png -o whole.png
    """
    from sparsegen_classic import restoration
    from sparsegen_classic._files import check_output

    check_output(output, options["force"])
    start, seed = time.perf_counter(), resolve_seed(options["seed"])
    arguments = restoration_arguments(options, 12, seed)
    pixels, light = restoration.read_image(image), restoration.read_image(mask)
    light = light.mean(axis=2) if light.ndim > pixels.ndim else light
    observed = (light >= 0.5) ^ invert
    restored = restoration.inpaint(pixels, observed, sigma, **arguments)
    restoration.save_image(restored, output, overwrite=options["force"])
    seconds, missing = time.perf_counter() - start, float(1 - observed.mean())
    report(
        {"output": output, "missing": missing, "seed": seed, "seconds": round(seconds, 2)},
        f"filled in {missing:.1%} of the pixels in {seconds:.1f} s with seed {seed}; wrote {output}",
        options,
    )
