"""Needle top-k: milliseconds for activations 1x128x64x64, float32, k = 8, against numpy and torch.

The best of 100 calls each. torch runs on two threads in an environment of its own (``.venv/torch`` beside
this file, made at the first run); where that cannot be made, its rows are left out.
"""

import subprocess
import sys
import time

import numpy as np
from surroundings import PEERS, python_with

SHAPE, K = (1, 128, 64, 64), 8


def best_of(function, n=100):
    function()
    seconds = []
    for _ in range(n):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds)


def argpartition(x, axis):
    """The needle projection as numpy users write it (ties aside)."""
    smaller = np.argpartition(np.abs(x), x.shape[axis] - K, axis)
    smaller = np.take(smaller, range(x.shape[axis] - K), axis)
    out = x.copy()
    np.put_along_axis(out, smaller, 0, axis)
    return out


def peer():
    """Print torch's times; called in its environment."""
    import torch

    torch.set_num_threads(2)
    x = torch.from_numpy(activations())

    def scatter(x, axis):
        kept = x.abs().topk(K, axis).indices
        return torch.zeros_like(x).scatter_(axis, kept, x.gather(axis, kept))

    def mask(x):
        return x * (x.abs() >= x.abs().kthvalue(SHAPE[1] - K + 1, 1, keepdim=True).values)

    last = x.permute(0, 2, 3, 1).contiguous()
    show(f"torch {torch.__version__} topk + scatter", best_of(lambda: scatter(x, 1)))
    show("  the same, channels last", best_of(lambda: scatter(last, 3)))
    show("  kthvalue mask", best_of(lambda: mask(x)))


def activations():
    return np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def show(name, milliseconds):
    print(f"{name:40}{milliseconds:8.2f} ms", flush=True)


def main():
    from sparsegen_classic.convolutional import project_needle

    x = activations()
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    assert np.array_equal(project_needle(x, K), argpartition(x, 1))
    show("project_needle, 2 threads", best_of(lambda: project_needle(x, K, n_jobs=2)))
    show("  channels last, 2 threads", best_of(lambda: project_needle(last, K, "NHWC", n_jobs=2)))
    show("  1 thread", best_of(lambda: project_needle(x, K)))
    show("  1 thread, k = 64", best_of(lambda: project_needle(x, 64)))
    show("numpy argpartition", best_of(lambda: argpartition(x, 1), 20))
    show("  channels last", best_of(lambda: argpartition(last, 3), 20))
    try:
        python = python_with("torch")
    except subprocess.CalledProcessError:
        print(f"torch: could not be installed (pip install {' '.join(PEERS['torch'])})")
    else:
        subprocess.run([python, __file__, "--peer"], check=True)


if __name__ == "__main__":
    peer() if sys.argv[1:] == ["--peer"] else main()
