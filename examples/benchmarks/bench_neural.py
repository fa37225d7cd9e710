"""Sparsity layers in torch: ours against plain topk + scatter, forward and backward, float32, on the CPU.

``topk + scatter`` is what users write; which of several equal entries it keeps is not defined. Ours keeps
exactly k, the first of equals, on every device. Milliseconds, the best of 20 calls each, in turn, on two
threads. Activations are Gaussian (no ties) or after a ReLU (half of them tie at 0).
"""

import time

import numpy as np

SHAPE = (8, 128, 32, 32)


def best_of_two(one, other, n=20):
    """Return the best milliseconds of both, called in turn so that a busy machine hits both."""
    seconds = [[], []]
    for i in range(n + 1):
        for function, found in zip((one, other), seconds, strict=True):
            start = time.perf_counter()
            function()
            if i:
                found.append(time.perf_counter() - start)
    return [1000 * min(found) for found in seconds]


def main():
    try:
        import torch
    except ImportError:
        print('torch: not installed (pip install "sparsegen-classic[torch]")')
        return
    from sparsegen_classic.neural import L0Projection, NeedleProjection, TopK

    torch.set_num_threads(2)

    def scatter(k, needle=False, by_value=False):
        def layer(x):
            rows = x if needle else x.flatten(1)
            kept = (rows if by_value else rows.abs()).topk(k, 1).indices
            return torch.zeros_like(rows).scatter(1, kept, rows.gather(1, kept)).view_as(x)

        return layer

    def run(layer, x, backward):
        if not backward:
            with torch.no_grad():
                return layer(x)
        x = x.detach().requires_grad_()
        layer(x).sum().backward()
        return x.grad

    entries = int(np.prod(SHAPE[1:]))
    cases = {
        "NeedleProjection(8)": (NeedleProjection(8), scatter(8, needle=True)),
        "NeedleProjection(64)": (NeedleProjection(64), scatter(64, needle=True)),
        "L0Projection(1%)": (L0Projection(0.01), scatter(round(0.01 * entries))),
        "L0Projection(50%)": (L0Projection(0.5), scatter(entries // 2)),
        "TopK(10%)": (TopK(0.1), scatter(round(0.1 * entries), by_value=True)),
    }
    print(f"torch {torch.__version__}, activations {SHAPE}")
    print(f"{'':22}{'':12}{'forward':>26}{'forward + backward':>28}")
    for kind in ("Gaussian", "after ReLU"):
        x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
        x = x.relu() if kind == "after ReLU" else x
        for name, (ours, plain) in cases.items():
            if kind == "Gaussian":
                assert torch.equal(ours(x), plain(x))
            cells = ""
            for backward in (False, True):
                mine, theirs = best_of_two(
                    lambda: run(ours, x, backward),  # noqa: B023
                    lambda: run(plain, x, backward),  # noqa: B023
                )
                cells += f"{mine:8.1f} / {theirs:5.1f} ms ={theirs / mine:5.2f}x"
            print(f"{name:22}{kind:12}{cells}", flush=True)


if __name__ == "__main__":
    main()
