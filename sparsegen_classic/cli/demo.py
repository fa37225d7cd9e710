"""``sparsegen-classic demo``: the main job on built-in digits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from sparsegen_classic.cli._common import common_options, computing, guarded, report

_PER_CLASS = 10


@click.command()
@click.option("-o", "--output", default="demo_output", metavar="FOLDER", help="Where to write.")
@common_options
@guarded
def demo(output: str, **options: Any) -> None:
    """Learn the built-in 8x8 digits class by class and draw new ones.

    Writes to FOLDER: digits.npz (the model), samples.npz, and the pictures dictionary.png, samples.png,
    neighbours.png (samples above their nearest training images) and random_combinations.png (what random
    combinations of the same atoms look like: the negative control).
    """
    folder, force = Path(output), options["force"]
    names = (
        "digits.npz",
        "samples.npz",
        "dictionary.png",
        "samples.png",
        "neighbours.png",
        "random_combinations.png",
    )
    folder.mkdir(parents=True, exist_ok=True)
    from sparsegen_classic._files import check_output

    for name in names:
        check_output(folder / name, force)
    start, seed = time.perf_counter(), options["seed"] or 0  # the demo is the same for everyone
    shares = _run(folder, seed, options)
    seconds = time.perf_counter() - start
    text = (
        f"learned 1797 digits and drew {_PER_CLASS} of each class in {seconds:.1f} s; wrote to {folder}/\n"
        + "\n".join(f"  {name}" for name in names)
        + f"\nsupports equal to that of a training digit: {shares:.1%}\n"
        + f"next: sparsegen-classic sample {folder / names[0]} -n 100 --class 3 -o threes.png"
    )
    result = {
        "folder": str(folder),
        "files": list(names),
        "seed": seed,
        "supports_in_training": shares,
        "seconds": round(seconds, 2),
    }
    report(result, text, options)


def _run(folder: Path, seed: int, options: dict[str, Any]) -> float:
    import numpy as np

    from sparsegen_classic import (
        SparseImageGenerator,
        nearest_images,
        open_images,
        plots,
        save_images,
        save_model,
    )

    force = options["force"]
    digits = open_images("digits")
    generator = SparseImageGenerator(per_class=True, random_state=seed, **computing(options))
    generator.fit(digits.images, digits.labels)
    labels = np.repeat(np.arange(10), _PER_CLASS)
    draws = generator.draw(len(labels), seed, class_=labels)
    nearest, _ = nearest_images(draws.images, digits.images)
    shown = slice(None, None, 2)  # five of each class
    mixed = np.resize(np.arange(10), 36)
    combinations = generator.random_combinations(len(mixed), seed, class_=mixed, clip=False)
    pictures = {
        "dictionary": plots.plot_dictionary(generator),
        "samples": plots.plot_images(draws.images, n_columns=_PER_CLASS),
        "neighbours": plots.plot_neighbours(draws.images[shown], digits.images[nearest[shown]], n_columns=10),
        "random_combinations": plots.plot_random_combinations(
            combinations[shown], combinations[shown].clip(0, 1)
        ),
    }
    for name, ax in pictures.items():
        plots.save_figure(ax, folder / f"{name}.png", overwrite=force)
    save_images(draws.images, folder / "samples.npz", labels=draws.labels, overwrite=force)
    save_model(generator, folder / "digits.npz", overwrite=force)
    return float(draws.in_training.mean())
