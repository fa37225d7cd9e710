"""``sparsegen-classic reconstruct``."""

from __future__ import annotations

from typing import Any

import click

from sparsegen_classic.cli._common import common_options, guarded, report


@click.command()
@click.argument("codes")
@click.option("--dictionary", required=True, metavar="DICT", help="Model file the codes were made with.")
@click.option("-o", "--output", required=True, help="out.png for one image, or folder/.")
@common_options
@guarded
def reconstruct(codes: str, dictionary: str, output: str, **options: Any) -> None:
    """Write the images that CODES stand for, as PNG files.

    \b
    Examples:
      sparsegen-classic reconstruct codes.npz --dictionary patches.npz -o decoded/
    """
    from sparsegen_classic import load_model, restoration

    written = restoration.reconstruct_images(
        codes, load_model(dictionary), output, overwrite=options["force"]
    )
    report(
        {"output": output, "images": len(written)},
        f"reconstructed {len(written)} images; wrote {output}",
        options,
    )
