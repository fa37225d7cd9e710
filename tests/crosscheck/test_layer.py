"""``crosscheck_layer`` as a user meets it: reports, options, frameworks, layers that misbehave."""

import functools
import json

import numpy as np
import pytest

from sparsegen_classic import assert_layer_matches, crosscheck_layer
from sparsegen_classic.crosscheck import Example, LayerReport
from tests.crosscheck.gallery import keep_rows, largest

SHAPE = (2, 6, 4, 4)


def right(x, k):
    return np.where(largest(np.abs(x), k, 1), x, x.dtype.type(0))


def by_value(x):
    return np.where(largest(x, 2, 1), x, x.dtype.type(0))


@pytest.fixture(scope="module")
def failing():
    return crosscheck_layer(by_value, "needle", k=2, shape=SHAPE)


def test_a_report_says_everything(failing):
    assert not failing.passed
    assert failing["values"] in failing.failures
    text = str(failing)
    assert text.startswith("by_value (numpy) against needle, k = 2, NCHW (2, 6, 4, 4): differs in")
    assert "It looks like the k largest by value over channels." in text
    assert "FAIL  values: keeps" in text
    assert "says nothing while 'values' fails" in text
    with pytest.raises(KeyError, match="no check 'valeus'; there are output"):
        failing["valeus"]
    assert "differs in" in repr(failing)


def test_the_smallest_input_can_be_pasted(failing):
    smallest = failing["values"].smallest
    scope = {"layer": by_value}
    exec(smallest.code(), scope)
    np.testing.assert_array_equal(scope["y"], smallest.got)
    assert not np.array_equal(scope["y"], smallest.expected)
    assert smallest.x.shape == (1, 3, 1, 1)
    np.testing.assert_array_equal(np.sort(smallest.x, axis=None), [-1, 0, 0])
    assert failing["values"].worst.x.size > smallest.x.size


def test_a_wrong_answer_does_not_shrink_to_an_error():
    def keeps_ties(x):
        level = np.sort(np.abs(x), axis=1)[:, [-3]]  # raises where there are fewer than 3 channels
        return np.where(np.abs(x) >= level, x, x.dtype.type(0))

    report = crosscheck_layer(keeps_ties, "needle", k=3, shape=SHAPE)
    assert [v.check for v in report.failures] == ["ties"]
    smallest = report["ties"].smallest
    assert smallest.x.shape == (1, 4, 1, 1)
    assert np.count_nonzero(smallest.got) == 4
    assert "raises" not in smallest.message


def test_reports_survive_json(failing):
    data = json.loads(failing.to_json())
    assert data["failures"] == [v.check for v in failing.failures]
    again = LayerReport.from_dict(data)
    assert str(again) == str(failing).replace(f"{failing.seconds:.1f} s,", f"{again.seconds:.1f} s,")
    np.testing.assert_array_equal(again["values"].smallest.x, failing["values"].smallest.x)


def test_examples_with_nan_and_large_ones_survive_too():
    x = np.array([[np.nan, np.inf, -np.inf, -0.0, 1e-30]])
    example = Example(x, x, None, "float32", "m")
    again = Example.from_dict(json.loads(json.dumps(example.to_dict(), allow_nan=False)))
    np.testing.assert_array_equal(again.x, x)
    assert "np.array([np.nan, np.inf, -np.inf, -0, 1e-30], dtype='float32').reshape(1, 5)" in (
        example.code().replace("-0.0", "-0")
    )
    scope = {"layer": lambda x: x}
    exec(example.code(), scope)
    assert np.signbit(scope["x"][0, 3])
    large = Example(np.zeros((100, 100)), None, None, "float32", "m")
    assert Example.from_dict(large.to_dict()).x.shape == (100, 100)
    assert "10000 entries" in large.code()


def test_assert_layer_matches_reads_like_the_report():
    assert assert_layer_matches(right, "needle", k=2, shape=SHAPE).passed
    with pytest.raises(AssertionError, match="FAIL  values: keeps"):
        assert_layer_matches(by_value, "needle", k=2, shape=SHAPE)


