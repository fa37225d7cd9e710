"""
Sparse by sample, by needle, by stripe
======================================

Three ways to thin out a layer's activations. The l0 projection keeps the largest of the whole sample and
crowds them; needle top-k keeps the same number everywhere; the stripe projection limits how many atoms
overlap, which is what the theory of convolutional sparse coding asks for, and nothing else.
"""

# %%
# Activations to project
# ----------------------
# The correlations of a photograph with 16 of its patches, 6x6.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from sparsegen_classic.convolutional import (
    ConvDictionary,
    project_l0,
    project_needle,
    project_stripe,
    sparsity_counts,
)

rng = np.random.default_rng(0)
grey = load_sample_image("china.jpg").mean(axis=2)[100:164, 240:304] / 255
image = grey - grey.mean()
corners = rng.integers(0, 58, (16, 2))
filters = np.stack([image[y : y + 6, x : x + 6] for y, x in corners])
filters -= filters.mean(axis=(1, 2), keepdims=True)
filters /= np.linalg.norm(filters, axis=(1, 2), keepdims=True)
maps = ConvDictionary(filters[:, None]).analyze(image)

# %%
# Needles do not pay
# ------------------
# l0 and needle keep the same number of non-zeros; stripe has the largest overlap of needle and keeps more
# energy with fewer non-zeros. ``project_stripe`` solves the l0,inf projection that is usually replaced by
# needles; the greedy method comes with an upper bound on the energy that any projection could keep.
needle = project_needle(maps[None], 3)[0]
l0 = project_l0(maps[None], int(np.count_nonzero(needle)))[0]
cap = sparsity_counts(needle, (6, 6)).stripe
stripe = project_stripe(maps, cap, (6, 6), method="greedy")
print(f"stripe projection keeps {stripe.energy / stripe.bound:.1%} of the bound")

figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
axes[0].imshow(image, cmap="gray")
axes[0].set_title("image")
for axis, (name, kept) in zip(
    axes[1:], {"l0": l0, "needle": needle, "stripe": stripe.maps}.items(), strict=True
):
    counts = sparsity_counts(kept, (6, 6))
    share = (kept**2).sum() / (maps**2).sum()
    axis.imshow(counts.needle_map, cmap="magma", vmin=0, vmax=8)
    axis.set_title(f"{name}: {counts.global_} non-zeros\nstripe {counts.stripe}, {share:.0%} of the energy")
for axis in axes:
    axis.axis("off")

# %%
# Greedy is not the projection
# ----------------------------
# Signal 3, 0, 4, 0, 3 with atoms of length 2, one entry a stripe: the largest entry excludes both others.
signal = np.array([[3.0, 0, 4, 0, 3]])
exact = project_stripe(signal, 1, 2)
print("exact:", exact.maps[0], "energy", exact.energy, "-", exact.status)

long = rng.standard_normal((2, 400))
caps = np.arange(1, 13)
results = {m: [project_stripe(long, int(cap), 16, method=m) for cap in caps] for m in ("exact", "greedy")}
best = np.array([r.energy for r in results["exact"]])
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
axis.plot(caps, [r.bound for r in results["greedy"]] / best, "k--", label="bound of the greedy method")
axis.plot(caps, best / best, "C0.-", label="exact (linear program)")
axis.plot(caps, [r.energy for r in results["greedy"]] / best, "C1.-", label="greedy")
axis.set(
    xlabel="cap on the stripe count", ylabel="energy / best", title="Two maps of 400, atoms of length 16"
)
axis.legend()
plt.show()
