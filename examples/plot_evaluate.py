"""
Are these samples any good?
===========================

No single number says so: a blurred average is close to everything, a thief is perfect but for the theft, and
every figure depends on how many samples there are. So candidates stand in one table with real images, copies
of the training images, random combinations of atoms and noise. Here are the built-in 8x8 digits; on MNIST
the distances are measured in the digit network of the package instead of principal components.
"""

import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic import SparseImageGenerator, evaluate_generator, open_images
from sparsegen_classic.plots import plot_images, plot_neighbours

digits = open_images("digits")
order = np.random.default_rng(0).permutation(len(digits))
training, held_out, fresh = order[:1200], order[1200:1500], order[1500:]
images, labels = digits.images, digits.labels

generator = SparseImageGenerator(per_class=True, random_state=0, n_jobs=-1)
generator.fit(images[training], labels[training])

# %%
# The table
# ---------
# Beside the draws of the generator stand three candidates whose faults we know: digits that nobody has seen
# (no fault), averages of two digits of a class (blur), and training images with a little noise (theft).
rng = np.random.default_rng(1)
partners = [rng.choice(training[labels[training] == labels[i]]) for i in fresh]
averages = (images[fresh] + images[partners]) / 2
thief = images[rng.choice(training, len(fresh))] + rng.normal(0, 0.05, (len(fresh), 8, 8))
result = evaluate_generator(
    generator,
    images[training],
    images[held_out],
    training_labels=labels[training],
    held_out_labels=labels[held_out],
    n_samples=len(fresh),
    samples={"fresh digits": images[fresh], "averages": averages, "thief": thief.clip(0, 1)},
    n_jobs=-1,
)
print(result)

# %%
# What it says in words
# ---------------------
for name in result.names("samples"):
    print(name, *result.verdict(name), sep="\n  ")

# %%
# Distances to the training images
# --------------------------------
# The copy test compares these with the grey ones, of images that were held out. All are projected onto the
# principal components of the training images first: a model of low rank would else look like a copier.
figure, ax = plt.subplots(figsize=(8, 3.5), layout="constrained")
held = result.sets["thief"].copies.held_out_distances
edges = np.linspace(0, held.max() * 1.2, 40)
ax.hist(held, edges, density=True, color="0.8", label="held-out images")
for name in result.names("samples"):
    test = result.sets[name].copies
    ax.hist(test.distances, edges, density=True, histtype="step", label=f"{name}, P = {test.probability:.2f}")
ax.set(xlabel="distance to the nearest training image", ylabel="density")
ax.legend()

# %%
# The pictures
# ------------
# ``sparsegen_classic.evaluation_report(result).write("digits.html")`` puts all of this on one page.
copies = result.sets["generator"].copies
suspects = np.argsort(copies.distances)[:40]
plot_neighbours(result.images["generator"][suspects], images[training][copies.nearest[suspects]])
plot_images(result.images["random combinations"][:50], n_columns=10)
plt.show()
