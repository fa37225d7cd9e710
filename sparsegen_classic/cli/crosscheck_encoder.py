"""``sparsegen-classic crosscheck-encoder``: somebody's encoder against the certified pursuit."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Any

import click

from sparsegen_classic.cli._common import (
    check_page,
    common_options,
    guarded,
    image_options,
    page_option,
    report,
)

_OBJECTIVES = ("lasso", "l0", "layered-thresholding", "layered-basis-pursuit", "multi-layer-basis-pursuit")


@click.command("crosscheck-encoder")
@click.argument("encoder")
@click.option(
    "--dictionary",
    "dictionaries",
    multiple=True,
    metavar="FILTERS",
    help="What `csc learn` wrote, or a .npz/.npy of filters; once a layer, the image's first.",
)
@click.option("--objective", type=click.Choice(_OBJECTIVES), default="lasso", help="What it should do.")
@click.option("--lam", type=float, multiple=True, help="Penalty or threshold, once a layer.")
@click.option("-k", type=click.IntRange(1), help="Non-zeros of an image, for l0.")
@click.option("--positive", is_flag=True, help="Codes have to be at 0 or above.")
@click.option("--stride", type=click.IntRange(1), default=1, help="Of plain filters.")
@click.option("--padding", type=click.IntRange(0), default=0, help="Of plain filters.")
@click.option("--against", metavar="IMAGES", help="Images to code.  [default: made of few atoms]")
@click.option("--limit", type=click.IntRange(1), default=8, help="Images at most.")
@click.option("--tol", type=float, default=0.01, help="Relative excess over the optimum allowed.")
@page_option
@image_options
@common_options
@guarded
def crosscheck_encoder(encoder: str, page: str | None, **options: Any) -> None:
    """Hold ENCODER against the certified pursuit of the problem it claims to solve.

    ENCODER is module:name, file.py:name or a .onnx file: a function, a torch module, or a class or a function
    without parameters that makes one; from images (n, channels, h, w) to maps (n, atoms, h', w'), or to the
    list of the maps of all layers. Exit codes: 0 it agrees, 1 it differs, 2 usage.

    \b
    Examples:
      sparsegen-classic crosscheck-encoder my_module:encoder --dictionary filters.npz --against photos/
      sparsegen-classic crosscheck-encoder net.py:Lista --dictionary w.npy --lam 0.1 --report out.html
      sparsegen-classic crosscheck-encoder net.py:Net --objective layered-thresholding --against digits
    """
    try:
        check_page(page, options["force"])
        with redirect_stdout(sys.stderr):  # what the encoder prints is no part of the answer
            found = _check(encoder, options)
    except (ValueError, TypeError, OSError, ImportError) as error:  # exit code 1 says that it differs
        raise click.UsageError(str(error)) from error
    if page:
        from sparsegen_classic.plots_encoder import encoder_page

        encoder_page(found).write(page, overwrite=options["force"])
    result = {**found.to_dict(), "encoder": encoder, **({"report": page} if page else {})}
    wrote = f"\nwrote {page}" if page else ""
    report(result, f"{found}{wrote}", options)
    sys.exit(0 if found.passed else 1)


def _check(encoder: str, options: dict[str, Any]) -> Any:
    from sparsegen_classic import crosscheck_encoder
    from sparsegen_classic.crosscheck.encoder_load import load_encoder

    loaded = load_encoder(encoder)
    layers, lam, lowpass = _dictionaries(options)
    images = _images(options, layers, lowpass)
    return crosscheck_encoder(
        loaded,
        layers or None,
        options["objective"],
        images,
        lam=lam,
        k=options["k"],
        positive=options["positive"] or None,
        tol=options["tol"],
        random_state=options["seed"] or 0,
        n_jobs=options["jobs"],
    )


def _dictionaries(options: dict[str, Any]) -> tuple[list[Any], Any, float]:
    """Return the dictionaries, lam, and the weight of the smooth part that learned filters go without."""
    from sparsegen_classic import ModelFileError, load_model
    from sparsegen_classic.convolutional import ConvDictionaryLearning
    from sparsegen_classic.crosscheck.encoder_load import load_dictionary

    layers, lams, lowpass = [], list(options["lam"]), 0.0
    for path in options["dictionaries"]:
        try:
            model = load_model(path)
        except ModelFileError:
            layers.append(load_dictionary(path, options["stride"], options["padding"]))
            continue
        if not isinstance(model, ConvDictionaryLearning):
            raise ValueError(f"{path} holds a {type(model).__name__}; give a file of `csc learn`, or filters")
        if not layers:
            lowpass = float(model.lowpass or 0)
            if not lams and options["k"] is None and options["objective"] == "lasso":
                lams = [model.lam_]
        layers.append(model.dictionary_)
    lam = None if not lams else lams[0] if options["objective"] == "lasso" and len(lams) == 1 else lams
    return layers, lam, lowpass


def _images(options: dict[str, Any], layers: list[Any], lowpass: float) -> Any:
    """Return images (n, n_channels, h, w) without their smooth part, or None."""
    if options["against"] is None:
        return None
    import numpy as np

    from sparsegen_classic import open_images
    from sparsegen_classic.convolutional import split_lowpass

    mode = "RGB" if layers and layers[0].n_channels == 3 else "L"
    names = ("size", "fit", "background", "split", "errors")
    given = {name: options[name] for name in names}
    images = open_images(options["against"], mode=mode, verbose=False, **given).images[: options["limit"]]
    X = images[:, None] if images.ndim == 3 else np.moveaxis(images, -1, 1)
    return split_lowpass(X, lowpass)[0] if lowpass else X
