"""``evaluate`` as a user meets it: models, samples, sources of held-out images, and wrong input."""

import json
import struct

import numpy as np
import pytest

from sparsegen_classic import evaluate_generator, load_model, open_images, save_images
from sparsegen_classic.cli import _drawn
from tests.cli.test_commands import run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Training, held-out and sample files of the built-in digits, and a model of the first."""
    folder = tmp_path_factory.mktemp("evaluate")
    digits = open_images("digits")
    order = np.random.default_rng(0).permutation(len(digits))
    for name, rows in (("train", order[:1000]), ("test", order[1000:1400]), ("new", order[1400:1600])):
        save_images(digits.images[rows], folder / f"{name}.npz", labels=digits.labels[rows])
    save_images(digits.images[order[:60]], folder / "thief")
    code, _, err = run(
        "fit", folder / "train.npz", "--per-class", "--seed", 0, "-o", folder / "model.npz", "-q"
    )
    assert code == 0, err
    return folder


def test_a_model_is_measured_as_in_python(place):
    code, out, err = run(
        "evaluate", place / "model.npz", "--against", place / "train.npz", "--held-out", place / "test.npz",
        "-n", 100, "--seed", 3, "--json", "--report", place / "page.html",
    )  # fmt: skip
    assert (code, err) == (0, "")
    found = json.loads(out)
    train, test = (open_images(place / f"{name}.npz") for name in ("train", "test"))
    expected = evaluate_generator(
        load_model(place / "model.npz"), train.images, test.images, training_labels=train.labels,
        held_out_labels=test.labels, n_samples=100, name="model", random_state=3,
    ).to_dict()  # fmt: skip
    assert found["sets"] == json.loads(json.dumps(expected["sets"]))
    assert found["supports"] == json.loads(json.dumps(expected["supports"]))
    assert found["settings"]["seed"] == 3
    assert found["settings"]["held_out"] == str(place / "test.npz")
    page = (place / "page.html").read_text(encoding="utf-8")
    assert "Supports of model" in page
    assert page.count("<img ") == 10
    assert "--n-samples 100 --features auto --fit error --background 0.0 --split train --seed 3" in page
    code, _, err = run(
        "evaluate", place / "model.npz", "--against", place / "train.npz", "--report", place / "page.html"
    )
    assert code == 1
    assert "page.html exists; choose another name" in err


def test_samples_and_further_sets_stand_in_one_table(place):
    code, out, err = run(
        "evaluate", place / "new.npz", "--against", place / "train.npz", "--held-out", place / "test.npz",
        "--also", f"thief={place / 'thief'}", "--seed", 0,
    )  # fmt: skip
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1].split()[:2] == ["new", "60"]  # as many as the smallest set
    assert lines[2].split()[:2] == ["thief", "60"]
    assert "about as far from the training images as unseen images are" in out
    assert "100.0% are near copies" in out


def test_without_held_out_images_some_are_set_aside_and_it_says_so(place):
    arguments = ("evaluate", place / "new.npz", "--against", place / "train.npz", "--seed", 1, "--json")
    code, out, err = run(*arguments)
    assert code == 0
    assert "warning: held-out images: 200 images of" in err
    assert "set aside at random" in err
    found = json.loads(out)
    assert (found["settings"]["n_training"], found["settings"]["n_held_out"]) == (800, 200)
    again = json.loads(run(*arguments, "--jobs", 1)[1])
    assert again["sets"] == found["sets"]


def test_a_model_without_held_out_images_is_refused(place):
    code, out, err = run("evaluate", place / "model.npz", "--against", place / "train.npz")
    assert (code, out) == (1, "")
    assert "the copy test needs images that it has not seen; give them by --held-out" in err


def test_a_model_of_other_images_is_warned_of(place):
    code, _, err = run(
        "evaluate", place / "model.npz", "--against", place / "test.npz", "--held-out", place / "new.npz",
        "-n", 20, "-q",
    )  # fmt: skip
    assert code == 0
    assert "the model was fitted on 1000 images but --against has 400" in err


def write_idx(path, array):
    path.write_bytes(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


def test_idx_directories_bring_their_test_split(tmp_path):
    large = open_images("digits", size=28, fit="resize")
    pixels, labels = np.round(large.images * 255).astype(np.uint8), large.labels.astype(np.uint8)
    for split, rows in (("train", slice(0, 900)), ("t10k", slice(900, 1500))):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte", pixels[rows])
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte", labels[rows])
    save_images(pixels[1500:1560] / np.float32(255), tmp_path / "s.npz", labels=labels[1500:1560])
    code, out, _ = run("evaluate", tmp_path / "s.npz", "--against", tmp_path, "--seed", 0, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["settings"]["held_out"].startswith("test split of")
    assert (found["settings"]["n_training"], found["settings"]["n_held_out"]) == (900, 600)
    assert found["settings"]["features"].startswith("digit network")
    assert found["sets"]["s"]["confidence"] > 0.5
    assert 0.3 < found["sets"]["s"]["accuracy"] <= 1  # digits of another hand and other scanner


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nowhere.npz", "--against", "digits"), 1, "source nowhere.npz does not exist"),
        (("digits",), 2, "Missing option '--against'"),
        (("digits", "--against", "digits", "--also", "x"), 1, "--also must be NAME=SAMPLES"),
        (("digits", "--against", "digits", "--report", "x.txt"), 1, "--report must end in .html, got x.txt"),
        (("digits", "--against", "digits", "--features", "digits"), 1, "must be (n, 28, 28)"),
        (("digits", "--against", "digits", "--also", "copies=digits"), 1, "the name 'copies' is taken"),
        (("digits", "--against", "digits", "--also", "digits=digits"), 1, "the name 'digits' is taken"),
        (("digits", "--against", "digits", "-n", "3"), 2, "3 is not in the range x>=10"),
    ],
)
def test_wrong_input_ends_with_a_message(arguments, code, message):
    found, out, err = run("evaluate", *arguments)
    assert found == code
    assert message in err
    assert out == ""


def test_many_images_stay_on_disk_and_give_the_same_figures(place, tmp_path, monkeypatch):
    train = open_images(place / "train.npz").images
    np.save(tmp_path / "train.npy", train)
    for extra in ([], ["--held-out", place / "test.npz"]):
        found = []
        for many in (20_000, 500):
            monkeypatch.setattr(_drawn, "_MANY", many)
            code, out, _ = run(
                "evaluate", place / "new.npz", "--against", tmp_path / "train.npy", "-n", 50, "--seed", 0,
                "--report", tmp_path / f"{many}.html", "--force", "--json", *extra,
            )  # fmt: skip
            assert code == 0
            found.append(json.loads(out) | {"seconds": 0, "report": ""})
        assert found[0] == found[1]


def test_a_damaged_file_is_an_error_message(place, tmp_path):
    (tmp_path / "half.npz").write_bytes((place / "model.npz").read_bytes()[:5000])
    code, _, err = run("evaluate", tmp_path / "half.npz", "--against", place / "train.npz")
    assert code == 1
    assert "half.npz is truncated or damaged" in err
