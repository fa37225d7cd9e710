"""
Figure 1: atoms combined at random
==================================

Every image has a sparse code over a learned dictionary, but not every sparse code is an image. Here random
atoms take the shuffled coefficients of a training image: threes, eights, aligned and unaligned faces, each
before and after clipping. As in the paper no mean image is subtracted, so that the atoms are all there is.

It needs MNIST and the face sets, in the folder that ``SPARSEGEN_DATA`` names. Without MNIST the built-in 8x8
digits stand in; without faces their panels are left out.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt

from sparsegen_classic import KSVD, SparseImageGenerator, open_images
from sparsegen_classic.dictionary import Trainlets
from sparsegen_classic.plots import plot_random_combinations

data = Path(os.environ.get("SPARSEGEN_DATA", "../shared/data"))


def show(name, images, dictionary, n):
    generator = SparseImageGenerator.paper(dictionary, random_state=0, n_jobs=-1).fit(images)
    sums = generator.random_combinations(n, random_state=1, clip=False)
    ax = plot_random_combinations(sums, sums.clip(0, 1))
    ax.set_title(f"{name}, {ax.get_title()}".replace("; ", "\n"), fontsize=8)


# %%
# Digits
# ------
# Negatives, ghosts and tangles. Here and there an atom that is itself nearly a digit has the largest
# coefficient and shows through.
if (data / "mnist").is_dir():
    digits = open_images(data / "mnist", split="train")
else:
    print(f"no MNIST in {data} (set SPARSEGEN_DATA): the built-in 8x8 digits stand in")
    digits = open_images("digits")
for label in (3, 8):
    show(f"digit {label}", digits.images[digits.labels == label], KSVD(), 16)

# %%
# Faces
# -----
# The dictionary holds whole faces, so that even a random combination has something of one.
for name, file in (("aligned face", "utk_aligned4400_64"), ("unaligned face", "lfwcrop_grey_64")):
    path = data / "faces" / f"{file}.npz"
    if path.is_file():
        show(name, open_images(path).images[:3000], Trainlets(300, max_iter=5), 9)
    else:
        print(f"no {path} (set SPARSEGEN_DATA): left out")
plt.show()
