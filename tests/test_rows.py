"""Rows of images from memory and from files: the same values, however they are asked for."""

import pickle

import numpy as np
import pytest

from sparsegen_classic._archive import ArchiveError
from sparsegen_classic._rows import ArrayFile, Rows, as_source


@pytest.fixture
def array():
    return np.random.default_rng(0).random((50, 3, 4)).astype(np.float32)


@pytest.fixture
def path(array, tmp_path):
    np.save(tmp_path / "images.npy", array)
    return tmp_path / "images.npy"


INDICES = [
    slice(None),
    slice(3, 17),
    slice(40, 400),
    slice(None, None, -3),
    slice(5, 5),
    np.array([7, 8, 9, 3, 3, 49, -1]),
    np.array([], int),
]


@pytest.mark.parametrize("which", INDICES, ids=str)
def test_files_are_indexed_as_arrays_are(array, path, which):
    mapped = np.load(path, mmap_mode="r")
    for source in (
        ArrayFile.open_npy(path),
        as_source(mapped),
        pickle.loads(pickle.dumps(as_source(mapped))),
    ):
        assert isinstance(source, ArrayFile)
        np.testing.assert_array_equal(source[which], array[which])


def test_parts_of_maps(array, path):
    mapped = np.load(path, mmap_mode="r")
    np.testing.assert_array_equal(as_source(mapped[13:])[4:6], array[17:19])
    np.testing.assert_array_equal(as_source(mapped.reshape(50, 12)[13:])[:], array.reshape(50, 12)[13:])
    assert as_source(mapped[:, 1]) is not None  # not one piece: as it is
    assert not isinstance(as_source(mapped[:, 1]), ArrayFile)
    assert as_source(array) is array


def test_raw_files_at_an_offset(array, tmp_path):
    path = tmp_path / "raw"
    path.write_bytes(b"x" * 5000 + array.tobytes())
    mapped = np.memmap(path, np.float32, "r", offset=5000, shape=array.shape)
    np.testing.assert_array_equal(as_source(mapped)[9:11], array[9:11])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("members", [None, np.array([4, 2, 2, 30])])
@pytest.mark.parametrize("centred", [False, True])
def test_rows(tmp_path, dtype, members, centred):
    array = (np.random.default_rng(1).random((50, 3, 4)) * 255).astype(dtype)
    np.save(tmp_path / "images.npy", array)
    mean = np.arange(12, dtype=np.float32) if centred else None
    wanted = array[members] if members is not None else array
    wanted = wanted.reshape(-1, 12).astype(np.float64 if dtype == np.float64 else np.float32)
    wanted = wanted if mean is None else wanted - mean
    for source in (array, ArrayFile.open_npy(tmp_path / "images.npy")):
        rows = Rows(source, members, mean)
        assert rows.shape == wanted.shape
        assert rows.size == wanted.size
        assert len(rows) == len(wanted)
        for which in (slice(None), slice(1, 3), slice(2, 2), np.array([3, 0]), np.array([], int)):
            assert rows[which].dtype == rows.dtype == wanted.dtype
            assert rows[which].flags.c_contiguous
            np.testing.assert_array_equal(rows[which], wanted[which])


def test_a_file_that_shrinks_or_goes_is_an_error(path):
    file = ArrayFile.open_npy(path)
    path.write_bytes(path.read_bytes()[:-100])
    file[:10]
    with pytest.raises(OSError, match="images.npy is shorter than it was; put the whole file back"):
        file[:]
    with pytest.raises(ArchiveError, match="which its bytes do not fill"):
        ArrayFile.open_npy(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        file[:10]


def test_columns_first_is_refused(tmp_path):
    np.save(tmp_path / "columns.npy", np.zeros((4, 5), order="F"))
    with pytest.raises(ArchiveError, match="stored by columns; save numpy.ascontiguousarray of it"):
        ArrayFile.open_npy(tmp_path / "columns.npy")
