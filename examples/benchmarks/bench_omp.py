"""Orthogonal matching pursuit: us a signal on two threads, against SPAMS, dictlearn and scikit-learn.

Gaussian signals and atoms. SPAMS picks by another rule, so supports are compared with scikit-learn's
``orthogonal_mp_gram``; times are those of whole calls that return sparse codes, best of several. The peers
run in an environment of their own (``.venv/sparse_coding`` beside this file, made at the first run;
``SPARSEGEN_PEERS`` names another Python that has them).
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from surroundings import python_with

CASES = ((64, 256, 100_000, 5), (64, 256, 100_000, 10), (784, 1024, 10_000, 20))
FEW = 1000  # signals for scikit-learn


def problem(n_features, n_components, n_samples, dtype):
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((n_components, n_features))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return rng.standard_normal((n_samples, n_features)).astype(dtype), atoms.astype(dtype)


def best(function, n_runs):
    """Return the least seconds of ``n_runs`` calls after one to warm up."""
    seconds = []
    for _ in range(n_runs + 1):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def peers(n_features, n_components, n_samples, k, dtype):
    """Called in the peers' environment; microseconds a signal."""
    import spams
    from dictlearn import sparse_encode
    from sklearn.linear_model import orthogonal_mp_gram

    X, atoms = problem(n_features, n_components, n_samples, dtype)
    columns, dictionary = np.asfortranarray(X.T), np.asfortranarray(atoms.T)
    few, few_atoms = X[:FEW].astype(float), atoms.astype(float)
    gram, cross = few_atoms @ few_atoms.T, few_atoms @ few.T

    some = X[: n_samples // 10].astype(float)

    def with_spams():  # without eps, spams-bin 2.6.14 at times codes nothing in float32
        codes = spams.omp(columns, D=dictionary, L=k, eps=0.0, numThreads=2)
        if codes.nnz < 0.99 * k * n_samples:
            raise RuntimeError(f"SPAMS found {codes.nnz} of {k * n_samples} coefficients")

    def dictlearn():
        sparse_encode(some, few_atoms, algorithm="omp", n_nonzero_coefs=k)

    times = {
        "SPAMS": best(with_spams, 5) / n_samples,
        "dictlearn": best(dictlearn, 3) / len(some),
        "scikit-learn": best(lambda: orthogonal_mp_gram(gram, cross, n_nonzero_coefs=k), 1) / FEW,
    }
    return {name: 1e6 * seconds for name, seconds in times.items()}


def main():
    from sklearn.linear_model import orthogonal_mp_gram

    from sparsegen_classic import orthogonal_mp

    python = python_with("sparse_coding")
    for n_features, n_components, n_samples, k in CASES:
        for dtype in ("float32", "float64"):
            case = (n_features, n_components, n_samples, k, dtype)
            X, atoms = problem(n_features, n_components, n_samples, dtype)
            mine = best(lambda X=X, atoms=atoms, k=k: orthogonal_mp(X, atoms, k, n_jobs=2), 5)
            mine *= 1e6 / n_samples
            with tempfile.TemporaryDirectory() as folder:
                answer = Path(folder) / "times.json"
                subprocess.run([python, __file__, answer, json.dumps(case)], check=True)
                theirs = json.loads(answer.read_text())
            again = best(lambda X=X, atoms=atoms, k=k: orthogonal_mp(X, atoms, k, n_jobs=2), 5)
            mine = min(mine, again * 1e6 / n_samples)
            few, few_atoms = X[:FEW].astype(float), atoms.astype(float)
            codes = orthogonal_mp(X[:FEW], atoms, k).toarray() != 0
            oracle = orthogonal_mp_gram(few_atoms @ few_atoms.T, few_atoms @ few.T, n_nonzero_coefs=k).T != 0
            same = (codes == oracle).all(axis=1).mean()
            print(f"\n{n_features}x{n_components}, {n_samples:,} signals, k = {k}, {dtype}", flush=True)
            print(f"{'sparsegen_classic':20}{mine:9.2f} us   supports as scikit-learn's: {same:.1%}")
            for name, time_each in theirs.items():
                print(f"{name:20}{time_each:9.2f} us {time_each / mine:9.1f} times", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        Path(sys.argv[1]).write_text(json.dumps(peers(*json.loads(sys.argv[2]))))
    else:
        main()
