"""Gibbs sampling of supports: seconds for 10,000 chains, the memory's own speed, and pgmpy's sampler.

First the size of one MNIST class: 800 states, 8 atoms, 50 sweeps. A flip must fetch one row of the table of
pair factors; how fast random rows of it can be summed at all is measured beside the kernel's update of its
products (one row in, none divided out, the sum for the next draw taken) and beside whole flips. Then pgmpy
where it can run: 4 variables of 20 states, through ``to_pgmpy``, in alternation with ours; the ratio is
given with its spread, and both are held against the exact law, beside as many exact draws from it.
"""

import os
import time
import warnings

os.environ["TQDM_DISABLE"] = "1"  # pgmpy's progress bars; read when tqdm is imported

import numpy as np
from numba import njit

from sparsegen_classic._kernels.gibbs import _multiply_and_dot
from sparsegen_classic.support import GibbsSampler, PairwiseSupports, enumerate_supports, to_pgmpy
from sparsegen_classic.support._pairwise import factors

N_STATES, SIZE, N_CHAINS, SWEEPS = 800, 8, 10_000, 50


def model_of(n_states, size, seed=0):
    """A random model with popular and rare states and one training support to start from."""
    rng = np.random.default_rng(seed)
    table = 0.5 * rng.normal(size=(n_states, n_states))
    theta = rng.normal(size=n_states) - np.log1p(np.arange(n_states) / 50)
    return PairwiseSupports(theta, (table + table.T) / 2, supports=[range(size)])


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def best(function, n_runs=5):
    function()
    return min(seconds(function) for _ in range(n_runs))


@njit(fastmath={"reassoc", "contract", "nsz"})
def sum_rows(table, states, out):
    for state in states:
        row = table[state]
        for m in range(len(out)):
            out[m] += row[m]


@njit
def update_products(table, states, earlier, later):
    """What the kernel does with the row of a drawn state."""
    total = 0.0
    for state in states:
        total += _multiply_and_dot(earlier, table[state], later)
    return total


def chains():
    model = model_of(N_STATES, SIZE)
    flips = N_CHAINS * SWEEPS * SIZE
    print(f"{N_CHAINS:,} chains, {N_STATES} states, {SIZE} atoms, {SWEEPS} sweeps: {flips / 1e6:.0f}M flips")
    for scan in ("random", "systematic"):
        sampler = GibbsSampler(scan=scan, burn_in=SWEEPS, n_jobs=2)
        took = best(lambda sampler=sampler: sampler.sample(model, N_CHAINS, 0), 3)
        print(f"  {scan:10} scan, 2 threads {took:8.2f} s {1e9 * took / flips:8.0f} ns a flip")
    _, table = factors(model.log_factors_, model.log_pair_factors_)
    states = np.random.default_rng(1).integers(N_STATES, size=100_000)
    later, earlier = np.ones(N_STATES), np.ones(N_STATES)
    unit = np.ones_like(table)  # factors of 1: the same work, and no underflow in a loop without draws
    read, updated = (
        1e9 * best(call, 9) / len(states)
        for call in (
            lambda: sum_rows(unit, states, np.zeros(N_STATES)),
            lambda: update_products(unit, states, earlier, later),
        )
    )
    size = table[0].nbytes
    print(f"  one row read at random {read:6.0f} ns ({size / read:.1f} GB/s)")
    print(f"  field update, one row in {updated:6.0f} ns: {read / updated:.0%} of that speed")
    for scan in ("random", "systematic"):
        one = GibbsSampler(scan=scan, burn_in=SWEEPS)
        took = 1e9 * best(lambda one=one: one.sample(model, 1000, 0), 3) / (1000 * SWEEPS * SIZE)
        print(f"  a whole flip, draw included, {scan} scan, 1 thread {took:6.0f} ns")
    print()


def against_pgmpy(n_states=20, size=4, n_draws=4_000, n_rounds=5):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pgmpy.sampling import GibbsSampling

        model = model_of(n_states, size)
        sampler = GibbsSampler(burn_in=0, scan="systematic")
        sampler.trace(model, 1, 10, 0)
        start = time.perf_counter()
        network = to_pgmpy(model, size)
        peer = GibbsSampling(network)
        set_up = time.perf_counter() - start
        state = [(f"a{j + 1}", j) for j in range(size)]
        many = GibbsSampler(burn_in=n_draws // 10, scan="systematic")
        ours, batch, theirs = [], [], []
        for seed in range(n_rounds):
            ours.append(seconds(lambda seed=seed: sampler.trace(model, 1, n_draws, seed)) / n_draws)
            begin = time.perf_counter()
            drawn = peer.sample(start_state=state, size=n_draws, seed=seed)
            theirs.append((time.perf_counter() - begin) / n_draws)
            batch.append(seconds(lambda seed=seed: many.sample(model, 100, seed)) / (100 * many.burn_in))
    supports, law = enumerate_supports(model, size)
    print(f"{size} variables of {n_states} states, {n_draws:,} sweeps, {n_rounds} rounds, one thread")
    print(f"  pgmpy set-up {set_up:.1f} s; a sweep {1e6 * np.median(theirs):.0f} us")
    for name, times in (("one chain, every sweep kept", ours), ("100 chains", batch)):
        ratio = np.array(theirs) / times
        print(
            f"  ours, {name}: {1e6 * np.median(times):.2f} us a sweep;"
            f" {np.median(ratio):,.0f} times ({ratio.min():,.0f} to {ratio.max():,.0f})"
        )
    rows = np.sort(drawn[[f"a{j + 1}" for j in range(size)]].to_numpy(), axis=1)
    mine = sampler.trace(model, 1, n_draws, 0)[0]
    fresh = GibbsSampler(burn_in=50).sample(model, n_draws, 0)
    exact = supports[np.random.default_rng(0).choice(len(law), n_draws, p=law)]
    for name, sample in (
        ("pgmpy", rows),
        ("ours", mine),
        ("ours, fresh chains", fresh),
        ("exact draws", exact),
    ):
        print(f"  total variation to the exact law, {name}: {distance(sample, supports, law):.3f}")


def distance(sample, supports, law):
    index = {tuple(support): i for i, support in enumerate(supports.tolist())}
    counts = np.bincount([index[tuple(row)] for row in sample.tolist()], minlength=len(law))
    return np.abs(counts / len(sample) - law).sum() / 2


if __name__ == "__main__":
    chains()
    against_pgmpy()
