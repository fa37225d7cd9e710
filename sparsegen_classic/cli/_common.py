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
from typing import Any

import click

_Command = Callable[..., Any]


def common_options(command: _Command) -> _Command:
    """Add --seed, --jobs, --force, --quiet and --verbose; run the command under the error rules."""
    for option in reversed(
        (
            click.option(
                "--seed",
                type=click.IntRange(0),
                help="Random seed; by default a fresh one, which is reported.",
            ),
            click.option(
                "--jobs",
                type=int,
                default=-1,
                show_default=True,
                help="Threads; -1 = all cores. Results do not depend on it.",
            ),
            click.option("--force", is_flag=True, help="Overwrite existing output."),
            click.option("-q", "--quiet", is_flag=True, help="Only errors: no progress, no messages."),
            click.option("-v", "--verbose", is_flag=True, help="On an error also show where it arose."),
        )
    ):
        command = option(command)
    return command


def image_options(command: _Command) -> _Command:
    """Add the options of ``open_images``."""
    for option in reversed(
        (
            click.option("--size", type=Size(), help="Resize images to N or HxW pixels, as --fit says."),
            click.option(
                "--fit",
                type=click.Choice(["error", "resize", "crop", "pad"]),
                default="error",
                show_default=True,
                help="What to do with images of another size: stop, stretch, cut or fill.",
            ),
            click.option(
                "--background",
                type=float,
                default=0.0,
                show_default=True,
                help="Grey level behind transparency and padding.",
            ),
            click.option(
                "--split",
                type=click.Choice(["train", "test", "all"]),
                default="train",
                show_default=True,
                help="Part of an idx directory.",
            ),
            click.option(
                "--errors",
                type=click.Choice(["raise", "skip", "warn"]),
                default="raise",
                show_default=True,
                help="What to do about files that cannot be read.",
            ),
        )
    ):
        command = option(command)
    return command


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


def report(result: dict[str, Any], text: str, *, as_json: bool, quiet: bool) -> None:
    """Print one JSON document, or the text for people."""
    if as_json:
        click.echo(json.dumps(result))
    elif not quiet:
        click.echo(text)
