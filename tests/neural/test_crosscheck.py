"""Our layers pass our own crosscheck."""

import pytest

from sparsegen_classic.crosscheck import crosscheck_layer

torch = pytest.importorskip("torch", reason="the layers are torch modules")
neural = pytest.importorskip("sparsegen_classic.neural")


@pytest.mark.parametrize(
    ("make", "constraint", "k"),
    [
        (lambda: neural.L0Projection(9), "l0", 9),
        (lambda: neural.L0Projection(9, per="batch"), "l0-batch", 9),
        (lambda: neural.NeedleProjection(3), "needle", 3),
        (lambda: neural.TopK(9), "topk", 9),
        (lambda: neural.TopK(9, by="magnitude"), "topk-magnitude", 9),
        (lambda: neural.SoftThreshold(0.3), "soft-threshold", 0.3),
        (lambda: neural.L1Penalty(0.7), "l1-penalty", 0.7),
    ],
)
def test_layers_pass(make, constraint, k):
    report = crosscheck_layer(make(), constraint, k=k)
    assert report.passed, report


def test_the_straight_through_gradient_is_one():
    layer = neural.NeedleProjection(3, gradient="straight-through")
    assert crosscheck_layer(layer, "needle", k=3, gradient="straight-through").passed
    assert not crosscheck_layer(layer, "needle", k=3, gradient="mask").passed
