"""``sparsegen-classic learn-dictionary``."""

from __future__ import annotations

import time
from typing import Any

import click

from sparsegen_classic.cli._common import common_options, guarded, report, resolve_seed


@click.command("learn-dictionary")
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="DICT", help="Model file to write (.npz).")
@click.option("--patch-shape", type=int, default=8, show_default=True, help="Side of a patch.")
@click.option("--n-components", type=int, default=256, show_default=True, help="Atoms.")
@click.option("--n-nonzero-coefs", type=int, help="Atoms of a patch.  [default: a tenth of its values]")
@click.option("--tol", type=float, help="Squared error at which a patch needs no further atom.")
@click.option("--max-iter", type=int, default=10, show_default=True, help="Iterations of K-SVD.")
@click.option("--n-patches", type=int, default=100_000, show_default=True, help="Patches to learn from.")
@click.option(
    "--mean",
    type=click.Choice(["patch", "none"]),
    default="patch",
    show_default=True,
    help="Subtract the mean of each patch.",
)
@click.option(
    "--mode", type=click.Choice(["L", "RGB"]), default="L", show_default=True, help="Grey or colour."
)
@click.option(
    "--errors",
    type=click.Choice(["raise", "skip", "warn"]),
    default="raise",
    show_default=True,
    help="What to do about files that cannot be read.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@common_options
@guarded
def learn_dictionary(source: str, output: str, **options: Any) -> None:
    """Learn a dictionary of patches from the images of SOURCE, of any sizes.

    One image at a time is in memory.

    \b
    Examples:
      sparsegen-classic learn-dictionary photos/ -o patches.npz
      sparsegen-classic learn-dictionary photos/ -o colour.npz --mode RGB --n-components 512
    """
    from sparsegen_classic import restoration, save_model
    from sparsegen_classic._files import check_output

    check_output(output, options["force"])
    start, seed = time.perf_counter(), resolve_seed(options["seed"])
    names = ("patch_shape", "n_components", "n_nonzero_coefs", "tol", "max_iter", "n_patches", "mean", "mode")
    model = restoration.learn_patch_dictionary(
        source,
        **{name: options[name] for name in (*names, "errors")},
        random_state=seed,
        n_jobs=options["jobs"],
        verbose=int(not options["quiet"]),
    )
    save_model(model, output, overwrite=options["force"])
    seconds, rmse = time.perf_counter() - start, float(model.errors_[-1])
    n_atoms = len(model.components_)
    report(
        {"model": output, "atoms": n_atoms, "rmse": rmse, "seed": seed, "seconds": round(seconds, 2)},
        f"learned {n_atoms} atoms (training RMSE {rmse:.4g}) in {seconds:.1f} s with seed {seed}; "
        f"wrote {output}",
        as_json=options["as_json"],
        quiet=options["quiet"],
    )
