"""How good are the images? Every generator and baseline in one table, and what limits ours.

``--data mnist`` (the default): a model per class of the 60,000 training images, judged in the digit network
against the 10,000 test images, 10,000 samples for each of three seeds; mean and spread over the seeds, which
change our fits and all samples. ``--data aligned`` and ``--data unaligned``: faces 64x64, judged in their 50
first principal components. ``--data faces`` is both. ``--quick`` takes 2,000 samples, one seed and fewer
rows. ``--cache FOLDER`` keeps the figures of each seed, so that an interrupted run goes on where it was.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.optimize import nnls
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from sparsegen_classic import SparseImageGenerator, evaluate, nearest_images, open_images
from sparsegen_classic.baselines import PPCA, GroupedGaussians, MixtureOfFactorAnalysers, ProjectedDensity
from sparsegen_classic.dictionary import Trainlets
from sparsegen_classic.images import apply_tone, tone_curve

DATA = Path(os.environ.get("SPARSEGEN_DATA", Path(__file__).parents[2] / "../shared/data"))
FACES = {"aligned": ("utk_aligned4400_64", 4000), "unaligned": ("lfwcrop_grey_64", 12000)}
COLUMNS = {  # figure: its head and format
    "frechet": ("Frechet", ".2f"),
    "coverage": ("coverage", ".3f"),
    "density": ("density", ".2f"),
    "confidence": ("confid.", ".4f"),
    "accuracy": ("right", ".4f"),
    "copy": ("copy P", ".3f"),
    "near_copies": ("near", ".4f"),
    "seen_supports": ("seen", ".4f"),
}
LEGEND = """right: of the class asked for, says the network; copy P: probability that a sample is further from
the training images than a held-out image is; near: nearer to one than 99 % of held-out images are;
seen: support equal to that of a training image."""
OURS, RECONSTRUCTIONS, REAL = "ours", "our reconstructions", "real images"
BEST_OF = ("grouped normals", "PPCA", "factor analysers", "10 normals, PCA-50", "kernels, PCA-50")
TONED = " + tone"


@dataclass
class Task:
    """Images to learn from, images to judge by, and how much of it all."""

    training: np.ndarray
    labels: np.ndarray | None
    held_out: np.ndarray
    held_out_labels: np.ndarray | None
    n: int
    quick: bool

    def fit(self, model):
        per_class = self.labels is not None
        return model.set_params(per_class=per_class).fit(self.training, self.labels)

    def generator(self, seed, **parameters):
        """Return our generator with the dictionary of the paper: K-SVD for digits, trainlets for faces."""
        dictionary = Trainlets() if self.labels is None else None
        return self.fit(SparseImageGenerator(dictionary, random_state=seed, n_jobs=-1, **parameters))

    def paper(self, seed):
        dictionary = Trainlets() if self.labels is None else None
        return self.fit(SparseImageGenerator.paper(dictionary, random_state=seed, n_jobs=-1))

    def pick(self, rng):
        return rng.choice(len(self.training), self.n, replace=self.n > len(self.training))

    def labels_of(self, rows):
        return None if self.labels is None else self.labels[rows]


def load(name, quick):
    n = 2000 if quick else 10_000
    if name == "mnist":
        train, test = (open_images(DATA / "mnist", split=split) for split in ("train", "test"))
        return Task(train.images, train.labels, test.images, test.labels, n, quick)
    file, n_training = FACES[name]
    faces = open_images(DATA / "faces" / f"{file}.npz").images
    return Task(faces[:n_training], None, faces[n_training:], None, 500 if quick else 1000, quick)


# -- the table ---------------------------------------------------------------------------------------------


def our_sets(task, seed):
    """Return images, labels and share of supports that were seen, of our generator and what it lacks."""
    generator = task.generator(seed)
    draws = generator.draw(task.n, seed + 100)
    sets = {OURS: drawn(draws)}
    sums = np.clip(sums_of_atoms(generator, draws.codes, draws.labels), 0, 1)
    sets["ours, no tone curve"] = (sums, draws.labels, None)
    others = {
        "ours, no groups": lambda: task.generator(seed, n_groups=1),
        "the paper": lambda: task.paper(seed),
    }
    if task.labels is None and not task.quick:
        others["ours, K-SVD"] = lambda: task.fit(SparseImageGenerator(random_state=seed, n_jobs=-1))
    for name, fit in others.items():
        sets[name] = drawn(fit().draw(task.n, seed + 100))
    rng = np.random.default_rng(seed)
    some = task.pick(rng)
    sets[RECONSTRUCTIONS] = (generator.reconstruct(task.training[some], task.labels_of(some)), None, None)
    sets["random combinations"] = (generator.random_combinations(task.n, seed + 100), None, None)
    return sets


def drawn(draws):
    return draws.images, draws.labels, float(draws.in_training.mean())


def sums_of_atoms(generator, codes, labels):
    """Return what codes amount to before tone curve and clipping."""
    images = np.empty((codes.shape[0], generator.n_features_in_), np.float32)
    for model, dictionary in enumerate(generator.dictionaries_):
        here = slice(None) if labels is None else labels == generator.classes_[model]
        images[here] = codes[here] @ dictionary.components_ + generator.means_[model]
    return images.reshape(-1, *generator.image_shape_)


def fit_baselines(task):
    """Return the baselines, fitted once for all seeds: their samples change, and their fits take long."""
    models = {"grouped normals": GroupedGaussians(random_state=0)}
    if not task.quick:
        models["factor analysers"] = MixtureOfFactorAnalysers(60, 8, max_iter=15, random_state=0)
        models["PPCA"] = PPCA()
        mixture = GaussianMixture(10, reg_covar=1e-3)
        models["10 normals, PCA-50"] = ProjectedDensity(mixture, 50, random_state=0)
        models["kernels, PCA-50"] = ProjectedDensity(KernelDensity(bandwidth=0.5), 50, random_state=0)
    return {name: task.fit(model) for name, model in models.items()}


def baseline_sets(task, models, seed):
    """Return images and labels of the baselines, the two strongest also with a tone curve."""
    sets = {}
    for name, model in models.items():
        bare = model.draw(task.n, seed + 100, clip=False)
        sets[name] = (np.clip(bare.images, 0, 1), bare.labels, None)
        if name in ("grouped normals", "factor analysers"):
            sets[name + TONED] = (toned(task, model, bare), bare.labels, None)
    return sets


def toned(task, model, bare):
    """Give samples the pixels of training images, class by class, by the curve of other samples."""
    images = np.empty_like(bare.images)
    for label in [None] if task.labels is None else model.classes_:
        here = slice(None) if label is None else bare.labels == label
        real = task.training if label is None else task.training[task.labels == label]
        curve = tone_curve(model.sample(1000, 0, class_=label, clip=False), real[:1000])
        images[here] = apply_tone(bare.images[here], curve)
    return np.clip(images, 0, 1)


def figures(task, sets, seed):
    known = {name: labels for name, (_, labels, _) in sets.items() if labels is not None}
    images = {name: images for name, (images, _, _) in sets.items()}
    result = evaluate(
        images, task.training, task.held_out, labels=known, n_bins=10, random_state=seed, n_jobs=-1
    )
    rows = {name: dict(result[name]) for name in result.sets if name != "held-out images"}
    for name, (_, _, seen) in sets.items():
        rows[name]["seen_supports"] = np.nan if seen is None else seen
    return {name: {key: row.get(key, np.nan) for key in COLUMNS} for name, row in rows.items()}


# -- what limits us ----------------------------------------------------------------------------------------


def decompose(task, seed):
    """Return figures of draws whose supports, or coefficients, or neither, are replaced by real ones.

    The generator is fitted without ``n`` of the training images; these are the real ones. A real support
    takes drawn coefficients as it is. Real coefficients do not fit a drawn support, so it gets the best that
    it can have: those (of its signs) that bring it nearest to the training image which its draw resembles
    most. That is no generator; it says whether the support can carry an image at all.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(task.training))
    n_real = min(task.n, len(order) // 10)
    real, rest = order[:n_real], order[n_real:]
    inner = Task(
        task.training[rest], task.labels_of(rest), task.held_out, task.held_out_labels, n_real, task.quick
    )
    generator = inner.generator(seed)
    images, labels = task.training[real], task.labels_of(real)
    draws = generator.draw(n_real, seed + 100)
    codes = generator.encode(images, labels)
    sets = {
        "unseen images themselves": images,
        "their reconstructions, clipped": np.clip(sums_of_atoms(generator, codes, labels), 0, 1),
        "their reconstructions": generator.reconstruct(images, labels),
        "their supports, coefficients drawn": toned_sums(
            generator, draw_coefficients(generator, codes, labels, seed), labels
        ),
        "supports drawn, best coefficients": toned_sums(
            generator, best_coefficients(inner, generator, draws), draws.labels
        ),
        "supports and coefficients drawn": draws.images,
    }
    return figures(inner, {name: (part, None, None) for name, part in sets.items()}, seed)


def toned_sums(generator, codes, labels):
    sums = sums_of_atoms(generator, codes, labels)
    for model, curve in enumerate(generator.tone_curves_):
        here = slice(None) if labels is None else labels == generator.classes_[model]
        sums[here] = apply_tone(sums[here], curve)
    return np.clip(sums, 0, 1)


def draw_coefficients(generator, codes, labels, seed):
    """Return codes with the supports of these and drawn coefficients, without states new to the model."""
    rows, parts = [], []
    for model, supports in enumerate(generator.supports_):
        here = (
            np.arange(codes.shape[0])
            if labels is None
            else np.flatnonzero(labels == generator.classes_[model])
        )
        own = codes[here].tocoo()
        known = np.isin(np.where(own.data > 0, own.col, own.col + codes.shape[1]), supports.states_)
        own = sparse.csr_array(
            (np.sign(own.data[known]), (own.row[known], own.col[known])), shape=(len(here), codes.shape[1])
        )
        groups = supports.most_probable_groups(own) if len(supports.group_shares_) > 1 else None
        rows.append(here)
        parts.append(generator.coefficients_[model].sample(own, seed, groups=groups))
    return sparse.vstack(parts, format="csr")[np.argsort(np.concatenate(rows))]


def best_coefficients(task, generator, draws):
    """Return codes with the supports drawn, fitted to the training images nearest to the draws."""
    codes = draws.codes.copy()
    for model, dictionary in enumerate(generator.dictionaries_):
        here, seen = np.arange(len(draws.images)), np.arange(len(task.training))
        if draws.labels is not None:
            label = generator.classes_[model]
            here, seen = np.flatnonzero(draws.labels == label), np.flatnonzero(task.labels == label)
        near, _ = nearest_images(draws.images[here], task.training[seen], n_jobs=-1)
        targets = task.training[seen[near]].reshape(len(here), -1) - generator.means_[model]
        for i, target in zip(here, targets, strict=True):
            part = slice(codes.indptr[i], codes.indptr[i + 1])
            signs = np.sign(codes.data[part])
            atoms = dictionary.components_[codes.indices[part]] * signs[:, None]
            codes.data[part] = signs * nnls(atoms.T.astype(float), target.astype(float))[0]
    return codes


# -- in print ----------------------------------------------------------------------------------------------


def show(parts):
    """Print the mean over seeds of every row and, with several seeds, the standard deviation."""
    names = list(parts[0])
    keys = [key for key in COLUMNS if any(np.isfinite(part[name][key]) for part in parts for name in names)]
    width = max(map(len, names)) + 2
    print("".ljust(width) + "".join(COLUMNS[key][0].rjust(17 if len(parts) > 1 else 10) for key in keys))
    for name in names:
        print(
            name.ljust(width)
            + "".join(cell([part[name][key] for part in parts], COLUMNS[key][1]) for key in keys)
        )


def cell(values, form):
    if not np.isfinite(values).all():
        return "".rjust(17 if len(values) > 1 else 10)
    text = format(np.mean(values), form)
    return text.rjust(10) if len(values) == 1 else f"{text} +-{np.std(values, ddof=1):{form}}".rjust(17)


def verdicts(parts):
    """Say of each target whether it is met."""
    mean = {name: {key: np.mean([part[name][key] for part in parts]) for key in COLUMNS} for name in parts[0]}
    own, real = mean[OURS], mean[REAL]
    best = min((name for name in BEST_OF if name in mean), key=lambda name: mean[name]["frechet"])
    fair = min((name for name in mean if name.endswith(TONED)), key=lambda name: mean[name]["frechet"])
    for what, name, most in (
        ("best baseline", best, 0.7),
        ("with a tone curve", fair, 0.7),
        ("ceiling", RECONSTRUCTIONS, 1.0),
    ):
        ratio = own["frechet"] / mean[name]["frechet"]
        claim(
            ratio <= most,
            f"Frechet distance {ratio:.2f} times that of {name} ({what}; wanted at most {most})",
        )
    claim(
        own["coverage"] >= 0.95,
        f"coverage {own['coverage']:.3f} (wanted 0.95; real images: {real['coverage']:.3f})",
    )
    if np.isfinite(own["confidence"]):
        claim(own["confidence"] >= 0.985, f"confidence {own['confidence']:.4f} (wanted 0.985)")
    claim(
        0.4 <= own["copy"] <= 0.6,
        f"copy P {own['copy']:.3f} (wanted 0.4 to 0.6; {best}: {mean[best]['copy']:.3f})",
    )
    claim(
        own["seen_supports"] < 0.005,
        f"supports seen in training {own['seen_supports']:.2%} (wanted under 0.5 %)",
    )
    print(
        f"  Above the floor of real images ({real['frechet']:.2f}) by {own['frechet'] - real['frechet']:.2f}."
    )


def claim(met, text):
    print(f"  {'met:    ' if met else 'NOT MET:'} {text}")


def limits(rows):
    """Say what each part of the model adds to the Frechet distance."""
    far = {name: row["frechet"] for name, row in rows.items()}
    names = list(rows)
    steps = {
        "reconstruction": far["their reconstructions"] - far["unseen images themselves"],
        "coefficients (on real supports)": far["their supports, coefficients drawn"]
        - far["their reconstructions"],
        "supports (with drawn coefficients)": far["supports and coefficients drawn"]
        - far["their supports, coefficients drawn"],
    }
    total = far["supports and coefficients drawn"] - far[names[0]]
    for name, step in steps.items():
        print(f"  {name}: {step:+.2f} of {total:.2f}")
    other = far["supports drawn, best coefficients"] - far["their reconstructions"]
    print(f"  drawn supports against real ones if both had their best coefficients: {other:+.2f}")


def cached(folder, name, make):
    path = folder and Path(folder, f"{name}.json")
    if path and path.exists():
        return json.loads(path.read_text())
    start = time.perf_counter()
    made = make()
    print(f"[{name}: {time.perf_counter() - start:.0f} s]", flush=True)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made))
    return made


