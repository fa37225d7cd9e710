"""``sparsegen-classic crosscheck``: hold a sparsity layer against the reference."""

from __future__ import annotations

import sys
from typing import Any

import click

from sparsegen_classic.cli._common import basic_options, check_page, guarded, page_option, report

_CONSTRAINTS = (
    "l0", "l0-batch", "needle", "stripe", "topk", "topk-magnitude", "soft-threshold", "l1-ball", "l1-penalty"
)  # fmt: skip


class Number(click.ParamType):
    """An integer stays one, so that 1 is a count and 1.0 a fraction."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return an int or a float."""
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
        self.fail(f"{value!r} is not a number", param, ctx)


class Sizes(click.ParamType):
    """``2,64,32,32`` or ``2x64x32x32``."""

    name = "sizes"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return a list of ints."""
        parts = str(value).lower().replace("x", ",").split(",")
        if not all(part.strip().isdigit() for part in parts):
            self.fail(f"{value!r} is no list of sizes; write e.g. 2,64,32,32", param, ctx)
        return [int(part) for part in parts]


@click.command()
@click.argument("target")
@click.option("--constraint", required=True, type=click.Choice(_CONSTRAINTS), help="What TARGET claims.")
@click.option("-k", type=Number(), help="Count or fraction; threshold, radius or weight.")
@click.option(
    "--layout",
    type=click.Choice(["NCHW", "NHWC", "NCW", "NWC", "flat"]),
    default="NCHW",
    help="Order of the axes.",
)
@click.option("--axis", type=Sizes(), help="Axes that k counts over, e.g. 1 or 2,3 (l0, topk, l1-ball).")
@click.option(
    "--gradient",
    type=click.Choice(["mask", "straight-through", "none"]),
    default="mask",
    help="What the backward pass should do.",
)
@click.option("--shape", type=Sizes(), help="Of the largest input.  [default: 1,64,32,32 by layout]")
@click.option("--vary", metavar="LETTERS", help="Axes whose size may vary, e.g. NHW.  [default: all]")
@click.option("--atom-shape", type=Sizes(), help="Size of the filters, for stripe, e.g. 5,5.")
@click.option("--stride", type=int, default=1, help="Their step, for stripe.")
@click.option(
    "--boundary", type=click.Choice(["zero", "circular"]), default="zero", help="At the border, for stripe."
)
@click.option(
    "--reduction",
    type=click.Choice(["batchmean", "mean", "sum"]),
    default="batchmean",
    help="For l1-penalty.",
)
@click.option(
    "--framework",
    type=click.Choice(["auto", "numpy", "torch", "jax"]),
    default="auto",
    help="What arrays TARGET takes.",
)
@click.option("--rtol", type=float, help="Relative error to allow.  [default: rounding]")
@click.option("--time-limit", type=float, default=60.0, help="Seconds for everything.")
@page_option
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the inputs.")
@basic_options
@guarded
def crosscheck(target: str, constraint: str, page: str | None, **options: Any) -> None:
    """Hold the layer TARGET against the reference, in a process of its own.

    TARGET is module:name, file.py:name or an .onnx file; a class, or a function with a parameter k, is made
    for -k and checked at other k, too. Exit codes: 0 it agrees, 1 it differs, 2 usage.

    \b
    Examples:
      sparsegen-classic crosscheck my_module:MyLayer --constraint needle -k 8
      sparsegen-classic crosscheck layers.py:topk --constraint topk -k 0.1 --shape 2,16,8,8
      sparsegen-classic crosscheck shrink.onnx --constraint soft-threshold -k 0.5 --report shrink.html
    """
    from sparsegen_classic.crosscheck.isolated import TargetError, crosscheck_target

    try:
        check_page(page, options["force"])
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    about_us = ("as_json", "force", "quiet", "seed")
    rules = {name: value for name, value in options.items() if name not in about_us}
    rules["gradient"] = None if rules["gradient"] == "none" else rules["gradient"]
    watch = _progress(options["quiet"] or not sys.stderr.isatty())
    try:
        found = crosscheck_target(target, constraint, watch=watch, random_state=options["seed"], **rules)
    except TargetError as error:
        raise click.UsageError(str(error)) from error
    if page:
        from sparsegen_classic.plots_crosscheck import layer_page

        layer_page(found).write(page, overwrite=options["force"])
    report(found.to_dict(), str(found), options)
    sys.exit(0 if found.passed else 1)


def _progress(silent: bool) -> Any:
    """Return what shows on stderr which check is at work."""

    def watch(check: str, verdict: Any) -> None:
        if not silent:
            click.echo(f"\r\x1b[Kcrosscheck: {check}" if verdict is None else "\r\x1b[K", nl=False, err=True)

    return watch
