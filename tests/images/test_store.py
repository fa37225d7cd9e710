"""Image stores: what is read from them is what open_images reads; interrupted, damaged, refused."""

import os
import pickle

import joblib
import numpy as np
import pytest
from PIL import Image

from sparsegen_classic import CheckpointError, ImageStore, open_images, store_images
from sparsegen_classic.images import store as module
from sparsegen_classic.images.store import survey_images


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 4)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(11):
        place = tmp_path / "photos" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (12, 9, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{number:02}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("rules", [{}, {"size": 6, "fit": "resize"}, {"size": (16, 16), "fit": "pad"}])
def test_the_same_as_open_images(folder, tmp_path, mode, rules):
    store = store_images(folder, tmp_path / "store", mode=mode, n_jobs=2, **rules)
    opened = open_images(folder, mode=mode, **rules)
    assert store.shape == opened.images.shape
    assert store.dtype == opened.images.dtype
    assert store.paths == opened.paths
    assert store.labels.tolist() == opened.labels.tolist()
    assert survey_images(folder, mode=mode, **rules) == store.shape
    for which in (slice(None), slice(3, 9), slice(None, None, -2), np.array([10, 0, 5, 5]), [1, 2]):
        np.testing.assert_array_equal(store[which], opened.images[which])
    worker = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(worker[:], opened.images)
    assert len(pickle.dumps(store)) < 5000


def test_bytes_where_they_lose_nothing(folder, tmp_path):
    def size(store):
        return sum(path.stat().st_size for path in store.folder.glob("blocks/*-0-*.npy"))

    assert size(store_images(folder, tmp_path / "as_it_is")) < 11 * 12 * 9 + 3 * 200
    assert size(store_images(folder, tmp_path / "sized", size=6, fit="resize")) > 4 * 11 * 6 * 6


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, bool])
def test_arrays_in_files(tmp_path, dtype):
    pixels = np.random.default_rng(1).random((10, 5, 6))
    pixels = (pixels * np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else pixels.round(1)).astype(dtype)
    np.save(tmp_path / "images.npy", pixels)
    store = store_images(tmp_path / "images.npy", tmp_path / "store")
    np.testing.assert_array_equal(store[:], open_images(pixels).images)
    assert store.labels is store.paths is None
    assert survey_images(tmp_path / "images.npy") == (10, 5, 6)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")[3:]
    np.testing.assert_array_equal(store_images(mapped, tmp_path / "part")[:], store[3:])


def test_interrupted_it_goes_on(folder, tmp_path, monkeypatch):
    read, blocks = module.read_block, []

    def broken(files, *rules):
        blocks.append(files[0].name)
        if len(blocks) == 2:
            raise KeyboardInterrupt
        return read(files, *rules)

    monkeypatch.setattr(module, "read_block", broken)
    with pytest.raises(KeyboardInterrupt):
        store_images(folder, tmp_path / "store")
    store = store_images(folder, tmp_path / "store")
    assert len(blocks) == 4  # three blocks, one of them begun twice
    np.testing.assert_array_equal(store[:], open_images(folder).images)
    store_images(folder, tmp_path / "store")
    assert len(blocks) == 4


@pytest.mark.parametrize("harm", ["gone", "cut"])
@pytest.mark.parametrize("way", ["repaired", "removed"])
def test_a_file_that_goes_away_is_named_and_the_rest_goes_on(folder, tmp_path, harm, way):
    victim = sorted(folder.rglob("*.png"))[6]
    content = victim.read_bytes()
    read, lost = module.read_block, []

    def losing(files, *rules):
        if victim in files and not lost:
            lost.append(victim.unlink() if harm == "gone" else victim.write_bytes(content[:90]))
        return read(files, *rules)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "read_block", losing)
        with pytest.raises(ValueError, match=f"{victim.name} cannot be read as an image"):
            store_images(folder, tmp_path / "store")
    assert lost
    done = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "store" / "blocks").iterdir()}
    assert done
    if way == "repaired":
        victim.write_bytes(content)
    else:
        victim.unlink(missing_ok=True)
    store = store_images(folder, tmp_path / "store")
    np.testing.assert_array_equal(store[:], open_images(folder).images)
    first = sorted(store.folder.glob("blocks/*.npy"))[0]
    assert first.stat().st_mtime_ns == done[first.name]  # blocks before it are not done again


