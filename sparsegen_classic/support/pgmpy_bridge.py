"""Pairwise models of supports as pgmpy's Markov networks, and back."""

from __future__ import annotations

import warnings
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._validation import check_integer
from sparsegen_classic.support._pairwise import check_model
from sparsegen_classic.support.pairwise import PairwiseSupports

_TOLERANCE = 1e-9  # of log factors that went through exp and log


def to_pgmpy(model: Any, size: int) -> Any:
    """Return the network of ``size`` exchangeable variables whose values are the atoms of a support.

    Vaksman and Elad's own view: each of k variables takes one of the states, every variable has the factor
    exp(theta), every pair of variables the factor exp(Theta). Each support appears in all its k! orders, so
    that the network's partition function is k! Z.

    Parameters
    ----------
    model : MarkovSupports or PairwiseSupports
        A fitted model.
    size : int
        Number of variables, from 1 to the number of states. Exact inference takes n_states^size memory.

    Returns
    -------
    network : pgmpy.models.DiscreteMarkovNetwork
        Variables "a1", "a2", ...; their state names are the model's ``states_``.

    Raises
    ------
    ImportError
        If pgmpy is not installed (``pip install sparsegen-classic[pgmpy]``).

    Examples
    --------
    >>> from sparsegen_classic.support import PairwiseSupports, from_pgmpy, to_pgmpy
    >>> model = PairwiseSupports([0.0, 0.5, 1.0], [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    >>> network = to_pgmpy(model, 2)  # doctest: +SKIP
    >>> network.get_partition_function()  # doctest: +SKIP
    21.7703...
    >>> from_pgmpy(network).log_factors_  # doctest: +SKIP
    array([0. , 0.5, 1. ])
    """
    check_model(model)
    size = check_integer("size", size, 1, len(model.states_), "a support holds each state once")
    network_class, factor_class = _pgmpy()
    variables, n_states = [f"a{j + 1}" for j in range(size)], len(model.states_)
    names = {variable: model.states_.tolist() for variable in variables}
    network = network_class()
    network.add_nodes_from(variables)
    network.add_edges_from(combinations(variables, 2))
    singles, pairs = np.exp(model.log_factors_), np.exp(model.log_pair_factors_)
    for scope in [(variable,) for variable in variables] + list(combinations(variables, 2)):
        values = singles if len(scope) == 1 else pairs
        own = {variable: names[variable] for variable in scope}
        network.add_factors(factor_class(scope, [n_states] * len(scope), values, state_names=own))
    return network


def from_pgmpy(network: Any) -> PairwiseSupports:
    """Return the model of supports that a network of exchangeable variables stands for.

    Parameters
    ----------
    network : pgmpy.models.DiscreteMarkovNetwork
        k variables with the same states, factors over one or two of them, and the same law in any order of
        the variables, such as :func:`to_pgmpy` makes. No two variables may take the same state.

    Returns
    -------
    model : PairwiseSupports
        Sample and enumerate it at ``size=k``. Its states are the network's state names if these are ascending
        non-negative integers, else 0, 1, ... Factors are determined up to what cancels at that size; those of
        :func:`to_pgmpy` come back as they were, up to constants.

    Raises
    ------
    ValueError
        If the network is not such a model: what is not representable is named.
    """
    variables = list(network.nodes())
    names = _state_names(network, variables)
    singles = {variable: np.zeros(len(names)) for variable in variables}
    pairs = {scope: np.zeros((len(names), len(names))) for scope in combinations(variables, 2)}
    for factor in network.get_factors():
        scope = tuple(factor.variables)
        with np.errstate(divide="ignore"):
            values = np.log(factor.values)
        if len(scope) == 1:
            singles[scope[0]] += values
        elif len(scope) == 2:
            forward = scope in pairs
            pairs[scope if forward else scope[::-1]] += values if forward else values.T
        else:
            raise ValueError(
                f"network must have factors over one or two variables, got one over {', '.join(scope)};"
                " supports have factors for atoms and pairs of atoms only"
            )
    for (first, second), table in pairs.items():
        if not np.isneginf(np.diag(table)).all():
            raise ValueError(
                f"network must keep {first} and {second} from the same state, but state"
                f" {names[int(np.argmax(np.diag(table)))]!r} of both is possible; a support holds each state"
                " once: give the pair factor a zero diagonal"
            )
    try:
        theta, table = _shared(singles, pairs)
    except ValueError as error:
        try:
            theta, table = _shared(*_centred(singles, pairs))
        except ValueError:
            raise error from None
    states = np.asarray(names)
    named = np.issubdtype(states.dtype, np.integer) and states.min() >= 0 and (np.diff(states) > 0).all()
    return PairwiseSupports(theta, table, states if named else None)


