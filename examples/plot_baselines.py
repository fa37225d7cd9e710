"""
What a generator has to beat: simple densities
==============================================

A normal of low rank, mixtures of them, kernel densities: with one line each they draw images, too. Some are
hard to beat in looks. Whether they draw *new* images is another question, and a density is a third.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity

from sparsegen_classic import (
    PPCA,
    GroupedGaussians,
    IndependentPixels,
    MixtureOfFactorAnalysers,
    ProjectedDensity,
    TrainingCopies,
    nearest_images,
    open_images,
)

digits = open_images("digits")
train, test, labels, _ = train_test_split(
    digits.images, digits.labels, test_size=0.25, random_state=0, stratify=digits.labels
)
baselines = {
    "independent pixels": IndependentPixels(),
    "one normal of rank 10 (PPCA)": PPCA(10),
    "kernel density on 20 components": ProjectedDensity(KernelDensity(bandwidth=0.25), 20),
    "10 normals on 20 components": ProjectedDensity(GaussianMixture(10, reg_covar=1e-3), 20),
    "10 factor analysers": MixtureOfFactorAnalysers(10, 6),
    "groups of 30, rank 8, per class": GroupedGaussians(per_class=True),
    "copies with noise": TrainingCopies(0.03),
}

# %%
# Ten draws of each, one row a baseline. The further down, the more digits a row holds; the last row is the
# training set itself.
rows = []
for baseline in baselines.values():
    baseline.set_params(random_state=0).fit(train, labels)
    rows.append(baseline.sample(10, random_state=3))
figure, axes = plt.subplots(len(rows), 1, figsize=(7, 7.5), layout="constrained")
for ax, images, name in zip(axes, rows, baselines, strict=True):
    ax.imshow(np.pad(images, [(0, 0), (1, 1), (1, 1)]).transpose(1, 0, 2).reshape(10, -1), cmap="gray")
    ax.set_axis_off()
    ax.set_title(name, loc="left", fontsize=9)

# %%
# How far a draw is from its nearest training image says which are copies. Held-out digits set the scale:
# draws should be about as far. Grouped normals are nearer: they average a few neighbours.
draws = [baseline.sample(500, random_state=4) for baseline in baselines.values()]
figure, ax = plt.subplots(figsize=(7, 5), layout="constrained")
ax.boxplot([nearest_images(images, train)[1] for images in (*draws, test)], showfliers=False)
ax.set_xticks(range(1, len(draws) + 2), [*baselines, "held-out digits"], rotation=35, ha="right")
ax.set_ylabel("distance to the nearest training image")

# %%
# Held-out log-density in nats an image, for those that have one over all pixels: the more freely the noise of
# a mixture may vary, the better the fit, and the sooner it overfits.
for name, baseline in baselines.items():
    if baseline.has_density and not isinstance(baseline, ProjectedDensity):
        print(f"{name:32s} train {baseline.score(train):7.1f}   held out {baseline.score(test):7.1f}")
plt.show()
