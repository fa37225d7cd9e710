"""
An unrolled encoder, checked
============================

LISTA unrolls a few iterations of ISTA into a network and learns its weights. How near do its codes come to
the optimum? ``crosscheck_encoder`` answers with a certificate: the duality gap of the reference bounds from
below what any code can reach.
"""

# %%
# A dictionary and an encoder
# ---------------------------
# Filters learned from a photograph without its smooth part, and five iterations of ISTA as a torch module.
# With its exact weights it is recognised as what it is.
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_sample_image

from sparsegen_classic import ConvDictionary, ConvDictionaryLearning, crosscheck_encoder
from sparsegen_classic.convolutional import split_lowpass
from sparsegen_classic.neural import ConvSynthesis, SoftThreshold
from sparsegen_classic.plots_encoder import plot_excess, plot_objectives

grey = load_sample_image("china.jpg").mean(axis=2) / 255
tiles = np.stack([grey[y : y + 32, x : x + 32] for y in range(80, 336, 32) for x in range(80, 560, 32)])
tiles = tiles[:, None].astype(np.float32)
learned = ConvDictionaryLearning(16, 6, lowpass=10.0, max_iter=2, random_state=0).fit(tiles)
dictionary, lam = learned.dictionary_, learned.lam_
images = split_lowpass(tiles, learned.lowpass)[0]
train, test = images[:-4], images[-4:]


class Lista(torch.nn.Module):
    """Iterations of ISTA; every one may learn its own filters, step and thresholds."""

    def __init__(self, n_iterations):
        super().__init__()
        step = 1 / dictionary.lipschitz(train.shape[2:])
        self.synthesis = ConvSynthesis(dictionary, trainable=False)
        self.analysis = torch.nn.ModuleList(ConvSynthesis(dictionary) for _ in range(n_iterations))
        self.steps = torch.nn.Parameter(torch.full((n_iterations,), step))
        self.shrink = torch.nn.ModuleList(
            SoftThreshold([lam * step] * dictionary.n_atoms, trainable=True) for _ in range(n_iterations)
        )

    def forward(self, x):
        maps = torch.zeros(1)
        for analysis, step, shrink in zip(self.analysis, self.steps, self.shrink, strict=True):
            residual = x if maps.ndim == 1 else x - self.synthesis(maps)
            maps = shrink(maps + step * analysis.analysis(residual))
        return maps


torch.manual_seed(0)
lista = Lista(5)
before = crosscheck_encoder(lista, dictionary, "lasso", test, lam=lam)
print(before)

# %%
# Learned, and checked again
# --------------------------
# Trained for seconds on the lasso objective itself, five layers do what takes ISTA over 20 iterations and
# FISTA about 10, on images that they were not trained on; the report counts them. It is still no pursuit: the
# objective is more than 10 per cent above the optimum, and most of the support is not that of the optimum.
optimizer = torch.optim.Adam(lista.parameters(), lr=5e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
data = torch.from_numpy(train)
for _ in range(300):
    batch = data[torch.randint(len(data), (8,))]
    maps = lista(batch)
    loss = (0.5 * (batch - lista.synthesis(maps)).square().sum() + lam * maps.abs().sum()) / len(batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
after = crosscheck_encoder(lista, dictionary, "lasso", test, lam=lam)
print(after)

# %%
# Where it falls short
# --------------------
# The excess over the reference, pixel by pixel, on the worst image; all of it adds up to the difference of
# the objectives.
figure, axes = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
plot_objectives(before, ax=axes[0])
plot_objectives(after, ax=axes[1])
plot_excess(after, ax=axes[2])

# %%
# What goes wrong in practice
# ---------------------------
# Each of these ran without an error message; the report says what happened.


def unrolled(x, n_iterations=200, lam=lam, flip=False, dead=None):
    axes = (2, 3) if flip else ()
    step = 1 / dictionary.lipschitz(x.shape[2:])
    turned = ConvDictionary(np.flip(dictionary.filters, axes))
    maps = 0 * turned.analyze(x)
    for _ in range(n_iterations):
        moved = maps + step * turned.analyze(x - turned.synthesize(maps))
        maps = np.sign(moved) * np.maximum(abs(moved) - step * lam, 0)
    if dead is not None:
        maps[:, dead] = 0
    return maps


most_used = np.abs(unrolled(test)).sum(axis=(0, 2, 3)).argsort()[-3:]
wrong = {
    "twice the penalty": lambda x: unrolled(x, lam=2 * lam),
    "filters flipped": lambda x: unrolled(x, flip=True),
    "dead maps": lambda x: unrolled(x, dead=most_used),
    "images in bytes": lambda x: unrolled(255 * x, n_iterations=20),
    "cropped maps": lambda x: unrolled(x)[..., 1:-1, 1:-1],
}
for name, encoder in wrong.items():
    report = crosscheck_encoder(encoder, dictionary, "lasso", test[:2], lam=lam, tol=0.05, max_iterations=20)
    print(f"{name}:")
    for failure in report.failures:
        print(f"    {failure}")

# %%
# A forward pass is layered thresholding
# --------------------------------------
# A plain stack of convolutions and ReLUs is recognised, and must agree with layered thresholding over its own
# weights to rounding; each layer is one step towards the (non-negative) lasso of its input.
network = torch.nn.Sequential(
    torch.nn.Conv2d(1, 8, 5, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(8, 12, 3), torch.nn.ReLU()
)
print(crosscheck_encoder(network, None, "layered-thresholding", test[..., :31, :31]))
plt.show()
