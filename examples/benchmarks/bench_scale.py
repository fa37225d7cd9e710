"""How time and memory grow with the number of images: 25,000 to 200,000 unaligned faces 64x64.

For each number a user's two commands, each in a process of its own: ``fit`` on a folder of JPEG files with
1,000 trainlets and 40 of them an image, a checkpoint and ``--memory 2GB``, and ``sample -n 1000``. The table
shows seconds (all, and stage by stage, with the exponent of their growth), the peak resident memory of the
processes, the disk that the checkpoint takes, and whether the model is any good: error of reconstructions of
1,000 faces of people it has not seen, distance of samples to the nearest training image beside that of those
faces, and the Frechet distance to them beside that of real images and of random combinations of atoms. Sheets
of samples above their neighbours lie beside the table.

What is measured is kept in ``rows.json`` of the output folder, with the faces and the models: an interrupted
run goes on where it was (remove the file to measure anew). ``--small`` takes 5,000 to 20,000 faces and under
ten minutes. Without the data sets, ``--synthetic`` makes the images from scikit-learn's digits.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import make_faces
import numpy as np

SIZES, SMALL = (25_000, 50_000, 100_000, 200_000), (5_000, 10_000, 20_000)
FIT = (
    *("--dictionary", "trainlets", "--n-components", "1000", "--n-nonzero-coefs", "40"),
    *("--max-iter", "3", "--memory", "2GB"),
)
N_SAMPLES = N_HELD_OUT = 1000
N_FEATURES = 10_000  # training images that the features of the Frechet distance are learned from
LEGEND = """else: start, reading and storing the images, saving the model; RMSE, of unseen: of faces of other
people; nearest: median distance of samples to the training images; near: share of samples that are nearer
to one than 99 % of unseen faces are (.01 is ideal)."""
OURS, RANDOM, REAL = "samples", "random combinations", "real images"


# -- what is run ---------------------------------------------------------------------------------------------


# The peak of a process counts that of the one it was forked from (here: with all faces that it made), so
# that a small one starts it.
STARTER = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:]).returncode
seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f'{{"wall": {seconds}, "megabytes": {peak * (1 if sys.platform == "darwin" else 1024) / 1e6}}}')
sys.exit(code)
"""


def run(*arguments):
    """Run Python in a process of its own; return the JSON it prints, its seconds and peak memory."""
    command = [sys.executable, "-S", "-c", STARTER, sys.executable, *map(str, arguments)]
    ran = subprocess.run(command, stdout=subprocess.PIPE)
    if ran.returncode:
        sys.exit(f"failed: {' '.join(map(str, arguments))}")
    facts, usage = map(json.loads, ran.stdout.splitlines()[-2:])
    return facts | usage


def fit(faces, place):
    """Fit a model of a folder of faces."""
    checkpoint, model = place / "checkpoint", place / "model.npz"
    shutil.rmtree(checkpoint, ignore_errors=True)  # what was begun before would not be measured
    command = ("-m", "sparsegen_classic", "fit", faces, *FIT, "--seed", 0)
    facts = run(*command, "--checkpoint", checkpoint, "-o", model, "--force", "--json")
    files = [path.stat() for path in checkpoint.rglob("*") if path.is_file()]
    return facts | {"disk": sum(file.st_size for file in files) / 1e6}


def sample(faces, place):
    """Draw from the model."""
    command = ("-m", "sparsegen_classic", "sample", place / "model.npz", "-n", N_SAMPLES, "--seed", 1)
    return run(*command, "-o", place / "samples.npz", "--force", "--json")


def judge(faces, place):
    """Measure how good the model is, and remove the checkpoint, which holds the images."""
    facts = run(__file__, "--judge", faces, place)
    shutil.rmtree(place / "checkpoint")
    return facts


STEPS = {"fit": fit, "sample": sample, "judge": judge}