def _pgmpy() -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations
        try:
            from pgmpy.factors.discrete import DiscreteFactor
            from pgmpy.models import DiscreteMarkovNetwork
        except ImportError as error:
            raise ImportError("to_pgmpy needs pgmpy; pip install sparsegen-classic[pgmpy]") from error
    return DiscreteMarkovNetwork, DiscreteFactor


def _state_names(network: Any, variables: list[Any]) -> list[Any]:
    """Return the states of every variable, which must be the same."""
    names: dict[Any, list[Any]] = {}
    for factor in network.get_factors():
        for variable in factor.variables:
            names.setdefault(variable, list(factor.state_names[variable]))
            if names[variable] != list(factor.state_names[variable]):
                raise ValueError(f"network must name the states of {variable} alike in all factors")
    without = [variable for variable in variables if variable not in names]
    if without or not variables:
        raise ValueError(f"network must have a factor for each variable, got none for {without or 'any'}")
    for variable in variables:
        if names[variable] != names[variables[0]]:
            raise ValueError(
                f"network must have variables with the same states, but {variable} and {variables[0]} differ;"
                " the atoms of a support are exchangeable"
            )
    return names[variables[0]]


def _shared(singles: dict[Any, Any], pairs: dict[Any, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the one factor of all variables and the one of all pairs, up to constants, or raise an error."""

    def scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
        peak = values.max()
        return values - peak if np.isfinite(peak) else values

    def same(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
        one, other = scaled(one), scaled(other)
        return bool(np.allclose(one, other, rtol=0, atol=_TOLERANCE * (1 + len(one))))

    first, *others = singles
    for variable in others:
        if not same(singles[variable], singles[first]):
            raise ValueError(
                f"network must treat its variables alike, but {variable} and {first} have different factors"
                " of their own; the atoms of a support are exchangeable"
            )
    n_states = len(singles[first])
    table = next(iter(pairs.values()), np.where(np.eye(n_states, dtype=bool), -np.inf, 0.0))
    for (one, other), values in pairs.items():
        if not same(values, values.T):
            raise ValueError(f"network must treat {one} and {other} alike, but their factor is not symmetric")
        if not same(values, table):
            raise ValueError(
                f"network must treat its pairs alike, but the factor of {one} and {other} differs from that"
                f" of {' and '.join(next(iter(pairs)))}; the atoms of a support are exchangeable"
            )
    return singles[first], (table + table.T) / 2


def _centred(singles: dict[Any, Any], pairs: dict[Any, Any]) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Move what pair factors say about single variables to the single factors, by least squares."""
    singles, pairs = {name: values.copy() for name, values in singles.items()}, dict(pairs)
    for (one, other), values in pairs.items():
        row, column = np.nonzero(np.isfinite(values))
        design = np.zeros((len(row), 2 * len(values)))
        design[np.arange(len(row)), row] = design[np.arange(len(row)), len(values) + column] = 1.0
        effects = np.linalg.lstsq(design, values[row, column], rcond=None)[0]
        of_rows, of_columns = np.split(effects, 2)
        singles[one] += of_rows
        singles[other] += of_columns
        pairs[one, other] = values - of_rows[:, None] - of_columns
    return singles, pairs
