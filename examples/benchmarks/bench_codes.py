"""Consistent codes: do other codes, or other dictionaries, give a better network and better draws?

OMP over coherent atoms codes like images unlike, and a network learns the noise. Compared, on a model per
class of MNIST of whose training images 10,000 are set aside: OMP; the pursuit with the fitted prior of the
supports (``boltzmann_pursuit``), the prior fitted again to its codes; that alternation with the dictionary in
it, by least squares; samples of the posterior of codes given the image; dictionaries whose atoms must not be
alike.

Everything else stays as it is: groups, sketches, tone. "gain": what pairs add to the log-likelihood of an
atom given the others, held out, over independent atoms in one network per class; it compares networks of
unlike codes. The Frechet distance is to the images set aside, in the digit network (which has seen them).

``--data digits`` takes the built-in digits, in principal components; ``--quick`` fewer rows.
"""

import argparse
import copy

import numpy as np
from scipy import sparse
from surroundings import DATA

from sparsegen_classic import KSVD, MarkovSupports, SketchedCodes, SparseImageGenerator, open_images
from sparsegen_classic.generator.tones import fit_tones
from sparsegen_classic.metrics import Judge
from sparsegen_classic.pursuit import boltzmann_pursuit, prior_factors


class Study:
    """The images, and what is measured of a model."""

    def __init__(self, name):
        digits = open_images("digits" if name == "digits" else DATA / "mnist", split="train")
        order = np.random.default_rng(0).permutation(len(digits.images))
        aside = order[: min(10_000, len(order) // 6)]
        rest = order[len(aside) :]
        self.images, self.labels = digits.images[rest], digits.labels[rest]
        self.unseen, self.unseen_labels = digits.images[aside], digits.labels[aside]
        self.judge = Judge(self.images, self.unseen, n_bins=10, n_jobs=-1)

    def fit(self, dictionary=None):
        """Return the default generator, over this dictionary."""
        generator = SparseImageGenerator(dictionary, per_class=True, random_state=0, n_jobs=-1)
        return generator.fit(self.images, self.labels)

    def rows(self, generator, model, unseen=False):
        """Return the centred images of a class."""
        images, labels = (self.unseen, self.unseen_labels) if unseen else (self.images, self.labels)
        own = images[labels == generator.classes_[model]]
        return own.reshape(len(own), -1) - generator.means_[model]

    def show(self, name, generator, gains, errors):
        draws = generator.draw(len(self.unseen), 1, class_=np.sort(self.unseen_labels))
        row = self.judge.measure(draws.images).figures
        print(
            f"{name:44} error {np.mean(errors):6.3f}  gain {np.mean(gains):+.3f}  "
            f"Frechet {row['frechet']:6.3f}  coverage {row['coverage']:.3f}  copy P {row['copy']:.3f}",
            flush=True,
        )


def refitted(study, generator, code):
    """Return the generator with what is fitted to other codes, ``code(model, rows)``, and figures of them."""
    new, gains, errors = copy.copy(generator), [], []
    new.supports_, new.sketches_, contrasts, curves = [], [], [], []
    for model, (dictionary, old) in enumerate(zip(generator.dictionaries_, generator.supports_, strict=True)):
        rows, mean = study.rows(generator, model), generator.means_[model]
        codes = sparse.csr_array(code(model, rows)).astype(np.float64)
        held_out = sparse.csr_array(code(model, study.rows(generator, model, unseen=True)))
        errors.append(((codes @ dictionary.components_ - rows) ** 2).sum(axis=1).mean())
        gains.append(gain_of_pairs(codes, held_out))
        network = MarkovSupports(pair_exponent=0.4, n_groups=len(old.group_shares_))
        network.fit(codes, groups=old.groups_)
        sketches = SketchedCodes(n_jobs=-1).fit(codes, components=dictionary.components_, groups=old.groups_)
        tones = fit_tones("match", rows, codes, [dictionary, network, None, sketches], mean, 0)
        new.supports_.append(network)
        new.sketches_.append(sketches)
        contrasts.append(tones.draw_contrast)
        curves.append(tones.draw_curve)
    new.draw_contrasts_, new.draw_curves_ = np.array(contrasts), np.stack(curves)
    return new, gains, errors


def gain_of_pairs(codes, held_out):
    """Return what pairs add to log P(atom | rest) of held-out supports, in nats."""
    values = [
        MarkovSupports(pair_exponent=exponent).fit(codes).pseudo_log_likelihood(held_out)
        for exponent in (0.4, 0.0)
    ]
    known = np.isfinite(values).all(axis=0)  # a state may be new
    return float(np.mean(values[0][known] - values[1][known]))


def by_omp(generator):
    return lambda model, rows: generator.dictionaries_[model].transform(rows)


def by_prior(generator, noise_variance):
    """Return the pursuit with the priors of a generator's networks."""

    def code(model, rows):
        dictionary = generator.dictionaries_[model]
        components, size = dictionary.components_, dictionary.n_nonzero_coefs
        squares = generator.coefficients_[model].magnitudes_.power(2)
        uses = np.maximum(generator.coefficients_[model].magnitudes_.astype(bool).sum(axis=0), 1)
        variances = (np.asarray(squares.sum(axis=0)) / uses).reshape(2, -1).max(axis=0)
        prior = prior_factors(generator.supports_[model], len(components))
        return boltzmann_pursuit(
            rows, components, size, stop=False, variances=np.maximum(variances, 1e-3),
            noise_variance=noise_variance, n_jobs=-1, **prior,
        )  # fmt: skip

    return code


def by_posterior(study, generator, noise):
    """Return samples of the posterior of codes, given fine sketches of the images."""

    def code(model, rows):
        dictionary = generator.dictionaries_[model]
        codes = sparse.csr_array(dictionary.transform(study.rows(generator, model)))
        sketches = SketchedCodes(200, noise=noise, n_jobs=-1)
        groups = generator.supports_[model].groups_
        sketches.fit(codes, components=dictionary.components_, groups=groups)
        return sketches.sample_like(generator.supports_[model], dictionary.transform(rows), 0)

    return code


def with_new_atoms(study, generator, code):
    """Return the generator with the atoms that explain the codes best, by least squares."""
    new = copy.copy(generator)
    new.dictionaries_ = []
    for model, dictionary in enumerate(generator.dictionaries_):
        rows = study.rows(generator, model)
        codes = sparse.csr_array(code(model, rows))
        gram = (codes.T @ codes).toarray() + 1e-3 * np.eye(codes.shape[1])
        atoms = np.linalg.solve(gram, codes.T @ rows)
        lengths = np.linalg.norm(atoms, axis=1, keepdims=True)
        fresh = copy.copy(dictionary)
        used = lengths > 1e-9
        atoms = np.where(used, atoms / np.where(used, lengths, 1.0), dictionary.components_)
        fresh.components_ = atoms.astype(np.float32)
        new.dictionaries_.append(fresh)
    return new


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=("mnist", "digits"), default="mnist")
    parser.add_argument("--quick", action="store_true", help="OMP, the prior once, one dictionary")
    options = parser.parse_args()
    if options.data == "mnist" and not DATA.is_dir():
        print(f"no data sets at {DATA}: set SPARSEGEN_DATA, or use --data digits")
        return
    study = Study(options.data)
    plain = study.fit()
    base, *figures = refitted(study, plain, by_omp(plain))
    study.show("OMP", base, *figures)
    noise = np.mean(figures[1]) / study.images[0].size
    for factor in (1,) if options.quick else (1, 4):
        with_prior = base
        for turn in range(1 if options.quick else 2):
            with_prior, *figures = refitted(study, plain, by_prior(with_prior, factor * noise))
            study.show(f"pursuit with the prior, noise x{factor}, turn {turn + 1}", with_prior, *figures)
    alternated = base
    for turn in range(0 if options.quick else 3):
        code = by_prior(alternated, noise)
        alternated = with_new_atoms(study, alternated, code)
        alternated, *figures = refitted(study, alternated, by_prior(alternated, noise))
        study.show(f"atoms, codes and prior by turns, turn {turn + 1}", alternated, *figures)
    for noise in () if options.quick else (0.1, 0.2):
        study.show(
            f"posterior samples, noise {noise}", *refitted(study, plain, by_posterior(study, plain, noise))
        )
    for most in (0.8,) if options.quick else (0.8, 0.6, 0.5):
        other = study.fit(KSVD(coherence_threshold=most))
        study.show(f"OMP, coherence at most {most}", *refitted(study, other, by_omp(other)))


if __name__ == "__main__":
    main()
