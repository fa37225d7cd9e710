"""
Pursuits: who finds the right atoms
===================================

A sparse code is planted: ``k`` random atoms of 128, in 64 dimensions, with random coefficients. Which
pursuit finds the atoms again, and what happens if only some of the entries are observed?
"""

# %%
# Four pursuits, one interface: ``pursuit(X, components, n_nonzero_coefs) -> codes`` (CSR).
import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic.pursuit import (
    iterative_hard_thresholding,
    orthogonal_mp,
    subspace_pursuit,
    thresholding,
)

rng = np.random.default_rng(0)
atoms = rng.standard_normal((128, 64))
atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)


def planted(k, n_samples=500):
    codes = np.zeros((n_samples, 128))
    for code in codes:
        code[rng.choice(128, k, replace=False)] = rng.standard_normal(k)
    return codes, codes @ atoms


def found(codes, recovered):
    """Share of the planted atoms that were found."""
    return ((recovered.toarray() != 0) & (codes != 0)).sum() / (codes != 0).sum()


sizes = range(2, 25, 2)
problems = {k: planted(k) for k in sizes}
pursuits = {
    "orthogonal matching pursuit": orthogonal_mp,
    "subspace pursuit": subspace_pursuit,
    "iterative hard thresholding": iterative_hard_thresholding,
    "thresholding": thresholding,
}
shares = {
    name: [found(codes, pursuit(X, atoms, k)) for k, (codes, X) in problems.items()]
    for name, pursuit in pursuits.items()
}

# %%
# Missing entries: ``mask`` says which are observed. The codes still reconstruct the others.
observed = np.arange(0.2, 1.01, 0.1)
k = 4
codes, X = problems[k]
masked = [found(codes, orthogonal_mp(X, atoms, k, mask=rng.random(X.shape) < share)) for share in observed]

# %%
# Orthogonal matching pursuit and subspace pursuit find nearly all atoms of very sparse codes; thresholding
# misses some even then, since no atom knows of the others.
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True, layout="constrained")
for name, share in shares.items():
    left.plot(sizes, share, marker="o", markersize=3, label=name)
left.set(xlabel="atoms a signal, k", ylabel="planted atoms found", ylim=(0, 1.05))
left.legend(fontsize=8)
right.plot(observed, masked, marker="o", markersize=3)
right.set(xlabel="observed share of the entries", title=f"orthogonal matching pursuit, k = {k}")
plt.show()
