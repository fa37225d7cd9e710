"""How good are the images? Every generator and baseline in one table, and what limits ours.

``--data mnist`` (the default): a model per class of the 60,000 training images, judged in the digit network
against the 10,000 test images, 10,000 samples for each of three seeds; mean and spread over the seeds, which
change our fits and all samples (baselines are fitted once). Every row has each class as often as it is among
the training images. ``--data aligned`` and ``--data unaligned``: faces 64x64, judged in their 50 first
principal components. ``--data faces`` is both. ``--data digits`` and ``--data colour``: 8x8 digits and colour
photographs, with the same defaults, judged likewise. ``--quick`` takes 2,000 samples, one seed and fewer
rows; ``--samples`` any number.

A mixture of factor analysers learns slowly: it has 60 components of rank 8 in each class and takes 15 steps,
where the grouped normals have up to 200 of rank 8 in closed form.

Every row is kept as soon as it is measured, in a file that the first line names. An interrupted run goes on
where it was, unless the code has changed meanwhile or ``--fresh`` asks for a new start.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from generation_table import (
    COLUMNS,
    LEGEND,
    OURS,
    OURS_BARE,
    RANDOM,
    REAL,
    RECONSTRUCTIONS,
    TONE,
    TONED,
    Rows,
    limits,
    show,
    verdicts,
)
from scipy.optimize import nnls
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from surroundings import DATA

from sparsegen_classic import SketchedCodes, SparseImageGenerator, nearest_images, open_images
from sparsegen_classic.baselines import (
    PPCA,
    GroupedGaussians,
    IndependentPixels,
    MixtureOfFactorAnalysers,
    ProjectedDensity,
)
from sparsegen_classic.dictionary import Trainlets
from sparsegen_classic.images import apply_tone, contrast_and_curve
from sparsegen_classic.metrics import Judge

FACES = {"aligned": ("utk_aligned4400_64", 4000), "unaligned": ("lfwcrop_grey_64", 12000)}
SMALL = "digits", "colour"  # 8x8 digits (built in) and colour photographs: nothing is set for them


@dataclass
class Task:
    """Images to learn from, images to judge by, and how much of it all."""

    training: np.ndarray
    labels: np.ndarray | None
    held_out: np.ndarray
    held_out_labels: np.ndarray | None
    n: int
    quick: bool
    judges: dict = field(default_factory=dict)

    def judge(self, seed):
        """Return what :func:`evaluate` judges by, made once for all rows of a seed."""
        if seed not in self.judges:
            self.judges[seed] = Judge(self.training, self.held_out, n_bins=10, random_state=seed, n_jobs=-1)
        return self.judges[seed]

    def fit(self, model):
        per_class = self.labels is not None
        return model.set_params(per_class=per_class).fit(self.training, self.labels)

    @property
    def dictionary(self):
        """That of the paper: trainlets for faces, otherwise K-SVD, the default."""
        return Trainlets() if self.training.shape[1:] == (64, 64) else None

    def generator(self, seed, **parameters):
        return self.fit(SparseImageGenerator(self.dictionary, random_state=seed, n_jobs=-1, **parameters))

    def paper(self, seed):
        return self.fit(SparseImageGenerator.paper(self.dictionary, random_state=seed, n_jobs=-1))

    @property
    def wanted(self):
        """Labels of ``n`` samples, each class as often as in training, so that no row is luckier in that."""
        if self.labels is None:
            return None
        classes, counts = np.unique(self.labels, return_counts=True)
        edges = np.rint(np.cumsum(counts) / counts.sum() * self.n).astype(int)
        return np.repeat(classes, np.diff(edges, prepend=0))

    def pick(self, seed):
        """Return the indices of ``n`` training images, or all, with the labels ``wanted``."""
        rng = np.random.default_rng(seed)
        if self.labels is None or self.n > len(self.training):
            return np.sort(rng.choice(len(self.training), min(self.n, len(self.training)), replace=False))
        classes, counts = np.unique(self.wanted, return_counts=True)
        parts = [
            rng.choice(np.flatnonzero(self.labels == label), count, replace=False)
            for label, count in zip(classes, counts, strict=True)
        ]
        return np.concatenate(parts)

    def labels_of(self, rows):
        return None if self.labels is None else self.labels[rows]


def load(name, quick, n):
    n = n or ((2000 if quick else 10_000) if name == "mnist" else (500 if quick else 1000))
    if name == "mnist":
        train, test = (open_images(DATA / "mnist", split=split) for split in ("train", "test"))
        return Task(train.images, train.labels, test.images, test.labels, n, quick)
    if name == "digits":
        digits = open_images("digits")
        order = np.random.default_rng(0).permutation(len(digits.images))  # they come writer by writer
        images, labels = digits.images[order], digits.labels[order]
        return Task(images[:1500], labels[:1500], images[1500:], labels[1500:], n, quick)
    if name == "colour":
        photographs = open_images(DATA / "cifar10" / "cifar10_test5000.npz").images
        return Task(photographs[:4500], None, photographs[4500:], None, n, quick)
    file, n_training = FACES[name]
    faces = open_images(DATA / "faces" / f"{file}.npz").images
    return Task(faces[:n_training], None, faces[n_training:], None, n, quick)


# -- the table ---------------------------------------------------------------------------------------------


def our_rows(task, generator, seed):
    """Yield names, images, labels and share of supports that were seen, of our generator."""
    draws = generator.draw(task.n, seed + 100, class_=task.wanted)
    yield OURS, *drawn(draws)
    sums = generator.decode(draws.codes, draws.labels, clip=False)
    yield OURS_BARE, np.clip(sums, 0, 1), draws.labels, None
    some = task.pick(seed)
    yield RECONSTRUCTIONS, generator.reconstruct(task.training[some], task.labels_of(some)), None, None
    yield RANDOM, generator.random_combinations(task.n, seed + 100, class_=task.wanted), None, None


def drawn(draws):
    return draws.images, draws.labels, float(draws.in_training.mean())


def baselines(quick):
    """Return the baselines, not fitted; those named in ``TONED`` are measured with a tone curve as well."""
    models = {"grouped normals": GroupedGaussians(random_state=0)}
    if not quick:
        mixture = GaussianMixture(10, reg_covar=1e-3)
        models["PPCA"] = PPCA()
        models["10 normals, PCA-50"] = ProjectedDensity(mixture, 50, random_state=0)
        models["kernels, PCA-50"] = ProjectedDensity(KernelDensity(bandwidth=0.5), 50, random_state=0)
        models["factor analysers"] = MixtureOfFactorAnalysers(60, 8, max_iter=15, random_state=0)
    return models


def jobs(task):
    """Yield names of rows, what to fit, whether anew for each seed, and a generator of these rows."""

    def one(name):
        return lambda model, seed: [(name, *drawn(model.draw(task.n, seed + 100, class_=task.wanted)))]

    def baseline_rows(name):
        def rows(model, seed):
            bare = model.draw(task.n, seed + 100, class_=task.wanted, clip=False)
            yield name, np.clip(bare.images, 0, 1), bare.labels, None
            if name in TONED:
                yield name + TONE, toned(task, model, bare), bare.labels, None

        return rows

    names = (OURS, OURS_BARE, RECONSTRUCTIONS, RANDOM)
    yield names, task.generator, True, lambda model, seed: our_rows(task, model, seed)
    for name, given in {
        "ours, no groups": {"n_groups": 1},
        "ours, no sketches": {"sketches": "none"},
        "ours, less noise": {"sketches": SketchedCodes(noise=0.2, bandwidth=3.0)},
    }.items():
        yield (name,), lambda seed, given=given: task.generator(seed, **given), True, one(name)
    yield ("the paper",), task.paper, True, one("the paper")
    if task.dictionary is not None and not task.quick:
        plain = SparseImageGenerator(n_jobs=-1)
        name = "ours, K-SVD"
        yield (name,), lambda seed: task.fit(plain.set_params(random_state=seed)), True, one(name)
    for name, model in baselines(task.quick).items():
        names = (name, name + TONE) if name in TONED else (name,)
        yield names, lambda seed, model=model: task.fit(model), False, baseline_rows(name)


def toned(task, model, bare):
    """Give samples the pixels and the variance of training images, class by class, as ours are given them."""
    images = np.empty_like(bare.images).reshape(len(bare.images), -1)
    for label in [None] if task.labels is None else model.classes_:
        here = slice(None) if label is None else bare.labels == label
        real = task.training if label is None else task.training[task.labels == label]
        mean = real.mean(axis=0).ravel()
        sums, own = (
            part.reshape(len(part), -1) - mean
            for part in (model.sample(1000, 0, class_=label, clip=False), bare.images[here])
        )
        contrast, curve = contrast_and_curve(sums, mean, real[:1000].reshape(-1, len(mean)))
        images[here] = apply_tone(contrast * own + mean, curve)
    return np.clip(images, 0, 1).reshape(bare.images.shape)


def figures(task, seed, images, labels=None, seen=None):
    known = labels if images.shape[1:] == (28, 28) else None  # the digit network looks at no other size
    row = task.judge(seed).measure(images, known).figures
    return {key: row.get(key, np.nan) for key in COLUMNS} | {
        "seen_supports": np.nan if seen is None else seen
    }


def real_figures(task, seed):
    """Return the figures of training images, each compared with the others."""
    some = task.pick(seed)
    row = task.judge(seed).measure_training(some).figures
    return {key: row.get(key, np.nan) for key in COLUMNS}


def copies_figures(task, seed):
    some = np.random.default_rng(seed).integers(len(task.training), size=task.n)
    return figures(task, seed, task.training[some])


def noise_figures(task, seed):
    """Return the figures of images of which each pixel is that of a random training image."""
    return figures(task, seed, IndependentPixels().fit(task.training).sample(task.n, seed))


REFERENCES = {REAL: real_figures, "copies": copies_figures, "independent pixels": noise_figures}


# -- what limits us ----------------------------------------------------------------------------------------


def decompose(task, seed):
    """Return figures of draws of which all but one part, or all, are replaced by real ones.

    The generator is fitted without ``n`` of the training images; these are the real ones. Their sketches,
    explained by codes drawn, show what drawn codes cost; their supports, with coefficients drawn given the
    same sketches, what the coefficients do. Real coefficients do not fit a drawn support, so it gets the best
    that it can have: those (of its signs) that bring it nearest to the training image which its draw
    resembles most. That is no generator; it says whether the support can carry an image at all.
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
    draws = generator.draw(n_real, seed + 100, class_=labels)
    codes = generator.encode(images, labels)
    sets = {
        "unseen images themselves": images,
        "their reconstructions, clipped": np.clip(generator.decode(codes, labels, clip=False), 0, 1),
        "their reconstructions": generator.reconstruct(images, labels),
        "their supports, coefficients drawn": generator.decode(
            draw_coefficients(generator, codes, labels, seed), labels, drawn=True
        ),
        "their sketches, codes drawn": generator.vary(images, labels, seed),
        "supports drawn, best coefficients": generator.decode(
            best_coefficients(inner, generator, draws), draws.labels, drawn=True
        ),
        "sketches and codes drawn": draws.images,
    }
    return {name: figures(inner, seed, part) for name, part in sets.items()}


