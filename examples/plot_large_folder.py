"""
Folders larger than memory
==========================

A folder of 200,000 faces is 3 GB of pixels, and a fit takes a while. Here is how such a fit is planned, how
it reads its images from disk, and how it goes on after it was stopped. The folder here is a small one, made
on the spot: digits, each a little shifted and turned.
"""

# %%
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from sparsegen_classic import (
    CheckpointError,
    SparseImageGenerator,
    Trainlets,
    load_model,
    nearest_images,
    open_images,
    plan_memory,
    store_images,
)
from sparsegen_classic.plots import plot_neighbours

scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name, "photographs")
rng = np.random.default_rng(0)
digits = open_images("digits", size=24, fit="pad").images
for i in range(4000):
    image = Image.fromarray(np.uint8(255 * digits[i % len(digits)]))
    shift = tuple(int(step) for step in rng.integers(-2, 3, 2))
    turned = image.rotate(rng.uniform(-20, 20), Image.Resampling.BICUBIC, translate=shift)
    (folder / f"{i // 1000}").mkdir(parents=True, exist_ok=True)
    turned.save(folder / f"{i // 1000}" / f"{i:04d}.jpg", quality=95)

# %%
# What will it take?
# ------------------
# Before anything is read, ``plan_memory`` says what a fit takes, stage by stage: for the real thing, with its
# images in memory and with its images on disk. On the command line the plan is printed, and
# ``--memory 2GB`` is kept or refused at once.
faces = SparseImageGenerator(Trainlets(1000, n_nonzero_coefs=40), n_jobs=2)
print("200,000 faces of 64x64, in memory:", plan_memory(faces, 200_000, (64, 64)))
print("on disk:", plan_memory(faces, 200_000, (64, 64), in_memory=False))

# %%
# Images on disk
# --------------
# ``store_images`` decodes each file once and keeps the pixels in blocks; the store takes the place of an
# array. If it is interrupted, the same call does what is missing. A file that cannot be read is named - or
# left out and listed, with ``errors="skip"``.
(folder / "0" / "broken.jpg").write_bytes(b"not a picture")
try:
    store_images(folder, Path(scratch.name, "refused"))
except ValueError as error:
    print(str(error).replace(scratch.name, "..."))
store = store_images(folder, Path(scratch.name, "store"), errors="skip")
print(len(store), "images of", store.shape[1:], "- left out:")
print(*(f"{file.name}: {reason}" for file, reason in store.skipped), sep="\n")
print("read when asked for:", store[[7, 3000]].shape, store[[7, 3000]].dtype)
print("bytes a pixel on disk:", sum(f.stat().st_size for f in store.folder.rglob("*-0-*")) / store[:].size)

# %%
# A fit that is killed
# --------------------
# With a checkpoint every mini-batch, every block of codes and every stage is kept. Here the command is killed
# while it learns the dictionary, and then given again: it goes on from there.
work, model = Path(scratch.name, "work"), Path(scratch.name, "model.npz")
settings = "--dictionary trainlets --n-components 150 --n-nonzero-coefs 12 --max-iter 4 --memory 2GB --seed 0"
command = [sys.executable, "-m", "sparsegen_classic", "fit", folder, *settings.split(), "--errors", "skip"]
command += ["--checkpoint", work, "-o", model, "--quiet"]
process = subprocess.Popen(command)
while process.poll() is None and not list(work.glob("**/steps.npz")):
    time.sleep(0.02)
process.kill()
print("killed:", process.wait() < 0, "- a model was written:", model.exists())
subprocess.run(command, check=True)
print("given again - a model was written:", model.exists())

# %%
# In Python it is ``fit(store, checkpoint=folder)``. The model is that of a fit in one go, to the last bit.
# A checkpoint goes on with its own work only.
trainlets = Trainlets(150, n_nonzero_coefs=12, max_iter=4)
generator = SparseImageGenerator(trainlets, random_state=0, n_jobs=2)
generator.fit(store, checkpoint=Path(scratch.name, "checkpoint"))
samples = generator.sample(48, random_state=1)
print("the same samples:", np.array_equal(load_model(model).sample(48, random_state=1), samples))
try:
    generator.set_params(tone="clip").fit(store, checkpoint=Path(scratch.name, "checkpoint"))
except CheckpointError as error:
    print(str(error).replace(scratch.name, "..."))

# %%
# Look
# ----
# Samples, and the nearest image of the folder to each; ``nearest_images`` reads the store part by part.
nearest, _ = nearest_images(samples, store)
plot_neighbours(samples, store[nearest], n_columns=12)
scratch.cleanup()
plt.show()
