"""``learn_patch_dictionary`` and its command with a checkpoint: killed, resumed, refused."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sparsegen_classic import KSVD, CheckpointError, open_images, save_model
from sparsegen_classic._checkpoint import read_work
from sparsegen_classic.cli import main
from sparsegen_classic.images import sample_patches
from sparsegen_classic.restoration import learn_patch_dictionary, patch_learning

IMAGES = open_images("digits").images[:40]
SIZES = {"patch_shape": 4, "n_components": 20, "n_nonzero_coefs": 2, "max_iter": 4, "n_patches": 500}


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    for name, shape in (("a.png", (40, 30)), ("b.png", (33, 50)), ("sub/c.png", (28, 28))):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def learn(source, folder=None, **parameters):
    return learn_patch_dictionary(source, **SIZES | {"random_state": 0} | parameters, checkpoint=folder)


def model_bytes(model, tmp_path):
    return save_model(model, tmp_path / "model.npz", overwrite=True).read_bytes()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_with_a_checkpoint_the_dictionary_is_the_same(photos, tmp_path, mode):
    wanted = model_bytes(learn(photos, mode=mode), tmp_path)
    for _ in range(2):  # learned, and found
        assert model_bytes(learn(photos, tmp_path / "work", mode=mode, n_jobs=2), tmp_path) == wanted


@pytest.mark.parametrize("n_steps", [0, 1, 3])
def test_what_was_done_is_not_done_again(photos, tmp_path, monkeypatch, n_steps):
    wanted = model_bytes(learn(photos), tmp_path)
    monkeypatch.setattr("sparsegen_classic._checkpoint._SHARE", np.inf)  # every state is saved
    steps, taken, made = KSVD.learn_steps, [], []

    def stopped(self, X, state=None):
        if n_steps == 0 and not made:
            made.append(None)
            raise KeyboardInterrupt
        for after in steps(self, X, state):
            made.append(self.n_iter_)
            yield after
            if len(made) == n_steps:
                raise KeyboardInterrupt

    def counted(*given):
        taken.append(given)
        return sample_patches(*given)

    monkeypatch.setattr(KSVD, "learn_steps", stopped)
    monkeypatch.setattr(patch_learning, "sample_patches", counted)
    with pytest.raises(KeyboardInterrupt):
        learn(photos, tmp_path / "work")
    assert model_bytes(learn(photos, tmp_path / "work"), tmp_path) == wanted
    assert [n for n in made if n] == [1, 2, 3, 4]
    assert len(taken) == 1


def test_other_work_is_refused_with_the_reason(photos, tmp_path):
    folder = tmp_path / "work"
    first = learn(photos, folder)
    same = {"tol": None, "n_components": np.int64(20), "patch_shape": [4, 4], "verbose": 1}
    np.testing.assert_array_equal(learn(photos, folder, **same).components_, first.components_)
    for change, message in (
        ({"n_components": 21}, "parameters, n_components is 20 there and 21 here"),
        ({"patch_shape": 5}, r"patch_shape is \[4, 4\] there and \[5, 5\] here"),
        ({"mode": "RGB"}, "mode is 'L' there"),
        ({"n_patches": 400}, "n_patches is 500 there and 400 here"),
        ({"random_state": 1}, "random_state is 0 there and 1 here"),
    ):
        with pytest.raises(CheckpointError, match=message):
            learn(photos, folder, **change)
    with pytest.raises(CheckpointError, match="source is '.*photos' there and 'array' here"):
        learn(IMAGES, folder)
    os.utime(photos / "a.png", (1, 1))
    with pytest.raises(CheckpointError, match="some have another name, size or date now; remove that folder"):
        learn(photos, folder)


def test_arrays_are_told_by_their_values(tmp_path):
    wanted = learn(IMAGES).components_
    for _ in range(2):
        np.testing.assert_array_equal(learn(IMAGES, tmp_path / "work").components_, wanted)
    for other in (IMAGES[::-1], IMAGES.reshape(20, 16, 8)):
        with pytest.raises(CheckpointError, match="were taken from other images"):
            learn(other, tmp_path / "work")


def test_files_may_be_repaired_until_patches_are_taken(photos, tmp_path):
    content = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(content[:100])
    with pytest.raises(ValueError, match="b.png cannot be read as an image"):
        learn(photos, tmp_path / "work")
    (photos / "b.png").write_bytes(content)
    np.testing.assert_array_equal(learn(photos, tmp_path / "work").components_, learn(photos).components_)


@pytest.mark.parametrize("name", ["patches.npz", "dictionary.npz"])
def test_what_is_damaged_is_done_again(photos, tmp_path, name):
    wanted = model_bytes(learn(photos, tmp_path / "work"), tmp_path)
    path = tmp_path / "work" / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.warns(UserWarning, match=f"{name} is damaged.*done again"):
        again = learn(photos, tmp_path / "work")
    assert model_bytes(again, tmp_path) == wanted


def command(photos, tmp_path, name, *more):
    sizes = ["--patch-shape", 8, "--n-components", 100, "--n-patches", 3000, "--max-iter", 60]
    given = ["learn-dictionary", photos, *sizes, "-o", tmp_path / name, "-q", *more]
    return [str(argument) for argument in given]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_command_that_is_killed_goes_on_and_ends_with_the_same_bytes(photos, tmp_path):
    work = tmp_path / "work"
    again = command(photos, tmp_path, "a.npz", "--checkpoint", work)
    for awaited in ("patches.npz", "steps.npz"):
        process = subprocess.Popen([sys.executable, "-m", "sparsegen_classic", *again])
        end = time.monotonic() + 60
        while not (work / awaited).exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert not (tmp_path / "a.npz").exists()
    seed = read_work(work)["parameters"]["random_state"]  # drawn by the first command
    for given in (again, command(photos, tmp_path, "b.npz", "--seed", seed)):
        result = CliRunner().invoke(main, given)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    refused = CliRunner().invoke(main, [*again, "--force", "--mean", "none"])
    assert (refused.exit_code, refused.output.count("\n")) == (1, 1)
    assert "is of other work: parameters, mean is 'patch' there and 'none' here" in refused.output


def test_an_interrupt_names_the_command_that_goes_on(photos, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(KSVD, "learn_steps", interrupted)
    monkeypatch.setattr(sys, "argv", ["sparsegen-classic", "learn-dictionary", "my photos"])
    result = CliRunner().invoke(main, command(photos, tmp_path, "a.npz", "--checkpoint", tmp_path / "work"))
    assert result.exit_code == 1
    assert "what was done is kept in" in result.output
    assert "sparsegen-classic learn-dictionary 'my photos'" in result.output
