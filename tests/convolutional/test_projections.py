"""Projections against their definitions, tie rules, gradients and optimality conditions."""

import numpy as np
import pytest

from sparsegen_classic.convolutional.projections import (
    project_l0,
    project_l1,
    project_needle,
    project_topk,
    soft_threshold,
)
from tests import naive_sparsity

C61 = np.array([[[[3, -1], [0, 2]], [[-4, 2], [1, -2.5]], [[1, 0.5], [-3, 2.2]]]])
NCHW_TO = {"NCHW": lambda x: x, "NHWC": lambda x: x.transpose(0, 2, 3, 1)}


def activations(seed, shape, dtype=np.float64, ties=True):
    """Half of them on a coarse grid, so that ties are common."""
    x = np.random.default_rng(seed).standard_normal(shape)
    return (np.round(x, 1) if ties else x).astype(dtype)


def test_c61_values():
    needle = project_needle(C61, 1)
    assert needle.tolist() == [[[[0, 0], [0, 0]], [[-4, 2], [0, -2.5]], [[0, 0], [-3, 0]]]]
    assert sorted(project_l0(C61, 4)[project_l0(C61, 4) != 0]) == [-4, -3, -2.5, 3]
    topk = project_topk(C61, 4)
    assert topk.tolist() == [[[[3, 0], [0, 2]], [[0, 2], [0, 0]], [[0, 0], [0, 2.2]]]]


def test_c61_gradient_is_the_mask():
    grad = np.arange(12.0).reshape(1, 3, 2, 2)
    _, mask = project_needle(C61, 1, return_mask=True)
    assert (grad * mask).tolist() == [[[[0, 0], [0, 0]], [[4, 5], [0, 7]], [[0, 0], [10, 0]]]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 7, 5, 3), (3, 4, 1, 1), (2, 1, 4, 4), (2, 9, 13, 11)])
