"""
Learning convolutional filters
==============================

In a convolutional model an image is a sum of few small filters, each at a few places:
:math:`x = \\sum_k d_k * z_k`. Here the filters are learned from whole photographs, without cutting patches.
"""

# %%
# Parts of two photographs, without what is smooth
# ------------------------------------------------
# Filters of 8x8 pixels cannot say cheaply what is smooth over more than that: they would all become blobs.
# So the smooth part is taken off first; ``ConvDictionaryLearning(lowpass=10)`` would do the same by itself.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images

from sparsegen_classic.convolutional import ConvDictionaryLearning, sparsity_counts, split_lowpass
from sparsegen_classic.plots_convolutional import plot_filters, plot_needle_density

photographs = [photo.mean(axis=2) / 255 for photo in load_sample_images().images]
corners = [(150, 200), (150, 300), (250, 200), (250, 300), (250, 400)]
tiles = np.stack([photo[y : y + 100, x : x + 100] for photo in photographs for y, x in corners])
images, smooth = split_lowpass(tiles, 10.0)
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, (title, shown) in zip(
    axes, {"image": tiles[0], "smooth part": smooth[0], "the rest": images[0]}.items(), strict=True
):
    axis.imshow(shown, cmap="gray")
    axis.set(title=title, xticks=[], yticks=[])

# %%
# Learn
# -----
# Every mini-batch of images is coded; correlations of the codes with each other and with the images are all
# that the filter step needs. The objective is that of each batch before it was learned from.
model = ConvDictionaryLearning(36, 8, lam=0.1, max_iter=8, random_state=0, n_jobs=-1)
model.fit(images[1:])
print("objective of an image, pass by pass:", model.objectives_.round(2))
plot_filters(model.filters_)

# %%
# Code an image that was not seen
# -------------------------------
# The code comes with a certificate: no code is better by more than the duality gap.
code = model.encode(images[:1])
reconstruction = model.reconstruct(images[:1])[0]
error = np.sqrt(np.mean((reconstruction - images[0]) ** 2))
print(f"{code.maps.nnz} non-zeros for {images[0].size} pixels, RMSE {error:.4f}")
print(f"objective {code.objective[0]:.4f}, at most {code.duality_gap[0]:.1e} above the best")
print(sparsity_counts(code.maps, (8, 8)))
plot_needle_density(code.maps.to_dense()[0])

# %%
# Learn from half of the pixels
# -----------------------------
# A mask says which pixels are observed. The same model, learned from these alone, fills in the others.
mask = np.random.default_rng(0).random(tiles.shape) < 0.5
holes = ConvDictionaryLearning(36, 8, lam=0.05, lowpass=3.0, max_iter=4, random_state=0, n_jobs=-1)
holes.fit(tiles, mask=mask)
filled = np.where(mask, tiles, holes.reconstruct(tiles, mask))
only_smooth = np.where(mask, tiles, split_lowpass(tiles, 3.0, mask)[1])
for name, guess in {"smooth part alone": only_smooth, "learned filters": filled}.items():
    print(f"missing pixels, {name}: RMSE {np.sqrt(np.mean((guess - tiles)[~mask] ** 2)):.4f}")
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
given = np.where(mask, tiles, 1)
for axis, (title, shown) in zip(
    axes, {"given": given[0], "filled in": filled[0], "original": tiles[0]}.items(), strict=True
):
    axis.imshow(shown, cmap="gray", vmin=0, vmax=1)
    axis.set(title=title, xticks=[], yticks=[])
plt.show()
