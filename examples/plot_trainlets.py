"""
Trainlets: large atoms that are sparse over wavelets
====================================================

K-SVD learns every pixel of an atom. For atoms as large as an image these are many numbers to learn from few
images. Trainlets (Sulam, Ophir, Zibulevsky and Elad, 2016) write each atom as a short sum of fixed wavelets.
The images here are the built-in 8x8 digits, enlarged to 32x32, with noise.
"""

# %%
# The base: cropped wavelets
# --------------------------
# A wavelet basis that is cut out of a longer signal has no wrap-around at the borders. In two dimensions
# every product of two such wavelets is an element: 56 x 56 of them for images of 32x32.
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import zoom

from sparsegen_classic import KSVD, image_grid, open_images, orthogonal_mp
from sparsegen_classic.dictionary import Trainlets, cropped_wavelets

phi = cropped_wavelets(32)
figure, axis = plt.subplots(figsize=(7, 2.5), layout="constrained")
axis.plot(phi[:, [0, 3, 7, 14, 26, 44]])
axis.set(title=f"Six of the {phi.shape[1]} wavelets", xlabel="pixel")

# %%
# Learn from noisy images
# -----------------------
# An image is coded by 6 of 100 atoms; a trainlet is described by 64 numbers, an atom of K-SVD by 1,024.
# The atoms are judged on clean images that they have not seen.
images = np.clip(zoom(open_images("digits").images, (1, 4, 4), order=3, mode="nearest"), 0, 1)
rows = images.reshape(len(images), -1)
mean = rows[:1400].mean(axis=0)
noise = 0.2 * np.random.default_rng(0).standard_normal((1400, 1024)).astype(np.float32)
noisy, held_out = rows[:1400] - mean + noise, rows[1400:] - mean

learners = {
    "trainlets": Trainlets(100, n_nonzero_coefs=6, atom_sparsity=64, image_shape=(32, 32), random_state=0),
    "K-SVD": KSVD(100, n_nonzero_coefs=6, random_state=0),
}


def rmse(components):
    codes = orthogonal_mp(held_out, components, 6)
    return np.sqrt(np.mean((held_out - codes @ components) ** 2))


for n in (1400, 300):
    for name, learner in learners.items():
        error = rmse(learner.fit(noisy[:n]).components_)
        print(f"learned from {n:4d} noisy images: {name:9s} held-out RMSE {error:.4f}")
wavelets = np.einsum("ya,xb->abyx", phi[:, :32], phi[:, :32]).reshape(-1, 1024)
print(f"the 1,024 coarser wavelets, as they are: held-out RMSE {rmse(wavelets):.4f}")

# %%
# Look
# ----
# What a few wavelets cannot say is not learned, and noise is such a thing.


def tiles(atoms):
    """Scale every atom to [0, 1] around grey."""
    return (0.5 + 0.5 * atoms / np.abs(atoms).max(axis=1, keepdims=True)).reshape(-1, 32, 32)


shown = {"noisy images": np.clip(noisy[:36] + mean, 0, 1).reshape(-1, 32, 32)}
shown |= {f"atoms of {name}": tiles(learner.components_[:36]) for name, learner in learners.items()}
figure, axes = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
for axis, (title, sheet) in zip(axes, shown.items(), strict=True):
    axis.imshow(image_grid(sheet, 6), cmap="gray")
    axis.set(title=title, xticks=[], yticks=[])
plt.show()
