import errno
import os
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsegen_classic.images import folder as folders
from sparsegen_classic.images import open_images
from sparsegen_classic.images.folder import find_images, read_block
from sparsegen_classic.images.pixels import PixelRules

SHAPES = Path(__file__).parents[2] / "data" / "shapes"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def write_png16(path, array, colour_type, trns=None):
    """A 16-bit PNG, which Pillow cannot write in colour."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = [
        chunk(b"IHDR", header),
        chunk(b"tRNS", trns) if trns else b"",
        chunk(b"IDAT", zlib.compress(rows)),
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b""))


def grey(value, size=(4, 6)):
    return Image.fromarray(np.full(size, value, np.uint8))


def test_our_shapes_are_a_labelled_folder():
    shapes = open_images(SHAPES)
    assert shapes.images.shape == (12, 24, 24)
    assert shapes.images.dtype == np.float32
    assert shapes.images.flags.c_contiguous
    assert shapes.labels.tolist() == ["circle"] * 4 + ["square"] * 4 + ["triangle"] * 4
    assert [path.name for path in shapes.paths] == [f"{i:05d}.png" for i in range(12)]
    assert shapes.skipped == []
    assert open_images(SHAPES, labels=False).labels is None


def test_order_extensions_and_hidden_files(tmp_path):
    for i, name in enumerate(["b/x.PNG", "a-b/x.png", "a/z.Png", "a/deep/y.png", "B/x.png"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        grey(i).save(tmp_path / name)
    for name in (".hidden.png", ".cache/x.png", "a/._z.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    found = open_images(tmp_path)
    order = [path.relative_to(tmp_path).as_posix() for path in found.paths]
    assert order == sorted(order) == ["B/x.png", "a-b/x.png", "a/deep/y.png", "a/z.Png", "b/x.PNG"]
    np.testing.assert_array_equal(found.images[:, 0, 0] * 255, [4, 1, 3, 2, 0])
    assert found.labels.tolist() == ["B", "a-b", "a", "a", "b"]
    grey(9).save(tmp_path / "root.png")
    assert open_images(tmp_path).labels is None  # an image outside the classes


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    folder = tmp_path / "set"
    (folder / "class").mkdir(parents=True)
    grey(1).save(folder / "class" / "x.png")
    (folder / "linked").symlink_to(folder / "class")
    (folder / "class" / "loop").symlink_to(folder)
    found = open_images(folder)
    assert [path.relative_to(folder).as_posix() for path in found.paths] == ["class/x.png", "linked/x.png"]


def test_labels_of_a_folder_by_another_of_its_names(tmp_path, monkeypatch):
    (tmp_path / "set" / "class").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "set")
    grey(1).save(tmp_path / "set" / "class" / "x.png")
    monkeypatch.chdir(tmp_path)
    for name in ("set", "link", tmp_path / "set"):
        files = find_images(Path(name).resolve())
        assert folders.folder_labels(Path(name), files).tolist() == ["class"]
        assert open_images(name).labels.tolist() == ["class"]


def test_one_file_is_a_set_of_one(tmp_path):
    grey(51).save(tmp_path / "one.png")
    one = open_images(tmp_path / "one.png")
    assert len(one) == 1
    assert one.labels is None
    np.testing.assert_allclose(one.images, 0.2)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_8_bit_colour_is_exactly_that_of_pillow(tmp_path, rng, mode):
    image = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    image.save(tmp_path / "x.png")
    read = open_images(tmp_path, mode=mode).images[0]
    np.testing.assert_array_equal(read, np.asarray(image.convert(mode), np.float32) / 255)


def test_1_bit_palette_and_cmyk(tmp_path, rng):
    bits = rng.random((4, 6)) < 0.5
    Image.fromarray(bits).save(tmp_path / "1.png")
    colour = Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    colour.quantize(16).save(tmp_path / "2.png")
    colour.convert("CMYK").save(tmp_path / "3.tif")
    colour.save(tmp_path / "4.ppm")
    images = open_images(tmp_path, mode="RGB").images
    np.testing.assert_array_equal(images[0], np.repeat(bits[..., np.newaxis], 3, axis=2))
    np.testing.assert_array_equal(images[1] * 255, np.asarray(colour.quantize(16).convert("RGB")))
    np.testing.assert_allclose(images[2] * 255, np.asarray(colour), atol=1)
    np.testing.assert_allclose(images[3] * 255, np.asarray(colour), atol=1e-4)


def test_16_bits_of_grey_keep_their_precision(tmp_path, rng):
    deep = rng.integers(0, 65536, (4, 6)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "1.png")
    Image.fromarray(deep).save(tmp_path / "2.tif")
    (tmp_path / "3.pgm").write_bytes(b"P5 6 4 65535\n" + deep.astype(">u2").tobytes())
    for image in open_images(tmp_path).images:
        np.testing.assert_array_equal(image, np.float32(deep) / np.float32(65535))


def test_16_bit_grey_with_a_transparent_value(tmp_path):
    deep = np.array([[0, 77, 65535]], np.uint16)
    write_png16(tmp_path / "x.png", deep, 0, struct.pack(">H", 77))
    np.testing.assert_array_equal(open_images(tmp_path, background=0.5).images[0], [[0, 0.5, 1]])


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bits_of_colour_are_warned_of(tmp_path, rng, colour_type, channels):
    deep = rng.integers(0, 65536, (4, 6, channels))
    deep[..., -1] = 65535 if channels != 3 else deep[..., -1]
    write_png16(tmp_path / "deep.png", deep, colour_type)
    grey(1).save(tmp_path / "eight.png")
    with pytest.warns(UserWarning, match=r"1 of 2 files hold 16 bits .* reads the upper 8: .*deep.png"):
        images = open_images(tmp_path, mode="RGB").images
    colour = deep[..., :3] if channels > 2 else deep[..., :1]
    np.testing.assert_allclose(images[0], np.broadcast_to(colour, (4, 6, 3)) / 65535, atol=1 / 255)


def test_16_bit_ppm_is_warned_of(tmp_path, rng):
    (tmp_path / "x.ppm").write_bytes(b"P6 6 4 65535\n" + rng.integers(0, 256, 144, dtype=np.uint8).tobytes())
    with pytest.warns(UserWarning, match=r"1 of 1 files hold 16 bits"):
        open_images(tmp_path)


def test_float_tiff(tmp_path, rng):
    values = rng.random((4, 6)).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "x.tif")
    np.testing.assert_array_equal(open_images(tmp_path).images[0], values)
    Image.fromarray(values * 255).save(tmp_path / "x.tif")
    with pytest.raises(ValueError, match=r"x\.tif cannot be read.*floats must be finite and lie in \[0, 1\]"):
        open_images(tmp_path)
    Image.fromarray(np.where(values > 0.5, np.nan, values)).save(tmp_path / "x.tif")
    with pytest.raises(ValueError, match="found values from nan to nan"):
        open_images(tmp_path)


def test_32_bit_integers_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 6), np.int32)).save(tmp_path / "x.tif")
    with pytest.raises(ValueError, match="32-bit integers declare no range; store 8 or 16 bits"):
        open_images(tmp_path)


@pytest.mark.parametrize("background", [0.0, 0.25, 1.0])
def test_alpha_is_composited_on_the_background(tmp_path, background):
    rgba = np.array([[[255, 0, 0, 255], [0, 255, 0, 51], [9, 9, 9, 0]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    expected = [[1, 0, 0], [0.8 * background, 0.2 + 0.8 * background, 0.8 * background], [background] * 3]
    read = open_images(tmp_path, mode="RGB", background=background).images
    np.testing.assert_allclose(read[0, 0], expected, atol=1e-6)
    read = open_images(tmp_path, background=background).images
    np.testing.assert_allclose(read[0, 0], np.array(expected) @ [0.299, 0.587, 0.114], atol=1e-6)


def test_transparency_of_every_kind(tmp_path):
    Image.fromarray(np.array([[[100, 255], [100, 0]]], np.uint8), "LA").save(tmp_path / "1_la.png")
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([100, 100, 100, 7, 7, 7])
    palette.save(tmp_path / "2_palette.png", transparency=1)
    Image.fromarray(np.array([[100, 7]], np.uint8)).save(tmp_path / "3_grey.png", transparency=7)
    colour = np.array([[[100, 100, 100], [7, 8, 9]]], np.uint8)
    Image.fromarray(colour).save(tmp_path / "4_rgb.png", transparency=(7, 8, 9))
    palette.save(tmp_path / "5.gif", transparency=1)
    images = open_images(tmp_path, background=0.5).images
    assert len(images) == 5
    np.testing.assert_allclose(images[:, 0], np.broadcast_to([100 / 255, 0.5], (5, 2)), atol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, suffix, orientation):
    stored = Image.fromarray(
        np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.ones((8, 8), np.uint8))
    )
    exif = Image.Exif()
    exif[0x112] = orientation
    stored.save(tmp_path / f"x.{suffix}", exif=exif)
    upright = {
        **{1: lambda x: x, 2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud},
        **{5: np.transpose, 6: lambda x: np.rot90(x, -1), 7: lambda x: np.rot90(x, 2).T, 8: np.rot90},
    }[orientation]
    np.testing.assert_allclose(open_images(tmp_path).images[0] * 255, upright(np.asarray(stored)), atol=3)


def test_first_frame_of_an_animation(tmp_path):
    grey(200).save(tmp_path / "x.gif", save_all=True, append_images=[grey(0), grey(100)])
    grey(200).save(tmp_path / "y.tif", save_all=True, append_images=[grey(0)])
    np.testing.assert_allclose(open_images(tmp_path).images, 200 / 255)


def test_mixed_sizes_name_two_files_and_the_remedy(tmp_path):
    grey(1, (4, 6)).save(tmp_path / "a.png")
    grey(1, (5, 6)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"a\.png is 4x6, .*b\.png is 5x6; pass size and fit='resize'"):
        open_images(tmp_path, errors="skip")
    with pytest.raises(
        ValueError, match=r"b\.png is 5x6 .* not size=4x6; pass fit='resize', 'crop' or 'pad'"
    ):
        open_images(tmp_path, size=(4, 6))
    assert open_images(tmp_path, size=3, fit="resize").images.shape == (2, 3, 3)


@pytest.fixture
def damaged(tmp_path, rng):
    """Three good images among every kind of bad one."""
    whole = Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8))
    for name in ("a.png", "m.jpg", "z.png"):
        whole.save(tmp_path / name)
    for name in ("truncated.png", "truncated.jpg"):
        whole.save(tmp_path / name)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("<html>404</html>")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    return tmp_path


BAD = ["dangling.png", "empty.png", "text.jpg", "truncated.jpg", "truncated.png"]


def test_damaged_files_raise_by_default(damaged):
    with pytest.raises(ValueError, match=r"dangling\.png cannot be read as an image: .*errors='skip'"):
        open_images(damaged)
    for name in BAD[1:]:
        with pytest.raises(ValueError, match=rf"{name} cannot be read as an image"):
            open_images(damaged / name)


def test_damaged_files_are_skipped_and_listed(damaged):
    with warnings.catch_warnings(record=True) as silent:
        warnings.simplefilter("always")
        found = open_images(damaged, errors="skip")
    assert silent == []
    assert [path.name for path in found.paths] == ["a.png", "m.jpg", "z.png"]
    assert [path.name for path, _ in found.skipped] == BAD
    assert found.images.flags.c_contiguous
    np.testing.assert_array_equal(found.images[0], found.images[2])
    assert "3 grey images of 32x32, 5 files skipped" in repr(found)


def test_damaged_files_are_warned_of_once(damaged):
    with pytest.warns(UserWarning, match=r"5 of 8 image files could not be read.*empty\.png") as record:
        found = open_images(damaged, errors="warn")
    assert len(record) == 1
    assert record[0].filename == __file__  # the caller's line
    assert all(path.name in str(record[0].message) for path, _ in found.skipped)


def test_nothing_left(damaged):
    for name in ("a.png", "m.jpg", "z.png"):
        (damaged / name).unlink()
    with pytest.raises(ValueError, match=r"none of the 5 image files of .* could be read; .*dangling"):
        open_images(damaged, errors="skip")


def test_decompression_bombs_are_named(tmp_path, monkeypatch):
    grey(1, (20, 20)).save(tmp_path / "bomb.png")
    for limit in (300, 100):  # Pillow warns above the limit, raises above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match=rf"bomb\.png .*decompression-bomb limit .*= {limit}"):
            open_images(tmp_path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert read_block([tmp_path / "bomb.png"], PixelRules(), "skip")[2][0][0].name == "bomb.png"


def test_reading_leaves_warning_filters_alone(tmp_path, monkeypatch):
    """Other threads may be changing them: whoever restores them last wins."""
    grey(1).save(tmp_path / "x.png")
    monkeypatch.setattr(warnings, "catch_warnings", None)
    assert len(open_images(tmp_path)) == 1


def test_blocks_of_files(damaged):
    """A block is read by the rules of a folder; numbers say which files are left."""
    files = find_images(damaged)
    whole = open_images(damaged, errors="skip")
    parts = [read_block(files[start : start + 3], PixelRules(), "skip") for start in range(0, len(files), 3)]
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), whole.images)
    numbers = np.concatenate([3 * i + part[1] for i, part in enumerate(parts)])
    assert [files[i] for i in numbers] == whole.paths
    assert [file for part in parts for file in part[2]] == whole.skipped
    images, kept, skipped, reduced = read_block([damaged / name for name in BAD], PixelRules("RGB"), "skip")
    assert images.shape == (0, 0, 0, 3)
    assert (len(kept), len(skipped), reduced) == (0, 5, [])
    assert read_block([], PixelRules(size=7, fit="crop"))[0].shape == (0, 7, 7)


def test_files_that_go_away_while_they_are_read(tmp_path, monkeypatch):
    for name in "abc":
        grey(7).save(tmp_path / f"{name}.png")
    files = find_images(tmp_path)
    (tmp_path / "b.png").unlink()
    with pytest.raises(ValueError, match=r"b\.png cannot be read as an image: No such file .*; repair"):
        read_block(files, PixelRules())
    _, kept, skipped, _ = read_block(files, PixelRules(), "skip")
    assert kept.tolist() == [0, 2]
    assert skipped == [(files[1], "No such file or directory")]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_is_no_fault_of_the_file_is_not_skipped(tmp_path, monkeypatch, number):
    grey(7).save(tmp_path / "x.png")

    def fail(file):
        raise OSError(number, os.strerror(number), str(file))

    monkeypatch.setattr(folders, "decode", fail)
    with pytest.raises(OSError, match=r"x\.png"):
        open_images(tmp_path, errors="skip")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_links_in_circles_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    grey(7).save(tmp_path / "x.png")
    found = []
    reader = threading.Thread(target=lambda: found.append(open_images(tmp_path, errors="skip")), daemon=True)
    reader.start()
    reader.join(30)
    assert found[0].skipped[0] == (tmp_path / "pipe.png", "it is no regular file")
    assert [path.name for path in found[0].paths] == ["x.png"]
    assert found[0].skipped[1][0].name == "self.png"


def test_threads_read_the_same(damaged):
    files = [damaged / name for name in ("a.png", "m.jpg", "z.png")] * 50
    expected = read_block(files, PixelRules())[0]
    with ThreadPoolExecutor(4) as pool:
        read = pool.map(lambda _: read_block(files, PixelRules())[0], range(4))
    for images in read:
        np.testing.assert_array_equal(images, expected)


def test_folders_without_images(tmp_path):
    with pytest.raises(ValueError, match=r"holds no images; files ending in \.bmp .*\.ppm are looked for"):
        open_images(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="holds no images"):
        open_images(tmp_path)


def test_progress_is_silent_where_there_is_no_terminal(capsys):
    open_images(SHAPES, verbose=True)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_real_faces(data_root):
    faces = open_images(data_root / "faces" / "folder_utk300")
    assert faces.images.shape == (300, 200, 200)
    assert faces.labels is None
    with Image.open(faces.paths[7]) as image:
        np.testing.assert_array_equal(faces.images[7], np.asarray(image.convert("L"), np.float32) / 255)


def test_real_photographs_of_many_sizes_and_modes(data_root):
    with pytest.raises(ValueError, match="images differ in size"):
        open_images(data_root / "natural")
    photographs = open_images(data_root / "natural", mode="RGB", size=(32, 48), fit="crop")
    assert photographs.images.shape == (122, 32, 48, 3)
    assert set(photographs.labels) == {"Set12", "colour", "train400_100"}
