"""
How sparse is a network?
========================

Ganz and Elad put a projection before the last, linear layer of a generator, so that every image is a few
atoms of a convolutional dictionary. Here a small decoder of digits is trained twice, dense and with at most
three non-zeros at every position, and the two are compared layer by layer, as in their Fig. 3.
"""

# %%
# Two decoders of digits
# ----------------------
# An autoencoder whose last layer is a dictionary of 32 atoms of 5x5. ``sparsify`` sends the outputs of named
# layers through projections, each with its own k, and changes nothing else: here the two last activations,
# the multi-layer variant.
import matplotlib.pyplot as plt
import numpy as np
import torch

from sparsegen_classic import open_images
from sparsegen_classic.convolutional import ConvDictionary
from sparsegen_classic.neural import ConvSynthesis, NeedleProjection, sparsify, sparsity_levels
from sparsegen_classic.plots_encoder import plot_needle_map, plot_sparsity_levels

digits = torch.from_numpy(open_images("digits").images[:, None])
train, test = digits[:1500], digits[1500:]


def network():
    torch.manual_seed(0)
    atoms = np.random.default_rng(0).standard_normal((32, 1, 5, 5)).astype(np.float32) / 5
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(64, 24),
        torch.nn.ReLU(),
        torch.nn.Linear(24, 16 * 16),
        torch.nn.Unflatten(1, (16, 4, 4)),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, padding=1),
        torch.nn.ReLU(),
        ConvSynthesis(ConvDictionary(atoms)),
    )


def trained(net, n_steps=1000):
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(n_steps):
        batch = train[torch.randint(len(train), (64,))]
        loss = (net(batch) - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


dense, sparse = trained(network()), network()
sparsify(sparse, {"5": NeedleProjection(4), "7": NeedleProjection(3)})
trained(sparse)
with torch.no_grad():
    for name, net in (("dense", dense), ("sparse", sparse)):
        error = (net(test) - test).square().mean()
        print(f"{name}: mean squared error on new digits {error:.4f}")

# %%
# Share of non-zeros, layer by layer
# ----------------------------------
layers = ["2", "5", "7"]
levels = {name: sparsity_levels(net, test, layers) for name, net in (("dense", dense), ("sparse", sparse))}
for level in levels["sparse"]:
    print(level)
plot_sparsity_levels(levels["sparse"], compare=levels["dense"])

# %%
# Non-zeros at every position
# ---------------------------
# The dense decoder spends more than three times as many atoms at every position; at almost the
# same error, three are enough.
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, (name, found) in zip(axes, levels.items(), strict=True):
    plot_needle_map(found[-1], ax=ax)
    ax.images[0].set_clim(0, levels["dense"][-1].needle_map.max())  # one scale for both
    ax.set_title(f"{name}, layer {ax.get_title()}", fontsize=10)
plt.show()
