"""One small fixed network of digits, shipped as plain arrays, whose features samples are measured in."""

from __future__ import annotations

import hashlib
import io
from functools import cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._parallel import for_blocks

_FILE = Path(__file__).with_name("digit_network.npz")
_SHA256 = "91191c2b161acb8306efd7999409dc15df7cc620310dbd8fd0afe04f40ac90b1"
_BLOCK = 64  # images: the patches of a block stay in cache


class DigitNetwork:
    """The digit network of this package: features and class probabilities of 28x28 grey images.

    A LeNet (convolutions of 16 and 32 filters 5x5, each with a 2x2 maximum, a hidden layer of 128) trained on
    the 60,000 training images of MNIST by ``examples/train_digit_network.py``; 99.48 % of the test images are
    classified correctly. Its weights are part of the package and never change within a version of it: figures
    computed with them are comparable with each other, and with those of no other network.

    Parameters
    ----------
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.

    Attributes
    ----------
    name : str
        Names the network in results: the beginning of the SHA-256 of its file.

    Raises
    ------
    OSError
        If the file of weights is not the one this version was made with.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.metrics import DigitNetwork
    >>> one = np.zeros((1, 28, 28), np.float32)
    >>> one[:, 5:23, 13:15] = 1
    >>> DigitNetwork().probabilities(one).argmax(axis=1)
    array([1])
    """

    def __init__(self, n_jobs: int | None = None):
        self.n_jobs = n_jobs
        self.name = f"digit network {_SHA256[:8]}"
        self._weights = _load_weights()

    def features(self, images: ArrayLike) -> NDArray[np.float32]:
        """Return the activations of the hidden layer.

        Parameters
        ----------
        images : array-like of shape (n, 28, 28)
            Grey levels in [0, 1], white digits on black.

        Returns
        -------
        features : ndarray of shape (n, 128), float32
            At least 0.

        Raises
        ------
        ValueError
            If the images have another size or values outside [0, 1].
        """
        pixels = _check_digits(images)
        features = np.empty((len(pixels), len(self._weights["hidden_bias"])), np.float32)

        def work(block: slice) -> None:
            maps = pixels[block, :, :, np.newaxis]
            for layer in ("conv1", "conv2"):
                maps = _convolve(maps, self._weights[f"{layer}_weight"], self._weights[f"{layer}_bias"])
            rows = maps.transpose(0, 3, 1, 2).reshape(len(maps), -1)  # channels first, as it was trained
            rows = rows @ self._weights["hidden_weight"].T + self._weights["hidden_bias"]
            features[block] = np.maximum(rows, 0)

        for_blocks(work, len(pixels), _BLOCK, self.n_jobs)
        return features

    def probabilities(self, images: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of each digit.

        Parameters
        ----------
        images : array-like of shape (n, 28, 28)
            As in :meth:`features`.

        Returns
        -------
        probabilities : ndarray of shape (n, 10), float64
        """
        return self.classify(self.features(images))

    def classify(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the probabilities (n, 10) that belong to features (n, 128): the last layer alone."""
        weight, bias = (self._weights[f"output_{part}"].astype(np.float64) for part in ("weight", "bias"))
        scores = features @ weight.T + bias
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)


def _convolve(
    maps: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Correlate (n, h, w, c) with (filters, c, 5, 5), then ReLU and the maximum of 2x2."""
    windows = sliding_window_view(maps, weight.shape[2:], axis=(1, 2))
    n, height, width = windows.shape[:3]
    columns = windows.reshape(n * height * width, -1)
    out = (columns @ weight.reshape(len(weight), -1).T).reshape(n, height // 2, 2, width // 2, 2, -1)
    return np.maximum(out.max(axis=(2, 4)) + bias, 0)


def _check_digits(images: ArrayLike) -> NDArray[np.float32]:
    pixels = np.asarray(images, np.float32)
    if pixels.ndim != 3 or pixels.shape[1:] != (28, 28):
        raise ValueError(
            f"images must be (n, 28, 28) for the digit network, found shape {pixels.shape}; resize them: "
            'open_images(source, mode="L", size=28, fit="resize"), or use other features'
        )
    low, high = pixels.min(initial=0), pixels.max(initial=1)
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"images must lie in [0, 1] for the digit network, found {low:.6g} to {high:.6g}; clip them"
        )
    return pixels


@cache
def _load_weights() -> dict[str, NDArray[np.float32]]:
    content = _FILE.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != _SHA256:
        raise OSError(
            f"{_FILE.name} has SHA-256 {found}, not {_SHA256}: its features would be others; install the "
            "package again"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return dict(archive)
