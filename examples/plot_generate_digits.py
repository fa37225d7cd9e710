"""
New digits from old ones
========================

Learn a dictionary and the probability of its codes for each class of the built-in 8x8 digits, draw new
digits, and look for copies: every sample stands above its nearest training image.
"""

import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic import SparseImageGenerator, nearest_images, open_images
from sparsegen_classic.plots import plot_dictionary, plot_images, plot_neighbours, plot_random_combinations

digits = open_images("digits")
generator = SparseImageGenerator(per_class=True, random_state=0, n_jobs=-1)
generator.fit(digits.images, digits.labels)

# %%
# Atoms are what the digits of one class differ by: the mean image of the class is subtracted first.
plot_dictionary(generator)

# %%
# Ten draws of each class. A draw is a latent group of similar images, a coarse and noisy sketch of an image
# of the group, support and coefficients that explain it under the network of the group (Gibbs sampling), one
# product with the dictionary, and the tone curve that gives the sum the distribution of real pixels.
labels = np.repeat(generator.classes_, 10)
draws = generator.draw(len(labels), random_state=1, class_=labels)
plot_images(draws.images, n_columns=10)

# %%
# None is a copy: few supports were seen in training, and the nearest training digits look different.
nearest, distances = nearest_images(draws.images, digits.images)
print(f"supports equal to that of a training digit: {draws.in_training.mean():.1%}")
print(f"smallest distance to a training digit: {distances.min():.2f}")
plot_neighbours(draws.images[::2], digits.images[nearest[::2]], n_columns=10)

# %%
# What the dictionary alone allows: training digits (upper two rows) coded and put together again (lower two).
some = [np.flatnonzero(digits.labels == label)[i] for i in range(2) for label in generator.classes_]
again = generator.reconstruct(digits.images[some], digits.labels[some])
plot_images(np.concatenate([digits.images[some], again]), n_columns=10)

# %%
# The negative control of the paper: its model has no mean image, so that nothing but the probability of the
# codes makes a digit. Here are its atoms in random combinations, before and after clipping.
paper = SparseImageGenerator.paper(per_class=True, random_state=0).fit(digits.images, digits.labels)
combinations = paper.random_combinations(25, random_state=0, class_=3, clip=False)
plot_random_combinations(combinations, combinations.clip(0, 1))
plt.show()