def test_files_that_cannot_be_read_are_left_out(folder, tmp_path):
    bad = [folder / "a" / "02.png", folder / "b" / "03.png", folder / "b" / "05.png"]
    bad[0].write_bytes(b"no image")
    bad[1].write_bytes(bad[1].read_bytes()[:200])
    bad[2].unlink()
    bad[2].symlink_to(os.devnull)
    for _ in range(2):  # made, and found
        with pytest.warns(UserWarning, match="3 of 11 image files could not be read") as record:
            store = store_images(folder, tmp_path / "store", errors="warn")
        reasons = [reason for _, reason in store.skipped]
        assert [path for path, _ in store.skipped] == bad
        assert reasons[::2] == ["Pillow does not recognise its content", "it is no regular file"]
        assert len(set(reasons)) == 3
        assert all(f"{path}: {reason}" in str(record[0].message) for path, reason in store.skipped)
    opened = open_images(folder, errors="skip")
    assert store.skipped == opened.skipped
    assert store.paths == opened.paths
    np.testing.assert_array_equal(store[:], opened.images)


def test_reasons_that_do_not_fit_the_files_are_refused(folder, tmp_path):
    (folder / "a" / "02.png").write_bytes(b"no image")
    store = store_images(folder, tmp_path / "store", errors="skip")
    store._blocks[0] = (*store._blocks[0][:2], store._blocks[1][2])
    del store.skipped  # which was read already
    with pytest.raises(CheckpointError, match="do not fit together; remove that folder"):
        _ = store.skipped


def test_files_cut_to_8_bits_are_warned_of(folder, tmp_path):
    deep = np.zeros((12, 9, 3), np.uint16)
    deep[..., 0] = 40000
    path = folder / "b" / "deep.ppm"
    path.write_bytes(b"P6 9 12 65535\n" + deep.astype(">u2").tobytes())
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 of 12 files hold 16 bits per channel"):
            store_images(folder, tmp_path / "store", mode="RGB")


def test_mixed_sizes_in_different_blocks_are_named(folder, tmp_path):
    for path in sorted(folder.glob("a/*.png"))[:3]:
        path.unlink()  # two whole blocks are left
    Image.new("L", (9, 13)).save(folder / "b" / "zz.png")
    with pytest.raises(ValueError, match=r"06.png is 12x9, .*zz.png is 13x9; pass size and fit="):
        store_images(folder, tmp_path / "store")


def test_another_source_is_refused(folder, tmp_path):
    store_images(folder, tmp_path / "store")
    with pytest.raises(CheckpointError, match="rules, mode is 'L' there and 'RGB' here"):
        store_images(folder, tmp_path / "store", mode="RGB")
    (folder / "a" / "00.png").touch()
    with pytest.raises(CheckpointError, match="some have another name, size or date now; remove that folder"):
        store_images(folder, tmp_path / "store")


def test_damage_is_repaired(folder, tmp_path):
    store = store_images(folder, tmp_path / "store")
    path = sorted(store.folder.glob("blocks/*-0-*.npy"))[1]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OSError, match="is shorter than it was"):
        store[:]
    with pytest.warns(UserWarning, match="is damaged; what it held is done again"):
        again = store_images(folder, tmp_path / "store")
    np.testing.assert_array_equal(again[:], open_images(folder).images)


def test_workers_store(folder, tmp_path):
    with joblib.parallel_config(backend="loky", n_jobs=2):
        store = store_images(folder, tmp_path / "store")
    np.testing.assert_array_equal(store[:], open_images(folder).images)


@pytest.mark.parametrize("source", ["digits", "nowhere", 5, np.zeros((3, 4, 4))])
def test_other_sources_are_named(tmp_path, source):
    with pytest.raises(ValueError, match="source must be a folder of images, or a .npy file"):
        store_images(source, tmp_path / "store")
    if not isinstance(source, str):
        assert survey_images(source) is None


def test_what_is_shown(folder, tmp_path):
    store = store_images(folder, tmp_path / "store")
    assert isinstance(store, ImageStore)
    assert repr(store).startswith("ImageStore(11 images of 12x9, source=")
