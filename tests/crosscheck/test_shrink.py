"""The smallest input: still fails, never larger, and for simple faults the obvious one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparsegen_classic.crosscheck.adapters import EPS, quantised
from sparsegen_classic.crosscheck.inputs import ordinary
from sparsegen_classic.crosscheck.shrink import shrink

ALL = (0, 1, 2, 3)
shapes = st.tuples(*[st.integers(1, 4)] * 4)


@settings(deadline=None, max_examples=60)
@given(arrays(np.float64, shapes, elements=st.floats(-100, 100)), st.floats(0, 50))
def test_what_comes_out_fails_and_is_no_larger(x, level):
    def fails(a):
        return bool((np.abs(a) >= level).any())

    if fails(x):
        small = shrink(x, fails, ALL)
        assert fails(small)
        assert small.shape == (1, 1, 1, 1)
        assert small.ravel()[0] >= 0


@settings(deadline=None, max_examples=30)
@given(arrays(np.float64, shapes, elements=st.floats(-100, 100)))
def test_axes_that_must_not_vary_do_not(x):
    small = shrink(x, lambda a: True, (0, 2))
    assert small.shape == (1, x.shape[1], 1, x.shape[3])
    assert not small.any()


def test_two_entries_that_matter_are_what_remains():
    x = ordinary((3, 4, 5, 5), np.random.default_rng(0))
    small = shrink(x, lambda a: np.count_nonzero(a > 0) >= 2 and len(set(a[a > 0])) >= 2, ALL)
    assert sorted(small.ravel()) == [1, 2]


def test_it_stops_when_calls_or_time_are_spent():
    calls = []
    x = ordinary((3, 4, 5, 5), np.random.default_rng(0))
    shrink(x, lambda a: calls.append(1) is None, ALL, max_calls=7)
    assert len(calls) == 7
    assert shrink(x, lambda a: True, ALL, seconds=0) is x


def test_numbers_stay_representable():
    x = quantised(ordinary((1, 9, 1, 1), np.random.default_rng(0)) / 3, "float16")
    small = shrink(x, lambda a: bool((a % 1 != 0).any()), ALL, snap=lambda a: quantised(a, "float16"))
    np.testing.assert_array_equal(small, quantised(small, "float16"))
    assert small.size == 1


@settings(deadline=None)
@given(st.sampled_from(list(EPS)), st.floats(-1e4, 1e4))
def test_rounding_to_a_dtype_is_idempotent_and_near(dtype, value):
    once = quantised(np.array([value]), dtype)
    np.testing.assert_array_equal(quantised(once, dtype), once)
    assert abs(once[0] - value) <= EPS[dtype] * max(abs(value), 1e-4)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 1536), st.integers(0, 5))
def test_ordinary_magnitudes_differ_in_every_dtype(size, seed):
    x = ordinary((1, size), np.random.default_rng(seed))
    for dtype in EPS:
        np.testing.assert_array_equal(quantised(x, dtype), x)
    assert len(np.unique(np.abs(x))) == size
    assert (x != 0).all()
