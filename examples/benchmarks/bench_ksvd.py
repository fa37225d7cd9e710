"""Dictionary learning: seconds and held-out error, against SPAMS, dictlearn and scikit-learn.

50,000 8x8 patches of ``natural/train400_100`` (``SPARSEGEN_DATA``, else ``../shared/data``), each less its
mean, 256 atoms, k = 5, two threads. Quality is the root mean squared error of 20,000 other patches, coded by
our OMP over each dictionary. The peers run in an environment of their own (``.venv/sparse_coding`` beside
this file, made at the first run; ``SPARSEGEN_PEERS`` names another Python that has them).
"""

import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from surroundings import DATA, python_with

N_ATOMS, K, N_RUNS = 256, 5, 3


def patches(n_samples, seed):
    from PIL import Image

    rng = np.random.default_rng(seed)
    images = [
        np.asarray(Image.open(path), float) / 255 for path in sorted(DATA.glob("natural/train400_100/*"))
    ]
    out = np.empty((n_samples, 8, 8))
    for patch in out:
        image = images[rng.integers(len(images))]
        y, x = rng.integers(np.array(image.shape) - 7)
        patch[:] = image[y : y + 8, x : x + 8]
    out = out.reshape(n_samples, 64)
    return out - out.mean(axis=1, keepdims=True)


def timed(function, n_runs):
    """Return the least seconds of some calls and what the last one returned."""
    seconds = []
    for _ in range(n_runs):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def peers(X, init):
    """Called in the peers' environment: yield name, seconds, atoms."""
    import spams
    from dictlearn import DictionaryLearning
    from sklearn.decomposition import MiniBatchDictionaryLearning
    from sklearn.exceptions import ConvergenceWarning

    warnings.simplefilter("ignore", ConvergenceWarning)  # its lasso says so for many batches

    columns, start = np.asfortranarray(X.T), np.asfortranarray(init.T)
    options = {"K": N_ATOMS, "mode": 3, "lambda1": K, "batchsize": 512, "numThreads": 2, "verbose": False}
    for n_epochs in (1, 10):
        n_batches = n_epochs * len(X) // 512
        seconds, atoms = timed(lambda n=n_batches: spams.trainDL(columns, D=start, iter=n, **options), N_RUNS)
        yield f"SPAMS trainDL, {n_epochs} epochs", seconds, atoms.T
    for name in ("aksvd", "ksvd"):
        model = DictionaryLearning(
            N_ATOMS, fit_algorithm=name, n_nonzero_coefs=K, max_iter=10, dict_init=init, random_state=0
        )
        timed(lambda model=model: model.fit(X[:1000]), 1)  # compile
        seconds, model = timed(lambda model=model: model.fit(X), 1)
        yield f"dictlearn {name}, 10 iterations", seconds, model.components_
    model = MiniBatchDictionaryLearning(
        N_ATOMS,
        batch_size=512,
        max_iter=1,
        transform_n_nonzero_coefs=K,
        fit_algorithm="cd",
        dict_init=init,
        random_state=0,
    )
    seconds, model = timed(lambda: model.fit(X), 1)
    yield "scikit-learn MiniBatch (lasso), 1 epoch", seconds, model.components_


def ours(X, init, dtype):
    """Yield name, seconds, atoms."""
    from sparsegen_classic import KSVD

    X = X.astype(dtype)

    def make(**options):
        return KSVD(N_ATOMS, n_nonzero_coefs=K, init=init, random_state=0, n_jobs=2, **options)

    def stream(n_epochs):
        model = make()
        for _ in range(n_epochs):
            model.partial_fit(X)
        return model

    stream(1)
    for n_epochs in (1, 2, 10):
        seconds, model = timed(lambda n=n_epochs: stream(n), N_RUNS)
        yield f"KSVD.partial_fit, {n_epochs} epochs, {dtype}", seconds, model.components_
    for n_passes in (1, 3, 10):
        seconds, model = timed(lambda n=n_passes: make(online=True, max_iter=n).fit(X), N_RUNS)
        yield f"KSVD online, {n_passes} passes, {dtype}", seconds, model.components_
    for update in ("approximate", "exact"):
        seconds, model = timed(lambda update=update: make(update=update).fit(X), N_RUNS)
        yield f"KSVD {update}, 10 iterations, {dtype}", seconds, model.components_


def main():
    from sparsegen_classic import orthogonal_mp

    if not (DATA / "natural").is_dir():
        print(f"skipped: no image data in {DATA} (set SPARSEGEN_DATA)")
        return
    X, held_out = patches(50_000, 0), patches(20_000, 1)
    norms = np.linalg.norm(X, axis=1)
    chosen = np.random.default_rng(0).choice(np.flatnonzero(norms > 1e-3), N_ATOMS, replace=False)
    init = X[chosen] / norms[chosen, None]

    def report(name, seconds, atoms):
        atoms = np.asarray(atoms, float)
        atoms = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
        error = held_out - orthogonal_mp(held_out, atoms, K, n_jobs=2) @ atoms
        print(f"{name:45}{seconds:8.2f} s   {np.sqrt((error**2).mean()):.5f}", flush=True)

    print(f"{'':45}{'seconds':>10}   held-out RMSE")
    report("starting atoms", 0, init)
    for dtype in ("float32", "float64"):
        for row in ours(X, init, dtype):
            report(*row)
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "given.npz", Path(folder) / "answer.npz"
        np.savez(given, X=X, init=init)
        subprocess.run([python_with("sparse_coding"), __file__, given, answer], check=True)
        with np.load(answer) as taken:
            for name in taken.files:
                report(name, taken[name][-1, 0], taken[name][:-1])


if __name__ == "__main__":
    if len(sys.argv) > 2:
        with np.load(sys.argv[1]) as given:
            rows = peers(given["X"], given["init"])
            # the seconds travel below the atoms
            np.savez(sys.argv[2], **{name: np.vstack([atoms, np.full(64, s)]) for name, s, atoms in rows})
    else:
        main()
