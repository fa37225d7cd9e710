"""``csc`` as a user meets it: learn, encode, reconstruct, info."""

import json

import numpy as np
import pytest
from PIL import Image

from sparsegen_classic import KSVD, ConvDictionaryLearning, load_model, open_images, save_images, save_model
from sparsegen_classic.convolutional.learning_files import load_codes
from tests.cli.test_commands import run

SMALL = ("--n-atoms", 6, "--atom-shape", 3, "--lowpass", 2, "--max-iter", 2, "--seed", 0)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "digits.npz"
    return save_images(open_images("digits").images[:12], path)


@pytest.fixture(scope="module")
def filters(images):
    path = images.with_name("filters.npz")
    code, _, err = run("csc", "learn", images, "-o", path, *SMALL)
    assert code == 0, err
    return path


@pytest.fixture(scope="module")
def codes(images, filters):
    path = images.with_name("codes.npz")
    code, _, err = run("csc", "encode", images, "--filters", filters, "-o", path, "--lam", 0.02)
    assert code == 0, err
    return path


def test_learn_passes_the_parameters_on_and_reports(images, tmp_path):
    path = tmp_path / "f.npz"
    options = ("--n-atoms", 5, "--atom-shape", "3x4", "--lam", 0.05, "--lowpass", 0, "--positive",
               "--max-iter", 3, "--batch-size", 4, "--decay", 0.9, "--tol", 0.2, "--seed", 7)  # fmt: skip
    code, out, err = run("csc", "learn", images, "-o", path, "--json", *options)
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert {"filters": str(path), "images": 12, "lam": 0.05, "seed": 7}.items() <= result.items()
    assert result["objective_last"] < result["objective_first"]
    expected = {"n_atoms": 5, "atom_shape": [3, 4], "lam": 0.05, "lowpass": 0.0, "positive": True,
                "max_iter": 3, "batch_size": 4, "decay": 0.9, "tol": 0.2, "random_state": 7}  # fmt: skip
    model = load_model(path)
    assert {name: model.get_params()[name] for name in expected} == expected
    assert model.filters_.shape == (5, 1, 3, 4)


def test_the_same_seed_gives_the_same_bytes_for_one_job_and_two(images, tmp_path):
    for jobs in (1, 2):
        place = tmp_path / f"f{jobs}.npz"
        assert run("csc", "learn", images, "-o", place, *SMALL, "--jobs", jobs)[0] == 0
        done = run(
            "csc", "encode", images, "--filters", place, "-o", tmp_path / f"c{jobs}.npz", "--jobs", jobs
        )
        assert done[0] == 0
    one, two = (load_model(tmp_path / f"f{jobs}.npz") for jobs in (1, 2))
    np.testing.assert_array_equal(one.filters_, two.filters_)
    assert (tmp_path / "c1.npz").read_bytes() == (tmp_path / "c2.npz").read_bytes()


def test_encode_and_reconstruct_bring_the_images_back(images, filters, codes, tmp_path):
    code, out, _ = run("csc", "reconstruct", codes, "--filters", filters, "-o", tmp_path / "b.npz", "--json")
    assert code == 0
    assert json.loads(out)["images"] == 12
    original, back = (open_images(path).images for path in (images, tmp_path / "b.npz"))
    assert np.sqrt(np.mean((original - back) ** 2)) < 0.1 * original.std()
    model, saved = load_model(filters), load_codes(codes)
    expected = model.encode(original[:, None], lam=0.02)
    np.testing.assert_array_equal(saved.maps.values, expected.maps.values)
    np.testing.assert_array_equal(saved.objective, expected.objective)
    assert (saved.duality_gap <= 1e-4 * saved.objective).all()
    for name in ("sheet.png", "folder"):
        assert run("csc", "reconstruct", codes, "--filters", filters, "-o", tmp_path / name)[0] == 0
    assert len(list((tmp_path / "folder").iterdir())) == 12


def test_colour_and_masks_fill_in_what_is_missing(tmp_path):
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.linspace(0, 0.5, 24), np.linspace(0, 0.4, 24))
    picture = np.stack([smooth, smooth[::-1], smooth.T], axis=-1)
    mask = rng.random((24, 24)) > 0.3
    save_images(np.where(mask[..., None], picture, 1.0)[None], tmp_path / "photo.npz")
    Image.fromarray(np.uint8(255 * mask)).save(tmp_path / "known.png")
    given = ("--mask", tmp_path / "known.png")
    learned = run(
        "csc", "learn", tmp_path / "photo.npz", "-o", tmp_path / "f.npz", "--mode", "RGB", *SMALL, *given
    )
    assert learned[0] == 0, learned[2]
    coded = run("csc", "encode", tmp_path / "photo.npz", "--filters", tmp_path / "f.npz", "-o",
                tmp_path / "c.npz", *given)  # fmt: skip
    assert coded[0] == 0, coded[2]
    run("csc", "reconstruct", tmp_path / "c.npz", "--filters", tmp_path / "f.npz", "-o", tmp_path / "b.npz")
    back = open_images(tmp_path / "b.npz", mode="RGB").images[0]
    assert np.abs(back - picture)[~mask].max() < 0.1


