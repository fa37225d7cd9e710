"""``sparsegen-classic evaluate``."""

from __future__ import annotations

import shlex
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from sparsegen_classic.cli._common import (
    check_page,
    common_options,
    computing,
    guarded,
    image_options,
    report,
    resolve_seed,
)
from sparsegen_classic.cli._drawn import load_generator, open_like

_MODEL = "model"  # the name of its row
_SET_ASIDE, _MOST = 0.2, 10_000  # share and number of images that become the held-out ones


@click.command()
@click.argument("candidate", metavar="MODEL|SAMPLES")
@click.option("--against", required=True, metavar="SOURCE", help="The images that the model was fitted on.")
@click.option(
    "--held-out",
    metavar="SOURCE",
    help="Real images it has not seen.  [default: the test split of an idx directory]",
)
@click.option(
    "--also",
    multiple=True,
    metavar="NAME=SAMPLES",
    help="A further set of samples for the same table; may be given several times.",
)
@click.option(
    "-n",
    "--n-samples",
    type=click.IntRange(10),
    default=10_000,
    help="Images to draw from MODEL; of SAMPLES so many at most.",
)
@click.option(
    "--features",
    type=click.Choice(["auto", "digits", "pca"]),
    default="auto",
    help="Where distances are measured; auto is the digit network for 28x28 grey images.",
)
@click.option("--report", "page", metavar="HTML", help="Write a self-contained page with the pictures.")
@click.option("--mode", type=click.Choice(["L", "RGB"]), help="Grey or colour.  [default: as MODEL, or L]")
@image_options
@common_options
@guarded
def evaluate(candidate: str, against: str, page: str | None, **options: Any) -> None:
    """Measure what MODEL draws, or a folder or file of SAMPLES, beside real images, copies and noise.

    The table holds Frechet, kernel and sliced Wasserstein distance, precision, recall, density, coverage,
    NDB, class statistics (28x28 digits) and the copy test. Sizes of images follow MODEL unless --size is
    given. A model needs held-out images: the copy test is blind to images it was fitted on.

    \b
    Examples:
      sparsegen-classic evaluate mnist.npz --against mnist/ --report mnist.html
      sparsegen-classic evaluate samples.npz --against mnist/ -n 2000 --json
      sparsegen-classic evaluate faces.npz --against train/ --held-out test/ --also gan=gan_samples/
    """
    import numpy as np

    from sparsegen_classic.metrics import evaluate as evaluate_sets
    from sparsegen_classic.reports import evaluation_report

    force, start = options["force"], time.perf_counter()
    check_page(page, force)
    seed = resolve_seed(options["seed"])
    rng = np.random.default_rng(seed)
    generator = _load_model(candidate) if _is_model(candidate) else None
    shape = None if generator is None else generator.image_shape_.tolist()
    sets = {} if generator else {Path(candidate).stem or "samples": open_like(candidate, options, None)}
    for name, source in map(_named, options["also"]):
        if name in sets or (generator and name == _MODEL):
            raise ValueError(f"--also: the name {name!r} is taken; choose another")
        sets[name] = open_like(source, options, shape)
    training, held_out, where = _open_real(against, options, shape, generator is not None, rng)
    n = min([options["n_samples"], *map(len, sets.values())])
    sets = _some(sets, n, rng)
    shared = {"features": options["features"], "random_state": seed, **computing(options)}
    shared["labels"] = _digits_drawn(sets, options["features"])
    images = {name: part.images for name, part in sets.items()}
    if generator is not None:
        result = _evaluate_model(generator, training, held_out, n, {"samples": images, **shared})
    else:
        result = evaluate_sets(images, training.images, held_out.images, **shared)
    result.settings.update({"against": against, "held_out": where, "seed": seed})
    text = f"{result}\n" + "".join(
        f"\n{name}\n  " + "\n  ".join(result.verdict(name)) for name in result.names("samples")
    )
    if page:
        title, command = f"{Path(candidate).name} measured", _command_line(candidate, against, options, seed)
        evaluation_report(result, title, command).write(page, overwrite=force)
        text += f"\n\nwrote {page}"
    found = {"report": page, "seconds": round(time.perf_counter() - start, 2)}
    report(result.to_dict() | found, text, options)