def test_the_same_seed_gives_the_same_report(failing):
    again = crosscheck_layer(by_value, "needle", k=2, shape=SHAPE)
    for one, two in zip(failing.failures, again.failures, strict=True):
        np.testing.assert_array_equal(one.worst.x, two.worst.x)
        assert one.message == two.message
    other = crosscheck_layer(by_value, "needle", k=2, shape=SHAPE, random_state=1)
    assert other["values"].worst.x.tolist() != failing["values"].worst.x.tolist()


def test_only_some_checks(failing):
    seen = []
    report = crosscheck_layer(
        by_value,
        "needle",
        k=2,
        shape=SHAPE,
        checks=("feasible", "kept"),
        watch=lambda check, verdict: seen.append((check, verdict and verdict.status)),
    )
    assert [v.check for v in report.verdicts] == ["output", "feasible", "kept"]
    assert seen == [
        ("output", None), ("output", "pass"), ("feasible", None), ("feasible", "pass"), ("kept", None),
        ("kept", "fail"),
    ]  # fmt: skip


def test_no_time_left_leaves_checks_out():
    report = crosscheck_layer(right, "needle", k=2, shape=SHAPE, time_limit=1e-9)
    assert {v.status for v in report.verdicts} == {"skip"}
    assert "the time limit of 1e-09 s is over" in report["values"].message


def test_classes_functions_of_k_and_partials_are_made_for_other_k():
    class Layer:
        def __init__(self, k):
            self.k = k

        def __call__(self, x):
            return right(x, self.k)

    class Fixed:
        def __call__(self, x):
            return right(x, 2)

    for layer, edges in (
        (Layer, "pass"),
        (right, "pass"),
        (Fixed, "pass"),  # by the sizes of its inputs
        (Layer(2), "pass"),
        (functools.partial(right, k=2), "pass"),
        (lambda x: right(x, 2), "pass"),
    ):
        report = crosscheck_layer(layer, "needle", k=2, shape=SHAPE)
        assert report.passed
        assert report["k-edges"].status == edges
        assert report["k-zero"].status == ("note" if layer in (Layer, right) else "skip")


def test_sizes_that_must_not_vary_do_not():
    shapes = set()

    def layer(x):
        shapes.add(x.shape)
        return right(x, 2)

    assert crosscheck_layer(layer, "needle", k=2, shape=SHAPE, vary="N").passed
    assert {shape[1:] for shape in shapes} == {SHAPE[1:]}
    assert len({shape[0] for shape in shapes}) > 1
    shapes.clear()
    assert crosscheck_layer(layer, "needle", k=2, shape=SHAPE, vary="").passed
    assert shapes == {SHAPE}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda x: None, "returns a NoneType, not an array of numpy; did it forget to return?"),
        (lambda x: (x, x), "returns a tuple, not an array of numpy; pass lambda x: layer"),
        (lambda x: np.array("a"), "holds no real numbers"),
        (lambda x: x[:, :1], "returns shape (3, 1, 3, 3) for an input of shape"),
        (lambda x: 1 / 0, "raises ZeroDivisionError: division by zero (test_layer.py:"),
    ],
)
def test_what_is_no_answer_is_a_verdict(layer, message):
    report = crosscheck_layer(layer, "needle", k=1, shape=SHAPE)
    assert [v.check for v in report.failures] == ["output"]
    assert message in report["output"].message


def test_a_layer_that_raises_now_and_then_gets_verdicts():
    class Moody:
        calls = 0

        def __call__(self, x):
            self.calls += 1
            if self.calls % 7 == 0:
                raise RuntimeError("not now")
            return right(x, 2)

    report = crosscheck_layer(Moody(), "needle", k=2, shape=SHAPE)
    assert any("raises RuntimeError: not now" in v.message for v in report.failures)


def test_a_class_that_cannot_be_made_is_a_verdict():
    class Broken:
        def __init__(self, a, b):
            pass

    report = crosscheck_layer(Broken, "needle", k=1, shape=SHAPE)
    assert "the layer cannot be made: it raises TypeError" in report["output"].message


def test_prints_are_noted_and_hidden(capsys):
    def layer(x):
        print("look at me")
        return right(x, 2)

    report = crosscheck_layer(layer, "needle", k=2, shape=SHAPE)
    assert report.passed
    assert "first: 'look at me'" in report["prints"].message
    assert capsys.readouterr() == ("", "")


