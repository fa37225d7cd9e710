"""
Which law for the coefficients?
===============================

Given a support, the coefficients of a new code are drawn from a Gaussian learned from the training codes
that overlap it. The overlaps may be weighed, the Gaussian may be fitted by EM or pooled pair by pair, to
coefficients, their roots or logarithms, and codes of one group of images may count more than others.
Held-out codes tell which describes the data best.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.model_selection import train_test_split

from sparsegen_classic import KSVD, GaussianCoefficients, open_images

digits = open_images("digits")
rows = digits.images.reshape(len(digits.images), -1)
train, test = train_test_split(rows, test_size=0.25, random_state=0)
dictionary = KSVD(60, n_nonzero_coefs=6, random_state=0).fit(train)
codes, held_out = dictionary.transform(train), dictionary.transform(test)
kmeans = KMeans(20, random_state=0).fit(train)

# %%
# Mean log-density of the held-out coefficients, given their supports (codes that use a state which no
# training code has are left out).
models = {
    "EM": {},
    "EM, stronger prior": {"prior_strength": 10},
    "EM, overlaps squared": {"overlap_power": 2},
    "pooled pairs": {"method": "pooled"},
    "EM, cube roots": {"scale": "cbrt"},
    "EM, log-normal": {"scale": "log"},
}
scores = {}
for name, options in models.items():
    model = GaussianCoefficients(**options, n_jobs=-1).fit(codes, groups=kmeans.labels_)
    for groups, kind in ((None, "all codes alike"), (kmeans.predict(test), "20 groups of images")):
        density = model.score_samples(held_out, groups=groups)
        scores[name, kind] = density[np.isfinite(density)].mean()
        print(f"{name:24s} {kind:20s} {scores[name, kind]:7.2f} nats a code")
figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
for kind, marker in (("all codes alike", "o"), ("20 groups of images", "s")):
    ax.plot([scores[name, kind] for name in models], range(len(models)), marker, label=kind)
ax.set_yticks(range(len(models)), models)
ax.invert_yaxis()
ax.set_xlabel("held-out log-density, nats a code")
ax.legend()

# %%
# A Gaussian puts too many coefficients near zero and too few just above, a log-normal too many in the tail;
# Gaussian cube roots are in between. All coefficients on the held-out supports, in units of the mean of their
# state.
state_means = GaussianCoefficients().fit(codes).state_means_


def relative(some_codes):
    """Magnitudes, divided by the mean of their state."""
    codes = some_codes.tocoo()
    return np.abs(codes.data) / state_means[codes.col + np.where(codes.data < 0, 60, 0)]


supports = held_out[np.isfinite(density)]
bins = np.linspace(0, 3, 61)
figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.hist(relative(supports), bins, density=True, color="0.8", label="held-out codes")
for label, scale in (("truncated", "linear"), ("cube roots", "cbrt"), ("log-normal", "log")):
    law = GaussianCoefficients(scale=scale, n_jobs=-1).fit(codes)
    drawn = np.concatenate([relative(law.sample(supports, random_state=seed)) for seed in range(5)])
    ax.hist(drawn, bins, density=True, histtype="step", label=label)
ax.set(xlabel="coefficient / mean of its state", ylabel="density")
ax.legend()
plt.show()