def draw_coefficients(generator, codes, labels, seed):
    """Return codes with the supports of these, and coefficients from their posterior given noisy views."""
    codes, rng = codes.copy(), np.random.default_rng(seed)
    for model, sketches in enumerate(generator.sketches_):
        known = slice(None) if labels is None else labels == generator.classes_[model]
        means, variances = sketches.state_means_, sketches.state_variances_
        for i in np.arange(codes.shape[0])[known]:
            part = slice(codes.indptr[i], codes.indptr[i + 1])
            atoms, values = codes.indices[part], codes.data[part]
            states = np.where(values > 0, atoms, atoms + codes.shape[1])
            seen = np.isfinite(means[states])  # by the model; the others stay as they are
            signed = np.sign(values)[:, None] * sketches.atoms_[atoms]
            view = signed[seen].T @ np.abs(values[seen])
            view += np.sqrt(sketches.noise_variance_) * rng.standard_normal(len(view))
            prior = 1 / variances[states[seen]]
            precision = np.diag(prior) + signed[seen] @ signed[seen].T / sketches.noise_variance_
            mean = np.linalg.solve(
                precision, prior * means[states[seen]] + signed[seen] @ view / sketches.noise_variance_
            )
            root = np.linalg.cholesky(np.linalg.inv(precision))
            values[seen] = np.sign(values[seen]) * (mean + root @ rng.standard_normal(len(mean)))
    return codes


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


