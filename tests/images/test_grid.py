import importlib.util
import io
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsegen_classic.images import check_target, grid, image_grid, open_images, save_images

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def images():
    return np.random.default_rng(0).random((5, 4, 6), dtype=np.float32)


LABELS = np.array(["b", "a", "b", "a", "c"])


def left_behind(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_grid_places_every_tile(images):
    sheet = image_grid(images, n_columns=2, pad=2, background=0.5)
    assert sheet.shape == (3 * 6 + 2, 2 * 8 + 2)
    for i in range(5):
        top, left = 2 + 6 * (i // 2), 2 + 8 * (i % 2)
        np.testing.assert_array_equal(sheet[top : top + 4, left : left + 6], images[i])
    assert np.count_nonzero(sheet == 0.5) == sheet.size - images.size


def test_grid_of_colour_and_of_any_values():
    colour = np.arange(24.0).reshape(1, 4, 2, 3) - 5
    np.testing.assert_array_equal(image_grid(colour, pad=0), colour[0])
    np.testing.assert_array_equal(image_grid(colour[..., :1], pad=0), colour[0, ..., 0])


@pytest.mark.parametrize(
    ("n", "size", "shape"), [(1, (3, 3), (1, 1)), (100, (3, 3), (10, 10)), (8, (2, 1), (2, 4))]
)
def test_sheets_are_about_square(n, size, shape):
    assert image_grid(np.zeros((n, *size)), pad=0).shape == (shape[0] * size[0], shape[1] * size[1])


def test_bad_grids(images):
    with pytest.raises(ValueError, match="n_columns must be at least 1, got 0"):
        image_grid(images, n_columns=0)
    with pytest.raises(ValueError, match="pad must be at least 0, got -1"):
        image_grid(images, pad=-1)
    for shape in [(4, 6), (2, 4, 6, 2), (0, 4, 6)]:
        with pytest.raises(ValueError, match=r"images must be \(n, h, w\) or \(n, h, w, 3\) .*found shape"):
            image_grid(np.zeros(shape))


def test_sheet(tmp_path, images):
    path = save_images(images, tmp_path / "x.png", n_columns=5)
    assert path == tmp_path / "x.png"
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet)
    small = image_grid(images, n_columns=5)
    np.testing.assert_array_equal(pixels, np.rint(np.kron(small, np.ones((10, 10))) * 255))
    save_images(np.zeros((2, 64, 64, 3)), tmp_path / "X.PNG")
    with Image.open(tmp_path / "X.PNG") as sheet:
        assert sheet.size == (64 * 1 + 2, 64 * 2 + 3)


def test_npz_round_trip(tmp_path, images):
    path = save_images(images, tmp_path / "x.npz", labels=LABELS)
    found = open_images(path)
    np.testing.assert_array_equal(found.images, images)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert open_images(save_images(images, str(tmp_path / "y.npz"))).labels is None


@pytest.mark.parametrize("shape", [(5, 4, 6), (5, 4, 6, 3)])
def test_folder_round_trip(tmp_path, shape):
    images = np.random.default_rng(0).random(shape)
    path = save_images(images, tmp_path / "set", labels=LABELS)
    found = open_images(path, mode="RGB" if len(shape) == 4 else "L")
    assert [file.relative_to(path).as_posix() for file in found.paths] == [
        *("a/00001.png", "a/00003.png", "b/00000.png", "b/00002.png", "c/00004.png")
    ]
    np.testing.assert_allclose(found.images, images[[1, 3, 0, 2, 4]], atol=0.5001 / 255)
    np.testing.assert_array_equal(found.labels, LABELS[[1, 3, 0, 2, 4]])
    plain = save_images(images, f"{tmp_path}/plain.v1/", labels=None)
    assert sorted(file.name for file in plain.iterdir()) == [f"{i:05d}.png" for i in range(5)]
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("name", ["x.png", "x.npz"])
def test_same_images_same_bytes(tmp_path, images, name, monkeypatch):
    labels = LABELS if name.endswith("npz") else None
    first = save_images(images, tmp_path / name, labels=labels).read_bytes()
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2e9))
    assert save_images(images, tmp_path / name, labels=labels, overwrite=True).read_bytes() == first
    if labels is not None:
        assert {entry.date_time[0] for entry in zipfile.ZipFile(io.BytesIO(first)).infolist()} == {1980}


