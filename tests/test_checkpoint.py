"""Checkpoints: killed, damaged, refused, full disks; what is resumed ends as if nothing had happened."""

import errno
import json
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.decomposition import PCA

from sparsegen_classic import (
    KSVD,
    CheckpointError,
    GaussianCoefficients,
    MarkovSupports,
    SparseImageGenerator,
    Trainlets,
    open_images,
    save_model,
    store_images,
)
from sparsegen_classic import _blocks as blocks
from sparsegen_classic._checkpoint import Checkpoint, Stages, describe
from sparsegen_classic.generator import fitting


@pytest.fixture(scope="module")
def digits():
    return open_images("digits").images[:600]


@pytest.fixture
def store(digits, tmp_path):
    np.save(tmp_path / "images.npy", digits)
    return store_images(tmp_path / "images.npy", tmp_path / "store")


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(fitting, "_BLOCK", 128)


def generator(**parameters):
    dictionary = Trainlets(24, n_nonzero_coefs=4, max_iter=2, batch_size=100)
    given = {"dictionary": dictionary, "random_state": 0, "n_groups": 2} | parameters
    return SparseImageGenerator(**given)


def model_bytes(model, tmp_path):
    return save_model(model, tmp_path / "model.npz", overwrite=True).read_bytes()


@pytest.mark.parametrize("kind", ["trainlets", "online", "batch"])
def test_killed_at_any_moment_it_ends_with_the_same_bits(kind, tmp_path):
    script = Path(__file__).with_name("killed_fits.py")
    run = subprocess.run(
        [sys.executable, script, kind, tmp_path, "12"], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["killed"] >= 12
    assert result["finished"] >= 1
    assert result["same"]
    assert len(result["stages"]) > 1


@pytest.mark.parametrize(
    "dictionary",
    [
        Trainlets(24, n_nonzero_coefs=4, max_iter=2, batch_size=100),
        KSVD(24, n_nonzero_coefs=4, max_iter=3),
        KSVD(24, n_nonzero_coefs=4, online=True, max_iter=2, batch_size=100),
    ],
    ids=["trainlets", "batch", "online"],
)
@pytest.mark.parametrize("per_class", [False, True])
def test_where_images_are_and_who_codes_them_changes_nothing(digits, store, tmp_path, dictionary, per_class):
    y = np.arange(len(digits)) % 2
    model = SparseImageGenerator(dictionary, random_state=0, per_class=per_class)
    wanted = model_bytes(model.fit(digits, y), tmp_path)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert model_bytes(model.fit(mapped, y), tmp_path) == wanted
    assert model_bytes(model.fit(store, y), tmp_path) == wanted
    assert model_bytes(model.fit(store, y, checkpoint=tmp_path / "work"), tmp_path) == wanted
    with joblib.parallel_config(backend="loky", n_jobs=2):
        assert model_bytes(model.fit(digits, y), tmp_path) == wanted
        assert model_bytes(model.fit(store, y, checkpoint=tmp_path / "other"), tmp_path) == wanted


def test_no_stage_reads_more_than_a_block(store, monkeypatch, small_blocks):
    lengths, getitem = [], type(store).__getitem__

    def read(self, which):
        images = getitem(self, which)
        lengths.append(len(images))
        return images

    monkeypatch.setattr(type(store), "__getitem__", read)
    monkeypatch.setattr("sparsegen_classic.generator.tones._IMAGES", 100)
    generator(n_groups=1).fit(store)
    assert sum(lengths) > 3 * len(store)
    assert max(lengths) <= 512  # those of Trainlets; the generator's are made 128 here


@pytest.mark.parametrize("n_steps", [1, 3, 7, 11])
def test_what_was_done_is_not_done_again(store, tmp_path, monkeypatch, n_steps):
    wanted = model_bytes(generator().fit(store), tmp_path)
    monkeypatch.setattr("sparsegen_classic._checkpoint._SHARE", np.inf)  # every state is saved
    learn, seen = Trainlets.learn_steps, []

    def stopped(self, X, state=None):
        for number, after in enumerate(learn(self, X, state), 1):
            seen.append(number)
            yield after
            if number == n_steps and len(seen) == n_steps:
                raise KeyboardInterrupt

    monkeypatch.setattr(Trainlets, "learn_steps", stopped)
    with pytest.raises(KeyboardInterrupt):
        generator().fit(store, checkpoint=tmp_path / "work")
    assert model_bytes(generator().fit(store, checkpoint=tmp_path / "work"), tmp_path) == wanted
    assert len(seen) == 12  # two passes over six batches, none of them twice


def test_a_seed_that_was_drawn_is_kept(store, tmp_path):
    given = [None, np.random.default_rng(5)]
    for number, random_state in enumerate(given):
        place = tmp_path / f"work{number}"
        first = generator(random_state=random_state).fit(store, checkpoint=place)
        again = generator(random_state=random_state).fit(store, checkpoint=place)
        np.testing.assert_array_equal(first.dictionaries_[0].components_, again.dictionaries_[0].components_)


def test_jobs_and_progress_may_change(store, tmp_path):
    first = generator().fit(store, checkpoint=tmp_path / "work")
    again = generator(n_jobs=2, verbose=1).fit(store, checkpoint=tmp_path / "work")
    assert again.dictionaries_[0].n_jobs == 2
    np.testing.assert_array_equal(first.sample(5, 0), again.sample(5, 0))


def test_what_does_the_same_is_the_same_work(store, tmp_path):
    """Sizes and numbers of another type, parts by default, what the generator decides instead of a part."""
    folder = tmp_path / "work"
    first = generator(random_state=0, n_groups=None).fit(store, checkpoint=folder)
    trainlets = Trainlets(24, n_nonzero_coefs=4, max_iter=2, batch_size=np.int64(100), random_state=5)
    coefficients = GaussianCoefficients(prior_strength=1, draw="clip", n_jobs=2)
    for other in (
        generator(random_state=np.int64(0), n_groups=20),
        generator(n_groups=None).set_params(dictionary__image_shape=[8, 8]),
        generator(dictionary=trainlets, n_groups=20, supports=MarkovSupports(pair_exponent=0.4, n_groups=7)),
        generator(n_groups=None, supports=MarkovSupports(pair_exponent=0.4), coefficients=coefficients),
    ):
        again = other.fit(store, checkpoint=folder)
        np.testing.assert_array_equal(again.sample(3, 0), first.sample(3, 0))
    refusal(
        "n_groups is 20 there and None here",
        folder,
        generator(n_groups=None, supports=MarkovSupports(pair_exponent=0.4, n_groups=7)),
        store,
    )
    refusal(
        "supports, smoothing is 0.5 there and 0.4 here",
        folder,
        generator(n_groups=None, supports=MarkovSupports(pair_exponent=0.4, smoothing=0.4)),
        store,
    )


def refusal(message, folder, model, X, y=None):
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*.np?"))
    with pytest.raises(CheckpointError, match=message):
        model.fit(X, y, checkpoint=folder)
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*.np?")) == before


def test_other_work_is_refused_with_the_reason(digits, store, tmp_path):
    folder = tmp_path / "work"
    generator().fit(store, checkpoint=folder)
    refusal("n_groups is 2 there and 3 here", folder, generator(n_groups=3), store)
    refusal("random_state is 0 there and 1 here", folder, generator(random_state=1), store)
    other = generator().set_params(dictionary__n_components=25)
    refusal("dictionary, n_components is 24 there and 25 here", folder, other, store)
    refusal("dictionary, class is 'Trainlets' there", folder, generator(dictionary=KSVD(24)), store)
    refusal("number of images is 600 there and 599 here", folder, generator(), digits[1:])
    refusal("content is", folder, generator(), digits)
    labels = np.arange(600) % 2
    refusal("per_class is False there and True here", folder, generator(per_class=True), store, labels)
    generator().fit(store, labels, checkpoint=folder)  # labels that it has no use for
    about = json.loads((folder / "checkpoint.json").read_text())
    about["version of numba"] = "0.1"
    (folder / "checkpoint.json").write_text(json.dumps(about))
    refusal("version of numba is '0.1' there", folder, generator(), store)
    (folder / "checkpoint.json").write_text("{")
    refusal("damaged .* remove the folder to begin anew", folder, generator(), store)
    generator(per_class=True).fit(store, labels, checkpoint=tmp_path / "classes")
    refusal("labels is", tmp_path / "classes", generator(per_class=True), store, 1 - labels)
    (folder / "checkpoint.json").unlink()
    refusal("is no checkpoint, it holds .*; give a new or an empty folder", folder, generator(), store)


def test_a_checkpoint_is_for_one_process(store, tmp_path):
    pytest.importorskip("fcntl")
    with Checkpoint(tmp_path / "work", {}):
        refusal("in use by another process", tmp_path / "work", generator(), store)


def test_a_dictionary_that_cannot_be_resumed_is_named(digits, tmp_path):
    rows = SparseImageGenerator(PCA(5))
    with pytest.raises(ValueError, match="checkpoint=.* needs a dictionary that can be resumed .* got PCA"):
        rows.fit(digits, checkpoint=tmp_path / "work")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("name", ["codes/*-0-*.npy", "codes/*-2-*.npy", "dictionary.npz", "../seeds.npz"])
@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_what_is_damaged_is_done_again_with_a_warning(store, tmp_path, name, harm, small_blocks):
    folder = tmp_path / "work"
    wanted = model_bytes(generator().fit(store, checkpoint=folder), tmp_path)
    path = sorted((folder / "model-0").glob(name))[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes({"flip": content, "cut": content[:-40], "empty": b""}[harm])
    with pytest.warns(UserWarning, match=f"{path.name} is damaged.*done again"):
        again = generator().fit(store, checkpoint=folder)
    assert model_bytes(again, tmp_path) == wanted
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator().fit(store, checkpoint=folder)


@pytest.mark.parametrize("n_written", [0, 1, 4, 9])
def test_a_full_disk_is_named_and_nothing_is_lost(store, tmp_path, monkeypatch, n_written, small_blocks):
    wanted = model_bytes(generator().fit(store), tmp_path)
    write, count = blocks.atomic_write, iter(range(10**6))

    def full(path, overwrite=False):
        if next(count) >= n_written:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, overwrite)

    monkeypatch.setattr(blocks, "atomic_write", full)
    message = r"could not be written \(No space left on device\); what was done so far is kept"
    with pytest.raises(OSError, match=message):
        generator().fit(store, checkpoint=tmp_path / "work")
    monkeypatch.setattr(blocks, "atomic_write", write)
    assert model_bytes(generator().fit(store, checkpoint=tmp_path / "work"), tmp_path) == wanted


def test_a_folder_that_cannot_be_written_is_named(store, tmp_path, monkeypatch):
    generator().fit(store, checkpoint=tmp_path / "work")
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "work")
    with pytest.raises(PermissionError, match="work is not writable; choose another place"):
        generator().fit(store, checkpoint=tmp_path / "work")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; create it first"):
        generator().fit(store, checkpoint=tmp_path / "nowhere" / "work")


