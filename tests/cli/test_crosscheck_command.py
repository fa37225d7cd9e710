"""``sparsegen-classic crosscheck`` and the process it runs layers in."""

import json

import pytest

from sparsegen_classic.crosscheck.isolated import TargetError, crosscheck_target
from tests.cli.test_commands import run

LAYERS = """
import ctypes, os, sys, time
import numpy as np

def good(x, k):
    index = np.argsort(-np.abs(x), axis=1, kind="stable")[:, :k]
    mask = np.zeros(x.shape, bool)
    np.put_along_axis(mask, index, True, axis=1)
    return np.where(mask, x, x.dtype.type(0))

def by_value(x):
    print("a line")
    os.write(1, b"another line")
    index = np.argsort(-x, axis=1, kind="stable")[:, :2]
    mask = np.zeros(x.shape, bool)
    np.put_along_axis(mask, index, True, axis=1)
    return np.where(mask, x, x.dtype.type(0))

def hangs_at_zeros(x):
    while x.size and not x.any():
        time.sleep(0.01)
    return good(x, 2)

def dies(x):
    sys.stderr.write("last words\\n")
    sys.stderr.flush()
    os._exit(3)

def segfaults(x):
    ctypes.string_at(0)

def raises(x):
    raise RuntimeError("not today")

value = 3
"""


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    path = tmp_path_factory.mktemp("user") / "layers_of_a_user.py"
    path.write_text(LAYERS)
    return path


def crosscheck(layers, name, *options):
    return run(
        "crosscheck", f"{layers}:{name}", "--constraint", "needle", "-k", 2, "--shape", "2,6,4,4", *options
    )


def test_a_layer_that_agrees(layers):
    code, out, err = crosscheck(layers, "good")
    assert (code, err) == (0, "")
    assert "good (numpy) against needle, k = 2, NCHW (2, 6, 4, 4): agrees in all" in out


def test_a_layer_that_differs_with_a_page(layers, tmp_path):
    page = tmp_path / "page.html"
    code, out, err = crosscheck(layers, "by_value", "--json", "--report", page)
    assert (code, err) == (1, "")
    data = json.loads(out)
    assert data["diagnosis"] == "the k largest by value over channels"
    assert "values" in data["failures"]
    text = page.read_text()
    assert "Crosscheck of by_value" in text
    assert "values fails" in text
    assert text.count("data:image/png") >= 3
    code, _, err = crosscheck(layers, "by_value", "--report", page)
    assert code == 1
    assert "exists" in err
    assert crosscheck(layers, "good", "-q", "--report", page, "--force") == (0, "", "")


def test_a_layer_that_hangs_keeps_the_verdicts_before(layers):
    code, out, _ = crosscheck(layers, "hangs_at_zeros", "--time-limit", 6)
    assert code == 1
    assert "FAIL  zeros: no end after 6 s" in out
    assert "passed  output, " in out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dies", "the process ends with exit code 3 in the middle of the check: last words"),
        ("segfaults", "the process dies of SIGSEGV"),
        ("raises", "raises RuntimeError: not today (layers_of_a_user.py:"),
    ],
)
def test_layers_that_end_badly_get_a_verdict(layers, name, message):
    code, out, err = crosscheck(layers, name)
    assert (code, err) == (1, "")
    assert f"FAIL  output: {message}" in out
    assert "Traceback" not in out


def test_a_module_that_raises_gets_a_verdict(tmp_path):
    (tmp_path / "broken.py").write_text("raise ValueError('broken')")
    code, out, _ = run("crosscheck", f"{tmp_path / 'broken.py'}:x", "--constraint", "l0", "-k", 2)
    assert code == 1
    assert "raises ValueError: broken (broken.py:1)" in out


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing", "'nothing' names no layer; write module:name"),
        ("no_such_module:x", "there is no module 'no_such_module'"),
        ("no_such_file.py:x", "there is no file no_such_file.py"),
        ("no_such_file.onnx", "there is no file no_such_file.onnx"),
        ("json:nothing", "json has no 'nothing'; it has"),
        ("math:pi", "layer must be callable"),
    ],
)
def test_targets_that_are_not_there_are_usage_errors(target, message):
    code, out, err = run("crosscheck", target, "--constraint", "l0", "-k", 2)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--constraint", "l2", "-k", 2), "'l2' is not one of"),
        (("--constraint", "l0"), "k must be given"),
        (("--constraint", "l0", "-k", "many"), "'many' is not a number"),
        (("--constraint", "l0", "-k", 2, "--shape", "a,b"), "is no list of sizes"),
        (("--constraint", "l0", "-k", 2, "--shape", "2,6"), "shape must have 4 entries"),
        (("--constraint", "l0", "-k", 2, "--report", "x.pdf"), "must end in .html"),
        (("-k", 2), "Missing option '--constraint'"),
    ],
)
def test_usage_errors_exit_with_2(layers, options, message):
    code, _, err = run("crosscheck", f"{layers}:good", *options)
    assert code == 2
    assert message in err


def test_python_says_the_same_as_the_command(layers):
    seen = []
    report = crosscheck_target(
        f"{layers}:good", "needle", k=2, shape=[2, 6, 4, 4], watch=lambda c, v: seen.append(c)
    )
    assert report.passed
    assert set(seen) == {v.check for v in report.verdicts}
    with pytest.raises(TargetError, match="k must be at least 0"):
        crosscheck_target(f"{layers}:good", "needle", k=-2)
    with pytest.raises(ValueError, match="time_limit must be greater than 0"):
        crosscheck_target(f"{layers}:good", "needle", k=2, time_limit=0)
