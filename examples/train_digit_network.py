"""Train the digit network that ``sparsegen_classic.metrics.DigitNetwork`` ships.

    python examples/train_digit_network.py MNIST_FOLDER OUTPUT.npz

Needs torch; takes a few minutes on two cores. Only the training split is seen, the test split is read once,
at the end, to state the accuracy. Retraining changes the features and with them every distance computed in
them: the file in the package is fixed, and its SHA-256 is in ``sparsegen_classic/metrics/digit_network.py``.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sparsegen_classic import open_images
from sparsegen_classic._files import atomic_write, write_npz

EPOCHS, BATCH, RATE, SHIFT = 14, 128, 2e-3, 1


def make_network():
    return nn.Sequential(
        nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(512, 128), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip


def shifted(images):
    """Move every image of a batch by up to SHIFT pixels each way."""
    padded = nn.functional.pad(images, (SHIFT,) * 4)
    moves = torch.randint(2 * SHIFT + 1, (len(images), 2))
    return torch.stack(
        [image[:, y : y + 28, x : x + 28] for image, (y, x) in zip(padded, moves, strict=True)]
    )


def train(images, labels):
    network = make_network()
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for epoch in range(EPOCHS):
        network.train()
        for batch in torch.randperm(len(images))[: len(images) // BATCH * BATCH].split(BATCH):
            loss = nn.functional.cross_entropy(network(shifted(images[batch])), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {EPOCHS}: loss of the last batch {loss.item():.4f}", flush=True)
    return network.eval()


def main(folder, output):
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    pixels, labels = {}, {}
    for split in ("train", "test"):
        data = open_images(folder, split=split)
        pixels[split] = torch.from_numpy(data.images)[:, None]
        labels[split] = torch.from_numpy(np.asarray(data.labels, np.int64))
    network = train(pixels["train"], labels["train"])
    with torch.no_grad():
        accuracy = (network(pixels["test"]).argmax(dim=1) == labels["test"]).double().mean().item()
    layers = {"conv1": network[0], "conv2": network[3], "hidden": network[7], "output": network[10]}
    arrays = {
        f"{name}_{part}": getattr(layer, part).detach().numpy()
        for name, layer in layers.items()
        for part in ("weight", "bias")
    }
    with atomic_write(output, overwrite=True) as file:
        write_npz(file, arrays)
    content = Path(output).read_bytes()
    print(f"test accuracy {accuracy:.2%}; wrote {output}, {len(content)} bytes")
    print(f"SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