def test_info_as_text_json_and_pictures(filters, codes, tmp_path):
    code, out, _ = run("csc", "info", filters, "--pictures", tmp_path / "look")
    assert code == 0
    assert "n atoms: 6" in out
    about = json.loads(run("csc", "info", filters, "--json")[1])
    assert (about["holds"], about["atom_shape"], about["lowpass"]) == ("filters", [3, 3], 2.0)
    assert about["welch_bound"] <= about["mutual_coherence"] <= 1
    code, out, _ = run("csc", "info", codes, "--json", "--pictures", tmp_path / "look", "--image", 3)
    about = json.loads(out)
    assert (about["holds"], about["images"], about["maps_shape"]) == ("codes", 12, [6, 6, 6])
    counts = about["largest_counts"]
    assert counts["needle"] <= counts["pixel"] <= counts["stripe"]
    names = {"filters.png", "maps.png", "needles.png"}
    assert {file.name for file in (tmp_path / "look").iterdir()} == names
    code, _, err = run("csc", "info", codes, "--pictures", tmp_path / "look")
    assert code == 1
    assert "maps.png exists" in err


def test_lambda_above_the_largest_gives_zero_codes_and_says_so(images, filters, tmp_path):
    code, out, _ = run("csc", "encode", images, "--filters", filters, "-o", tmp_path / "c.npz", "--lam", 1e3)
    assert code == 0
    assert "12 images have zero codes: lam is at least their lambda_max" in out
    assert run("csc", "info", tmp_path / "c.npz", "--pictures", tmp_path / "look")[0] == 0


def other_model(path):
    X = np.random.default_rng(0).random((20, 4))
    return save_model(KSVD(3, random_state=0).fit(X), path)


def unlearned(path):
    return save_model(ConvDictionaryLearning(3, 3), path)


def black(path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda i, f, p: ("learn", i, "-o", p / "o.npz", "--lam", 0), "lam must be greater than 0"),
        (lambda i, f, p: ("learn", i, "-o", p / "o.npz", "--atom-shape", 9), "as large as atom_shape=(9, 9)"),
        (lambda i, f, p: ("learn", i, "-o", p / "o.npz", "--mask", black(p / "m.png")), "at least one pixel"),
        (lambda i, f, p: ("learn", p / "no", "-o", p / "o.npz"), "does not exist"),
        (lambda i, f, p: ("learn", i, "-o", p / "no" / "o.npz"), "does not exist; create it first"),
        (lambda i, f, p: ("encode", i, "--filters", f, "-o", p / "o.npz", "--lam", -1), "lam must be"),
        (lambda i, f, p: ("encode", i, "--filters", i, "-o", p / "o.npz"), "is not a model file"),
        (lambda i, f, p: ("encode", i, "--filters", other_model(p / "k.npz"), "-o", p / "o.npz"), "a KSVD"),
        (lambda i, f, p: ("encode", i, "--filters", unlearned(p / "u.npz"), "-o", p / "o.npz"), "no filters"),
        (lambda i, f, p: ("encode", i, "--size", 2, "--fit", "crop", "--filters", f, "-o", p / "o.npz"),
         "as large as atom_shape"),
        (lambda i, f, p: ("reconstruct", f, "--filters", f, "-o", p / "o.png"), "is no file of codes"),
        (lambda i, f, p: ("reconstruct", p / "no", "--filters", f, "-o", p / "o.png"), "No such file"),
        (lambda i, f, p: ("info", i), "is no file of codes"),
        (lambda i, f, p: ("info", p / "no.npz"), "No such file"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_a_message_and_writes_nothing(images, filters, tmp_path, arguments, message):
    code, out, err = run("csc", *arguments(images, filters, tmp_path))
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert message in err
    assert not list(tmp_path.glob("o.*"))


def test_codes_of_other_filters_are_refused(images, codes, tmp_path):
    run("csc", "learn", images, "-o", tmp_path / "f.npz", *SMALL[:-1], 1)
    code, _, err = run("csc", "reconstruct", codes, "--filters", tmp_path / "f.npz", "-o", tmp_path / "o.png")
    assert code == 1
    assert "filters must be those that the codes were made with" in err


def test_existing_output_is_kept_unless_forced(images, filters, codes, tmp_path):
    before = codes.read_bytes()
    code, _, err = run("csc", "encode", images, "--filters", filters, "-o", codes)
    assert code == 1
    assert "codes.npz exists" in err
    assert codes.read_bytes() == before
    (tmp_path / "c.npz").write_bytes(b"old")
    assert run("csc", "encode", images, "--filters", filters, "-o", tmp_path / "c.npz", "--force", "-q") == (
        0,
        "",
        "",
    )


@pytest.mark.parametrize(
    "arguments",
    [(), ("learn", "digits"), ("encode", "x", "-o", "y"), ("learn", "x", "-o", "y", "--tol", "no")],
)
def test_usage_errors_exit_with_2(arguments):
    code, _, err = run("csc", *arguments)
    assert code == 2
    assert "Usage:" in err
