"""The stripe projection against every subset, its certificate, and the cap itself."""

from contextlib import suppress

import numpy as np
import pytest

from sparsegen_classic.convolutional import SparseMaps, sparsity_counts
from sparsegen_classic.convolutional.stripe import project_stripe
from tests import naive_sparsity


def sparse_maps(seed, shape, n_nonzero):
    rng = np.random.default_rng(seed)
    maps = np.zeros(shape)
    maps.flat[rng.choice(maps.size, n_nonzero, replace=False)] = rng.standard_normal(n_nonzero)
    return maps


def test_c54_greedy_by_size_is_not_the_projection():
    maps = np.array([[3.0, 0, 4, 0, 3]])
    result = project_stripe(maps, 1, 2)
    assert (result.energy, result.bound, result.optimal) == (18.0, pytest.approx(18.0), True)
    assert result.maps.tolist() == [[3, 0, 0, 0, 3]]
    # taking 4 first would end at 16; less the prices of what it fills, 4 comes last
    assert project_stripe(maps, 1, 2, "greedy").energy in (16.0, 18.0)


@pytest.mark.parametrize("boundary", ["zero", "circular"])
@pytest.mark.parametrize(
    ("shape", "atom_shape", "stride"),
    [
        ((2, 7), (3,), (1,)),
        ((3, 8), (4,), (2,)),
        ((1, 12), (2,), (1,)),
        ((2, 5), (5,), (1,)),  # every atom overlaps every other on the circle
        ((2, 3, 4), (2, 2), (1, 1)),
        ((2, 4, 4), (3, 2), (2, 1)),
        ((3, 3, 3), (1, 1), (1, 1)),
    ],
)
def test_exact_is_the_best_of_all_subsets_and_greedy_lies_between(shape, atom_shape, stride, boundary):
    for seed, cap in enumerate((0, 1, 1, 2, 3)):
        maps = sparse_maps(seed, shape, 9)
        best = naive_sparsity.best_stripe_energy(maps, cap, atom_shape, stride, boundary)
        settings = {"stride": stride, "boundary": boundary}
        exact = project_stripe(maps, cap, atom_shape, **settings)
        greedy = project_stripe(maps, cap, atom_shape, "greedy", **settings)
        assert exact.optimal
        assert exact.energy == pytest.approx(best, abs=1e-12)
        assert exact.bound == pytest.approx(best, rel=1e-6, abs=1e-12)
        assert greedy.energy <= best * (1 + 1e-12) <= greedy.bound * (1 + 1e-9) + 1e-12
        assert not greedy.optimal or greedy.energy == pytest.approx(best, rel=2e-6)
        for result in (exact, greedy):
            assert ((result.maps == maps) | (result.maps == 0)).all()
            assert result.energy == pytest.approx((result.maps**2).sum(), abs=1e-12)
            assert sparsity_counts(result.maps, atom_shape, stride, boundary).stripe <= cap


def test_linear_and_integer_program_agree_on_longer_signals():
    rng = np.random.default_rng(0)
    for cap, length in ((1, 5), (3, 8), (6, 12)):
        maps = rng.standard_normal((3, 80))
        linear = project_stripe(maps, cap, length)
        assert linear.optimal
        assert linear.status.startswith("linear program")
        # as an image of one row: the same constraints, solved as an integer program
        integer = project_stripe(maps[:, None], cap, (1, length))
        assert integer.optimal
        assert integer.status == "integer program"
        assert integer.energy == pytest.approx(linear.energy, rel=1e-9)
        assert linear.energy > project_stripe(maps, cap, length, "greedy").energy * (1 - 1e-12)


def test_greedy_is_certified_close_on_large_images():
    maps = sparse_maps(1, (8, 60, 60), 1500)
    result = project_stripe(maps, 5, (8, 8), "greedy")
    assert sparsity_counts(result.maps, (8, 8)).stripe == 5
    assert 0.93 < result.energy / result.bound < 1
    assert not result.optimal


def test_projection_is_idempotent_and_monotone_in_the_cap():
    maps = sparse_maps(2, (2, 60), 60)
    energies = []
    for cap in (1, 2, 4, 8, 16):
        result = project_stripe(maps, cap, 6)
        np.testing.assert_array_equal(project_stripe(result.maps, cap, 6).maps, result.maps)
        energies.append(result.energy)
    assert (np.diff(energies) >= 0).all()
    np.testing.assert_array_equal(project_stripe(maps, 60, 6).maps, maps)
    assert energies[-1] <= (maps**2).sum()


@pytest.mark.parametrize("method", ["exact", "greedy"])
def test_types_zeros_and_scales(method):
    maps = sparse_maps(3, (2, 6, 6), 12)
    single = project_stripe(maps.astype(np.float32), 2, (2, 2), method)
    assert single.maps.dtype == np.float32
    tiny = project_stripe(maps * 1e-9, 2, (2, 2), method)
    np.testing.assert_array_equal(tiny.maps != 0, single.maps != 0)
    same = project_stripe(SparseMaps.from_dense(maps), 2, (2, 2), method)
    np.testing.assert_allclose(same.maps, single.maps, rtol=1e-6)
    nothing = project_stripe(np.zeros((2, 6, 6)), 2, (2, 2), method)
    assert (nothing.energy, nothing.bound, nothing.optimal) == (0.0, 0.0, True)


def test_time_limit_still_gives_a_bound():
    maps = np.random.default_rng(4).standard_normal((2, 640))
    result = None
    with suppress(RuntimeError):  # a slow machine may find nothing in that time
        result = project_stripe(maps, 6, 64, boundary="circular", time_limit=0.5)
    assert result is None or result.energy <= result.bound


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"cap": -1}, ValueError, "cap must be at least 0, got -1; a count cannot be negative"),
        ({"cap": 1.5}, TypeError, "cap must be an integer"),
        ({"method": "fast"}, ValueError, "method must be one of 'exact', 'greedy'"),
        ({"maps": np.zeros((2, 3, 5))}, ValueError, "one image, got a batch of 2"),
        ({"maps": np.full((2, 5), np.nan)}, ValueError, "finite"),
        ({"time_limit": 0.0}, ValueError, "time_limit must be greater than 0"),
        ({"stride": 3}, ValueError, "leaves gaps"),
    ],
)
def test_bad_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        project_stripe(**{"maps": np.ones((2, 5)), "cap": 1, "atom_shape": 2, **arguments})
