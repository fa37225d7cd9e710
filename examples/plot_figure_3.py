"""
Figure 3: new aligned faces and their nearest neighbours
========================================================

Learn from 4,400 aligned faces, of which 400 are held out,
with trainlets, draw new ones, and show each above the training face nearest to it.

It needs ``faces/utk_aligned4400_64.npz`` (64x64) in the folder that ``SPARSEGEN_DATA`` names.
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic import SparseImageGenerator, nearest_images, open_images
from sparsegen_classic.dictionary import Trainlets
from sparsegen_classic.metrics import copy_test
from sparsegen_classic.plots import plot_neighbours

path = Path(os.environ.get("SPARSEGEN_DATA", "../shared/data")) / "faces" / "utk_aligned4400_64.npz"
if not path.is_file():
    print(f"no {path}: set SPARSEGEN_DATA to the folder that holds faces/utk_aligned4400_64.npz")
    sys.exit()
faces = open_images(path).images
training, held_out = faces[:4000], faces[4000:]

generator = SparseImageGenerator(Trainlets(), random_state=0, n_jobs=-1).fit(training)
draws = generator.draw(200, random_state=1)

# %%
# The first ones, not the best.
nearest, _ = nearest_images(draws.images, training, n_jobs=-1)
n = 16
plot_neighbours(draws.images[:n], training[nearest[:n]], n_columns=8)

# %%
# Distances are compared on what the dictionary can show, else smooth images pass for copies: held-out faces
# go through it as well. P = 0.5 is ideal, 0 a thief.
test = copy_test(draws.images, generator.reconstruct(held_out), training, n_jobs=-1)
print(f"P[a sample is further from the training faces than a held-out face is]: {test.probability:.2f}")
print(f"supports equal to that of a training face: {draws.in_training.mean():.1%}")

# %%
# Those nearest to a training face: if there were copies, here they would be.
closest = np.argsort(test.distances)[:n]
plot_neighbours(draws.images[closest], training[nearest[closest]], n_columns=8)
plt.show()
