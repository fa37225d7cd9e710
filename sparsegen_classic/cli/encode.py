"""``sparsegen-classic encode``."""

from __future__ import annotations

import time
from typing import Any

import click

from sparsegen_classic.cli._common import common_options, computing, errors_option, guarded, report


@click.command()
@click.argument("source")
@click.option("--dictionary", required=True, metavar="DICT", help="Model file of learn-dictionary.")
@click.option("-o", "--output", required=True, metavar="CODES", help="File to write (.npz).")
@click.option("--stride", type=int, help="Step between patches.  [default: side by side]")
@click.option("--n-nonzero-coefs", type=int, help="Atoms of a patch.  [default: the dictionary's]")
@click.option("--tol", type=float, help="Squared error at which a patch needs no further atom.")
@errors_option
@common_options
@guarded
def encode(source: str, dictionary: str, output: str, **options: Any) -> None:
    """Code the images of SOURCE, of any sizes, over a dictionary of patches.

    \b
    Examples:
      sparsegen-classic encode photos/ --dictionary patches.npz -o codes.npz
    """
    from sparsegen_classic import load_model, restoration

    start = time.perf_counter()
    result = restoration.encode_images(
        source,
        load_model(dictionary),
        output,
        **{name: options[name] for name in ("stride", "n_nonzero_coefs", "tol", "errors")},
        overwrite=options["force"],
        **computing(options),
    )
    seconds = time.perf_counter() - start
    report(
        {"output": output, **result, "seconds": round(seconds, 2)},
        f"coded {result['images']} images, {result['patches']} patches with {result['nonzeros']:.1f} atoms "
        f"each (RMSE {result['rmse']:.4g}), in {seconds:.1f} s; wrote {output}",
        options,
    )
