"""``sparsegen-classic learn-dictionary``."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from sparsegen_classic.cli._common import (
    common_options,
    computing,
    errors_option,
    guarded,
    mode_option,
    report,
    resolve_seed,
)
from sparsegen_classic.cli._training import checkpoint_option, continued_by, recall_seed


@click.command("learn-dictionary")
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="DICT", help="Model file to write (.npz).")
@click.option("--patch-shape", type=int, default=8, help="Side of a patch.")
@click.option("--n-components", type=int, default=256, help="Atoms.")
@click.option("--n-nonzero-coefs", type=int, help="Atoms of a patch.  [default: a tenth of its values]")
@click.option("--tol", type=float, help="Squared error at which a patch needs no further atom.")
@click.option("--max-iter", type=int, default=10, help="Iterations of K-SVD.")
@click.option("--n-patches", type=int, default=100_000, help="Patches to learn from.")
@click.option(
    "--mean", type=click.Choice(["patch", "none"]), default="patch", help="Subtract the mean of each patch."
)
@mode_option
@checkpoint_option
@errors_option
@common_options
@guarded
def learn_dictionary(source: str, output: str, **options: Any) -> None:
    """Learn a dictionary of patches from the images of SOURCE, of any sizes.

    One image at a time is in memory.

    \b
    Examples:
      sparsegen-classic learn-dictionary photos/ -o patches.npz
      sparsegen-classic learn-dictionary photos/ -o colour.npz --mode RGB --n-components 512
      sparsegen-classic learn-dictionary photos/ -o patches.npz --checkpoint work/
    """
    from sparsegen_classic import restoration, save_model
    from sparsegen_classic._files import check_output

    check_output(output, options["force"])
    start, checkpoint = time.perf_counter(), options["checkpoint"]
    seed = resolve_seed(recall_seed(checkpoint) if options["seed"] is None else options["seed"])
    names = ("patch_shape", "n_components", "n_nonzero_coefs", "tol", "max_iter", "n_patches", "mean", "mode")
    with continued_by(["sparsegen-classic", *sys.argv[1:]], checkpoint):
        model = restoration.learn_patch_dictionary(
            source,
            **{name: options[name] for name in (*names, "errors", "checkpoint")},
            random_state=seed,
            **computing(options),
        )
    save_model(model, output, overwrite=options["force"])
    seconds, rmse = time.perf_counter() - start, float(model.errors_[-1])
    n_atoms = len(model.components_)
    report(
        {"model": output, "atoms": n_atoms, "rmse": rmse, "seed": seed, "seconds": round(seconds, 2)},
        f"learned {n_atoms} atoms (training RMSE {rmse:.4g}) in {seconds:.1f} s with seed {seed}; "
        f"wrote {output}",
        options,
    )
