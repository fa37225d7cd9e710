"""The commands as a user meets them: output, messages, exit codes, and nothing left half-written."""

import gzip
import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sparsegen_classic import (
    KSVD,
    SparseImageGenerator,
    load_model,
    open_images,
    save_images,
    save_model,
)
from sparsegen_classic.cli import main


def run(*arguments):
    """Run a command in-process; exceptions other than an exit are failures of the test."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def arrays(path):
    with np.load(path) as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "digits.npz"
    code, _, _ = run("fit", "digits", "-o", path, "--per-class", "--seed", 0)
    assert code == 0
    return path


def test_demo_writes_a_model_and_pictures_and_says_where(tmp_path):
    folder = tmp_path / "out"
    code, out, err = run("demo", "-o", folder)
    assert code == 0
    assert err == ""
    pictures = {"dictionary.png", "samples.png", "neighbours.png", "random_combinations.png"}
    names = {"digits.npz", "samples.npz"} | pictures
    assert {file.name for file in folder.iterdir()} == names
    assert all(name in out for name in names)
    for name in pictures:
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 300
    samples = arrays(folder / "samples.npz")
    assert samples["images"].shape == (100, 8, 8)
    assert samples["labels"].tolist() == np.repeat(np.arange(10), 10).tolist()
    code, _, err = run("demo", "-o", folder)
    assert code == 1
    assert "digits.npz exists; choose another name, or overwrite it on purpose (--force" in err


def test_the_options_reach_the_model_under_the_names_of_the_python_parameters(tmp_path):
    path = tmp_path / "m.npz"
    options = ("--n-components", 9, "--n-nonzero-coefs", 2, "--max-iter", 3, "--update", "exact",
               "--mean", "none", "--smoothing", 1.5, "--pair-exponent", 0.5, "--min-count", 2, "--burn-in", 7,
               "--prior-strength", 4, "--draw", "clip", "--no-sketches")  # fmt: skip
    code, out, _ = run("fit", "digits", "-o", path, "--seed", 3, "--json", *options)
    assert code == 0
    result = json.loads(out)
    assert {"model": str(path), "images": 1797, "skipped": 0, "seed": 3}.items() <= result.items()
    parameters = load_model(path).get_params()
    expected = {
        "dictionary__n_components": 9, "dictionary__n_nonzero_coefs": 2, "dictionary__max_iter": 3,
        "dictionary__update": "exact", "mean": "none", "supports__smoothing": 1.5,
        "supports__pair_exponent": 0.5, "supports__min_count": 2, "supports__burn_in": 7,
        "coefficients__prior_strength": 4.0, "coefficients__draw": "clip", "random_state": 3,
    }  # fmt: skip
    assert {name: parameters[name] for name in expected} == expected


def test_trainlets_as_the_dictionary(tmp_path):
    options = ("--dictionary", "trainlets", "--max-iter", 2, "--seed", 0)
    assert run("fit", "digits", "-o", tmp_path / "m.npz", *options)[0] == 0
    dictionary = load_model(tmp_path / "m.npz").dictionaries_[0]
    assert type(dictionary).__name__ == "Trainlets"
    assert dictionary.image_shape == [8, 8]
    assert run("sample", tmp_path / "m.npz", "-n", 9, "-o", tmp_path / "s.png")[0] == 0


def test_the_same_seed_gives_the_same_bytes_for_one_job_and_two(tmp_path):
    for jobs in (1, 2):
        folder = tmp_path / str(jobs)
        folder.mkdir()
        assert (
            run("fit", "digits", "-o", folder / "m.npz", "--per-class", "--seed", 4, "--jobs", jobs)[0] == 0
        )
        for name in ("sheet.png", "samples.npz"):
            assert (
                run("sample", folder / "m.npz", "-n", 50, "-o", folder / name, "--seed", 5, "--jobs", jobs)[0]
                == 0
            )
    for name in ("sheet.png", "samples.npz"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_sample_writes_a_sheet_arrays_or_a_folder(model, tmp_path):
    code, out, _ = run("sample", model, "-n", 30, "-o", tmp_path / "s.npz", "--json", "--seed", 1)
    assert code == 0
    assert json.loads(out)["images"] == 30
    samples = arrays(tmp_path / "s.npz")
    assert samples["images"].shape == (30, 8, 8)
    assert samples["images"].dtype == np.float32
    assert samples["labels"].shape == (30,)
    code, _, _ = run("sample", model, "-n", 12, "-o", tmp_path / "threes", "--class", "3")
    assert code == 0
    assert open_images(tmp_path / "threes").labels.tolist() == ["3"] * 12
    code, out, _ = run("sample", model, "-n", 20, "-o", tmp_path / "sheet.png", "--neighbours", "digits")
    assert code == 0
    assert "median" in out
    assert (tmp_path / "sheet_neighbours.png").exists()
    assert run("sample", model, "-n", 5, "-o", tmp_path / "q.png", "-q")[1:] == ("", "")


def test_without_a_seed_draws_differ_and_the_seed_is_reported(model, tmp_path):
    seeds = [
        json.loads(run("sample", model, "-n", 4, "-o", tmp_path / f"{i}.npz", "--json")[1])["seed"]
        for i in range(2)
    ]
    assert seeds[0] != seeds[1]
    run("sample", model, "-n", 4, "-o", tmp_path / "again.npz", "--seed", seeds[0])
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "0.npz").read_bytes()


def test_info_as_text_json_and_picture(model, tmp_path):
    code, out, _ = run("info", model, "--atoms", tmp_path / "atoms.png")
    assert code == 0
    assert "classes: 0, 1, 2" in out
    assert (tmp_path / "atoms.png").exists()
    about = json.loads(run("info", model, "--json")[1])
    assert about["summary"]["image_shape"] == [8, 8]


def images_folder(path, sizes=((12, 12),), n=12):
    path.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n):
        pixels = rng.integers(0, 255, sizes[i % len(sizes)], dtype=np.uint8)
        Image.fromarray(pixels).save(path / f"{i:02d}.png")
    return path


def truncated_idx(path):
    with gzip.open(path, "wb") as file:
        file.write(
            (2051).to_bytes(4, "big") + (100).to_bytes(4, "big") + (28).to_bytes(4, "big") * 2 + b"0" * 50
        )
    return path


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda p: p / "nowhere", (), "does not exist"),
        (lambda p: (p / "empty").mkdir() or p / "empty", (), "no image"),
        (lambda p: images_folder(p / "mixed", ((12, 12), (10, 14))), (), "size"),
        (lambda p: images_folder(p / "few"), ("--n-components", 30), "n_components=30 atoms need at least"),
        (lambda p: images_folder(p / "k"), ("--n-components", 5, "--n-nonzero-coefs", 8), "n_nonzero_coefs"),
        (lambda p: images_folder(p / "unlabelled"), ("--per-class",), "--per-class needs labels"),
        (lambda p: truncated_idx(p / "train-images-idx3-ubyte.gz"), (), "train-images-idx3-ubyte.gz"),
        (lambda p: np.save(p / "nan.npy", np.full((9, 4, 4), np.nan)) or p / "nan.npy", (), "nan.npy"),
        (lambda p: np.save(p / "flat.npy", np.ones((9, 4, 4))) or p / "flat.npy", (), "are equal"),
    ],
)  # fmt: skip
def test_bad_sources_end_with_a_message_and_leave_nothing(tmp_path, make, options, message):
    source = make(tmp_path)
    before = set(tmp_path.rglob("*"))
    code, out, err = run("fit", source, "-o", tmp_path / "m.npz", *options)
    assert code == 1
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert set(tmp_path.rglob("*")) == before


def test_a_corrupt_image_is_named_or_skipped_and_counted(tmp_path):
    folder = images_folder(tmp_path / "photos", n=40)
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    code, _, err = run("fit", folder, "-o", tmp_path / "m.npz")
    assert code == 1
    assert "bad.jpg" in err
    code, out, err = run("fit", folder, "-o", tmp_path / "m.npz", "--errors", "warn")
    assert code == 0
    assert "1 files skipped" in out
    assert out.endswith(f"m.npz\n  {folder / 'bad.jpg'}: Pillow does not recognise its content\n")
    assert err.startswith("warning: ")
    assert "bad.jpg" in err
    code, out, _ = run("fit", folder, "-o", tmp_path / "n.npz", "--errors", "skip", "--json")
    result = json.loads(out)
    assert result["skipped"] == 1
    assert result["skipped_files"] == {str(folder / "bad.jpg"): "Pillow does not recognise its content"}


def test_bad_models_and_classes(model, tmp_path):
    for content, message in (
        (model.read_bytes()[:-100], "truncated or damaged"),
        (pickle.dumps([1]), "is a pickle"),
        (b"text", "is not a model file"),
    ):
        path = tmp_path / "bad.npz"
        path.write_bytes(content)
        for command in (("info", path), ("sample", path, "-o", tmp_path / "s.png")):
            code, _, err = run(*command)
            assert code == 1
            assert message in err
    code, _, err = run("sample", model, "-o", tmp_path / "s.png", "--class", "12")
    assert code == 1
    assert "class_ must be one of the classes 0, 1" in err
    assert not (tmp_path / "s.png").exists()


def test_models_that_draw_nothing_are_described_but_not_asked_to(tmp_path):
    rows = np.random.default_rng(0).random((50, 16))
    for model, message in (
        (
            SparseImageGenerator(KSVD(5)),
            "m.npz holds a generator that has not been fitted; give a model of `fit`",
        ),
        (
            KSVD(5, random_state=0).fit(rows),
            "m.npz holds a KSVD, which draws no images; give a model of `fit`",
        ),
    ):
        path = save_model(model, tmp_path / "m.npz", overwrite=True)
        code, out, _ = run("info", path, "--json")
        assert code == 0
        assert json.loads(out)["class"] == type(model).__name__
        for command in (
            ("info", path, "--atoms", tmp_path / "a.png"),
            ("sample", path, "-o", tmp_path / "s.png"),
            ("sample", path, "-o", tmp_path / "s.png", "--neighbours", "digits"),
            ("evaluate", path, "--against", "digits"),
        ):
            code, out, err = run(*command)
            assert (code, out) == (1, "")
            assert message in err
    assert [file.name for file in tmp_path.iterdir()] == ["m.npz"]


def test_outputs_are_checked_before_any_work(model, tmp_path):
    (tmp_path / "taken.npz").write_bytes(b"precious")
    start = time.perf_counter()
    code, _, err = run("fit", "nowhere", "-o", tmp_path / "taken.npz")
    assert code == 1
    assert "taken.npz exists" in err
    assert (tmp_path / "taken.npz").read_bytes() == b"precious"
    code, _, err = run("sample", model, "-o", tmp_path / "missing" / "s.png")
    assert "does not exist; create it first" in err
    code, _, err = run("sample", model, "-o", tmp_path / "s.jpg")
    assert "path must end in .png" in err
    assert time.perf_counter() - start < 20
    assert run("sample", model, "-n", 3, "-o", tmp_path / "taken.npz", "--force")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "digits"),
        ("fit", "digits", "-o", "m.npz", "--size", "4by4"),
        ("fit", "digits", "-o", "m.npz", "--draw", "sometimes"),
        ("sample", "m.npz", "-o", "s.png", "-n", "0"),
        ("paint",),
    ],
)
def test_usage_errors_exit_with_2(arguments):
    code, _, err = run(*arguments)
    assert code == 2
    assert "Usage:" in err


def test_module_and_version():
    for arguments in (["--version"], ["--help"], ["fit", "--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "sparsegen_classic", *arguments], capture_output=True, text=True
        )
        assert done.returncode == 0
        assert "sparsegen-classic" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_an_interrupted_fit_says_so_and_leaves_nothing(tmp_path):
    images = np.random.default_rng(0).random((6000, 32, 32), dtype=np.float32)
    save_images(images, tmp_path / "noise.npz")
    before = set(tmp_path.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-m", "sparsegen_classic", "fit", tmp_path / "noise.npz", "-o", tmp_path / "m.npz",
         "--n-components", "1500", "--n-nonzero-coefs", "40", "--max-iter", "1000"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(8)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.strip().splitlines()[-1] == "interrupted; no output was written"
    assert set(tmp_path.iterdir()) == before


def test_variations_of_images(tmp_path):
    model, sheet, arrays_ = tmp_path / "m.npz", tmp_path / "sheet.png", tmp_path / "v.npz"
    assert run("fit", "digits", "--per-class", "--seed", 0, "--n-components", 20, "-o", model)[0] == 0
    code, out, _ = run("vary", model, "digits", "-n", 3, "--n-variations", 4, "--seed", 1, "-o", sheet)
    assert code == 0
    assert "drew 12 variations of 3 images with seed 1" in out
    with Image.open(sheet) as picture:
        assert picture.size[0] > picture.size[1]  # three rows of five
    assert run("vary", model, "digits", "-n", 3, "--n-variations", 4, "--seed", 1, "-o", arrays_)[0] == 0
    made, digits = arrays(arrays_), open_images("digits")
    assert made["labels"].tolist() == np.repeat(digits.labels[:3], 4).tolist()
    expected = load_model(model).vary(digits.images[:3], digits.labels[:3], 1, n_variations=4)
    np.testing.assert_array_equal(made["images"], expected)
    save_images(digits.images[:5], tmp_path / "bare.npz")
    code, _, err = run("vary", model, tmp_path / "bare.npz", "-o", tmp_path / "x.png")
    assert code == 1
    assert "has a model per class, which needs labels" in err
    assert not (tmp_path / "x.png").exists()
