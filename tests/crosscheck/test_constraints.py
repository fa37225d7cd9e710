"""The constraints as references: papers' cases, naive oracles, and properties by hypothesis."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparsegen_classic.crosscheck.layer import CONSTRAINTS, make_constraint
from tests.naive_sparsity import needle_mask

SAMPLE = np.array([[[[3.0, -1], [0, 2]], [[-4, 2], [1, -2.5]], [[1, 0.5], [-3, 2.2]]]])
OPTIONS = {"stripe": {"atom_shape": (2, 2)}}
LEVELS = {"soft-threshold": 0.5, "l1-ball": 2.0, "l1-penalty": 0.5}
numbers = st.floats(-8, 8, width=16)
maps = arrays(np.float64, st.tuples(st.integers(1, 3), *[st.integers(1, 4)] * 3), elements=numbers)


def rule(name, k=2, layout="NCHW", **options):
    return make_constraint(name, LEVELS.get(name, k), layout, **OPTIONS.get(name, {}), **options)


def test_the_cases_of_the_papers():
    needle = rule("needle", 1)
    kept = needle.reference(SAMPLE)
    np.testing.assert_array_equal(kept[0, 0], 0)
    np.testing.assert_array_equal(kept[0, 1], [[-4, 2], [0, -2.5]])
    np.testing.assert_array_equal(kept[0, 2], [[0, 0], [-3, 0]])
    grad = needle.gradient(SAMPLE, kept, np.arange(12.0).reshape(SAMPLE.shape))
    np.testing.assert_array_equal(grad[0], [[[0, 0], [0, 0]], [[4, 5], [0, 7]], [[0, 0], [10, 0]]])
    l0 = rule("l0", 4).reference(SAMPLE)
    assert sorted(l0[l0 != 0]) == [-4, -3, -2.5, 3]
    topk = rule("topk", 4).reference(SAMPLE)
    assert sorted(topk[topk != 0]) == [2, 2, 2.2, 3]


def test_needles_against_the_definition():
    x = np.random.default_rng(0).standard_normal((2, 5, 3, 4))
    np.testing.assert_array_equal(rule("needle", 2).reference(x), np.where(needle_mask(x, 2), x, 0))


@settings(deadline=None, max_examples=40)
@given(maps, st.sampled_from(CONSTRAINTS))
def test_references_pass_their_own_rules(x, name):
    constraint = rule(name)
    y = constraint.reference(x)
    eps = 2.0**-52
    assert constraint.fault(x, y, eps) is None
    assert constraint.infeasible(x, y, eps) is None
    assert constraint.altered(x, y, eps) is None
    assert constraint.misplaced(x, y) is None
    assert constraint.wrong_sign(x, y) is None
    if constraint.projection and name not in ("topk", "stripe"):
        np.testing.assert_allclose(constraint.reference(y), y, atol=1e-12)
    if constraint.homogeneous and name != "stripe":
        np.testing.assert_allclose(constraint.reference(2 * x), 2 * y, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(maps, st.sampled_from(["l0", "needle", "topk", "l0-batch"]), st.data())
def test_any_other_answer_is_a_fault(x, name, data):
    """One entry changed, more than rounding and not by another choice among equals."""
    constraint = rule(name)
    y = constraint.reference(x).copy()
    at = tuple(data.draw(st.integers(0, n - 1)) for n in x.shape)
    y[at] += 0.5
    assert constraint.fault(x, y, 2.0**-52) is not None


@settings(deadline=None, max_examples=40)
@given(maps, st.sampled_from(["NCHW", "NHWC"]), st.sampled_from(["l0", "l0-batch", "needle", "topk"]))
def test_rows_come_back(x, layout, name):
    constraint = rule(name, layout=layout)
    np.testing.assert_array_equal(constraint.unrows(constraint.rows(x), x.shape), x)
    rearrange = constraint.shuffled(x, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(rearrange(x), axis=None), np.sort(x, axis=None))
    y = constraint.reference(x)
    assert constraint.fault(rearrange(x), rearrange(y), 2.0**-52) is None


def test_fractions_may_be_rounded_either_way():
    x = np.arange(1.0, 8).reshape(1, 7, 1, 1)
    constraint = rule("l0", 0.5)
    assert constraint.counts(7) == (3, 4)
    for k, right in ((2, False), (3, True), (4, True), (5, False)):
        assert (constraint.fault(x, np.where(x > 7 - k, x, 0), 1e-16) is None) == right


def test_ties_may_be_broken_in_any_way():
    x = np.array([1.0, -1, 1, 0.5]).reshape(1, 4, 1, 1)
    constraint = rule("l0", 2)
    for kept in ([1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0]):
        assert constraint.fault(x, x * np.reshape(kept, x.shape), 1e-16) is None
    for kept in ([1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 1]):
        assert constraint.fault(x, x * np.reshape(kept, x.shape), 1e-16) is not None


def test_choosing_by_size_matches_a_loop_over_all_stripes():
    rng = np.random.default_rng(0)
    for boundary in ("zero", "circular"):
        constraint = make_constraint("stripe", 3, "NCHW", atom_shape=(2, 3), boundary=boundary)
        x = rng.standard_normal((1, 2, 5, 6))
        y = np.zeros_like(x)
        for i in np.argsort(-np.abs(x), axis=None):
            trial = y.copy()
            trial.flat[i] = x.flat[i]
            if constraint.infeasible(x, trial, 0.0) is None:
                y = trial
        assert constraint._by_size(x[0]) == pytest.approx(np.square(y).sum())
        assert constraint.fault(x, y, 1e-16) is None
        assert 0.6 < constraint.share(x, y) <= 1


@pytest.mark.parametrize(
    ("name", "k", "options", "message"),
    [
        ("needles", 2, {}, "constraint must be one of 'l0', 'l0-batch'"),
        ("needle", None, {}, "k must be given for the constraint 'needle', got None"),
        ("l0", -1, {}, "k must be at least 0, got -1"),
        ("l0", 1.5, {}, "k must be greater than 0 and at most 1, got 1.5; a float is a fraction"),
        ("l1-ball", None, {}, "k must be given for the constraint 'l1-ball', got None; it is the radius"),
        ("soft-threshold", -1.0, {}, "k must be at least 0, got -1.0; it is the threshold"),
        ("stripe", 2, {}, "atom_shape must be given"),
        ("stripe", 2, {"atom_shape": 3, "layout": "flat"}, "stripes are along the spatial axes"),
        ("stripe", 2, {"atom_shape": (3, 3), "layout": "NCW"}, "atom_shape must have 1 entries"),
        ("needle", 2, {"axis": 1}, "axis must be None for the constraint 'needle'"),
        ("topk", 2, {"axis": 0}, "axis must name axes other than that of samples"),
        ("topk", 2, {"axis": 4}, "axis must be at least -4 and at most 3, got 4"),
        ("soft-threshold", 0.5, {"axis": 1}, "axis must be None"),
        ("l1-penalty", 0.5, {"reduction": "max"}, "reduction must be one of"),
        ("l0", 2, {"layout": "CHW"}, "layout must be one of"),
    ],
)
def test_wrong_arguments_are_named(name, k, options, message):
    layout = options.pop("layout", "NCHW") if "layout" in options else "NCHW"
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        make_constraint(name, k, layout, **options)
