"""What commands that learn share: training images in memory or on disk, checkpoints, seconds."""

from __future__ import annotations

import logging
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

checkpoint_option = click.option(
    "--checkpoint",
    metavar="DIR",
    help="Keep what is done in this folder; the same command, given again, goes on from there.",
)
_WORTH_SAYING = 1e9  # bytes from which on a plan of the memory is shown unasked


def recall_seed(checkpoint: str | Path | None) -> int | None:
    """Return the seed that a checkpoint was begun with, for a command that does not give one."""
    from sparsegen_classic._checkpoint import read_work

    work = read_work(checkpoint) if checkpoint else None
    seed = (work or {}).get("parameters", {}).get("random_state")
    return seed if isinstance(seed, int) else None


@contextmanager
def training_images(source: str, generator: Any, options: dict[str, Any]) -> Iterator[Any]:
    """Yield images, labels and the files left out, after saying what memory the fit will take.

    A folder, or a .npy file, is stored on disk if there is a checkpoint, or if otherwise the fit would take
    more than ``--memory``.
    """
    from sparsegen_classic import open_images, store_images
    from sparsegen_classic.images.store import survey_images

    rules = {name: options[name] for name in ("mode", "size", "fit", "background")}
    reading = {"errors": options["errors"], "verbose": not options["quiet"]}
    shape = None if source == "digits" else survey_images(source, **rules)
    if shape is not None and _belongs_on_disk(generator, shape, options):
        _announce(generator, shape, False, options)
        with _folder(options["checkpoint"]) as folder:
            place = folder / "images"
            store = store_images(source, place, n_jobs=options["jobs"], **reading, **rules)
            yield store, store.labels, store.skipped
        return
    if shape is not None:
        _announce(generator, shape, True, options)
    data = open_images(source, split=options["split"], **reading, **rules)
    if shape is None:
        _announce(generator, data.images.shape, True, options)
    yield data.images, data.labels, data.skipped


def _belongs_on_disk(generator: Any, shape: tuple[int, ...], options: dict[str, Any]) -> bool:
    from sparsegen_classic import plan_memory

    if options["checkpoint"]:
        return True
    return options["memory"] is not None and plan_memory(generator, *_split(shape)).peak > options["memory"]


def _announce(generator: Any, shape: tuple[int, ...], in_memory: bool, options: dict[str, Any]) -> None:
    """Print the plan, if it was asked for or matters, and refuse what memory cannot hold."""
    from sparsegen_classic import plan_memory

    plan = plan_memory(generator, *_split(shape), in_memory=in_memory)
    most = options["memory"]
    if not options["quiet"] and (most or plan.peak > _WORTH_SAYING):
        where = "in memory" if in_memory else "on disk"
        sides = "x".join(map(str, shape[1:]))
        click.echo(f"{shape[0]} images of {sides}, {where}; {plan}", err=True)
    if most is not None and plan.peak > most:
        stage = max(plan.stages, key=lambda name: plan.stages[name])
        raise ValueError(
            f"--memory must be at least {plan.peak / 1e9:.2f} GB, which the stage {stage!r} takes, got "
            f"{most / 1e9:.2f} GB; give more, fewer --jobs, fewer --n-components"
            + (", or learn by blocks (--dictionary trainlets, or --online)" if stage == "dictionary" else "")
            + (", or a folder or a .npy file in place of this source" if in_memory else "")
        )


def _split(shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    return shape[0], shape[1:]


@contextmanager
def _folder(checkpoint: str | None) -> Iterator[Path]:
    """Yield the folder of the checkpoint, or one that is gone afterwards."""
    if checkpoint is None:
        with tempfile.TemporaryDirectory(prefix="sparsegen-") as folder:
            yield Path(folder)
        return
    yield Path(checkpoint)


class Stopwatch(logging.Handler):
    """The seconds of each stage of a fit, summed over models, from what the generator logs."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.seconds: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Add the seconds of a stage."""
        stage, seconds = record.args  # type: ignore[misc]
        self.seconds[str(stage)] = self.seconds.get(str(stage), 0.0) + float(seconds)  # type: ignore[arg-type]


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Yield a dict that the stages of a fit, inside, write their seconds to."""
    log, watch = logging.getLogger("sparsegen_classic.generator.fitting"), Stopwatch()
    level = log.level
    log.addHandler(watch)
    log.setLevel(logging.INFO)
    try:
        yield watch.seconds
    finally:
        log.removeHandler(watch)
        log.setLevel(level)


@contextmanager
def continued_by(command: list[str], checkpoint: str | None) -> Iterator[None]:
    """On an interrupt, say the command that goes on."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if checkpoint is None:
            raise
        raise KeyboardInterrupt(
            f"interrupted; what was done is kept in {checkpoint}, the same command goes on from there:\n"
            f"  {shlex.join(command)}"
        ) from interrupt
