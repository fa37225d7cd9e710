"""
A convolutional code with a certificate
=======================================

A convolutional dictionary puts small filters anywhere in an image. The lasso finds a sparse code; its duality
gap says how far the answer can be from the best one, so it can serve as the reference for a network that
claims to solve the same problem.
"""

# %%
# An image and filters
# --------------------
# A grey photograph without its low frequencies, and 32 of its own patches as filters.
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image

from sparsegen_classic.convolutional import ConvDictionary, ConvSparseCoder

photo = load_sample_image("china.jpg")[80:208, 200:328].mean(axis=2) / 255
background = gaussian_filter(photo, 3)
image = photo - background

corners = np.random.default_rng(0).integers(0, 120, (32, 2))
filters = np.stack([image[None, y : y + 8, x : x + 8] for y, x in corners])
filters /= np.linalg.norm(filters, axis=(2, 3), keepdims=True)
dictionary = ConvDictionary(filters)
coder = ConvSparseCoder(dictionary, lam=0.1)
print(f"lambda_max = {coder.lambda_max(image):.3f}, mutual coherence = {dictionary.mutual_coherence():.3f}")

# %%
# The code
# --------
# The maps are sparse: coordinates and values. The gap bounds the distance to the smallest objective.
code = coder.encode(image)
print(code.maps)
print(f"objective {code.objective:.5f}, at most {code.duality_gap:.1e} above the minimum: {code.message}")

needles = (code.maps.to_dense() != 0).sum(axis=0)
figure, axes = plt.subplots(1, 4, figsize=(14, 3.6), layout="constrained")
sheet = np.pad(filters[:, 0], [(0, 0), (1, 1), (1, 1)], constant_values=filters.min())
axes[0].imshow(np.vstack([np.hstack(list(row)) for row in sheet.reshape(4, 8, 10, 10)]), cmap="gray")
axes[1].imshow(image, cmap="gray")
axes[2].imshow(dictionary.synthesize(code.maps)[0], cmap="gray")
axes[3].imshow(needles, cmap="magma")
titles = ("filters", "image", f"D maps, {code.maps.nnz} non-zeros", "atoms used at each position")
for axis, title in zip(axes, titles, strict=True):
    axis.set(title=title, xticks=[], yticks=[])

# %%
# Four solvers, one minimum
# -------------------------
# The second opinions are independent algorithms; all certify the same minimum. Times are this machine's.
circular = ConvDictionary(filters[:8], boundary="circular")
figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
part = image[:48, :48]
for solver in ("cd", "fista", "admm", "lobcod"):
    tester = ConvSparseCoder(circular, 0.1, solver, tol=1e-3)
    tester.encode(part)  # the first call compiles
    result = tester.encode(part)
    seconds, objective, gap = result.history.T
    axis.loglog(seconds, gap / objective, "o-", ms=3, label=f"{solver}: {result.objective:.4f}")
axis.set(xlabel="seconds", ylabel="relative duality gap")
axis.legend(title="objective")

# %%
# Missing pixels
# --------------
# A mask says which pixels count; what the others hold is ignored, and D maps fills them in.
rng = np.random.default_rng(1)
observed = rng.random(image.shape) < 0.5
filled = dictionary.synthesize(ConvSparseCoder(dictionary, 0.02).encode(image, observed).maps)[0]
error = np.sqrt(np.mean((filled - image)[~observed] ** 2) / np.mean(image[~observed] ** 2))
print(f"half of the pixels missing: relative error there {error:.2f}")
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), layout="constrained")
for axis, picture, title in zip(
    axes, (np.where(observed, image, 0), filled, image), ("observed", "filled in", "true"), strict=True
):
    axis.imshow(picture, cmap="gray", vmin=image.min(), vmax=image.max())
    axis.set(title=title, xticks=[], yticks=[])
plt.show()