def run(name, quick, seeds, cache):
    task = load(name, quick)
    print(
        f"\n{name}: {len(task.training)} training and {len(task.held_out)} held-out images, {task.n} samples"
    )
    stem = f"{name}-{task.n}"
    ours = [
        cached(cache, f"{stem}-seed{seed}", lambda seed=seed: figures(task, our_sets(task, seed), seed))
        for seed in range(seeds)
    ]

    def measure_baselines():
        models = fit_baselines(task)
        return [figures(task, baseline_sets(task, models, seed), seed) for seed in range(seeds)]

    baselines = cached(cache, f"{stem}-baselines{seeds}", measure_baselines)
    parts = [other | own for own, other in zip(ours, baselines, strict=True)]
    show([{name: part[name] for name in sorted(part, key=list(ours[0] | part).index)} for part in parts])
    print(LEGEND)
    verdicts(parts)
    rows = cached(cache, f"{stem}-limits", lambda: decompose(task, 0))
    print("\nWhat limits us, by putting real parts in the place of drawn ones:")
    show([rows])
    limits(rows)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist", choices=("mnist", "faces", *FACES))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cache", metavar="FOLDER")
    parser.add_argument("--seeds", type=int, choices=range(1, 10), help="default 3, quick 1")
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"no data sets at {DATA}: set SPARSEGEN_DATA")
        return
    for name in FACES if options.data == "faces" else (options.data,):
        run(name, options.quick, options.seeds or (1 if options.quick else 3), options.cache)


if __name__ == "__main__":
    main()