def test_a_part_of_the_store_that_vanishes_can_be_made_again(store, tmp_path):
    wanted = model_bytes(generator().fit(store), tmp_path)
    sorted(store.folder.glob("blocks/*-0-*.npy"))[0].unlink()
    with pytest.raises(FileNotFoundError):
        generator().fit(store, checkpoint=tmp_path / "work")
    again = store_images(tmp_path / "images.npy", tmp_path / "store")
    assert model_bytes(generator().fit(again, checkpoint=tmp_path / "work"), tmp_path) == wanted


def test_stages_keep_what_they_are_given(tmp_path):
    stages = Stages(tmp_path)
    state = {
        "a": np.arange(3),
        "b": None,
        "c": [1, 2.5, "x"],
        "rng": np.random.default_rng(1).bit_generator.state,
    }
    assert stages.load("state") is None
    stages.save("state", state)
    found = stages.load("state")
    np.testing.assert_array_equal(found.pop("a"), state.pop("a"))
    assert found == state
    stages.remove("state")
    assert stages.load("state") is None
    with pytest.raises(TypeError, match="state.a is of class object"):
        stages.save("state", {"a": object()})


def test_arrays_are_told_apart_by_values_shape_and_type():
    array = np.zeros((2, 6), np.float32)
    others = array + 1, array.reshape(3, 4), array.view(np.int32)
    assert describe(array) == describe(np.asfortranarray(array))
    assert len({describe(array), *map(describe, others)}) == 4