# -- all of it ------------------------------------------------------------------------------------------


def measure(task, seeds, rows):
    """Return the rows of every seed, in the order of the table, and those of the decomposition."""
    plan = list(jobs(task))
    total = seeds * (len(REFERENCES) + sum(len(names) for names, *_ in plan)) + 1
    parts = [{} for _ in range(seeds)]
    for names, fit, anew, make in plan:
        model = None
        for seed, part in enumerate(parts):
            keys = {name: f"{name}, seed {seed}" for name in names}
            if not all(key in rows.known for key in keys.values()):
                model = fit(seed) if anew or model is None else model
                for name, *row in make(model, seed):
                    rows.measure(keys[name], total, partial(figures, task, seed, *row))
            part |= {name: rows.known[key] for name, key in keys.items()}
    for name, reference in REFERENCES.items():
        for seed, part in enumerate(parts):
            part[name] = rows.measure(f"{name}, seed {seed}", total, partial(reference, task, seed))
    return parts, rows.measure("what limits us", total, partial(decompose, task, 0))


def run(name, options):
    task = load(name, options.quick, options.samples)
    seeds = options.seeds or (1 if options.quick else 3)
    kept = Path(options.cache) / f"{name}-{task.n}{'-quick' if options.quick else ''}.json"
    rows = Rows(kept, options.fresh)
    print(f"rows are kept in {kept}; {len(rows.known)} of them are measured", file=sys.stderr)
    parts, limited = measure(task, seeds, rows)
    sizes = f"{len(task.training)} training and {len(task.held_out)} held-out images, {task.n} samples"
    print(f"\n{name}: {sizes}, {seeds} seeds")
    show(parts)
    print(LEGEND)
    verdicts(parts)
    print("\nWhat limits us, by putting real parts in the place of drawn ones:")
    show([limited])
    limits(limited)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist", choices=("mnist", "faces", *FACES, *SMALL))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--samples", type=int, metavar="N", help="default 10,000 (quick 2,000), of faces 1,000 (500)"
    )
    parser.add_argument("--seeds", type=int, choices=range(1, 10), help="default 3, quick 1")
    where = Path(tempfile.gettempdir(), "sparsegen_classic_bench_generation")
    parser.add_argument("--cache", metavar="FOLDER", default=where, help="of the rows measured (%(default)s)")
    parser.add_argument("--fresh", action="store_true", help="measure all rows anew")
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"no data sets at {DATA}: set SPARSEGEN_DATA")
        return
    try:
        for name in FACES if options.data == "faces" else (options.data,):
            run(name, options)
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on where this one was")


if __name__ == "__main__":
    main()
