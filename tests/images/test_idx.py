import gzip
import struct

import numpy as np
import pytest

from sparsegen_classic.images import open_images


def idx(array, type_code=8):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, type_code, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 4, 5), dtype=np.uint8)


LABELS = np.arange(7, dtype=np.uint8) % 3


@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize("gz", [True, False])
def test_names_and_splits(tmp_path, images, separator, gz):
    for split, stop in (("train", 7), ("t10k", 3)):
        for kind, array, n in (("images", images, 3), ("labels", LABELS, 1)):
            data = idx(array[:stop])
            name = f"{split}-{kind}{separator}idx{n}-ubyte" + ".gz" * gz
            (tmp_path / name).write_bytes(gzip.compress(data) if gz else data)
    train = open_images(tmp_path)
    np.testing.assert_array_equal(train.images, np.float32(images) / 255)
    np.testing.assert_array_equal(train.labels, LABELS)
    assert train.labels.dtype == np.int64
    assert train.source == str(tmp_path)
    test = open_images(tmp_path, split="test")
    np.testing.assert_array_equal(test.images, train.images[:3])
    both = open_images(tmp_path, split="all", mode="RGB", size=8, fit="pad")
    assert both.images.shape == (10, 8, 8, 3)
    np.testing.assert_array_equal(both.labels, np.concatenate([LABELS, LABELS[:3]]))
    one = open_images(next(tmp_path.glob("t10k-images*")))
    np.testing.assert_array_equal(one.labels, LABELS[:3])
    assert open_images(tmp_path, labels=False).labels is None


def test_labels_are_found_under_the_other_spelling_or_absent(tmp_path, images):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images))
    assert open_images(tmp_path).labels is None
    (tmp_path / "train-labels.idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS)))
    np.testing.assert_array_equal(open_images(tmp_path).labels, LABELS)


def test_a_plain_file_goes_before_its_gzip_and_two_sets_are_refused(tmp_path, images):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images))
    assert len(open_images(tmp_path)) == 7
    with pytest.raises(
        FileNotFoundError, match=r"no images for split='test'; expected e\.g\. t10k-images-idx3"
    ):
        open_images(tmp_path, split="test")
    (tmp_path / "emnist-letters-train-images-idx3-ubyte").write_bytes(idx(images))
    with pytest.raises(ValueError, match=r"several train sets: emnist-letters-.*; give one file"):
        open_images(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda data: data[:-1],
            "is truncated: it announces 7 x 4 x 5 values, expected 156 bytes, found 155",
        ),
        (lambda data: data + b"x", "has trailing bytes: .* expected 156 bytes, found 157"),
        (lambda data: data[:10], r"header of 16 bytes and the magic number 2051 .*, found 10 bytes and 2051"),
        (lambda data: b"", "magic number 2051 .*, found 0 bytes and 0"),
        (lambda data: b"<html>" + data, "magic number 2051"),
        (
            lambda data: idx(np.zeros((2, 3, 3), ">f4"), 13),
            "magic number 2051 .*unsigned bytes.* found .* 3331",
        ),
        (lambda data: idx(LABELS), "magic number 2051 .* found 15 bytes and 2049"),
        (lambda data: gzip.compress(data)[:-12], "is a damaged gzip file"),
        (
            lambda data: idx(np.zeros((0, 4, 5), np.uint8)),
            r"must hold at least one pixel, found shape \(0, 4, 5\)",
        ),
    ],
)
def test_damaged_images(tmp_path, images, damage, message):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(damage(idx(images)))
    with pytest.raises(ValueError, match=rf"train-images-idx3-ubyte|{tmp_path.name}") as error:
        open_images(tmp_path / "train-images-idx3-ubyte")
    error.match(message)


def test_damaged_labels(tmp_path, images):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images))
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx(LABELS[:6]))
    with pytest.raises(
        ValueError, match=r"train-labels-idx1-ubyte must hold one label .* expected 7, found 6"
    ):
        open_images(tmp_path)
    labels.write_bytes(idx(images))
    with pytest.raises(
        ValueError, match=r"magic number 2049 \(idx, unsigned bytes, 1 dimension\), found .* 2051"
    ):
        open_images(tmp_path)
    assert len(open_images(tmp_path, labels=False)) == 7


def test_splits_of_different_sizes(tmp_path, images):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(images[:, 1:]))
    with pytest.raises(ValueError, match=r"holds images of \(4, 5\), .*t10k.* of \(3, 5\)"):
        open_images(tmp_path, split="all")


def test_real_mnist(data_root):
    train, test = (open_images(data_root / "mnist", split=split) for split in ("train", "test"))
    assert train.images.shape == (60000, 28, 28)
    assert test.images.shape == (10000, 28, 28)
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    np.testing.assert_allclose(train.images.mean(dtype=np.float64), 0.1307, atol=1e-4)
