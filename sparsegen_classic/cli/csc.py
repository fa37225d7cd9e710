"""``sparsegen-classic csc``: learn filters, code images by them, bring them back, look at both."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from sparsegen_classic.cli._common import (
    Size,
    basic_options,
    common_options,
    computing,
    guarded,
    image_options,
    mode_option,
    report,
    resolve_seed,
)
from sparsegen_classic.cli.info import as_text

_MASK = click.option(
    "--mask", metavar="IMAGES", help="Image, or as many as SOURCE holds, white where a pixel is observed."
)
_FILTERS = click.option("--filters", required=True, metavar="FILTERS", help="What `csc learn` wrote.")


@click.group()
def csc() -> None:
    """Convolutional sparse coding: images as few shifted copies of small filters.

    \b
    Quick start:
      sparsegen-classic csc learn photos/ --size 180 --fit crop -o filters.npz
      sparsegen-classic csc info filters.npz --pictures look/
      sparsegen-classic csc encode photos/ --size 180 --fit crop --filters filters.npz -o codes.npz
      sparsegen-classic csc reconstruct codes.npz --filters filters.npz -o back/
    """


@csc.command()
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="FILTERS", help="File to write (.npz).")
@click.option("--n-atoms", type=int, default=64, help="Number of filters.")
@click.option("--atom-shape", type=Size(), default="8", help="Their size.")
@click.option("--lam", type=float, help="Penalty.  [default: a tenth of lambda_max]")
@click.option(
    "--lowpass",
    type=float,
    default=10.0,
    help="Weight of the smooth part that is taken off first; 0 keeps it.",
)
@click.option("--positive", is_flag=True, help="Keep codes at 0 or above.")
@click.option("--max-iter", type=int, default=10, help="Passes over the images.")
@click.option("--batch-size", type=int, default=2, help="Images in a mini-batch.")
@click.option("--decay", type=float, default=0.6, help="Batch t enters with weight t^-decay.")
@click.option("--tol", type=float, default=0.05, help="Relative gap of codes while learning.")
@mode_option
@_MASK
@image_options
@common_options
@guarded
def learn(source: str, output: str, **options: Any) -> None:
    """Learn filters from the images of SOURCE and write them to FILTERS.

    SOURCE is a folder of images, an image, an idx file or directory (MNIST), a .npz or .npy file, or
    "digits". With --mask the filters are learned from the observed pixels only.

    \b
    Examples:
      sparsegen-classic csc learn photos/ --size 180 --fit crop -o filters.npz
      sparsegen-classic csc learn digits --n-atoms 16 --atom-shape 5 --lowpass 0 -o filters.npz
    """
    from sparsegen_classic import save_model
    from sparsegen_classic._files import check_output
    from sparsegen_classic.convolutional import ConvDictionaryLearning

    check_output(output, options["force"])
    start, seed = time.perf_counter(), resolve_seed(options["seed"])
    X, mask = _open(source, options["mode"], options)
    names = ("n_atoms", "atom_shape", "lam", "lowpass", "positive", "max_iter", "batch_size", "decay", "tol")
    model = ConvDictionaryLearning(
        **{name: options[name] for name in names},
        random_state=seed,
        **computing(options),
    )
    model.fit(X, mask=mask)
    save_model(model, output, overwrite=options["force"])
    first, last = (round(float(model.objectives_[i]), 6) for i in (0, -1))
    result = {
        "filters": output,
        "images": len(X),
        "lam": model.lam_,
        "objective_first": first,
        "objective_last": last,
        "replaced": model.n_replaced_,
        "seed": seed,
        "seconds": round(time.perf_counter() - start, 2),
    }
    text = (
        f"learned {model.n_atoms} filters from {len(X)} images in {result['seconds']} s with seed {seed}, "
        f"lam {model.lam_:.4g}: objective an image {first:.6g} in the first pass, {last:.6g} in the last; "
        f"wrote {output}"
    )
    report(result, text, options)


@csc.command()
@click.argument("source")
@_FILTERS
@click.option("-o", "--output", required=True, metavar="CODES", help="File to write (.npz).")
@click.option("--lam", type=float, help="Penalty.  [default: that of learning]")
@click.option("--tol", type=float, default=1e-4, help="Relative duality gap.")
@click.option(
    "--solver",
    type=click.Choice(["cd", "fista", "lobcod"]),
    default="cd",
    help="They agree; cd is the fastest.",
)
@_MASK
@image_options
@common_options
@guarded
def encode(source: str, filters: str, output: str, **options: Any) -> None:
    """Code the images of SOURCE by FILTERS, with a certified duality gap, and write CODES.

    \b
    Examples:
      sparsegen-classic csc encode photo.png --filters filters.npz -o codes.npz
      sparsegen-classic csc encode photo.png --mask known.png --filters filters.npz -o codes.npz
    """
    from sparsegen_classic._files import check_output
    from sparsegen_classic.convolutional.learning_files import SavedCodes, save_codes

    check_output(output, options["force"])
    model = _load_filters(filters)
    channels = model.filters_.shape[1]
    if channels not in (1, 3):
        raise ValueError(f"filters have {channels} channels, but images have 1 or 3; code them in Python")
    X, mask = _open(source, "L" if channels == 1 else "RGB", options)
    model.set_params(n_jobs=options["jobs"])
    codes = SavedCodes.of(model, X, mask, **{name: options[name] for name in ("lam", "tol", "solver")})
    save_codes(codes, output, overwrite=options["force"])
    result = {
        "codes": output,
        "images": len(X),
        "nonzeros": codes.maps.nnz,
        "zero_codes": int((codes.nonzeros == 0).sum()),
        "lam": codes.lam,
        "largest_relative_gap": codes.largest_relative_gap,
        "converged": codes.largest_relative_gap <= options["tol"],
    }
    zero = ""
    if result["zero_codes"]:
        zero = f"\n{result['zero_codes']} images have zero codes: lam is at least their lambda_max"
    text = (
        f"coded {len(X)} images with lam {codes.lam:.4g}: {codes.maps.nnz / len(X):.6g} non-zeros an image, "
        f"relative duality gap at most {codes.largest_relative_gap:.2g}; wrote {output}{zero}"
    )
    report(result, text, options)


@csc.command()
@click.argument("codes")
@_FILTERS
@click.option("-o", "--output", required=True, help="sheet.png, images.npz or folder/.")
@basic_options
@guarded
def reconstruct(codes: str, filters: str, output: str, **options: Any) -> None:
    """Bring the images of CODES back, clipped to [0, 1], and write them to OUTPUT.

    Unobserved pixels of the images that were coded with a mask are filled in.

    \b
    Examples:
      sparsegen-classic csc reconstruct codes.npz --filters filters.npz -o sheet.png
      sparsegen-classic csc reconstruct codes.npz --filters filters.npz -o folder/
    """
    import numpy as np

    from sparsegen_classic import save_images
    from sparsegen_classic.convolutional.learning_files import load_codes
    from sparsegen_classic.images import check_target

    check_target(output, options["force"])
    images = load_codes(codes).reconstruct(_load_filters(filters).dictionary_)
    clipped = float(np.mean((images < 0) | (images > 1)))
    save_images(np.moveaxis(images, 1, -1).clip(0, 1), output, overwrite=options["force"])
    result = {"output": output, "images": len(images), "clipped": clipped}
    text = f"brought {len(images)} images back, {clipped:.2%} of their pixels clipped; wrote {output}"
    report(result, text, options)


@csc.command()
@click.argument("file")
@click.option("--pictures", metavar="FOLDER", help="Also draw filters, or maps and needles, into FOLDER.")
@click.option("--image", type=click.IntRange(0), default=0, help="Which one to draw.")
@basic_options
@guarded
def info(file: str, pictures: str | None, image: int, **options: Any) -> None:
    """Say what FILE, filters or codes, holds.

    Pictures are filters.png, or maps.png and needles.png: how many non-zeros each position has.

    \b
    Examples:
      sparsegen-classic csc info filters.npz --pictures look/
      sparsegen-classic csc info codes.npz --json
    """
    from sparsegen_classic import ModelFileError
    from sparsegen_classic.convolutional.learning_files import load_codes

    try:
        about, figures = _about_filters(file)
    except ModelFileError as error:
        if "without header" not in str(error):
            raise
        about, figures = _about_codes(load_codes(file), image)
    if pictures:
        about["pictures"] = _draw(figures, Path(pictures), options["force"])
    report(about, as_text(about), options)


def _open(source: str, mode: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """Return images (n, n_channels, h, w) and their mask or None."""
    import numpy as np

    from sparsegen_classic import open_images

    names = ("size", "fit", "background", "split", "errors")
    given = {name: options[name] for name in names}
    images = open_images(source, mode=mode, verbose=not options["quiet"], **given).images
    X = np.ascontiguousarray(images[:, None] if images.ndim == 3 else np.moveaxis(images, -1, 1))
    if options["mask"] is None:
        return X, None
    mask = open_images(options["mask"], size=images.shape[1:3], fit="error").images[:, None] > 0.5
    if len(mask) not in (1, len(X)):
        raise ValueError(f"--mask must hold one image or {len(X)}, as {source} does, found {len(mask)}")
    return X, np.broadcast_to(mask, X.shape)


def _load_filters(path: str) -> Any:
    from sparsegen_classic import load_model
    from sparsegen_classic.convolutional import ConvDictionaryLearning

    model = load_model(path)
    if not isinstance(model, ConvDictionaryLearning):
        raise ValueError(f"{path} holds a {type(model).__name__}; give a file of `csc learn`")
    if not hasattr(model, "filters_"):
        raise ValueError(f"{path} holds no filters yet; give a file of `csc learn`")
    return model


def _about_filters(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    from sparsegen_classic.plots_convolutional import plot_filters

    model = _load_filters(path)
    dictionary = model.dictionary_
    about = {
        "file": path,
        "holds": "filters",
        "n_atoms": dictionary.n_atoms,
        "n_channels": dictionary.n_channels,
        "atom_shape": list(dictionary.atom_shape),
        "lam": model.lam_,
        "lowpass": model.lowpass,
        "smallest_norm": float(dictionary.norms.min()),
        "mutual_coherence": dictionary.mutual_coherence(),
        "welch_bound": dictionary.welch_bound(),
        "objectives": [round(float(value), 6) for value in model.objectives_],
        "replaced": model.n_replaced_,
    }
    return about, {"filters.png": lambda: plot_filters(dictionary)}


def _about_codes(codes: Any, image: int) -> tuple[dict[str, Any], dict[str, Any]]:
    from sparsegen_classic.convolutional import sparsity_counts
    from sparsegen_classic.plots_convolutional import plot_maps, plot_needle_density

    n = codes.maps.shape[0]
    if image >= n:
        raise ValueError(f"--image must be less than {n}, the number of images, got {image}")
    counts = sparsity_counts(codes.maps, codes.atom_shape)
    about = {
        "holds": "codes",
        "images": n,
        "maps_shape": list(codes.maps.shape[1:]),
        "atom_shape": list(codes.atom_shape),
        "lam": codes.lam,
        "nonzeros_per_image": codes.maps.nnz / n,
        "largest_counts": {name: getattr(counts, name) for name in ("needle", "pixel", "stripe")},
        "objective_mean": float(codes.objective.mean()),
        "largest_relative_gap": codes.largest_relative_gap,
    }
    return about, {
        "maps.png": lambda: plot_maps(codes.maps.to_dense()[image]),
        "needles.png": lambda: plot_needle_density(codes.maps.to_dense()[image]),
    }


def _draw(figures: dict[str, Any], folder: Path, force: bool) -> list[str]:
    from sparsegen_classic._files import check_output
    from sparsegen_classic.plots import save_figure

    folder.mkdir(exist_ok=True)
    for name in figures:
        check_output(folder / name, force)
    return [str(save_figure(figure(), folder / name, overwrite=force)) for name, figure in figures.items()]
