"""The digit network: its layers against a plain reading of them, its file, and what it says of digits."""

import numpy as np
import pytest
from scipy.signal import correlate

from sparsegen_classic import open_images
from sparsegen_classic.metrics import DigitNetwork, digit_network


def by_definition(image, weights):
    """Convolve, ReLU and pool one image with loops over filters and pixels."""
    maps = image[np.newaxis].astype(float)
    for layer in ("conv1", "conv2"):
        weight, bias = weights[f"{layer}_weight"].astype(float), weights[f"{layer}_bias"]
        out = np.stack(
            [
                sum(correlate(plane, kernel, "valid") for plane, kernel in zip(maps, kernels, strict=True))
                for kernels in weight
            ]
        )
        out = np.maximum(out + bias[:, None, None], 0)
        height, width = out.shape[1:]
        maps = np.array(
            [
                [[plane[i : i + 2, j : j + 2].max() for j in range(0, width, 2)] for i in range(0, height, 2)]
                for plane in out
            ]
        )
    hidden = np.maximum(weights["hidden_weight"].astype(float) @ maps.ravel() + weights["hidden_bias"], 0)
    scores = weights["output_weight"].astype(float) @ hidden + weights["output_bias"]
    return hidden, np.exp(scores) / np.exp(scores).sum()


def test_equals_the_layers_by_definition():
    images = np.random.default_rng(0).random((3, 28, 28), np.float32)
    network = DigitNetwork()
    features, probabilities = network.features(images), network.probabilities(images)
    for image, feature, probability in zip(images, features, probabilities, strict=True):
        hidden, expected = by_definition(image, digit_network._load_weights())
        np.testing.assert_allclose(feature, hidden, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(probability, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_equals_torch():
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(1).random((70, 28, 28), np.float32)
    weights = {name: torch.from_numpy(array) for name, array in digit_network._load_weights().items()}
    maps = torch.from_numpy(images)[:, None]
    for layer in ("conv1", "conv2"):
        maps = torch.nn.functional.conv2d(maps, weights[f"{layer}_weight"], weights[f"{layer}_bias"])
        maps = torch.nn.functional.max_pool2d(maps.relu(), 2)
    hidden = torch.nn.functional.linear(maps.flatten(1), weights["hidden_weight"], weights["hidden_bias"])
    np.testing.assert_allclose(DigitNetwork().features(images), hidden.relu().numpy(), rtol=1e-4, atol=1e-4)


def test_the_same_bits_for_any_jobs():
    images = np.random.default_rng(2).random((150, 28, 28), np.float32)
    np.testing.assert_array_equal(
        DigitNetwork(n_jobs=1).features(images), DigitNetwork(n_jobs=3).features(images)
    )
    assert DigitNetwork().features(images[:0]).shape == (0, 128)


def test_reads_the_test_digits(data_root):
    test = open_images(data_root / "mnist", split="test")
    probabilities = DigitNetwork(n_jobs=2).probabilities(test.images)
    assert (probabilities.argmax(axis=1) == test.labels).mean() == pytest.approx(0.9948, abs=2e-4)


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    content = bytearray(digit_network._FILE.read_bytes())
    content[-1] ^= 1
    (tmp_path / "digit_network.npz").write_bytes(content)
    monkeypatch.setattr(digit_network, "_FILE", tmp_path / "digit_network.npz")
    digit_network._load_weights.cache_clear()
    with pytest.raises(OSError, match="has SHA-256 .* install the package again"):
        DigitNetwork()
    monkeypatch.undo()
    digit_network._load_weights.cache_clear()
    assert DigitNetwork().name == f"digit network {digit_network._SHA256[:8]}"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8)), r"must be \(n, 28, 28\) .* found shape \(2, 8, 8\); resize them"),
        (np.zeros((28, 28)), r"must be \(n, 28, 28\)"),
        (np.full((1, 28, 28), 1.5), r"must lie in \[0, 1\] .* found 0 to 1.5; clip them"),
        (np.full((1, 28, 28), np.nan), r"must lie in \[0, 1\]"),
    ],
)
def test_other_images_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        DigitNetwork().features(images)
