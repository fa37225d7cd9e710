"""``sparsegen-classic info``."""

from __future__ import annotations

import json

import click

from sparsegen_classic.cli._common import guarded


@click.command()
@click.argument("model")
@click.option("--atoms", metavar="PNG", help="Write a picture of the most used atoms.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--force", is_flag=True, help="Overwrite existing output.")
@click.option("-q", "--quiet", is_flag=True, help="Only errors.")
@click.option("-v", "--verbose", is_flag=True, help="On an error also show where it arose.")
@guarded
def info(model: str, atoms: str | None, as_json: bool, force: bool, quiet: bool) -> None:
    """Say what MODEL holds.

    \b
    Examples:
      sparsegen-classic info mnist.npz
      sparsegen-classic info mnist.npz --json
      sparsegen-classic info mnist.npz --atoms atoms.png
    """
    from sparsegen_classic._files import check_output
    from sparsegen_classic.model_io import describe_model, load_model

    if atoms:
        from sparsegen_classic.plots import plot_dictionary, save_figure

        check_output(atoms, force)
        save_figure(plot_dictionary(load_model(model)), atoms, overwrite=force)
    about = describe_model(model)
    if as_json:
        click.echo(json.dumps(about))
    elif not quiet:
        click.echo(_text(about))


def _text(about: dict[str, object], indent: str = "") -> str:
    lines = []
    for key, value in about.items():
        name = key.replace("_", " ")
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", _text(value, indent + "  ")]
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}{name}: {shown}")
    return "\n".join(line for line in lines if line)