@pytest.mark.parametrize("name", ["x.png", "x.npz", "x"])
def test_overwriting_is_asked_for(tmp_path, images, name):
    path = save_images(images, tmp_path / name)
    with pytest.raises(FileExistsError, match=r"overwrite it on purpose"):
        save_images(images, path)
    save_images(images[:2], path, overwrite=True)
    if path.is_dir():
        assert len(open_images(path)) == 2
        (path / "notes.txt").touch()
        with pytest.raises(
            FileExistsError, match=r"notes\.txt, which save_images did not write; choose another"
        ):
            save_images(images, path, overwrite=True)
        assert len(open_images(path)) == 2


def test_an_empty_folder_may_be_filled(tmp_path, images):
    (tmp_path / "x.set").mkdir()
    assert len(open_images(save_images(images, tmp_path / "x.set"))) == 5


@pytest.mark.parametrize("broken_call", ["_png", "rename"])
def test_a_failure_leaves_what_was_there(tmp_path, images, monkeypatch, broken_call):
    path = save_images(images, tmp_path / "set")

    def fail(*arguments):
        raise OSError("disk full")

    if broken_call == "_png":
        monkeypatch.setattr(grid, "_png", fail)
    else:
        rename = Path.rename
        monkeypatch.setattr(Path, "rename", lambda a, b: fail() if a.name == "new" else rename(a, b))
    with pytest.raises(OSError, match="disk full"):
        save_images(images[:1], path, overwrite=True)
    assert len(open_images(path)) == 5
    assert left_behind(tmp_path) == []


def test_bad_images_labels_and_paths(tmp_path, images):
    with pytest.raises(
        ValueError, match=r"images must be finite and lie in \[0, 1\], found values from .* to 2; clip"
    ):
        save_images(images / images.max() * 2, tmp_path / "x.png")
    with pytest.raises(ValueError, match="found values from nan to nan"):
        save_images(images * np.nan, tmp_path / "x.npz")
    with pytest.raises(
        ValueError, match=r"one integer or string per image, expected shape \(5,\), found shape \(2,\)"
    ):
        save_images(images, tmp_path / "x.npz", labels=[1, 2])
    with pytest.raises(ValueError, match=r"one integer or string per image, .* of object"):
        save_images(images, tmp_path / "x.npz", labels=[None] * 5)
    with pytest.raises(
        ValueError, match=r"labels have no place in the sheet .*x\.png; save a \.npz file or a folder"
    ):
        save_images(images, tmp_path / "x.png", labels=LABELS)
    for label in ("../up", "", ".hidden", "a:b"):
        with pytest.raises(ValueError, match=r"labels name sub-folders, which .* cannot"):
            save_images(images, tmp_path / "x", labels=[label] * 5)
    with pytest.raises(
        ValueError, match=r"path must end in \.png \(a sheet\), \.npz, or have no suffix .*x\.jpg"
    ):
        save_images(images, tmp_path / "x.jpg")
    assert check_target(f"{tmp_path}/x.v1/") == tmp_path / "x.v1"
    for name in ("nowhere/x.png", "nowhere/x"):
        with pytest.raises(FileNotFoundError, match="nowhere does not exist; create it first"):
            save_images(images, tmp_path / name)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="file exists and is a file"):
        save_images(images, tmp_path / "file", overwrite=True)
    assert os.listdir(tmp_path) == ["file"]


def test_our_shapes_are_what_their_script_makes(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("make_shapes", DATA / "make_shapes.py")
    make_shapes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_shapes)
    monkeypatch.setattr(make_shapes, "__file__", str(tmp_path / "make_shapes.py"))
    make_shapes.main()
    np.testing.assert_array_equal(
        open_images(tmp_path / "shapes").images, open_images(DATA / "shapes").images
    )
