"""What all commands share: options, seeds, messages, and errors that end with a message and a code."""

from __future__ import annotations

import functools
import json
import logging
import re
import secrets
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_Command = Callable[..., Any]


def together(*options: _Command) -> Callable[[_Command], _Command]:
    """Return a decorator that adds options, which ``--help`` shows in this order."""

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


class Size(click.ParamType):
    """``64`` or ``48x64`` (height x width)."""

    name = "N|HxW"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return an int or a pair of ints."""
        parts = str(value).lower().split("x")
        if len(parts) > 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not a size; give N or HxW, e.g. 64 or 48x64", param, ctx)
        return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


class Bytes(click.ParamType):
    """``2GB``, ``500MB`` or a number of bytes."""

    name = "SIZE"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return a number of bytes."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)i?B?", str(value).strip())
        if not match:
            self.fail(f"{value!r} is no amount of memory; give e.g. 2GB or 800MB", param, ctx)
        return float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " ")


_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
mode_option = click.option("--mode", type=click.Choice(["L", "RGB"]), default="L", help="Grey or colour.")
errors_option = click.option(
    "--errors",
    type=click.Choice(["raise", "skip", "warn"]),
    default="raise",
    help="What to do about files that cannot be read.",
)
page_option = click.option("--report", "page", metavar="HTML", help="Also write a page with pictures.")
_ENDING = (
    click.option("--force", is_flag=True, help="Overwrite existing output."),
    click.option("-q", "--quiet", is_flag=True, help="Only errors: no progress, no messages."),
    click.option("-v", "--verbose", is_flag=True, help="On an error also show where it arose."),
)
basic_options = together(_JSON, *_ENDING)  # of what only reads and writes
common_options = together(
    _JSON,
    click.option(
        "--seed", type=click.IntRange(0), help="Random seed; by default a fresh one, which is reported."
    ),
    click.option(
        "--jobs", type=int, default=-1, help="Threads; -1 = all cores. Results do not depend on it."
    ),
    *_ENDING,
)
image_options = together(  # of ``open_images``
    click.option("--size", type=Size(), help="Resize images to N or HxW pixels, as --fit says."),
    click.option(
        "--fit",
        type=click.Choice(["error", "resize", "crop", "pad"]),
        default="error",
        help="What to do with images of another size: stop, stretch, cut or fill.",
    ),
    click.option("--background", type=float, default=0.0, help="Grey level behind transparency and padding."),
    click.option(
        "--split",
        type=click.Choice(["train", "test", "all"]),
        default="train",
        help="Part of an idx directory.",
    ),
    errors_option,
)


def guarded(command: _Command) -> _Command:
    """Turn what users can cause into one message and exit code 1; warnings into one line on stderr."""

    @functools.wraps(command)
    def run(*args: Any, quiet: bool = False, verbose: bool = False, **kwargs: Any) -> Any:
        def show(message: Any, *_: Any, **__: Any) -> None:
            click.echo(f"warning: {message}", err=True)

        logging.getLogger("PIL").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = show
            try:
                return command(*args, quiet=quiet, **kwargs)
            except KeyboardInterrupt as interrupt:
                click.echo(str(interrupt) or "interrupted; no output was written", err=True)
            except (ValueError, TypeError, OSError, MemoryError, ImportError) as error:
                if verbose:
                    raise
                text = str(error) or type(error).__name__
                click.echo(f"error: {text}", err=True)
        sys.exit(1)

    return run


def resolve_seed(seed: int | None) -> int:
    """Return the given seed, or a fresh one to report."""
    return secrets.randbelow(2**32) if seed is None else seed


def computing(options: dict[str, Any]) -> dict[str, Any]:
    """Return how something is computed: n_jobs and verbose."""
    return {"n_jobs": options["jobs"], "verbose": int(not options["quiet"])}


def check_page(page: str | None, force: bool) -> None:
    """Refuse a page that could not be written."""
    from sparsegen_classic._files import check_output

    if page:
        check_output(page, force)
        if Path(page).suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"--report must end in .html, got {page}")


def report(result: dict[str, Any], text: str, options: dict[str, Any]) -> None:
    """Print one JSON document, or the text for people."""
    if options["as_json"]:
        click.echo(json.dumps(result))
    elif not options["quiet"]:
        click.echo(text)
