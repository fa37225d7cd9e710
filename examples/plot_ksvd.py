"""
K-SVD: a dictionary for the patches of a photograph
===================================================

Patches of a photograph are sparse over atoms learned from it: a few of 128 atoms describe each. The atoms
are learned from all patches at once, in mini-batches, from a stream, and from patches half of whose pixels
are missing.
"""

# %%
# Patches of 8x8 pixels of a photograph that comes with scikit-learn, less their means.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from sparsegen_classic import KSVD, orthogonal_mp
from sparsegen_classic.dictionary import dct_atoms

rng = np.random.default_rng(0)
image = load_sample_image("china.jpg").mean(axis=2) / 255
patches = np.lib.stride_tricks.sliding_window_view(image, (8, 8)).reshape(-1, 64)
patches = patches[rng.choice(len(patches), 12000, replace=False)]
patches -= patches.mean(axis=1, keepdims=True)
train, test = patches[:10000], patches[10000:]

# %%
# Four ways to learn. With ``online`` every pass refits the atoms after each mini-batch, which needs fewer
# passes. ``partial_fit`` takes a stream in any pieces and gives the same atoms for all.
settings = {"n_components": 128, "n_nonzero_coefs": 4, "random_state": 0}
whole = KSVD(**settings, max_iter=15).fit(train)
online = KSVD(**settings, online=True, max_iter=5).fit(train)
stream = KSVD(**settings)
for piece in np.array_split(np.tile(train, (3, 1)), 100):
    stream.partial_fit(piece)
mask = rng.random(train.shape) < 0.5
masked = KSVD(**settings, max_iter=15).fit(train, mask=mask)

# %%
# The error of patches that were not trained on, each coded with 4 atoms:
dictionaries = {
    "cosines": dct_atoms((8, 8), 128),
    "half the pixels": masked.components_,
    "K-SVD": whole.components_,
    "online": online.components_,
    "stream": stream.components_,
}
errors = {
    name: np.sqrt(((test - orthogonal_mp(test, atoms, 4) @ atoms) ** 2).mean())
    for name, atoms in dictionaries.items()
}
for name, error in errors.items():
    print(f"{name:16} {error:.4f}")

# %%
# Learning can be stopped after any step and go on elsewhere, with the same bits: ``learn_steps`` yields a
# state of arrays and numbers each time, to be saved at once.
steps = KSVD(**settings, max_iter=15).learn_steps(train)
for _ in range(5):
    state = next(steps)
resumed = KSVD(**settings, max_iter=15)
for _ in resumed.learn_steps(train, state):
    pass
print("resumed after 5 of 15 iterations: same atoms", np.array_equal(resumed.components_, whole.components_))

# %%
# The learned atoms are edges and textures, the most used first.
uses = np.diff(whole.transform(train).tocsc().indptr)
figure, (left, middle, right) = plt.subplots(
    1, 3, figsize=(10, 3.6), width_ratios=(1.5, 1, 1), layout="constrained"
)
atoms = whole.components_[np.argsort(-uses)].reshape(8, 16, 8, 8)
atoms = np.pad(atoms / np.abs(atoms).max(axis=(2, 3), keepdims=True), ((0, 0), (0, 0), (0, 1), (0, 1)))
left.imshow(atoms.transpose(0, 2, 1, 3).reshape(8 * 9, 16 * 9), cmap="gray", vmin=-1, vmax=1)
left.set_axis_off()
left.set_title("atoms of K-SVD")
middle.plot(np.arange(1, 16), whole.errors_, marker="o", markersize=3)
middle.set(xlabel="iteration", ylabel="root mean squared error", title="training")
right.barh(list(errors), list(errors.values()))
right.invert_yaxis()
right.set(xlabel="root mean squared error", title="held-out patches")
plt.show()
