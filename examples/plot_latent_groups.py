"""
Latent groups, and settings chosen by samples
=============================================

One network over all images of a class knows which pairs of atoms go together, and nothing more: it draws
strokes of different hands into one image. A mixture of networks, one for each family of similar images, does
not. How many families, how strong the pairs, and against what are they counted: atoms that are independent in
all images, or in those of each family? Pseudo-likelihood chooses badly, so the choice falls by samples, held
against images set aside, with the copy test beside.
"""

import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic import KSVD, MarkovSupports, SparseImageGenerator, open_images, select_settings
from sparsegen_classic.plots import plot_images
from sparsegen_classic.support import enumerate_supports, report_supports

digits = open_images("digits")

# %%
# Try one network and two numbers of groups
# -----------------------------------------
# Pairs that are counted against all images repeat what the groups know already, those counted within each
# group do not. With few atoms an image, as here, either will do; with many, as faces have, the first would
# draw a few modes only. Every row of the table is one candidate; below it stand real images, copies, noise.
supports = MarkovSupports()
generator = SparseImageGenerator(KSVD(120), supports, sketches="none", random_state=0, n_jobs=-1)
one = {"n_groups": [1], "supports__pair_exponent": [0.4, 1.0]}
several = {
    "n_groups": [20, 60],
    "supports__pair_exponent": [0.4],
    "supports__pair_reference": ["all", "groups"],
}
grid = [one, several]
selection = select_settings(generator, digits.images, grid=grid, n_samples=1000, n_jobs=-1)
print(selection)

# %%
# Frechet distance against the copy test: down is better, and left of the line are copyists.
fig, ax = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
for name, params in selection.candidates.items():
    figures = selection.evaluation[name]
    ax.scatter(figures["copy"], figures["frechet"], s=20 + 3 * params["n_groups"], label=name)
ax.axhline(selection.evaluation["real images"]["frechet"], color="grey", linestyle=":")
ax.axvline(0.4, color="grey", linestyle=":")
ax.set(xlabel="P[further from training images than a held-out image]", ylabel="Frechet distance")
fig.legend(fontsize="small", loc="outside lower center")

# %%
# Samples of the best
# -------------------
# Each row is one latent group.
best = generator.set_params(**selection.best_params).fit(digits.images)
draws = best.draw(600, random_state=0)
largest = np.argsort(-np.bincount(draws.groups))[:8]
plot_images(np.concatenate([draws.images[draws.groups == group][:12] for group in largest]), n_columns=12)

# %%
# What the networks have learned, and what they have memorised
# ------------------------------------------------------------
for params in (selection.best_params, {"n_groups": 1, "supports__pair_exponent": 1.0}):
    half = generator.set_params(**params).fit(digits.images[:1200])
    codes = half.encode(digits.images)
    print(params)
    print(report_supports(half.supports_[0], codes[:1200], codes[1200:]))

# %%
# Pairs of a group's own
# ----------------------
# Groups may differ in what goes together, not in what they use. Here both use four atoms alike, one by 0 with
# 1 and 2 with 3, the other by 0 with 2 and 1 with 3. Shared pair factors say of neither what it does; factors
# of its own, shrunk to the shared ones, do. The fewer supports a group has, the more they should be shrunk.
rng = np.random.default_rng(0)
group = rng.integers(2, size=200)
pairs = np.array([[[0, 1], [2, 3]], [[0, 2], [1, 3]]])[group, rng.integers(2, size=200)]
planted = np.zeros((200, 4))
np.put_along_axis(planted, pairs, 1.0, axis=1)
fig, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
for index, ax in enumerate(axes):
    for shift, smoothing in enumerate((None, 100.0, 1.0)):
        networks = MarkovSupports(n_groups=2, group_pair_smoothing=smoothing).fit(planted, groups=group)
        states, law = enumerate_supports(networks.network(index), 2)
        ax.bar(np.arange(len(law)) + 0.25 * shift, law, 0.25, label=f"group_pair_smoothing={smoothing}")
    real = [(planted[group == index][:, pair] != 0).all(axis=1).mean() for pair in states]
    ax.plot(np.arange(len(law)) + 0.25, real, "k_", markersize=24, label="training supports")
    ax.set(title=f"group {index}", xlabel="support", xticks=np.arange(len(law)) + 0.25)
    ax.set_xticklabels([f"{a}, {b}" for a, b in states])
axes[0].set_ylabel("probability")
axes[0].legend(fontsize="small")
plt.show()