def test_progress_goes_to_stderr(capsys):
    crosscheck_layer(lambda x: right(x, 2), "needle", k=2, shape=SHAPE, verbose=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "crosscheck values" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 7}, "k must be at most 6, the entries it chooses from in shape (2, 6, 4, 4), got 7"),
        ({"shape": (2, 6)}, "shape must have 4 entries for the axes NCHW"),
        ({"vary": "NQ"}, "vary must hold letters of 'NCHW', got 'NQ'"),
        ({"gradient": "relu"}, "gradient must be one of 'mask', 'straight-through', None"),
        ({"checks": ("value",)}, "checks must be one of 'output'"),
        ({"framework": "keras"}, "framework must be one of 'auto'"),
        ({"time_limit": 0}, "time_limit must be greater than 0"),
        ({"rtol": 2}, "rtol must be at least 0 and at most 1"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        crosscheck_layer(by_value, "needle", **{"k": 2, "shape": SHAPE, **options})


def test_a_layer_must_be_callable():
    with pytest.raises(TypeError, match="layer must be callable or the path of an .onnx file, got 3"):
        crosscheck_layer(3, "needle", k=2)


def test_the_slack_of_rtol():
    def sloppy(x):
        return np.sign(x) * np.maximum(np.abs(x) * (1 + 1e-4) - 0.5, 0)

    assert not crosscheck_layer(sloppy, "soft-threshold", k=0.5, shape=SHAPE).passed
    assert crosscheck_layer(sloppy, "soft-threshold", k=0.5, shape=SHAPE, rtol=1e-2).passed


@pytest.mark.parametrize(
    ("layer", "constraint", "k", "diagnosis"),
    [
        (lambda x: x.copy(), "l0", 3, "the identity"),
        (lambda x: keep_rows(x, np.abs(x), 4), "l0", 3, "the k +1 largest by magnitude over channels"),
        (lambda x: keep_rows(x[None], np.abs(x)[None], 3)[0], "l0", 3, "over the whole batch"),
        (lambda x: keep_rows(x, -np.abs(x), 3), "l0", 3, "the k largest by smallness"),
        (lambda x: x * (np.abs(x) > 0.5), "soft-threshold", 0.5, "a hard threshold"),
        (lambda x: np.clip(x, -2, 2), "l1-ball", 2.0, "clipping to [-k, k]"),
        (lambda x: 0.1 * np.abs(x).sum(), "l1-penalty", 0.1, "the penalty of reduction='sum'"),
    ],
)
def test_known_mistakes_are_named(layer, constraint, k, diagnosis):
    report = crosscheck_layer(layer, constraint, k=k, shape=SHAPE, checks=("values",))
    assert diagnosis in report.diagnosis


def test_frameworks_are_seen():
    torch = pytest.importorskip("torch")
    jax = pytest.importorskip("jax")

    def shrink(x):
        return x.sign() * (x.abs() - 0.5).clip(0)

    from sparsegen_classic.crosscheck.adapters import framework_of

    assert framework_of(torch.nn.Softshrink(0.5)) == "torch"
    assert framework_of(lambda x: torch.relu(x)) == "torch"
    assert framework_of(jax.jit(jax.numpy.abs)) == "jax"
    assert framework_of(lambda x: np.abs(x)) == "numpy"
    assert framework_of(shrink) == ""
    report = crosscheck_layer(shrink, "soft-threshold", k=0.5, shape=SHAPE, checks=("values",))
    assert (report.framework, report.passed) == ("torch", True)
    double = torch.nn.PReLU().double()
    report = crosscheck_layer(double, "soft-threshold", k=0.0, shape=SHAPE, checks=("float32", "float64"))
    assert report["float32"].message == "the layer takes float64"


def test_a_module_keeps_its_mode():
    torch = pytest.importorskip("torch")
    layer = torch.nn.Softshrink(0.5).eval()
    assert crosscheck_layer(layer, "soft-threshold", k=0.5, shape=SHAPE).passed
    assert not layer.training
