"""
From sums of atoms to pixels
============================

A draw is a sum of a few soft atoms. Its values lie partly outside [0, 1], its strokes are grey where those of
real digits are white, and it keeps nearer to the mean than real digits do. Clipping leaves that as it is; the
tone curve gives the sums the distribution of real pixels; contrast before the curve lets them vary as much.
Photographs want none of it: ``tone="auto"``, the default, compares draws with the training images whose
sketches they were drawn from, and takes what is nearer.
"""

import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic import SparseImageGenerator, open_images
from sparsegen_classic.images import apply_tone, contrast_and_curve, tone_curve
from sparsegen_classic.metrics import frechet_distance
from sparsegen_classic.plots import plot_images

digits = open_images("digits")
order = np.random.default_rng(0).permutation(len(digits.images))
images, unseen = digits.images[order[:1200]], digits.images[order[1200:]]
generator = SparseImageGenerator(random_state=0, n_jobs=-1).fit(images)
print(f"contrast {generator.draw_contrasts_[0]:.2f}")

# %%
# The curve that was learned, and clipping beside it.
fig, ax = plt.subplots(figsize=(4, 3.6), layout="constrained")
ax.plot(*generator.draw_curves_[0], label="tone curve")
ax.plot([-0.5, 0, 1, 1.5], [0, 0, 1, 1], color="grey", linestyle=":", label="clipping")
ax.set(xlabel="sum of atoms, with contrast", ylabel="pixel")
ax.legend()

# %%
# One after the other
# -------------------
# The same draws clipped, with a curve alone, and with contrast and curve. All three are learned here from
# variations of training images, as ``fit`` does it.
sums = generator.sample(600, random_state=1, clip=False).reshape(600, -1)
likes = generator.vary(images[:1000], random_state=2, clip=False).reshape(1000, -1)
mean, targets = generator.means_[0], images[:1000].reshape(1000, -1)
contrast, curve = contrast_and_curve(likes - mean, mean, targets)
toned = {
    "clipped": np.clip(sums, 0, 1),
    "curve": apply_tone(sums, tone_curve(likes, targets)),
    "contrast and curve": apply_tone(mean + contrast * (sums - mean), curve),
}
real = unseen.reshape(len(unseen), -1)
for name, rows in toned.items():
    print(
        f"{name:20} Frechet distance to unseen digits {frechet_distance(rows, real):.3f}, variance "
        f"{rows.var(axis=0).sum():.2f} (theirs {real.var(axis=0).sum():.2f})"
    )
plot_images(np.concatenate([rows[:12] for rows in toned.values()]).reshape(-1, 8, 8), n_columns=12)
plt.show()
