"""``sparsegen-classic denoise``."""

from __future__ import annotations

import time
from typing import Any

import click

from sparsegen_classic.cli._common import common_options, guarded, report, resolve_seed
from sparsegen_classic.cli._restoration import restoration_arguments, restoration_options


@click.command()
@click.argument("image")
@click.option("-o", "--output", required=True, metavar="OUT.png", help="Image to write.")
@click.option("--sigma", type=float, help="Standard deviation of the noise in [0, 1].  [default: estimated]")
@restoration_options(patch_shape=8, max_iter=20, n_training=65_000)
@common_options
@guarded
def denoise(image: str, output: str, sigma: float | None, **options: Any) -> None:
    """Remove white noise from IMAGE by sparse coding of its patches.

    Pixels are scaled to [0, 1], and so is --sigma: 25 grey levels of 255 are 0.098.

    \b
    Examples:
      sparsegen-classic denoise noisy.png -o clean.png
      sparsegen-classic denoise noisy.png -o clean.png --sigma 0.098 --dictionary dct
    """
    from sparsegen_classic import restoration
    from sparsegen_classic._files import check_output

    check_output(output, options["force"])
    start, seed = time.perf_counter(), resolve_seed(options["seed"])
    arguments = restoration_arguments(options, 8, seed)
    pixels = restoration.read_image(image)
    sigma = restoration.estimate_sigma(pixels) if sigma is None else sigma
    restored = restoration.denoise(pixels, sigma, **arguments)
    restoration.save_image(restored, output, overwrite=options["force"])
    seconds = time.perf_counter() - start
    report(
        {"output": output, "sigma": sigma, "seed": seed, "seconds": round(seconds, 2)},
        f"removed noise of sigma {sigma:.4f} ({255 * sigma:.1f}/255) in {seconds:.1f} s with seed {seed}; "
        f"wrote {output}",
        options,
    )
