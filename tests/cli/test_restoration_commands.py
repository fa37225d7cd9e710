"""The commands over patches and restoration as a user meets them."""

import json

import numpy as np
import pytest
from PIL import Image

from sparsegen_classic import MarkovSupports, load_model, save_model
from sparsegen_classic.images import extract_patches, split_means
from sparsegen_classic.restoration import decode_images, denoise, inpaint, iterate_images, read_image
from tests.cli.test_commands import run


def scene(height, width, shift=0.0):
    y, x = np.mgrid[:height, :width]
    return 0.5 + 0.3 * np.sin(x / 4 + shift) * np.cos(y / 6) + 0.15 * ((x + y) % 24 < 12)


def write(path, image):
    Image.fromarray(np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    (root / "sub").mkdir()
    write(root / "a.png", scene(40, 56))
    write(root / "b.jpg", scene(33, 31, 1.0))
    write(root / "sub" / "a.png", scene(64, 40, 2.0))
    return root


@pytest.fixture(scope="module")
def dictionary(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "patches.npz"
    code, out, err = run(
        *("learn-dictionary", folder, "-o", path, "--patch-shape", 6, "--n-components", 40),
        *("--max-iter", 3, "--seed", 0, "--json"),
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["atoms"] == 40
    return path


def test_a_folder_of_mixed_sizes_goes_to_codes_and_back(folder, dictionary, tmp_path):
    codes = tmp_path / "codes.npz"
    code, out, _ = run("encode", folder, "--dictionary", dictionary, "-o", codes, "--tol", 1e-3, "--json")
    assert code == 0
    result = json.loads(out)
    assert result["images"] == 3
    assert result["rmse"] <= (1e-3 / 36) ** 0.5
    model = load_model(dictionary)
    assert (model.patch_shape_, model.patch_mean_) == ([6, 6], "patch")
    originals = dict(iterate_images(folder))
    decoded = dict(decode_images(codes, model))
    assert list(decoded) == list(originals) == ["a.png", "b.jpg", "sub/a.png"]
    X, _ = split_means(extract_patches(originals["b.jpg"], 6, 6))
    with np.load(codes) as archive:
        assert len(archive["1.indptr"]) - 1 == len(X)
    for name, image in originals.items():
        assert np.sqrt(np.mean((decoded[name] - image) ** 2)) < 0.006
    code, _, _ = run("reconstruct", codes, "--dictionary", dictionary, "-o", tmp_path / "out")
    assert code == 0
    written = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png")}
    assert written == {"a.png", "b.jpg.png", "sub/a.png"}
    with Image.open(tmp_path / "out" / "b.jpg.png") as image:
        assert image.size == (31, 33)
    code, _, err = run("reconstruct", codes, "--dictionary", dictionary, "-o", tmp_path / "one.png")
    assert (code, "holds several images; give a folder" in err) == (1, True)
    code, _, err = run("reconstruct", codes, "--dictionary", dictionary, "-o", tmp_path / "out")
    assert (code, "is not empty" in err) == (1, True)


def test_one_image_becomes_one_png(folder, dictionary, tmp_path):
    codes = tmp_path / "codes.npz"
    assert run("encode", folder / "a.png", "--dictionary", dictionary, "-o", codes, "--stride", 3)[0] == 0
    assert run("reconstruct", codes, "--dictionary", dictionary, "-o", tmp_path / "a.png")[0] == 0
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (56, 40)


def test_codes_belong_to_their_dictionary(folder, dictionary, tmp_path):
    codes, other = tmp_path / "codes.npz", tmp_path / "other.npz"
    run("encode", folder, "--dictionary", dictionary, "-o", codes)
    run("learn-dictionary", folder, "-o", other, "--n-components", 40, "--max-iter", 1, "--patch-shape", 6)
    code, _, err = run("reconstruct", codes, "--dictionary", other, "-o", tmp_path / "out")
    assert (code, "coded with another dictionary" in err) == (1, True)
    code, _, err = run("reconstruct", dictionary, "--dictionary", dictionary, "-o", tmp_path / "out")
    assert (code, "is no file of codes" in err) == (1, True)
    save_model(MarkovSupports().fit(np.eye(3)), tmp_path / "supports.npz")
    for command in ("encode", folder), ("reconstruct", codes):
        code, _, err = run(*command, "--dictionary", tmp_path / "supports.npz", "-o", tmp_path / "out.npz")
        assert (code, "model is no dictionary of patches" in err) == (1, True)


def test_unreadable_files_in_a_stream(folder, tmp_path):
    for file in ("a.png", "b.jpg"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    (tmp_path / "broken.png").write_bytes(b"no image")
    small = ("--n-components", 20, "--max-iter", 1, "--seed", 0)
    code, _, err = run("learn-dictionary", tmp_path, "-o", tmp_path / "d.npz", *small)
    assert code == 1
    assert "broken.png cannot be read as an image" in err
    assert not (tmp_path / "d.npz").exists()
    code, _, err = run("learn-dictionary", tmp_path, "-o", tmp_path / "d.npz", *small, "--errors", "warn")
    assert code == 0
    assert "warning: 1 of 3 image files could not be read and were left out" in err


def test_denoise_is_the_function_of_the_same_name(tmp_path):
    clean = scene(48, 64)
    write(tmp_path / "noisy.png", clean + np.random.default_rng(0).normal(0, 0.08, clean.shape))
    arguments = ("denoise", tmp_path / "noisy.png", "-o", tmp_path / "out.png", "--seed", 1)
    code, out, _ = run(*arguments, "--sigma", 0.08, "--max-iter", 3, "--json")
    assert code == 0
    assert json.loads(out)["sigma"] == 0.08
    ((_, noisy),) = iterate_images(tmp_path / "noisy.png")
    expected = denoise(noisy, 0.08, max_iter=3, random_state=1)
    with Image.open(tmp_path / "out.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.rint(255 * expected).astype(np.uint8))
    code, _, err = run(*arguments)
    assert (code, "exists; choose another name" in err) == (1, True)
    code, out, _ = run(*arguments, "--dictionary", "dct", "--force", "--json")
    assert code == 0
    assert json.loads(out)["sigma"] == pytest.approx(0.08, rel=0.15)
    code, _, err = run(*arguments, "--force", "--sigma", 20)
    assert (code, "sigma must be greater than 0 and at most 1, got 20.0" in err) == (1, True)


def test_denoise_with_a_learned_dictionary_in_colour(dictionary, tmp_path):
    colour = np.stack([scene(40, 30), scene(40, 30, 1), scene(40, 30, 2)], axis=-1)
    write(tmp_path / "noisy.png", colour + np.random.default_rng(0).normal(0, 0.1, colour.shape))
    code, _, _ = run(
        *("denoise", tmp_path / "noisy.png", "-o", tmp_path / "out.png", "--sigma", 0.1),
        *("--dictionary", dictionary),
    )
    assert code == 0
    with Image.open(tmp_path / "out.png") as image, Image.open(tmp_path / "noisy.png") as noisy:
        assert image.mode == "RGB"
        after, before = (np.std(np.asarray(i) / 255 - colour) for i in (image, noisy))
    assert after < 0.7 * before


def test_inpaint_with_a_mask_file(tmp_path):
    clean = scene(48, 48)
    mask = np.random.default_rng(0).random(clean.shape) > 0.3
    write(tmp_path / "holes.png", clean * mask)
    write(tmp_path / "mask.png", mask.astype(float))
    write(tmp_path / "inverse.png", 1.0 - mask)
    base = ("inpaint", tmp_path / "holes.png", "--dictionary", "dct")
    code, out, _ = run(*base, "--mask", tmp_path / "mask.png", "-o", tmp_path / "a.png", "--json")
    assert code == 0
    assert json.loads(out)["missing"] == pytest.approx(0.3, abs=0.03)
    assert run(*base, "--mask", tmp_path / "inverse.png", "--invert", "-o", tmp_path / "b.png")[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert np.std(np.asarray(image) / 255 - clean) < 0.05
    write(tmp_path / "small.png", np.ones((4, 4)))
    code, _, err = run(*base, "--mask", tmp_path / "small.png", "-o", tmp_path / "c.png")
    assert (code, "mask must have the shape (h, w)=(48, 48)" in err) == (1, True)
    assert run(*base, "-o", tmp_path / "c.png")[0] == 2


def test_a_colour_mask_is_for_each_channel(tmp_path):
    colour = np.dstack([scene(32, 40), scene(32, 40, 1.0), scene(32, 40, 2.0)])
    mask = np.random.default_rng(0).random(colour.shape) > 0.3
    write(tmp_path / "holes.png", colour * mask)
    write(tmp_path / "mask.png", mask.astype(float))
    base = (
        "inpaint",
        tmp_path / "holes.png",
        "--dictionary",
        "dct",
        "--mask",
        tmp_path / "mask.png",
        "--json",
    )
    code, out, _ = run(*base, "-o", tmp_path / "whole.png")
    assert code == 0
    assert json.loads(out)["missing"] == pytest.approx(1 - mask.mean())
    holed, whole = (read_image(tmp_path / name) for name in ("holes.png", "whole.png"))
    np.testing.assert_allclose(whole, inpaint(holed, mask, dictionary="dct"), atol=0.51 / 255)
    np.testing.assert_array_equal(whole[mask], holed[mask])
    write(tmp_path / "grey.png", colour[..., 0] * mask[..., 0])  # a grey image takes the mean of the mask
    grey = ("inpaint", tmp_path / "grey.png", "--dictionary", "dct", "--mask", tmp_path / "mask.png")
    assert run(*grey, "-o", tmp_path / "grey_whole.png")[0] == 0
