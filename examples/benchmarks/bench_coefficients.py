"""Coefficients and baselines on MNIST: seconds, and how well each law describes held-out codes.

10,000 draws for one class (400 atoms), on the supports of its own codes, with every way to fit the law; the
mean log-density of held-out coefficients stands beside the times. No peer fits one Gaussian per support, so
the E step written row by row in numpy (what a user would write) is the other side. Then the baselines, one
model a class, fitted on all 60,000 images. First, up to 200,000 codes of 40 of 1,000 atoms on disk, for
which no images are needed.
"""

import resource
import time
from tempfile import TemporaryDirectory

import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.neighbors import KernelDensity
from surroundings import DATA

from sparsegen_classic import (
    KSVD,
    PPCA,
    GaussianCoefficients,
    GroupedGaussians,
    MixtureOfFactorAnalysers,
    ProjectedDensity,
    open_images,
)

N_DRAWS = 10_000
LAWS = {
    "EM": {},
    "EM, overlap_power=2": {"overlap_power": 2},
    "EM, cube roots": {"scale": "cbrt"},
    "EM, log-normal": {"scale": "log"},
    "pooled": {"method": "pooled"},
}


def coefficients(train, test, n_nonzero_coefs):
    dictionary = KSVD(400, n_nonzero_coefs=n_nonzero_coefs, random_state=0, n_jobs=-1).fit(train)
    codes, held_out = dictionary.transform(train), dictionary.transform(test)
    kmeans = KMeans(100, random_state=0).fit(train)
    again = np.resize(np.arange(len(train)), N_DRAWS)
    print(f"\n{len(train)} codes of {n_nonzero_coefs} of 400 atoms, {N_DRAWS} draws")
    print(f"{'':22s}{'all codes alike':>28s}{'100 groups':>28s}")
    for name, options in LAWS.items():
        model = GaussianCoefficients(**options, n_jobs=-1).fit(codes, groups=kmeans.labels_)
        print(f"{name:22s}", end="")
        for groups, of_test in ((None, None), (kmeans.labels_[again], kmeans.predict(test))):
            model.sample(codes[:16], random_state=0, groups=None if groups is None else groups[:16])
            start = time.perf_counter()
            model.sample(codes[again], random_state=0, groups=groups)
            seconds = time.perf_counter() - start
            density = model.score_samples(held_out, groups=of_test)
            print(f"{seconds:10.1f} s {np.median(density):9.2f} nats", end="", flush=True)
        print()
    print(f"{'row by row in numpy':22s}{row_by_row(codes) * N_DRAWS:10.0f} s (from 3 supports)")


def row_by_row(codes, n_supports=3, n_steps=50):
    """Return seconds a support of plain EM in numpy, 50 steps, row by row."""
    dense = codes.toarray()
    start = time.perf_counter()
    for support in dense[:n_supports]:
        atoms = np.flatnonzero(support)
        values = dense[:, atoms] * np.sign(support[atoms])
        rows = values[(values > 0).any(axis=1)]
        mean = np.array([column[column > 0].mean() for column in rows.T])
        prior = np.diag([column[column > 0].var() for column in rows.T])
        covariance = prior
        for _ in range(n_steps):
            sums, products = np.zeros_like(mean), np.zeros_like(covariance)
            for row in rows:
                seen = row > 0
                gain = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[seen]).T
                completed = mean + gain @ (row[seen] - mean[seen])
                sums += completed
                products += np.outer(completed, completed) + covariance - gain @ covariance[seen]
            mean = sums / len(rows)
            scatter = products - len(rows) * np.outer(mean, mean)
            covariance = (scatter + 3 * prior) / (len(rows) + 3)
    return (time.perf_counter() - start) / n_supports


def baselines(images, labels):
    print(f"\nbaselines, one model a class, {len(images)} images")
    for baseline in (
        PPCA(),
        GroupedGaussians(),
        ProjectedDensity(KernelDensity(bandwidth=0.5)),
        ProjectedDensity(),
        MixtureOfFactorAnalysers(),
    ):
        baseline.set_params(per_class=True, random_state=0)
        start = time.perf_counter()
        baseline.fit(images, labels)
        fitted = time.perf_counter()
        baseline.sample(N_DRAWS, random_state=0)
        drawn = time.perf_counter()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        name = type(getattr(baseline, "density", None) or baseline).__name__
        print(
            f"{name:26s} fit {fitted - start:6.1f} s, {N_DRAWS} draws {drawn - fitted:5.1f} s, "
            f"peak memory so far {memory:.2f} GiB",
            flush=True,
        )


def many_codes(n, n_draws=50, k=40, n_components=1000, seed=0):
    """Fit to ``n`` codes on disk and draw on supports that mix two of them."""
    rng = np.random.default_rng(seed)
    popular = 0.4 * rng.standard_normal(n_components)  # atoms are not used alike
    columns = np.empty((n, k), np.int32)
    for row in columns:
        row[:] = np.sort(np.argpartition(-popular - rng.gumbel(size=n_components), k)[:k])
    common = rng.standard_normal((n, 1)).astype(np.float32)  # contrast, which coefficients share
    sizes = np.exp(0.5 * common + 0.5 * rng.standard_normal((n, k), np.float32))
    arrays = {
        "data": (sizes * rng.choice(np.float32([-1, 1]), (n, k))).ravel(),
        "indices": columns.ravel(),
        "indptr": np.arange(0, n * k + 1, k, dtype=np.int32),
    }
    with TemporaryDirectory() as folder:
        for name, array in arrays.items():
            np.save(f"{folder}/{name}.npy", array)
        mapped = tuple(np.load(f"{folder}/{name}.npy", mmap_mode="r") for name in arrays)
        codes = sparse.csr_array(mapped, shape=(n, n_components))
        del arrays, columns, common, sizes
        start = time.perf_counter()
        model = GaussianCoefficients(prior_strength=1.0, draw="clip", n_jobs=-1).fit(codes)
        fitted = time.perf_counter() - start
        half, other = (codes[rng.integers(n, size=n_draws)].toarray() for _ in range(2))
    supports = np.where(rng.random(half.shape) < 0.5, half, 0)
    supports = np.where(supports == 0, np.where(rng.random(half.shape) < 0.5, other, 0), supports)
    model.sample(supports[:2], random_state=0)
    start, cpu = time.perf_counter(), time.process_time()
    model.sample(supports, random_state=0)
    seconds, cpu = (now() - then for now, then in ((time.perf_counter, start), (time.process_time, cpu)))
    print(
        f"{n:7d} codes: fit {fitted:5.2f} s, a draw {1000 * seconds / n_draws:6.1f} ms "
        f"({1000 * cpu / n_draws:6.1f} ms of processor)",
        flush=True,
    )


if __name__ == "__main__":
    print("codes of 40 of 1,000 atoms on disk")
    for n in (25_000, 50_000, 100_000, 200_000):
        many_codes(n)
    if not DATA.is_dir():
        print(f"no data sets at {DATA}: set SPARSEGEN_DATA")
    else:
        train, test = (open_images(DATA / "mnist", split=split) for split in ("train", "test"))
        threes = [part.images[part.labels == 3].reshape(-1, 784) for part in (train, test)]
        for k in (8, 16):
            coefficients(*threes, k)
        baselines(train.images, train.labels)
