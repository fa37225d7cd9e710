"""
Image sources: one way in, one way out.
=======================================

:func:`sparsegen_classic.images.open_images` reads folders, idx files, npz files and arrays into the same
thing: float32 images in [0, 1] with their labels. :func:`sparsegen_classic.images.save_images` writes them.
Everything here is built in or made on the way.
"""

# %%
# The digits bundled with scikit-learn stand in for a data set.
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from sparsegen_classic.images import open_images, save_images
from sparsegen_classic.plots import plot_images

digits = open_images("digits")
print(digits)
plot_images(digits.images[:30], labels=digits.labels[:30], n_columns=10)

# %%
# As a folder with one sub-folder per label, and back. PNG files hold 8 bits, so values are rounded to 1/255;
# a npz file would keep them.
with tempfile.TemporaryDirectory() as scratch:
    folder = save_images(digits.images[:100], Path(scratch, "digits"), labels=digits.labels[:100])
    print(sorted(path.name for path in folder.iterdir()))
    again = open_images(folder)
    print(again)
    numbers = [int(path.stem) for path in again.paths]  # a folder is read class by class
    print("largest difference:", abs(again.images - digits.images[numbers]).max())

    # %%
    # Another size needs a word on how: stretch, cut the centre, or pad with the background.
    fitted = [
        open_images(folder, size=(12, 20), fit=fit, background=0.5).images[0]
        for fit in ("resize", "crop", "pad")
    ]

plot_images(fitted, labels=["resize", "crop", "pad"], n_columns=3)
plt.show()
