"""``fit`` with checkpoint, memory and cluster, as a user calls it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sparsegen_classic import (
    KSVD,
    SparseImageGenerator,
    Trainlets,
    load_model,
    open_images,
    plan_memory,
    save_images,
    store_images,
)
from sparsegen_classic.cli import main

SIZES = ["--dictionary", "trainlets", "--n-components", "20", "--n-nonzero-coefs", "4", "--max-iter", "2"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "photos"
    save_images(open_images("digits").images[:200], folder)
    return folder


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_disk_or_memory_the_model_is_the_same(photos, tmp_path):
    command = ["fit", photos, *SIZES, "--seed", 1]
    run(*command, "-o", tmp_path / "memory.npz")
    first = run(*command, "-o", tmp_path / "disk.npz", "--checkpoint", tmp_path / "work", "--memory", "2GB")
    again = run(*command, "-o", tmp_path / "again.npz", "--checkpoint", tmp_path / "work", "--json")
    assert "200 images of 8x8, on disk; memory, at most" in first.stderr
    assert set(json.loads(again.stdout)["stages"]) >= {"looking", "dictionary", "coding", "supports"}
    wanted = (tmp_path / "memory.npz").read_bytes()
    assert (tmp_path / "disk.npz").read_bytes() == wanted
    assert (tmp_path / "again.npz").read_bytes() == wanted


def test_files_left_out_are_named_with_the_reason_from_disk_as_from_memory(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    for number in range(7):
        (tmp_path / "photos" / f"bad{number}.png").write_bytes(b"" if number else b"no image")
    command = ["fit", tmp_path / "photos", *SIZES, "--seed", 1, "--errors", "skip", "-o", tmp_path / "a.npz"]
    texts = [run(*command, "--force", *more).stdout for more in ([], ["--checkpoint", tmp_path / "work"])]
    for text in texts:
        first, *named = text.splitlines()
        assert "learned 200 images (7 files skipped) in" in first
        assert named[0].endswith("bad0.png: Pillow does not recognise its content")
        assert len(named) == 6
        assert named[-1] == "  and 2 more"
    command += ["--checkpoint", tmp_path / "work", "--force", "--json"]
    files = json.loads(run(*command).stdout)["skipped_files"]
    assert [Path(file).name for file in files] == [f"bad{number}.png" for number in range(7)]


def test_jobs_and_quiet_change_no_byte(photos, tmp_path):
    options = {"a": ["--jobs", 1], "b": ["--jobs", 2], "c": ["--jobs", 2, "--quiet"]}
    for name, more in options.items():
        run("fit", photos, *SIZES, "--seed", 1, "-o", tmp_path / f"{name}.npz", *more)
    first, *others = ((tmp_path / f"{name}.npz").read_bytes() for name in options)
    assert others == [first, first]


def test_the_seed_of_a_checkpoint_is_remembered(photos, tmp_path):
    command = ["fit", photos, *SIZES, "--checkpoint", tmp_path / "work", "--json"]
    seeds = {json.loads(run(*command, "-o", tmp_path / f"{i}.npz").stdout)["seed"] for i in range(2)}
    assert len(seeds) == 1
    refused = run(*command, "-o", tmp_path / "2.npz", "--seed", seeds.pop() + 1, code=1)
    assert "of other work: parameters, random_state is" in refused.stderr


def only_going_on(monkeypatch):
    """Let nothing be learned or coded that a checkpoint holds already."""
    for cls, name in ((KSVD, "learn_steps"), (Trainlets, "learn_steps"), (KSVD, "transform")):
        monkeypatch.setattr(cls, name, lambda *_, **__: pytest.fail("done again"))


@pytest.mark.parametrize("first", ["command", "call"])
@pytest.mark.parametrize("options", [[], ["--per-class"], ["--paper"]], ids=["", "per class", "paper"])
def test_a_command_and_the_call_that_does_the_same_share_a_checkpoint(tmp_path, monkeypatch, first, options):
    digits = open_images("digits")
    np.savez(tmp_path / "some.npz", images=digits.images[:240], labels=digits.labels[:240] % 2)
    some, work, ways = open_images(tmp_path / "some.npz"), tmp_path / "work", ["command", "call"]
    make = SparseImageGenerator.paper if "--paper" in options else SparseImageGenerator
    models = {}
    for way in ways if first == "command" else ways[::-1]:
        if way == "command":
            command = ["fit", tmp_path / "some.npz", "--seed", 1, *options, "--checkpoint", work]
            run(*command, "-o", tmp_path / "a.npz")
            models[way] = load_model(tmp_path / "a.npz")
        else:
            work.mkdir(exist_ok=True)
            generator = make(random_state=1, per_class="--per-class" in options)
            labels = some.labels if generator.per_class else None
            models[way] = generator.fit(some.images, labels, checkpoint=work / "fit")
        only_going_on(monkeypatch)
    np.testing.assert_array_equal(models["command"].sample(9, 2), models["call"].sample(9, 2))


def test_a_command_and_a_call_on_one_store_share_a_checkpoint(photos, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    store = store_images(photos, work / "images")
    SparseImageGenerator(Trainlets(max_iter=2), random_state=1, n_jobs=1).fit(store, checkpoint=work / "fit")
    only_going_on(monkeypatch)
    command = ["fit", photos, "--dictionary", "trainlets", "--checkpoint", work, "-o", tmp_path / "a.npz"]
    refused = run(*command, code=1).stderr
    assert "of other work: parameters, dictionary, max_iter is 2 there and 10 here" in refused
    refused = run(*command, "--max-iter", 2, "--n-components", 34, code=1).stderr
    assert "dictionary, n_components is 35 there and 34 here" in refused
    refused = run(*command, "--max-iter", 2, "--n-groups", 2, code=1).stderr
    assert "n_groups is 7 there and 2 here" in refused
    named = ["--n-components", 35, "--n-nonzero-coefs", 5, "--n-groups", 7]  # what the defaults become
    run(*command, "--max-iter", 2, *named)


def test_other_settings_are_refused(photos, tmp_path):
    command = ["fit", photos, *SIZES, "--seed", 1, "--checkpoint", tmp_path / "work"]
    run(*command, "-o", tmp_path / "a.npz")
    assert (
        "bandwidth is 1.0 there and 5.0 here"
        in run(*command, "-o", tmp_path / "b.npz", "--bandwidth", 5, code=1).stderr
    )
    assert (
        "size is None there and [6, 6] here"
        in run(*command, "-o", tmp_path / "b.npz", "--size", 6, "--fit", "resize", code=1).stderr
    )
    assert not (tmp_path / "b.npz").exists()


def test_memory_is_honoured(photos, tmp_path):
    command = ["fit", photos, *SIZES, "-o", tmp_path / "a.npz", "--memory"]
    refused = run(*command, "200MB", code=1).stderr
    assert "--memory must be at least" in refused
    assert "which the stage" in refused
    assert "is no amount of memory; give e.g. 2GB or 800MB" in run(*command, "much", code=2).stderr
    assert not (tmp_path / "a.npz").exists()


def test_batch_ksvd_is_told_to_learn_by_blocks(tmp_path):
    np.save(tmp_path / "many.npy", np.zeros((20000, 64, 64), np.uint8))
    sizes = ["--n-components", 50, "--n-groups", 1, "--memory", "900MB"]
    result = run("fit", tmp_path / "many.npy", *sizes, "-o", tmp_path / "a.npz", code=1)
    assert "learn by blocks (--dictionary trainlets, or --online)" in result.stderr


def test_sources_that_stay_in_memory_have_checkpoints_too(tmp_path):
    command = ["fit", "digits", *SIZES, "--seed", 1, "--per-class"]
    run(*command, "-o", tmp_path / "a.npz")
    for name in "bc":
        run(*command, "-o", tmp_path / f"{name}.npz", "--checkpoint", tmp_path / "work")
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / f"{name}.npz").read_bytes()


def test_online_ksvd_and_labels_of_a_store(tmp_path):
    digits = open_images("digits")
    (tmp_path / "photos").mkdir()
    for label in (0, 1):
        save_images(digits.images[digits.labels == label], tmp_path / "photos" / f"class{label}")
    command = ["fit", tmp_path / "photos", "--online", "--per-class", "--seed", 0]
    run(*command, "-o", tmp_path / "a.npz")
    run(*command, "-o", tmp_path / "b.npz", "--checkpoint", tmp_path / "work")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_an_interrupt_names_the_command_that_goes_on(photos, tmp_path, monkeypatch):
    def interrupted(self, *_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(SparseImageGenerator, "fit", interrupted)
    monkeypatch.setattr(sys, "argv", ["sparsegen-classic", "fit", "my photos"])
    command = ["fit", photos, *SIZES, "-o", tmp_path / "a.npz"]
    kept = run(*command, "--checkpoint", tmp_path / "work", code=1).stderr
    assert "interrupted; what was done is kept in" in kept
    assert "sparsegen-classic fit 'my photos'" in kept
    assert "interrupted; no output was written" in run(*command, code=1).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_and_the_same_again(photos, tmp_path):
    sizes = [*SIZES[:-1], "400"]
    command = [sys.executable, "-m", "sparsegen_classic", "fit", photos, *sizes, "--seed", "1"]
    work = tmp_path / "work"
    process = subprocess.Popen(
        [*command, "-o", tmp_path / "a.npz", "--checkpoint", work], stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 60
    while not (work / "fit" / "model-0" / "steps.npz").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "the same command goes on from there:" in errors
    assert "Traceback" not in errors
    run(*command[3:], "-o", tmp_path / "a.npz", "--checkpoint", work)
    run(*command[3:], "-o", tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("command", [["fit", *SIZES], ["learn-dictionary"]])
def test_a_checkpoint_is_a_folder(command, photos, tmp_path):
    (tmp_path / "work").write_text("a note")
    name, *options = command
    given = [name, photos, *options, "-o", tmp_path / "a.npz", "--checkpoint", tmp_path / "work"]
    assert "work exists and is a file; give a new folder" in run(*given, code=1).stderr
    assert (tmp_path / "work").read_text() == "a note"


def test_a_cluster_needs_a_checkpoint(photos, tmp_path):
    result = run("fit", photos, "-o", tmp_path / "a.npz", "--cluster", "tcp://127.0.0.1:1", code=2)
    assert "--cluster needs --checkpoint DIR" in result.stderr


# The peak of a child counts that of the process it was forked from (here pytest, which may hold
# more than the fit); so a small process starts it.
PEAK_OF = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs the usage of a child process")
def test_the_plan_is_kept(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "many.npy", rng.integers(0, 256, (6000, 8, 8), np.uint8).repeat(8, 1).repeat(8, 2))
    sizes = ["--dictionary", "trainlets", "--n-components", 150, "--n-nonzero-coefs", 8, "--max-iter", 1]
    command = ["fit", tmp_path / "many.npy", *sizes, "-o", tmp_path / "a.npz", "--seed", 0, "-q"]
    arguments = [sys.executable, "-m", "sparsegen_classic", *command, "--checkpoint", tmp_path / "work"]
    started = [sys.executable, "-c", PEAK_OF, *map(str, arguments)]
    peak = int(subprocess.run(started, check=True, capture_output=True, text=True).stdout)
    dictionary = Trainlets(150, n_nonzero_coefs=8, max_iter=1)
    generator = SparseImageGenerator(dictionary, n_jobs=-1)
    plan = plan_memory(generator, 6000, (64, 64), in_memory=False)
    assert peak < 1.1 * plan.peak
    assert plan.peak < plan_memory(generator, 6000, (64, 64)).peak
