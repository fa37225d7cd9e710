"""
Atoms made of atoms: the multi-layer model
==========================================

A second layer whose filters are sparse combinations of the first layer's makes larger *effective atoms*
(Fig. 5 of Ganz and Elad): 4x4 filters at stride 2 under 3x3 filters give atoms of 8x8.
"""

# %%
# Two layers from photographs
# ---------------------------
# The first from K-SVD on 4x4 patches; the second from codes of 8x8 patches over the first, four non-zeros
# each, by convolutional OMP.
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image

from sparsegen_classic.convolutional import ConvDictionary, MultiLayerCSC, csc_omp, sparsity_counts
from sparsegen_classic.dictionary import KSVD
from sparsegen_classic.images import image_grid

rng = np.random.default_rng(0)
grey = load_sample_image("china.jpg").mean(axis=2) / 255


def patches(size, n):
    corners = zip(
        rng.integers(0, grey.shape[0] - size, n), rng.integers(0, grey.shape[1] - size, n), strict=True
    )
    cut = np.stack([grey[y : y + size, x : x + size] for y, x in corners])
    cut -= cut.mean(axis=(1, 2), keepdims=True)
    return cut[np.linalg.norm(cut, axis=(1, 2)) > 0.1 * size]


small = KSVD(32, n_nonzero_coefs=2, random_state=0).fit(patches(4, 5_000).reshape(-1, 16)).components_
first = ConvDictionary(small.reshape(32, 1, 4, 4), stride=2)
codes = [csc_omp(first, patch, 4).maps.to_dense() for patch in patches(8, 400)[:64]]
second = np.array([code / np.linalg.norm(first.synthesize(code)) for code in codes])
model = MultiLayerCSC([first, ConvDictionary(second)])
effective = model.effective_dictionary()
print(f"effective atoms {effective.filters.shape}, stride {effective.stride}")


def shown(filters):
    tiles = filters[:, 0] / np.abs(filters[:, 0]).max(axis=(1, 2), keepdims=True)
    return image_grid((tiles + 1) / 2, n_columns=8)


figure, (left, right) = plt.subplots(1, 2, figsize=(9, 5), layout="constrained")
left.imshow(shown(first.filters), cmap="gray")
left.set_title("first layer, 4x4")
right.imshow(shown(effective.filters), cmap="gray")
right.set_title("effective atoms, 8x8 at stride 2")
for axis in (left, right):
    axis.axis("off")

# %%
# An image, sparse in both layers
# -------------------------------
# Projection pursuit adds atoms of the second layer until a stripe count of either layer is reached.
image = (grey - gaussian_filter(grey, 2))[100:164, 240:304]
figure, axes = plt.subplots(1, 4, figsize=(12, 3.8), layout="constrained")
axes[0].imshow(image, cmap="gray")
axes[0].set_title("image")
for axis, cap in zip(axes[1:], (10, 20, 40), strict=True):
    result = model.project(image, [cap, None])
    stripes = [
        sparsity_counts(z, d.atom_shape, d.stride).stripe
        for z, d in zip(result.maps, model.dictionaries, strict=True)
    ]
    share = 1 - 2 * result.objective / (image**2).sum()
    axis.imshow(model.synthesize(result.maps[-1])[0], cmap="gray", vmin=image.min(), vmax=image.max())
    axis.set_title(f"{result.n_iter} atoms, stripes {stripes}\n{share:.0%} of the energy")
for axis in axes:
    axis.axis("off")

# %%
# A network's forward pass is a pursuit
# -------------------------------------
# Layered thresholding is a convolutional network with ReLU; layered basis pursuit solves what it takes one
# step towards, and certifies each layer by its duality gap.
forward = model.threshold(image, [0.1, 0.02])
pursued = model.layered_basis_pursuit(image, [0.1, 0.02], positive=True)
for i, (z, code) in enumerate(zip(forward, pursued, strict=True), 1):
    print(
        f"layer {i}: {np.count_nonzero(z) / z.size:.1%} non-zeros after thresholding, "
        f"{code.maps.nnz / z.size:.1%} after basis pursuit (gap {code.duality_gap:.1e})"
    )
plt.show()
