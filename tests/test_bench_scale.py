"""The faces that the benchmark at scale is run on, and the benchmark itself, at the smallest size."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_config
from PIL import Image

BENCHMARKS = Path(__file__).parents[1] / "examples" / "benchmarks"


@pytest.fixture
def make_faces(monkeypatch):
    """With ten files a folder, which other processes would not know of."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(importlib.import_module("make_faces"), "IN_A_FOLDER", 10)
    with parallel_config(backend="threading"):
        yield importlib.import_module("make_faces")


@pytest.fixture
def sources(make_faces):
    return make_faces.load_sources(synthetic=True)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def test_a_file_depends_on_seed_and_number_only(make_faces, sources, tmp_path):
    for name, n, seed, n_jobs in (
        ("all", 25, 0, 1),
        ("few", 12, 0, 1),
        ("two", 25, 0, 2),
        ("other", 25, 1, 1),
    ):
        make_faces.make_folder(tmp_path / name, n, sources, seed, n_jobs)
    made = contents(tmp_path / "all")
    assert list(made)[::8] == ["000/000000.jpg", "000/000008.jpg", "001/000016.jpg", "002/000024.jpg"]
    few, other = contents(tmp_path / "few"), contents(tmp_path / "other")
    assert len(few) == 12
    assert all(made[name] == content for name, content in few.items())
    assert all(made[name] != content for name, content in other.items())
    assert made == contents(tmp_path / "two")


def test_a_folder_is_continued(make_faces, sources, tmp_path):
    make_faces.make_folder(tmp_path / "whole", 25, sources, 3, 1)
    make_faces.make_folder(tmp_path / "part", 14, sources, 3, 1)
    (tmp_path / "part" / "000" / "000004.jpg").write_bytes(b"mine")
    (tmp_path / "part" / "000" / "000005.jpg").unlink()
    make_faces.make_folder(tmp_path / "part", 25, sources, 3, 1)
    whole, part = contents(tmp_path / "whole"), contents(tmp_path / "part")
    assert part.pop("000/000004.jpg") == b"mine"  # what is there is kept
    assert whole.pop("000/000004.jpg")
    assert whole == part


def test_variations_have_no_black_borders_and_stay_near_their_source(make_faces, sources):
    rng = np.random.default_rng(0)
    white = np.full((64, 64), 255, np.uint8)
    assert all((np.asarray(make_faces.vary(white, rng)) == 255).all() for _ in range(200))
    ramp = np.broadcast_to(
        np.arange(64, dtype=np.uint8) * 2, (64, 64)
    )  # turned and shifted, the mean stays near
    means = [np.asarray(make_faces.vary(ramp, rng), float).mean() for _ in range(200)]
    assert np.abs(np.array(means) - ramp.mean()).max() < 2 * make_faces.SHIFT * make_faces.SCALE + 1
    firsts = [np.asarray(make_faces.vary(ramp, rng), float)[:, 0].mean() for _ in range(400)]
    assert 0.4 < np.mean(np.array(firsts) > ramp.mean()) < 0.6  # half of them are mirrored


def test_nobody_is_on_both_sides(make_faces, sources):
    held_out = make_faces.load_sources(held_out=True, synthetic=True)
    assert len(held_out) == 179
    assert len(sources) == 1797 - 179


def test_people_are_held_out_whole(make_faces, data_root, monkeypatch):
    monkeypatch.setattr(make_faces, "DATA", data_root)
    with np.load(data_root / "faces" / "lfwcrop_grey_64.npz") as archive:
        people = {face.tobytes(): who for face, who in zip(archive["images"], archive["ids"], strict=True)}
    sides = [make_faces.load_sources(side) for side in (False, True)]
    assert len(sides[0]) + len(sides[1]) == 13233
    assert len(sides[1]) >= 1000
    seen, unseen = ({people[face.tobytes()] for face in side} for side in sides)
    assert not seen & unseen


def test_without_data_sets_there_is_a_message(tmp_path):
    environment = {"SPARSEGEN_DATA": str(tmp_path / "nowhere"), "PATH": ""}
    command = [sys.executable, BENCHMARKS / "make_faces.py", tmp_path / "faces", "--n", "5"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "set SPARSEGEN_DATA to the folder that holds faces/" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "faces").exists()


def test_views_hold_the_first_files(make_faces, sources, tmp_path):
    bench_scale = importlib.import_module("bench_scale")
    make_faces.make_folder(tmp_path / "faces", 25, sources, 0, 1)
    for n in (7, 10, 25):
        view = bench_scale.first_faces(tmp_path / "faces", n, tmp_path / "view")
        assert list(contents(view)) == list(contents(tmp_path / "faces"))[:n]


def test_exponents_of_growth(make_faces):
    bench_scale = importlib.import_module("bench_scale")
    rows = [{"fit": {"images": n}, "s": 3e-9 * n**2} for n in (10_000, 20_000, 40_000)]
    assert bench_scale.exponent(rows, lambda row: row["s"]) == "2.00"
    assert bench_scale.exponent(rows, lambda row: 0) == bench_scale.exponent(rows[:1], len) == ""


@pytest.mark.skipif(os.name != "posix", reason="needs the usage of a child process")
def test_the_memory_of_a_run_is_without_that_of_who_measures(make_faces):
    bench_scale = importlib.import_module("bench_scale")
    held = np.ones(25_000_000)
    facts = bench_scale.run("-S", "-c", "import json; print('loud'); print(json.dumps({'answer': 42}))")
    assert facts["answer"] == 42
    assert 2 < facts["megabytes"] < held.nbytes / 2e6
    with pytest.raises(SystemExit, match="failed: -S -c 1/0"):
        bench_scale.run("-S", "-c", "1/0")


def test_the_benchmark_end_to_end(make_faces, tmp_path, monkeypatch, capsys):
    """Measured; then again, from what was kept."""
    bench_scale = importlib.import_module("bench_scale")
    options = (
        "--dictionary",
        "trainlets",
        "--n-components",
        "64",
        "--n-nonzero-coefs",
        "4",
        "--max-iter",
        "1",
    )
    monkeypatch.setattr(bench_scale, "FIT", options)
    monkeypatch.setattr(bench_scale, "N_HELD_OUT", 100)
    monkeypatch.setattr(bench_scale, "N_SAMPLES", 100)
    command = ["--sizes", "200", "--synthetic", "--output", str(tmp_path / "out")]
    bench_scale.main(command)
    shown = capsys.readouterr().out
    assert "[200 images, judge:" in shown
    assert "Dominates: " in shown
    (row,) = json.loads((tmp_path / "out" / "rows.json").read_text())["rows"].values()
    assert set(row["fit"]["stages"]) >= {"dictionary", "coding", "supports", "coefficients"}
    assert row["fit"]["megabytes"] > 50
    assert row["fit"]["disk"] > 200 * 4096 / 1e6
    assert 0 < row["judge"]["rmse"] < 0.3
    assert row["judge"]["frechet"]["random combinations"] > row["judge"]["frechet"]["real images"]
    with Image.open(tmp_path / "out" / "200" / "samples.png") as sheet:
        assert sheet.width > 500
    bench_scale.main(command)
    assert capsys.readouterr().out.startswith("\nfit --dictionary")  # nothing was measured again
