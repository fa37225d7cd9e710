"""
Coding with a prior of supports
===============================

Greedy pursuits ask which atoms explain a signal. :func:`boltzmann_pursuit` also asks which atoms go together:
it takes the support that is most probable given signal and pairwise prior. In noise the prior finds atoms
that the signal alone does not show; the prior itself is learned from codes, by :func:`fit_boltzmann` or as
the network of a generator.
"""

import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic.pursuit import boltzmann_pursuit, fit_boltzmann, orthogonal_mp

# %%
# Signals of one to three families of atoms
# -----------------------------------------
# Sixty atoms in 32 dimensions; atoms of a family of four are used together, and more often than not.
rng = np.random.default_rng(0)
atoms = rng.normal(size=(60, 32))
atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)


def draw_codes(n):
    families = rng.random((n, 15)) < 0.1
    uses = np.repeat(families, 4, axis=1) & (rng.random((n, 60)) < 0.8)
    return np.where(uses, rng.normal(0, 1, (n, 60)), 0.0)


codes = draw_codes(4000)
training, unseen = codes[:3000], codes[3000:]
bias, coupling, _ = fit_boltzmann(training)
shares = (training != 0).mean(axis=0)
independent = np.log(shares / (1 - shares))
plt.figure(figsize=(4, 3.4), layout="constrained")
plt.imshow(coupling[:24, :24], cmap="coolwarm", vmin=-4, vmax=4)
plt.title("couplings of the first 24 atoms")
plt.colorbar()

# %%
# Error and atoms found, over the noise
# -------------------------------------
# Each pursuit may take 12 atoms. OMP stops where the residual is that of the noise; the other two stop where
# no atom makes the support more probable, without and with couplings.
levels = [0.05, 0.1, 0.2, 0.3, 0.4]
errors = {"OMP, to the noise": [], "prior of single atoms": [], "prior of pairs": []}
for level in levels:
    X = unseen @ atoms + level * rng.normal(size=(len(unseen), 32))
    prior = {"variances": 1.0, "noise_variance": level**2, "n_nonzero_coefs": 12}
    found = (
        orthogonal_mp(X, atoms, 12, tol=32 * level**2),
        boltzmann_pursuit(X, atoms, log_factors=independent, log_pair_factors=0 * coupling, **prior),
        boltzmann_pursuit(X, atoms, log_factors=bias, log_pair_factors=coupling, **prior),
    )
    for name, part in zip(errors, found, strict=True):
        errors[name].append(np.mean(np.sum((part.toarray() - unseen) ** 2, axis=1)))
fig, ax = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
for name, values in errors.items():
    ax.plot(levels, values, marker="o", label=name)
    print(f"{name:24}" + "".join(f"{value:8.3f}" for value in values))
ax.set(xlabel="standard deviation of the noise", ylabel="squared error of the codes")
ax.legend()
plt.show()