def first_faces(folder, n, view):
    """Make ``view`` a folder of the first ``n`` files of ``folder``, by links."""
    shutil.rmtree(view, ignore_errors=True)
    view.mkdir(parents=True)
    for part in sorted(folder.resolve().iterdir())[: -(-n // make_faces.IN_A_FOLDER)]:
        names = sorted(os.listdir(part))[:n]
        n -= len(names)
        (view / part.name).mkdir()
        for name in names:
            (view / part.name / name).symlink_to(part / name)
    return view


# -- how good the model is -----------------------------------------------------------------------------------


def measure_model(faces, place):
    """Print figures of the model in ``place`` that was fitted to ``faces``, and save a sheet of samples."""
    from sparsegen_classic import evaluate, load_model, nearest_images, open_images, store_images
    from sparsegen_classic.plots import plot_neighbours, save_figure

    generator = load_model(place / "model.npz").set_params(n_jobs=-1)
    held_out = open_images(place.parent / "held_out").images
    samples = open_images(place / "samples.npz").images
    training = store_images(faces, place / "checkpoint" / "images", n_jobs=-1)  # done already, by the fit
    nearest, distances = nearest_images(np.concatenate([samples, held_out]), training, n_jobs=-1)
    own, real = distances[: len(samples)], distances[len(samples) :]
    sheet = plot_neighbours(samples[:60], training[nearest[:60]])
    save_figure(sheet, place / "samples.png", overwrite=True)
    sets = {OURS: samples, RANDOM: generator.random_combinations(len(samples), 1)}
    table = evaluate(sets, training[:N_FEATURES], held_out, n_bins=10, n_jobs=-1)
    error = held_out - generator.reconstruct(held_out)
    facts = {
        "rmse": np.sqrt(np.mean(error**2)),
        "distance": np.median(own),
        "distance_held_out": np.median(real),
        "near": np.mean(own < np.quantile(real, 0.01)),
        "frechet": {name: table[name]["frechet"] for name in (OURS, RANDOM, REAL)},
    }
    print(json.dumps(facts, default=float))


# -- in print ------------------------------------------------------------------------------------------------


def exponent(rows, figure):
    """Return p of figure ~ n^p by least squares, as text; nothing where it took no time."""
    n, values = np.array([(row["fit"]["images"], figure(row)) for row in rows], float).T
    if len(n) < 2 or values.min() < 0.05:
        return ""
    return format(np.polyfit(np.log(n), np.log(values), 1)[0], ".2f")


def show(rows):
    """Print the tables, and what dominates."""
    seconds = {"fit s": lambda row: row["fit"]["wall"]}
    for stage in seconds_of(rows[-1]["fit"]):
        seconds[stage] = lambda row, stage=stage: seconds_of(row["fit"])[stage]
    seconds["draw s"] = lambda row: row["sample"]["wall"]
    other = {
        "fit MB": (lambda row: row["fit"]["megabytes"], ".0f"),
        "draw MB": (lambda row: row["sample"]["megabytes"], ".0f"),
        "disk MB": (lambda row: row["fit"]["disk"], ".0f"),
        "RMSE": (lambda row: row["judge"]["rmse"], ".4f"),
        "nearest": (lambda row: row["judge"]["distance"], ".2f"),
        "of unseen": (lambda row: row["judge"]["distance_held_out"], ".2f"),
        "near": (lambda row: row["judge"]["near"], ".3f"),
        **{
            head: (lambda row, name=name: row["judge"]["frechet"][name], ".2f")
            for head, name in (("Frechet", OURS), ("random", RANDOM), ("real", REAL))
        },
    }
    print_table(rows, {head: (figure, ".1f") for head, figure in seconds.items()})
    print("n^p".rjust(9) + "".join(exponent(rows, figure).rjust(13) for figure in seconds.values()))
    print_table(rows, other)
    last = rows[-1]["fit"]
    slowest = max(seconds_of(last), key=seconds_of(last).get)
    print(
        f"\nDominates: {slowest}, {seconds_of(last)[slowest] / last['wall']:.0%} of {last['wall'] / 60:.1f} "
        f"minutes. All in all {last['wall'] / last['images'] * 1000:.2f} ms an image.\n{LEGEND}"
    )


def seconds_of(facts):
    """Return the seconds of each stage of a fit, and of all else: start, images read and stored, saving."""
    return facts["stages"] | {"else": facts["wall"] - sum(facts["stages"].values())}


def print_table(rows, columns):
    print("\n" + "images".rjust(9) + "".join(head.rjust(13) for head in columns))
    for row in rows:
        cells = (format(figure(row), form).rjust(13) for figure, form in columns.values())
        print(f"{row['fit']['images']:9d}" + "".join(cells))


class Kept:
    """What was measured, in a JSON file that is written anew after every step."""

    def __init__(self, path, settings):
        self.path, self.settings = path, settings
        kept = json.loads(path.read_text()) if path.exists() else {}
        self.rows = kept["rows"] if kept.get("settings") == settings else {}

    def step(self, n, name, make):
        row = self.rows.setdefault(str(n), {})
        if name not in row:
            row[name] = make()
            print(f"[{n} images, {name}: {row[name]['wall']:.0f} s]", flush=True)
            draft = self.path.with_suffix(".partial")
            draft.write_text(json.dumps({"settings": self.settings, "rows": self.rows}, indent=1))
            draft.replace(self.path)
        return row


def measure(sizes, output, synthetic):
    """Make what is missing of the faces, measure what is missing of the rows, and print all."""
    for name, n in (("faces", max(sizes)), ("held_out", N_HELD_OUT)):
        sources = make_faces.load_sources(held_out=name == "held_out", synthetic=synthetic)
        make_faces.make_folder(output / name, n, sources)
    kept = Kept(output / "rows.json", [*FIT, f"synthetic={synthetic}"])
    for n in sizes:
        place = output / str(n)
        place.mkdir(exist_ok=True)
        faces = first_faces(output / "faces", n, output / str(n) / "faces")
        for name, make in STEPS.items():
            kept.step(n, name, lambda make=make, faces=faces, place=place: make(faces, place))
    print(f"\nfit {' '.join(FIT)}; {os.cpu_count()} cores; sheets: {output}/*/samples.png")
    show([kept.rows[str(n)] for n in sizes])


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="5,000, 10,000 and 20,000 images")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="N")
    parser.add_argument("--output", type=Path, default=Path("bench_scale_output"), metavar="FOLDER")
    parser.add_argument("--synthetic", action="store_true", help="digits instead of faces")
    parser.add_argument("--judge", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.judge:
        return measure_model(*options.judge)
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        measure(
            sorted(options.sizes or (SMALL if options.small else SIZES)), options.output, options.synthetic
        )
    except FileNotFoundError as error:
        print(error)


if __name__ == "__main__":
    main()