def test_needle_keeps_what_its_definition_keeps(shape, dtype):
    x = activations(0, shape, dtype)
    for k in {0, 1, (shape[1] + 1) // 2, shape[1]}:
        expected = naive_sparsity.needle_mask(x, k)
        for layout, move in NCHW_TO.items():
            out, mask = project_needle(move(x), k, layout, return_mask=True)
            np.testing.assert_array_equal(mask, move(expected))
            np.testing.assert_array_equal(out, move(x * expected))
            assert out.dtype == dtype


def test_needle_on_large_images_and_other_layouts():
    x = activations(1, (2, 6, 40, 60), np.float32)
    expected = naive_sparsity.needle_mask(x, 2)
    np.testing.assert_array_equal(project_needle(x, 2, n_jobs=2), x * expected)
    flat = x.transpose(0, 2, 3, 1).reshape(-1, 6)
    np.testing.assert_array_equal(
        project_needle(flat, 2, "flat"), project_needle(x, 2).transpose(0, 2, 3, 1).reshape(-1, 6)
    )
    np.testing.assert_array_equal(project_needle(x[:, :, 0], 2, "NCW"), project_needle(x, 2)[:, :, 0])
    rows = x[:, :, 0].transpose(0, 2, 1)
    np.testing.assert_array_equal(
        project_needle(rows, 2, "NWC").transpose(0, 2, 1), project_needle(x, 2)[:, :, 0]
    )


def test_needle_bits_do_not_depend_on_n_jobs_nor_on_strides():
    x = activations(2, (3, 16, 50, 50), np.float32)
    one = project_needle(x, 5)
    np.testing.assert_array_equal(one, project_needle(x, 5, n_jobs=2))
    np.testing.assert_array_equal(one, project_needle(np.asfortranarray(x), 5))
    np.testing.assert_array_equal(one[:, :, ::2], project_needle(x[:, :, ::2], 5))


def test_extreme_magnitudes_are_told_apart():
    tiny, huge = np.finfo(np.float64).smallest_subnormal, np.finfo(np.float64).max
    x = np.array([[0.0, tiny, -2 * tiny, 1.0, -huge, np.nextafter(1.0, 2.0)]])
    for k, kept in ((1, [4]), (2, [4, 5]), (3, [3, 4, 5]), (4, [2, 3, 4, 5]), (5, [1, 2, 3, 4, 5])):
        assert np.flatnonzero(project_needle(x, k, "flat")[0]).tolist() == kept
        assert np.flatnonzero(project_l0(x, k)[0]).tolist() == kept


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_l0_keeps_what_its_definition_keeps(per):
    x = activations(3, (4, 3, 2, 5))
    for k in (0, 1, 7, 30):
        out, mask = project_l0(x, k, per, return_mask=True)
        rows = np.abs(x).reshape(4 if per == "sample" else 1, -1)
        expected = np.array([naive_sparsity.largest(row, k) for row in rows]).reshape(x.shape)
        np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(out, x * expected)


def test_topk_by_value_keeps_what_its_definition_keeps():
    x = activations(4, (4, 3, 2, 5))
    out, mask = project_topk(x, 20, return_mask=True)
    expected = np.array([naive_sparsity.largest(row, 20) for row in x.reshape(4, -1)]).reshape(x.shape)
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(out, np.where(expected, x, 0))
    np.testing.assert_array_equal(project_topk(x, 7, by="magnitude"), project_l0(x, 7))
    relu = np.maximum(x, 0)
    np.testing.assert_array_equal(np.maximum(out, 0), project_topk(relu, 20))  # ReLU and TopK commute


def test_ties_are_settled_by_the_lower_index():
    x = np.array([[1.0, -1, 1, 0, 0, -1]])
    assert project_l0(x, 2).tolist() == [[1, -1, 0, 0, 0, 0]]
    assert project_needle(x, 3, "flat").tolist() == [[1, -1, 1, 0, 0, 0]]
    assert project_topk(x, 4, return_mask=True)[1].tolist() == [[True, False, True, True, True, False]]
    _, mask = project_needle(np.zeros((1, 4)), 2, "flat", return_mask=True)
    assert mask.tolist() == [[True, True, False, False]]  # exactly k, zeros included


def test_fractions_count_entries():
    x = activations(5, (2, 8, 3, 3), ties=False)
    np.testing.assert_array_equal(project_needle(x, 0.25), project_needle(x, 2))
    np.testing.assert_array_equal(project_l0(x, 0.5), project_l0(x, 36))
    np.testing.assert_array_equal(project_l0(x, 1e-9), project_l0(x, 1))
    np.testing.assert_array_equal(project_l0(x, 1.0), x)
    assert np.count_nonzero(project_l0(x, 1)) == 2


@pytest.mark.parametrize(
    "project",
    [
        lambda x: project_l0(x, 9),
        lambda x: project_l0(x, 0.3, per="batch"),
        lambda x: project_needle(x, 2),
        lambda x: project_topk(np.maximum(x, 0), 9),
        lambda x: project_l1(x, 3.0),
    ],
)
def test_projections_are_idempotent_and_leave_their_input(project):
    x = activations(6, (3, 4, 5, 2))
    before = x.copy()
    once = project(x)
    np.testing.assert_allclose(project(once), once, rtol=1e-12)
    np.testing.assert_array_equal(x, before)


def test_needle_is_the_nearest_point_under_its_count():
    x = activations(7, (1, 5, 3, 3), ties=False)
    distance = ((x - project_needle(x, 2)) ** 2).sum()
    rng = np.random.default_rng(0)
    for _ in range(200):
        keep = rng.random(x.shape).argsort(axis=1) < 2
        assert ((x - x * keep) ** 2).sum() >= distance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_l1_projection_satisfies_the_optimality_conditions(dtype):
    x = activations(8, (6, 4, 7), dtype, ties=False)
    inside = x / np.abs(x).sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(project_l1(inside, 1.001), inside)
    p = project_l1(x, 2.5)
    assert p.dtype == dtype
    np.testing.assert_allclose(np.abs(p).sum(axis=(1, 2)), 2.5, rtol=1e-5)
    for point, projected in zip(x.astype(float), p.astype(float), strict=True):
        # the residual is normal to the ball: <x - p, z - p> <= 0 at every vertex z
        residual = point - projected
        assert 2.5 * np.abs(residual).max() - (residual * projected).sum() < 1e-5
    np.testing.assert_array_equal(project_l1(x, 0), np.zeros_like(x))


def test_l1_gradient_formula_agrees_with_differences():
    x = activations(9, (1, 12), ties=False)
    grad = activations(10, (1, 12), ties=False)
    p = project_l1(x, 2.0)
    on, s = p != 0, np.sign(p)
    formula = np.where(on, grad - s * (s * grad)[on].mean(), 0)
    step = 1e-6 * np.eye(12)
    numeric = (project_l1(x + step, 2.0) - project_l1(x - step, 2.0)) @ grad[0] / 2e-6
    np.testing.assert_allclose(numeric, formula[0], atol=1e-8)


@pytest.mark.parametrize("positive", [False, True])
def test_soft_threshold_minimises_its_objective(positive):
    x = activations(11, (3, 4))
    level = np.array([0.1, 0.5, 0.0, 2.0])
    shrunk, mask = soft_threshold(x, level, positive, return_mask=True)
    grid = np.linspace(0 if positive else -4, 4, 16001)
    cost = 0.5 * (x[..., None] - grid) ** 2 + level[:, None] * np.abs(grid)
    np.testing.assert_allclose(shrunk, grid[cost.argmin(-1)], atol=6e-4)
    np.testing.assert_array_equal(mask, shrunk != 0)
    assert soft_threshold(x.astype(np.float32), 0.5).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: project_needle(np.full((1, 2, 2, 2), np.nan), 1), ValueError, "x must be finite"),
        (lambda: project_l0([[1.0, np.inf]], 1), ValueError, "x must be finite"),
        (lambda: soft_threshold([np.nan], 1), ValueError, "x must be finite"),
        (lambda: project_needle(np.zeros((2, 2)), 1), ValueError, "4 axes for layout='NCHW'"),
        (lambda: project_needle(np.zeros((2, 2)), 1, "CHW"), ValueError, "layout must be one of"),
        (
            lambda: project_needle(np.zeros((2, 2)), 3, "flat"),
            ValueError,
            "k must be at least 0 and at most 2",
        ),
        (lambda: project_needle(np.zeros((2, 2)), -1, "flat"), ValueError, "k must be at least 0"),
        (lambda: project_needle(np.zeros((2, 2)), True, "flat"), TypeError, "k must be an integer"),
        (lambda: project_l0(np.zeros((2, 2)), 1.5), ValueError, "a float is a fraction"),
        (lambda: project_l0(np.zeros((2, 2)), 0.0), ValueError, "k must be greater than 0"),
        (lambda: project_l0(np.zeros(4), 1), ValueError, r"use x\[None\]"),
        (lambda: project_l0(np.zeros((2, 0)), 1), ValueError, "must not be empty"),
        (lambda: project_l0(np.zeros((2, 2)), 1, "pixel"), ValueError, "per must be one of"),
        (lambda: project_topk(np.zeros((2, 2)), 1, "size"), ValueError, "by must be one of"),
        (lambda: project_l1(np.zeros((2, 2)), -1), ValueError, "radius must be at least 0"),
        (lambda: soft_threshold([1.0], -1), ValueError, "threshold must be finite and at least 0"),
        (lambda: soft_threshold([1.0, 2.0], np.ones((3, 1))), ValueError, "does not broadcast"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
