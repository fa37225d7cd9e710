"""Hold a layer against the reference: one call, every check, one report."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sparsegen_classic._random import spawn_generators
from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.crosscheck.adapters import Adapter, adapter_of
from sparsegen_classic.crosscheck.checks import Check
from sparsegen_classic.crosscheck.checks_behaviour import CONDUCT, MEMORY, POLICIES, TIME
from sparsegen_classic.crosscheck.checks_gradient import gradient_checks
from sparsegen_classic.crosscheck.checks_inputs import INPUTS
from sparsegen_classic.crosscheck.checks_values import FULL_SIZE, OUTPUT, VALUES
from sparsegen_classic.crosscheck.constraints import LAYOUTS, Constraint, KeepLargest
from sparsegen_classic.crosscheck.constraints_l1 import L1Ball, L1Penalty, SoftThreshold
from sparsegen_classic.crosscheck.constraints_stripe import Stripe
from sparsegen_classic.crosscheck.diagnosis import diagnose
from sparsegen_classic.crosscheck.factories import name_of, open_layer
from sparsegen_classic.crosscheck.inputs import small_shape
from sparsegen_classic.crosscheck.probe import LayerError, Probe
from sparsegen_classic.crosscheck.verdicts import LayerReport, Verdict

_KINDS: dict[str, type[Constraint]] = {
    "l0": KeepLargest,
    "l0-batch": KeepLargest,
    "needle": KeepLargest,
    "stripe": Stripe,
    "topk": KeepLargest,
    "topk-magnitude": KeepLargest,
    "soft-threshold": SoftThreshold,
    "l1-ball": L1Ball,
    "l1-penalty": L1Penalty,
}
CONSTRAINTS = tuple(_KINDS)
_SIZES = {"N": 1, "C": 64, "H": 32, "W": 32}


def crosscheck_layer(
    layer: Any,
    constraint: str,
    *,
    k: int | float | None = None,
    layout: str = "NCHW",
    axis: int | Sequence[int] | None = None,
    gradient: str | None = "mask",
    shape: Sequence[int] | None = None,
    vary: str | None = None,
    atom_shape: int | Sequence[int] | None = None,
    stride: int | Sequence[int] = 1,
    boundary: str = "zero",
    reduction: str = "batchmean",
    framework: str = "auto",
    device: Any = None,
    rtol: float | None = None,
    checks: Sequence[str] | None = None,
    time_limit: float | None = None,
    random_state: Any = 0,
    verbose: bool | None = None,
    watch: Callable[[str, Verdict | None], None] = lambda check, verdict: None,
) -> LayerReport:
    """Hold a layer that claims to enforce sparsity against the reference.

    Parameters
    ----------
    layer : callable, class or path
        A function of numpy arrays, torch tensors or JAX arrays, a ``torch.nn.Module``, or an ``.onnx`` file.
        Of a class, and of a function with a parameter ``k``, a layer is made for this k and for others at
        the edges.
    constraint : str
        "l0" (k largest magnitudes of a sample), "l0-batch" (of the batch), "needle" (of every position),
        "stripe" (at most k entries that overlap one atom), "topk" (k largest values of a sample),
        "topk-magnitude", "soft-threshold", "l1-ball" (of a sample), "l1-penalty" (a number).
    k : int or float
        The count, or a fraction in (0, 1]; the threshold of "soft-threshold", the radius of "l1-ball", the
        weight of "l1-penalty" (1 if not given).
    layout : {"NCHW", "NHWC", "NCW", "NWC", "flat"}, default="NCHW"
        Order of the axes; "flat" is (n_samples, n_channels).
    axis : int or sequence of int, optional
        For "l0", "topk", "topk-magnitude" and "l1-ball": the axes that k counts over, by default all but that
        of the samples.
    gradient : {"mask", "straight-through", None}, default="mask"
        What the backward pass should do: the derivative (zero for what was removed), pass everything, or
        nothing stated.
    shape : sequence of int, optional
        Of the largest input; by default 1, 64, 32, 32 in the order of the layout.
    vary : str, optional
        Letters of the axes whose size the layer lets vary, e.g. "NHW" for one with fixed channels. By
        default all; an ONNX file says it itself.
    atom_shape, stride, boundary
        Geometry of "stripe", as for :func:`sparsegen_classic.convolutional.project_stripe`.
    reduction : {"batchmean", "mean", "sum"}, default="batchmean"
        Of "l1-penalty": the mean over samples of their l1 norms, the mean over entries, or the sum.
    framework : {"auto", "numpy", "torch", "jax"}, default="auto"
        What arrays the layer takes; by default seen from what it is made of.
    device : torch device, optional
        By default that of the module's parameters, else the CPU.
    rtol : float, optional
        Relative error to allow, if more than rounding.
    checks : sequence of str, optional
        Only these; see ``report.verdicts`` for their names.
    time_limit : float, optional
        Checks that have not begun after so many seconds are left out.
    random_state : int, Generator or None, default=0
        Seed of the inputs; the same seed gives the same inputs.
    verbose : bool, optional
        Show on stderr which check is at work; by default if stderr is a terminal.
    watch : callable, optional
        Called as ``watch(check, None)`` when a check begins and as ``watch(check, verdict)`` when it ends.

    Returns
    -------
    LayerReport
        ``passed``, ``failures``, ``verdicts``; ``print(report)`` for people, ``to_dict()`` for programs.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong. What the layer raises is a verdict instead.

    Notes
    -----
    Every failure comes with the input that is worst and the smallest one found that still fails. Ties may be
    broken in any way. "stripe" has no unique answer; it must be feasible and keep 90 % of the energy that
    choosing by size keeps; its distance from the certified bound is a note. A layer that hangs, hangs this
    call, too: the command ``sparsegen-classic crosscheck`` runs it in a process of its own with a time limit.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic import crosscheck_layer
    >>> def largest(x, k=2):
    ...     keep = np.argsort(-x, axis=1)[:, :k]  # forgets abs
    ...     mask = np.zeros(x.shape, bool)
    ...     np.put_along_axis(mask, keep, True, axis=1)
    ...     return np.where(mask, x, 0)
    >>> report = crosscheck_layer(largest, "needle", k=2, shape=(2, 6, 4, 4))
    >>> report.passed
    False
    >>> report.diagnosis
    'the k largest by value over channels'
    >>> print(report["values"].smallest.x.ravel())
    [ 0.  0. -1.]
    """
    check_choice("gradient", gradient, ("mask", "straight-through", None))
    check_choice("framework", framework, ("auto", "numpy", "torch", "jax"))
    if time_limit is not None:
        time_limit = check_real("time_limit", time_limit, 0, closed="()")
    if rtol is not None:
        rtol = check_real("rtol", rtol, 0, 1)
    rule = make_constraint(
        constraint, k, layout, axis, atom_shape=atom_shape, stride=stride, boundary=boundary,
        reduction=reduction,
    )  # fmt: skip
    plan = choose_checks(gradient, checks)
    start = time.perf_counter()
    name = name_of(layer)
    try:
        probe = _open(layer, rule, shape, vary, framework, device, rtol)
    except LayerError as error:
        verdicts: tuple[Verdict, ...] = (Verdict("output", "fail", f"the layer cannot be made: it {error}"),)
        return LayerReport(name, "", constraint, rule.k, layout, tuple(shape or ()), verdicts)
    verdicts = tuple(run_checks(probe, plan, random_state, time_limit, start, verbose, watch))
    failed = {v.check for v in verdicts if v.status == "fail"}
    diagnosis = diagnose(probe, spawn_generators(random_state, 1)[0]) if "values" in failed else ""
    return LayerReport(
        name, probe.adapter.framework, constraint, rule.k, layout, probe.shape, verdicts, diagnosis,
        time.perf_counter() - start,
    )  # fmt: skip


def assert_layer_matches(layer: Any, constraint: str, **options: Any) -> LayerReport:
    """Raise an AssertionError that reads like a report if a layer differs from the reference.

    Parameters
    ----------
    layer, constraint, **options
        As for :func:`crosscheck_layer`.

    Returns
    -------
    LayerReport
        If the layer agrees.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic import assert_layer_matches
    >>> def shrink(x):
    ...     return np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)
    >>> assert_layer_matches(shrink, "soft-threshold", k=0.5, shape=(2, 6, 4, 4)).passed
    True
    """
    __tracebackhide__ = True
    report = crosscheck_layer(layer, constraint, **options)
    if not report.passed:
        raise AssertionError(str(report))
    return report


def make_constraint(
    name: str, k: Any = None, layout: str = "NCHW", axis: Any = None, **options: Any
) -> Constraint:
    """Return the constraint; of the options only those that are its own are looked at."""
    check_choice("constraint", name, CONSTRAINTS)
    check_choice("layout", layout, tuple(LAYOUTS))
    own = {
        Stripe: ("atom_shape", "stride", "boundary"),
        L1Penalty: ("reduction",),
    }.get(_KINDS[name], ())  # fmt: skip
    return _KINDS[name](name, k, layout, axis, **{o: options[o] for o in own if o in options})


def choose_checks(gradient: str | None, names: Sequence[str] | None) -> list[Check]:
    """Return all checks in their order, or those with the names."""
    order = [
        OUTPUT, *CONDUCT, *VALUES, *INPUTS, *gradient_checks(gradient), MEMORY, FULL_SIZE, TIME, *POLICIES
    ]  # fmt: skip
    if names is None:
        return order
    for name in names:
        check_choice("checks", name, tuple(check.name for check in order))
    return [check for check in order if check.name in names or check is OUTPUT]


def run_checks(
    probe: Probe,
    plan: Sequence[Check],
    random_state: Any,
    time_limit: float | None,
    start: float,
    verbose: bool | None,
    watch: Callable[[str, Verdict | None], None],
) -> Iterator[Verdict]:
    """Yield the verdicts one by one; a layer that gives no answer at all gets only the first."""
    from tqdm import tqdm

    failed: set[str] = set()
    generators = spawn_generators(random_state, len(plan))
    bar = tqdm(plan, disable=None if verbose is None else not verbose, leave=False, unit="check")
    for check, rng in zip(bar, generators, strict=True):
        bar.set_description(f"crosscheck {check.name}")
        watch(check.name, None)
        broken = failed.intersection(check.needs)
        if time_limit is not None and time.perf_counter() - start > time_limit:
            verdict = Verdict(check.name, "skip", f"the time limit of {time_limit:g} s is over")
        elif broken:
            verdict = Verdict(check.name, "skip", f"says nothing while {min(broken)!r} fails")
        else:
            verdict = _judge(check, probe, rng)
        if verdict.status == "fail":
            failed.add(check.name)
        watch(check.name, verdict)
        yield verdict
        if check is OUTPUT and verdict.status == "fail":
            break
    bar.close()


def _judge(check: Check, probe: Probe, rng: np.random.Generator) -> Verdict:
    try:
        return check.judge(probe, rng)
    except LayerError as error:  # on an input that it took before
        return Verdict(check.name, "fail", str(error))


def _open(
    layer: Any, rule: Constraint, shape: Any, vary: str | None, framework: str, device: Any, rtol: Any
) -> Probe:
    """Return the probe of a layer: its adapter, the shapes of inputs, and how to make it for another k."""
    letters = "NC" if rule.layout == "flat" else rule.layout
    trial = tuple(shape or (_SIZES[a] for a in letters))
    adapter, make = open_layer(layer, rule.k, lambda made: adapter_of(made, framework, device, trial))
    if vary is None:
        vary = letters
    elif not set(vary) <= set(letters):
        raise ValueError(f"vary must hold letters of {letters!r}, got {vary!r}")
    fixed = adapter.fixed_shape
    if fixed is not None:
        if len(fixed) != len(letters):
            raise ValueError(
                f"the layer takes {len(fixed)} axes, layout={rule.layout!r} has {len(letters)}; "
                f"give another layout"
            )
        vary = "".join(a for a, n in zip(letters, fixed, strict=True) if n is None and a in vary)
    full = _full_shape(shape, letters, fixed)
    if isinstance(rule, KeepLargest) and isinstance(rule.k, int) and rule.k > rule.size(full):
        raise ValueError(
            f"k must be at most {rule.size(full)}, the entries it chooses from in shape {full}, "
            f"got {rule.k}; give a larger shape"
        )
    dtype = "float32" if "float32" in adapter.dtypes else adapter.dtypes[-1]
    probe = Probe(adapter, rule, full, small_shape(rule, full, vary), vary, dtype, rtol=rtol)
    if make is not None:
        probe.with_k = functools.partial(_with_k, make, probe)
    return probe


def _full_shape(shape: Any, letters: str, fixed: tuple[int | None, ...] | None) -> tuple[int, ...]:
    if shape is None:
        return tuple(n or _SIZES[a] for a, n in zip(letters, fixed or [None] * len(letters), strict=True))
    full = tuple(check_integer("shape", n, 1) for n in shape)
    if len(full) != len(letters):
        raise ValueError(f"shape must have {len(letters)} entries for the axes {letters}, got {full}")
    for size, n, letter in zip(full, fixed or [None] * len(full), letters, strict=True):
        if n is not None and n != size:
            raise ValueError(f"shape must have {n} at {letter}, which the layer fixes, got {full}")
    return full


def _with_k(make: Callable[[Any], Adapter], probe: Probe, k: Any) -> Probe:
    """Return the probe of the same layer for another k."""
    old = probe.constraint
    rule = object.__new__(type(old))
    rule.__dict__.update(old.__dict__, k=k)
    return replace(probe, adapter=make(k), constraint=rule, with_k=None)
