"""``sparsegen-classic info``."""

from __future__ import annotations

from typing import Any

import click

from sparsegen_classic.cli._common import basic_options, guarded, report
from sparsegen_classic.cli._drawn import load_generator


@click.command()
@click.argument("model")
@click.option("--atoms", metavar="PNG", help="Write a picture of the most used atoms.")
@basic_options
@guarded
def info(model: str, atoms: str | None, **options: Any) -> None:
    """Say what MODEL holds.

    \b
    Examples:
      sparsegen-classic info mnist.npz
      sparsegen-classic info mnist.npz --json
      sparsegen-classic info mnist.npz --atoms atoms.png
    """
    from sparsegen_classic._files import check_output
    from sparsegen_classic.model_io import describe_model

    if atoms:
        from sparsegen_classic.plots import plot_dictionary, save_figure

        check_output(atoms, options["force"])
        save_figure(plot_dictionary(load_generator(model)), atoms, overwrite=options["force"])
    about = describe_model(model)
    report(about, as_text(about), options)


def as_text(about: dict[str, Any], indent: str = "") -> str:
    """Return what a file holds, line by line."""
    lines = []
    for key, value in about.items():
        name = key.replace("_", " ")
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", as_text(value, indent + "  ")]
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}{name}: {shown}")
    return "\n".join(line for line in lines if line)
