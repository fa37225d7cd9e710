"""pgmpy's exact inference against enumeration, and networks both ways."""

import math
import warnings
from itertools import permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sparsegen_classic.support import (
    GibbsSampler,
    MarkovSupports,
    PairwiseSupports,
    enumerate_supports,
    from_pgmpy,
    log_partition,
    to_pgmpy,
)
from tests.naive_support import codes_of, planted
from tests.support.test_gibbs import assert_follows

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("pgmpy", reason="pgmpy is not installed")
    inference = pytest.importorskip("pgmpy.inference")
    factors = pytest.importorskip("pgmpy.factors.discrete")
    models = pytest.importorskip("pgmpy.models")

pytestmark = pytest.mark.filterwarnings("ignore")  # pgmpy's own


def joint(network, evidence=None):
    """The exact joint of the variables, as an array in their order."""
    free = [variable for variable in network.nodes() if variable not in (evidence or {})]
    answer = inference.VariableElimination(network).query(free, evidence=evidence, show_progress=False)
    law = np.transpose(answer.values, [answer.variables.index(variable) for variable in free])
    return law / law.sum()  # pgmpy 1.1 leaves that to its callers


@pytest.fixture(scope="module")
def signed():
    """Seven of the eight states of four atoms."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4)) * (rng.random((80, 4)) < 0.6)
    X[:, 2] = np.abs(X[:, 2])
    return MarkovSupports().fit(X)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_exact_inference_is_enumeration(signed, size):
    network = to_pgmpy(signed, size)
    assert network.check_model()
    assert dict(network.get_cardinality()) == {f"a{j + 1}": 7 for j in range(size)}
    law = joint(network)
    supports, expected = enumerate_supports(signed, size)
    position = {state: i for i, state in enumerate(signed.states_.tolist())}
    for support, probability in zip(supports.tolist(), expected, strict=True):
        orders = [law[tuple(position[state] for state in order)] for order in permutations(support)]
        assert_allclose(orders, probability / math.factorial(size), atol=1e-14)


def test_partition_function(signed):
    z = to_pgmpy(signed, 3).get_partition_function()
    assert z == pytest.approx(6 * np.exp(log_partition(signed, 3).value))


def test_clamped_draws_follow_pgmpys_evidence(signed):
    clamped = signed.states_[[1, 4]].tolist()
    law = joint(to_pgmpy(signed, 3), {"a1": clamped[0], "a2": clamped[1]})
    drawn = GibbsSampler().sample(signed, 5_000, 0, size=3, clamp=clamped)
    possible = np.array([sorted([*clamped, state]) for state in signed.states_.tolist()])
    assert_follows(drawn, possible[law > 0], law[law > 0])


@pytest.mark.parametrize("size", [1, 2, 4])
def test_there_and_back(signed, size):
    back = from_pgmpy(to_pgmpy(signed, size))
    assert isinstance(back, PairwiseSupports)
    assert_array_equal(back.states_, signed.states_)
    assert_allclose(back.log_factors_, signed.log_factors_)
    if size > 1:
        assert_allclose(back.log_pair_factors_, signed.log_pair_factors_, atol=1e-12)
    assert_allclose(enumerate_supports(back, size)[1], enumerate_supports(signed, size)[1])


def test_impossible_pairs_go_there_and_back():
    model = MarkovSupports(smoothing=0).fit(codes_of(["012", "013", "123"], 4))
    back = from_pgmpy(to_pgmpy(model, 2))
    assert_array_equal(np.isneginf(back.log_pair_factors_), np.isneginf(model.log_pair_factors_))


def network_of(singles, pairs, names=None):
    """A network with single factors by variable and pair factors by pair of variables."""
    network = models.DiscreteMarkovNetwork()
    network.add_nodes_from(singles)
    network.add_edges_from(pairs)
    for scope, values in [((variable,), values) for variable, values in singles.items()] + list(
        pairs.items()
    ):
        given = None if names is None else {variable: names for variable in scope}
        shape = [len(values)] * len(scope)
        network.add_factors(
            factors.DiscreteFactor(scope, shape, values, **({"state_names": given} if given else {}))
        )
    return network


def test_pair_factors_that_hold_the_singles_and_factors_in_any_order():
    """The same law written by hand: all single factors inside two of the three pair factors."""
    model = planted(0, 5)
    single, pair = np.exp(model.log_factors_), np.exp(model.log_pair_factors_)
    ones = np.ones(5)
    network = network_of(
        {"x": ones, "y": ones, "z": ones},
        {
            ("x", "y"): 3 * pair * single[:, None] * single,
            ("z", "y"): pair * single[:, None],
            ("x", "z"): pair,
        },
        names=list("abcde"),
    )
    back = from_pgmpy(network)
    assert_array_equal(back.states_, range(5))
    assert_allclose(enumerate_supports(back, 3)[1], enumerate_supports(model, 3)[1])


def test_what_is_not_representable_is_named():
    ones, pair = np.ones(3), 1 - np.eye(3)
    skew = pair * np.array([[1, 2, 3], [5, 1, 1], [7, 1, 1]])
    for singles, pairs, message in (
        ({"x": ones, "y": ones}, {("x", "y"): np.ones((3, 3))}, "must keep x and y from the same state"),
        ({"x": ones, "y": np.array([1.0, 2, 1])}, {("x", "y"): pair}, "y and x have different factors"),
        ({"x": ones, "y": ones}, {("x", "y"): skew}, "different factors|not symmetric"),
        (
            {"x": ones, "y": ones, "z": ones},
            {("x", "y"): pair, ("y", "z"): pair},
            "must keep x and z from the same state",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            from_pgmpy(network_of(singles, pairs))
    model = planted(1, 5)
    single, pair = np.exp(model.log_factors_), np.exp(model.log_pair_factors_)
    other = np.exp(planted(2, 5).log_pair_factors_)
    with pytest.raises(ValueError, match="the factor of x and z differs from that of x and y"):
        from_pgmpy(
            network_of(
                {name: single for name in "xyz"}, {("x", "y"): pair, ("x", "z"): other, ("y", "z"): pair}
            )
        )
    triple = models.DiscreteMarkovNetwork([("x", "y"), ("y", "z"), ("x", "z")])
    triple.add_factors(factors.DiscreteFactor(["x", "y", "z"], [2, 2, 2], np.ones(8)))
    with pytest.raises(ValueError, match="got one over x, y, z"):
        from_pgmpy(triple)
    uneven = models.DiscreteMarkovNetwork([("x", "y")])
    uneven.add_factors(factors.DiscreteFactor(["x", "y"], [2, 3], np.ones(6)))
    with pytest.raises(ValueError, match="y and x differ"):
        from_pgmpy(uneven)


def test_bad_size(signed):
    with pytest.raises(ValueError, match="size must be at least 1 and at most 7, got 8"):
        to_pgmpy(signed, 8)
