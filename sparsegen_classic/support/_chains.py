"""What Gibbs chains start from: evidence folded into the factors, and supports of the right size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._validation import check_integer
from sparsegen_classic.support._pairwise import log_weights, to_indices


@dataclass
class Conditioned:
    """The law of the atoms beside the clamped ones: a pairwise model, the evidence in its single factors."""

    log_factors_: NDArray[np.float64]
    log_pair_factors_: NDArray[np.float64]
    states_: NDArray[np.int32]
    supports_: NDArray[np.int32]
    clamped: NDArray[np.int32]  # indices
    pair_factors_: NDArray[np.float64] | None  # the table as the kernel takes it, if the model has it ready


def condition(model: Any, clamp: Any, forbid: Any) -> Conditioned:
    """Return the law given that the states ``clamp`` are in the support and the states ``forbid`` are not."""
    clamped, forbidden = _check_evidence(model, "clamp", clamp), _check_evidence(model, "forbid", forbid)
    theta, table = model.log_factors_, model.log_pair_factors_
    if len(clamped) and np.isneginf(log_weights(model, clamped[None])[0]):
        raise ValueError(
            f"clamp must be possible under the model, got {model.states_[clamped].tolist()} of probability 0;"
            " clamp fewer states, or fit with smoothing > 0"
        )
    if np.isin(clamped, forbidden).any():
        both = model.states_[np.intersect1d(clamped, forbidden)].tolist()
        raise ValueError(f"clamp and forbid must not share states, got {both} in both; leave them out of one")
    theta = theta + table[clamped].sum(axis=0)
    theta[forbidden] = -np.inf
    supports = model.supports_
    if len(clamped) or len(forbidden):
        supports = supports[(supports >= 0).sum(axis=1) >= len(clamped)]
    ready = getattr(model, "pair_factors_", None)
    return Conditioned(theta, table, model.states_, supports, clamped, ready)


def _check_evidence(model: Any, name: str, states: Any) -> NDArray[np.int32]:
    if states is None:
        return np.empty(0, np.int32)
    states = np.atleast_1d(np.asarray(states))
    if states.size == 0:
        return np.empty(0, np.int32)
    if states.ndim != 1 or not np.issubdtype(states.dtype, np.integer):
        raise ValueError(
            f"{name} must be a list of integer states, got {states.dtype} of shape {states.shape}"
        )
    indices = to_indices(np.unique(states), model.states_)
    known = (indices >= 0) & (indices < len(model.states_))
    if name == "clamp" and not known.all():
        raise ValueError(
            f"clamp must hold states of the model, got {np.unique(states)[~known].tolist()}, which it has not"
            " seen; choose among states_"
        )
    return indices[known]


def check_initial(model: Any, law: Conditioned, initial: Any) -> NDArray[np.int32]:
    """Return the rows of ``initial`` as indices, padding last, without the clamped states."""
    states = np.asarray(initial)
    if states.ndim != 2 or not np.issubdtype(states.dtype, np.integer):
        raise ValueError(
            f"initial must be a 2-D array of integer states padded with -1, got {states.dtype} of shape"
            f" {states.shape}"
        )
    indices = to_indices(np.sort(states, axis=1)[:, ::-1], model.states_)
    impossible = np.flatnonzero(np.isneginf(log_weights(model, indices)))
    if len(impossible):
        raise ValueError(
            f"initial row {impossible[0]}, {states[impossible[0]].tolist()}, has probability 0 under the"
            " model; start from training supports (initial=None) or fit with smoothing > 0"
        )
    clamped = np.isin(indices, law.clamped)
    free = np.where(clamped, -1, indices)
    forbidden = (free >= 0) & np.isneginf(law.log_factors_[free])
    wrong = np.flatnonzero((clamped.sum(axis=1) < len(law.clamped)) | forbidden.any(axis=1))
    if len(wrong):
        raise ValueError(
            f"initial row {wrong[0]}, {states[wrong[0]].tolist()}, contradicts clamp or forbid; start from"
            " supports that hold every clamped state and no forbidden one, or leave initial out"
        )
    order = np.argsort(free < 0, axis=1, kind="stable")  # padding last
    width = free.shape[1] - len(law.clamped)
    return np.ascontiguousarray(np.take_along_axis(free, order, axis=1)[:, :width])


def random_starts(
    law: Conditioned, generators: Sequence[np.random.Generator], size: int | None, evidence: bool
) -> NDArray[np.int32]:
    """Return for each generator a training support as indices, without clamped states.

    It is brought to ``size`` if one is asked for; with ``evidence``, states that contradict it are
    replaced by others.
    """
    candidates, n_clamped = law.supports_, len(law.clamped)
    if size is None and len(candidates) == 0:
        raise ValueError(
            "size must be given, for the model has no training support to take it from of at least"
            f" {n_clamped} atoms; give size"
        )
    if size is None and not evidence:
        return candidates[[generator.integers(len(candidates)) for generator in generators]]
    candidates = candidates if len(candidates) else np.empty((1, 0), np.int32)
    sizes = (candidates >= 0).sum(axis=1)
    if size is not None:
        size = check_integer(
            "size",
            size,
            n_clamped,
            len(law.states_),
            "a support holds each state once, clamped ones included",
        )
        distance = np.where(sizes >= size, sizes - size, size - sizes + 0.5)
        candidates = candidates[distance == distance.min()]
    width = (int(sizes.max()) if size is None else size) - n_clamped
    starts = np.full((len(generators), width), -1, np.int32)
    for start, generator in zip(starts, generators, strict=True):
        support = candidates[generator.integers(len(candidates))]
        members = support[support >= 0]
        wanted = (len(members) if size is None else size) - n_clamped
        if evidence:
            members = members[np.isfinite(law.log_factors_[members])]
        start[:wanted] = _resize(law, members, wanted, generator)
    return starts


def _resize(
    law: Conditioned, members: NDArray[np.int32], size: int, generator: np.random.Generator
) -> NDArray[np.int32]:
    """Return ``size`` indices: a random part of ``members``, or all of them with drawn atoms added."""
    if len(members) > size:
        return generator.permutation(members)[:size]
    field = law.log_factors_ + law.log_pair_factors_[members].sum(axis=0)
    while len(members) < size:
        if np.isneginf(field).all():
            grown, wanted = len(members) + len(law.clamped), size + len(law.clamped)
            raise ValueError(
                f"size={wanted} cannot be reached: no atom can be added to a training support grown to"
                f" {grown} atoms; use a smaller size, or fit with smoothing > 0"
            )
        shares = np.cumsum(np.exp(field - field.max()))
        drawn = np.searchsorted(shares / shares[-1], generator.random(), side="right")
        members = np.append(members, np.int32(drawn))
        field = field + law.log_pair_factors_[drawn]
    return members
