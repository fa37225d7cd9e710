"""
Figure 2: new digits and their nearest neighbours
=================================================

Ten generated digits of each class of MNIST, each above the training image nearest to it: first from the model
of the paper as it stands, then from ours, which adds latent groups, sketches and a tone curve. New images
resemble their neighbours, but are not copies of them.

It needs MNIST in the folder that ``SPARSEGEN_DATA`` names; without it the built-in 8x8 digits stand in.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic import SparseImageGenerator, nearest_images, open_images
from sparsegen_classic.plots import plot_neighbours

data = Path(os.environ.get("SPARSEGEN_DATA", "../shared/data"))
if (data / "mnist").is_dir():
    digits = open_images(data / "mnist", split="train")
else:
    print(f"no MNIST in {data} (set SPARSEGEN_DATA): the built-in 8x8 digits stand in")
    digits = open_images("digits")


def show(name, generator):
    generator.fit(digits.images, digits.labels)
    labels = np.repeat(generator.classes_, 10)
    draws = generator.draw(len(labels), random_state=1, class_=labels)
    nearest, distances = nearest_images(draws.images, digits.images, n_jobs=-1)
    same = (digits.labels[nearest] == labels).mean()
    print(f"{name}: nearest training image {np.median(distances):.2f} away, of the same class in {same:.0%}")
    ax = plot_neighbours(draws.images, digits.images[nearest], n_columns=20)
    ax.set_title(f"{name} - {ax.get_title()}", fontsize=9)


# %%
# The model of the paper: one pairwise network a class, without mean image, groups, sketches and tone curve.
show("the paper", SparseImageGenerator.paper(per_class=True, random_state=0, n_jobs=-1))

# %%
# Ours.
show("ours", SparseImageGenerator(per_class=True, random_state=0, n_jobs=-1))
plt.show()