def _command_line(candidate: str, against: str, options: dict[str, Any], seed: int) -> str:
    """Return the command that makes the same page again."""
    words = ["sparsegen-classic", "evaluate", candidate, "--against", against]
    size = options["size"]
    given = {
        "held-out": options["held_out"],
        "n-samples": options["n_samples"],
        "features": options["features"],
        "mode": options["mode"],
        "size": "x".join(map(str, size)) if isinstance(size, tuple) else size,
        "fit": options["fit"],
        "background": options["background"],
        "split": options["split"],
        "seed": seed,
    }
    for name, value in [*given.items(), *(("also", part) for part in options["also"])]:
        if value is not None:
            words += [f"--{name}", str(value)]
    return shlex.join(words)


def _is_model(path: str) -> bool:
    """Say whether a file is no file of samples, so that reading it as a model gives the right message."""
    from sparsegen_classic._archive import ArchiveError, is_npz, open_archive

    if Path(path).suffix.lower() != ".npz" or not Path(path).is_file() or not is_npz(path):
        return False
    try:
        with open_archive(path) as archive:
            return "images" not in archive.names
    except ArchiveError:  # a damaged file is named by who reads it as a model
        return True


def _load_model(path: str) -> Any:
    generator = load_generator(path)
    if len(generator.image_shape_) < 2:
        raise ValueError(f"{path} was fitted on rows of numbers; only images can be evaluated")
    return generator


def _named(argument: str) -> tuple[str, str]:
    name, equals, source = argument.partition("=")
    if not (name and equals and source):
        raise ValueError(f"--also must be NAME=SAMPLES, e.g. gan=gan_samples/, got {argument!r}")
    return name, source


def _open_real(
    against: str, options: dict[str, Any], shape: list[int] | None, is_model: bool, rng: Any
) -> tuple[Any, Any, str]:
    """Return training and held-out images, and where the latter are from."""
    import numpy as np

    from sparsegen_classic import ImageSet
    from sparsegen_classic._rows import Rows
    from sparsegen_classic.images.idx import is_idx

    def is_split(source: str) -> bool:
        return Path(source).is_dir() and is_idx(Path(source))

    folder = click.get_current_context().with_resource(TemporaryDirectory())
    training = open_like(against, options, shape, options["split"], folder)
    held_out = options["held_out"]
    if held_out is not None:
        split = "test" if is_split(held_out) else "train"
        return training, open_like(held_out, options, shape, split), held_out
    if is_split(against) and options["split"] == "train":
        return training, open_like(against, options, shape, "test"), f"test split of {against}"
    if is_model:
        raise ValueError(
            f"the model may have been fitted on all of {against}, and the copy test needs images that it has "
            "not seen; give them by --held-out"
        )
    n = min(round(_SET_ASIDE * len(training)), _MOST)
    order = rng.permutation(len(training))
    where = f"{n} images of {against} set aside at random, which the samples' model may have seen"
    warnings.warn(f"held-out images: {where}; give others by --held-out", stacklevel=2)
    images = training.images
    others: Any = images[order[n:]] if isinstance(images, np.ndarray) else Rows(images, order[n:])
    return ImageSet(others), ImageSet(images[order[:n]]), where


def _some(sets: dict[str, Any], n: int, rng: Any) -> dict[str, Any]:
    """Return ``n`` images of every set with their labels, at random where there are more."""
    from sparsegen_classic import ImageSet

    chosen = {}
    for name, part in sets.items():
        rows = sorted(rng.choice(len(part), n, replace=False))
        chosen[name] = ImageSet(part.images[rows], None if part.labels is None else part.labels[rows])
    return chosen


def _digits_drawn(sets: dict[str, Any], features: str) -> dict[str, Any]:
    """Return the labels of the sets that say which digit each image was drawn for."""
    return {
        name: part.labels
        for name, part in sets.items()
        if part.labels is not None
        and part.labels.dtype.kind in "iu"
        and part.images.shape[1:] == (28, 28)
        and features != "pca"
    }


def _evaluate_model(generator: Any, training: Any, held_out: Any, n: int, shared: dict[str, Any]) -> Any:
    from sparsegen_classic import evaluate_generator

    fitted = sum(generator.summary()["n_images"])
    if fitted != len(training):
        warnings.warn(
            f"the model was fitted on {fitted} images but --against has {len(training)}; the copy test needs "
            "the images that it was fitted on",
            stacklevel=2,
        )
    generator.set_params(n_jobs=shared["n_jobs"], verbose=shared["verbose"])
    return evaluate_generator(
        generator,
        training.images,
        held_out.images,
        training_labels=training.labels,
        held_out_labels=held_out.labels,
        n_samples=n,
        name=_MODEL,
        **shared,
    )
