"""Checks of conduct: side effects, memory of earlier calls, modes, non-finite input, memory and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic.crosscheck.checks import Check, differ, example, property_check
from sparsegen_classic.crosscheck.checks_values import plain, typical
from sparsegen_classic.crosscheck.inputs import ordinary, scaled
from sparsegen_classic.crosscheck.probe import LayerError, Probe
from sparsegen_classic.crosscheck.verdicts import Verdict

Array = NDArray[np.float64]
_TOO_MUCH = 256  # times the input: more memory than that is a blow-up
_TRIAL = 4096  # entries: memory is measured up to here and extrapolated


def _unchanged(probe: Probe, x: Array) -> str | None:
    native = probe.adapter.native(x, probe.dtype)
    probe.answer(native)
    after = probe.adapter.read(native)[0]
    if np.array_equal(after, x, equal_nan=True):
        return None
    return f"the input itself is changed by the call, {np.count_nonzero(after != x)} entries of it"


def _deterministic(probe: Probe, x: Array) -> str | None:
    first = probe.answer(probe.adapter.native(x, probe.dtype))
    kept = probe.read(first, x.shape)[0]
    if not np.array_equal(kept, probe(x), equal_nan=True):
        return "the same input, given twice, has two answers"
    probe(probe.quantised(-3 * x[::-1] + 1))
    if not np.array_equal(kept, probe.read(first, x.shape)[0], equal_nan=True):
        return "an answer changes when the layer is called again: the answers share memory"
    if not np.array_equal(kept, probe(x), equal_nan=True):
        return "another input in between changes the answer: the layer remembers it"
    return None


def _modes(probe: Probe, x: Array) -> str | None:
    before = probe.adapter.layer.training  # type: ignore[attr-defined]
    try:
        probe.adapter.set_training(True)
        training = probe(x)
        probe.adapter.set_training(False)
        return differ(probe, x, probe(x), training, "eval() against train()")
    finally:
        probe.adapter.set_training(before)


def _no_modes(probe: Probe) -> str | None:
    has = hasattr(probe.adapter.layer, "training") and probe.adapter.framework == "torch"
    return None if has else "the layer has no train() and eval()"


def _non_finite(name: str, value: float) -> Callable[[Probe, np.random.Generator], Verdict]:
    """Report what becomes of one NaN or infinity; that other samples change is a fault."""

    def judge(probe: Probe, rng: np.random.Generator) -> Verdict:
        clean = scaled(ordinary(probe.small, rng), probe.constraint)
        x = clean.copy()
        x[(0,) * x.ndim] = value
        before = probe(clean)
        try:
            y = probe(x)
        except LayerError as error:
            return Verdict(name, "note", str(error))
        fault = ""
        if probe.constraint.per_sample and not probe.constraint.scalar:
            others = np.array_equal(y[1:], before[1:], equal_nan=True)
            fault = "" if others else f"{value} in one sample changes the others"
        if not np.array_equal(probe(clean), before, equal_nan=True):
            fault = f"{value} in one call changes the next one"
        if fault:
            shown = example(probe, x, fault, probe.dtype)
            return Verdict(name, "fail", fault, shown, shown)
        if probe.constraint.scalar:
            return Verdict(name, "note", f"the penalty becomes {float(y)}")
        at = float(y[(0,) * y.ndim])
        what = "is kept" if at == value or (at != at and value != value) else f"becomes {at:g}"
        n_nan = int(np.isnan(y[0]).sum()) - (at != at)
        more = f", and {n_nan} more entries of the sample become NaN" if n_nan else ""
        return Verdict(name, "note", f"{what}{more}")

    return judge


def _empty(probe: Probe, rng: np.random.Generator) -> Verdict:
    if "N" not in probe.vary:
        return Verdict("empty-batch", "skip", "the number of samples may not vary")
    x = np.zeros((0, *probe.small[1:]))
    try:
        y = probe.answer(probe.adapter.native(x, probe.dtype))
    except LayerError as error:
        return Verdict("empty-batch", "note", str(error))
    try:
        y = probe.read(y, x.shape)[0]
    except LayerError as error:
        return Verdict("empty-batch", "fail", str(error))
    return Verdict("empty-batch", "note", f"gives {float(y):g}" if y.ndim == 0 else "gives an empty batch")


def _memory(probe: Probe, rng: np.random.Generator) -> Verdict:
    """Measure at two sizes that are safe, and extrapolate to the full one."""
    small = probe.small
    shapes = [small]
    for factor in (4, 3, 2):
        larger = tuple(
            n * factor if a in probe.vary and a != "N" else n
            for a, n in zip(probe.letters(), small, strict=True)
        )
        if larger != small and np.prod(larger) <= _TRIAL:
            shapes.append(larger)
            break
    ratios = []
    itemsize = np.dtype("f8" if probe.dtype == "float64" else "f4").itemsize
    for shape in shapes:
        try:
            with probe.guarded():
                taken = probe.adapter.intermediate_bytes(
                    scaled(ordinary(shape, rng), probe.constraint), probe.dtype
                )
        except LayerError as error:
            return Verdict("memory", "skip", f"could not be measured: the layer {error}")
        if taken is None:
            return Verdict("memory", "skip", f"{probe.adapter.framework} does not show what it allocates")
        ratios.append(taken / (np.prod(shape) * itemsize))
    size, full = np.prod(shapes[-1]), np.prod(probe.shape)
    growth = 0.0
    if len(shapes) > 1 and full > size and ratios[0] > 0 and ratios[-1] > 0:
        growth = max(0.0, np.log(ratios[-1] / ratios[0]) / np.log(size / np.prod(small)))
    estimate = ratios[-1] * (full / size) ** growth
    text = f"about {estimate:.3g} times the input at {probe.shape}"
    if estimate <= _TOO_MUCH:
        return Verdict("memory", "pass", text)
    return Verdict("memory", "fail", f"takes {text} ({ratios[-1]:.3g} times at {shapes[-1]})")


def _time(probe: Probe, rng: np.random.Generator) -> Verdict:
    """Seconds of the layer and of the reference, the best of three, at full size."""
    x = probe.quantised(scaled(ordinary(probe.shape, rng), probe.constraint))
    native = probe.adapter.native(x, probe.dtype)

    def run() -> None:
        probe.answer(native)
        probe.adapter.synchronise()

    try:
        seconds, reference = _best(run), _best(lambda: probe.constraint.reference(x))
    except LayerError as error:
        return Verdict("time", "skip", str(error))
    text = f"{1e3 * seconds:.3g} ms at {probe.shape}, the reference in float64 takes {1e3 * reference:.3g} ms"
    return Verdict("time", "note", text)


def _best(run: Callable[[], object]) -> float:
    best, spent = np.inf, 0.0
    for _ in range(3):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
        spent += best
        if spent > 1:
            break
    return best


def _prints(probe: Probe, rng: np.random.Generator) -> Verdict:
    if not probe.printed:
        return Verdict("prints", "pass", "nothing is printed")
    first = "".join(probe.printed).strip().splitlines() or [""]
    return Verdict("prints", "note", f"prints in {len(probe.printed)} calls, first: {first[0][:80]!r}")


def _stateful_inputs(probe: Probe, rng: np.random.Generator) -> Iterator[Array]:
    for i, x in enumerate(typical(probe, rng)):
        if i < 3:
            yield x


CONDUCT = [
    property_check("input-unchanged", "the input is left alone", _unchanged, typical),
    property_check("deterministic", "calls do not see each other", _deterministic, _stateful_inputs),
    property_check("train-eval", "train() and eval() agree", _modes, plain, skip=_no_modes),
]
POLICIES = [
    Check("nan", "NaN", _non_finite("nan", np.nan)),
    Check("infinity", "infinity", _non_finite("infinity", np.inf)),
    Check("empty-batch", "an empty batch", _empty),
    Check("prints", "nothing is printed", _prints),
]
MEMORY = Check("memory", "memory does not blow up", _memory)
TIME = Check("time", "time", _time, needs=("memory",))
