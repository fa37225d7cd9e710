"""
Sketches: from a coarse view to an image
========================================

A network of pairs knows which atoms go together, not what they add up to. ``SketchedCodes`` draws a coarse
and noisy view of the image first, and then the atoms and coefficients that explain it. How noisy the view is
says who decides: the sketch (little noise), or the network and the coefficients of the atoms (much).
"""

import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic import KSVD, SketchedCodes, SparseImageGenerator, evaluate, open_images
from sparsegen_classic.plots import plot_images

digits = open_images("digits")
train, held_out = digits.images[:1400], digits.images[1400:]


def fitted(sketches):
    generator = SparseImageGenerator(KSVD(120), sketches=sketches, random_state=0, n_jobs=-1)
    return generator.fit(train)


# %%
# With and without
# ----------------
# Without sketches (upper rows) supports are drawn by Gibbs sampling alone and coefficients by EM, as in the
# paper; with them (lower rows) atoms compete to explain one image.
without, default = fitted("none"), fitted(None)
plot_images(np.concatenate([without.sample(24, 0), default.sample(24, 0)]), n_columns=12)

# %%
# The sums of atoms before tone curve and clipping say it in a number: how much lies outside [0, 1].
for name, generator in (("without", without), ("with", default)):
    sums = generator.sample(500, 1, clip=False)
    print(f"{name:8}{((sums - sums.clip(0, 1)) ** 2).sum(axis=(1, 2)).mean():7.2f} outside [0, 1]")

# %%
# Who decides
# -----------
# Below each other: Frechet distance to images held out, and the copy test, where .5 is ideal.
levels = [0.1, 0.2, 0.4, 0.8, 1.6]
samples = {f"noise {level}": fitted(SketchedCodes(noise=level)).sample(1000, 2) for level in levels}
result = evaluate(samples | {"no sketches": without.sample(1000, 2)}, train, held_out, n_jobs=-1)
print(result)
fig, axes = plt.subplots(2, sharex=True, layout="constrained")
for ax, figure, label in zip(axes, ("frechet", "copy"), ("Frechet distance", "copy test"), strict=True):
    ax.semilogx(levels, [result[name][figure] for name in samples], "o-")
    ax.axhline(result["no sketches"][figure], color="grey", linestyle=":")
    ax.set(ylabel=label)
axes[1].set(xlabel="noise of sketches")

# %%
# Variations of an image
# ----------------------
# ``vary`` draws by way of the sketch of an image. The first column are images held out, beside them
# variations.
variations = default.vary(held_out[:6], random_state=0, n_variations=11).reshape(6, 11, 8, 8)
plot_images(np.concatenate([held_out[:6, None], variations], axis=1).reshape(-1, 8, 8), n_columns=12)
plt.show()
