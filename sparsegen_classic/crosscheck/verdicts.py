"""What a crosscheck says: verdicts, the inputs that show a fault, and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic._version import __version__

_SHOWN = 4096  # entries: larger inputs are described, not listed
_PRINTED = 256  # the same in print


@dataclass(frozen=True, eq=False)
class Example:
    """An input, what the layer made of it, and what the reference does.

    Attributes
    ----------
    x : ndarray
        The input, float64; every value is representable in ``dtype``.
    got, expected : ndarray or None
        The layer's answer, None if there was none, and that of the reference, None where it has none.
    dtype : str
        In which the layer was called.
    message : str
        What is wrong with the answer.
    """

    x: NDArray[np.float64]
    got: NDArray[np.float64] | None
    expected: NDArray[np.float64] | None
    dtype: str
    message: str

    def code(self, framework: str = "numpy") -> str:
        """Return lines of Python that make the input, with the answers as comments."""
        text = f"np.array({self._literal(self.x)}, dtype={_NUMPY[self.dtype]!r}).reshape{self.x.shape}"
        if self.x.size > _PRINTED:
            text = f"...  # {self.x.size} entries, shape {self.x.shape}"
        lines = ["import numpy as np", f"x = {text}"]
        if framework == "torch":
            cast = ".bfloat16()" if self.dtype == "bfloat16" else ""
            lines = ["import torch", *lines, f"y = layer(torch.from_numpy(x){cast})"]
        elif framework == "jax":
            cast = ", dtype='bfloat16'" if self.dtype == "bfloat16" else ""
            lines = ["import jax.numpy as jnp", *lines, f"y = layer(jnp.asarray(x{cast}))"]
        else:
            lines.append("y = layer(x)")
        for name, value in (("got", self.got), ("expected", self.expected)):
            if value is not None and value.size <= _PRINTED:
                lines.append(f"# {name:<9}{self._literal(value)}")
        return "\n".join(lines)

    def _literal(self, array: NDArray[np.float64]) -> str:
        """Write the entries in C order as a list that Python reads back, with the digits of the dtype."""
        with np.errstate(over="ignore"):
            entries = array.astype(_NUMPY[self.dtype]).ravel()
        words = {"nan": "np.nan", "inf": "np.inf", "-inf": "-np.inf"}
        texts = (str(entry).removesuffix(".0") if entry else str(entry) for entry in entries)
        return f"[{', '.join('0' if t == '0.0' else words.get(t, t) for t in texts)}]"

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values; arrays of more than 4096 entries by their shape alone."""
        arrays = {"x": self.x, "got": self.got, "expected": self.expected}
        return {
            "shape": list(self.x.shape),
            "dtype": self.dtype,
            "message": self.message,
            **{n: None if a is None or a.size > _SHOWN else _plain(a) for n, a in arrays.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Example:
        """Undo :meth:`to_dict`; an array that was left out comes back as NaN (x) or None."""
        x, got, expected = (
            None if data[n] is None else np.array(data[n], np.float64) for n in ("x", "got", "expected")
        )
        x = np.full(data["shape"], np.nan) if x is None else x.reshape(data["shape"])
        return cls(x, got, expected, data["dtype"], data["message"])


_NUMPY = {"float16": "float16", "bfloat16": "float32", "float32": "float32", "float64": "float64"}


@dataclass(frozen=True, eq=False)
class Verdict:
    """What one check found.

    Attributes
    ----------
    check : str
        Its name.
    status : {"pass", "fail", "note", "skip"}
        "note": the layer is free to choose, and this is what it chose. "skip": not checked, and why.
    message : str
        What was found; for "pass" what was asked.
    worst, smallest : Example or None
        Of a failure: the input with the largest error, and the smallest one found that still fails.
    """

    check: str
    status: str
    message: str
    worst: Example | None = None
    smallest: Example | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values."""
        examples = {"worst": self.worst, "smallest": self.smallest}
        return {
            "check": self.check,
            "status": self.status,
            "message": self.message,
            **{name: example and example.to_dict() for name, example in examples.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """Undo :meth:`to_dict`."""
        worst, smallest = (data[n] and Example.from_dict(data[n]) for n in ("worst", "smallest"))
        return cls(data["check"], data["status"], data["message"], worst, smallest)


@dataclass(frozen=True, eq=False)
class LayerReport:
    """What :func:`crosscheck_layer` returns; printed, it is a page for people.

    Attributes
    ----------
    layer, framework : str
        Name of the layer, and numpy, torch, jax or onnx; "" if that could not be seen.
    constraint : str
        What the layer was held against.
    k : int, float or None
        Its count, threshold, radius or weight.
    layout : str
        Order of the axes.
    shape : tuple of int
        Of the largest inputs.
    verdicts : tuple of Verdict
        One for every check, in the order of checking.
    diagnosis : str
        What the layer seems to compute instead, if anything known fits; else "".
    seconds : float
        Time taken.
    """

    layer: str
    framework: str
    constraint: str
    k: int | float | None
    layout: str
    shape: tuple[int, ...]
    verdicts: tuple[Verdict, ...]
    diagnosis: str = ""
    seconds: float = field(default=0.0, compare=False)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Verdict, ...]:
        """The verdicts of the checks that failed."""
        return self._with("fail")

    @property
    def notes(self) -> tuple[Verdict, ...]:
        """What the layer does where it is free to choose."""
        return self._with("note")

    def _with(self, status: str) -> tuple[Verdict, ...]:
        return tuple(v for v in self.verdicts if v.status == status)

    def __getitem__(self, check: str) -> Verdict:
        """Return the verdict of a check by its name."""
        for verdict in self.verdicts:
            if verdict.check == check:
                return verdict
        raise KeyError(f"no check {check!r}; there are {', '.join(v.check for v in self.verdicts)}")

    @property
    def headline(self) -> str:
        """One line: what was held against what, and how it ended."""
        k = "" if self.k is None else f", k = {self.k}"
        framework = f" ({self.framework})" if self.framework else ""
        what = (
            f"{self.layer}{framework} against {self.constraint}{k}, {self.layout} {self.shape or ''}".strip()
        )
        n_judged = sum(v.status in ("pass", "fail") for v in self.verdicts)
        if self.passed:
            return f"{what}: agrees in all {n_judged} checks"
        return f"{what}: differs in {len(self.failures)} of {n_judged} checks"

    def __str__(self) -> str:
        lines = [self.headline]
        if self.diagnosis:
            lines.append(f"  It looks like {self.diagnosis}.")
        for verdict in self.failures:
            lines += ["", f"FAIL  {verdict.check}: {verdict.message}"]
            if verdict.smallest is not None:
                lines += [f"      | {line}" for line in verdict.smallest.code(self.framework).splitlines()]
        if self.notes:
            lines += ["", "notes", *(f"  {v.check:<14} {v.message}" for v in self.notes)]
        if self._with("skip"):
            lines += ["", "not checked"]
        for why in dict.fromkeys(v.message for v in self._with("skip")):
            lines.append(f"  {', '.join(v.check for v in self._with('skip') if v.message == why)}: {why}")
        if self._with("pass"):
            lines += ["", f"passed  {', '.join(v.check for v in self._with('pass'))}"]
        return "\n".join([*lines, "", f"{self.seconds:.1f} s, sparsegen_classic {__version__}"])

    def __repr__(self) -> str:
        return f"LayerReport({self.headline!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, as ``--json`` prints them."""
        return {
            "passed": self.passed,
            "layer": self.layer,
            "framework": self.framework,
            "constraint": self.constraint,
            "k": self.k,
            "layout": self.layout,
            "shape": list(self.shape),
            "diagnosis": self.diagnosis,
            "failures": [v.check for v in self.failures],
            "verdicts": [v.to_dict() for v in self.verdicts],
            "seconds": round(self.seconds, 3),
            "version": __version__,
        }

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON; NaN and infinities are spelled as strings."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LayerReport:
        """Undo :meth:`to_dict`."""
        names = ("layer", "framework", "constraint", "k", "layout", "diagnosis", "seconds")
        verdicts = tuple(Verdict.from_dict(v) for v in data["verdicts"])
        return cls(shape=tuple(data["shape"]), verdicts=verdicts, **{n: data[n] for n in names})


def _plain(array: NDArray[np.float64]) -> Any:
    """Return nested lists; what JSON cannot say becomes a string that ``float`` reads."""
    if np.isfinite(array).all():
        return array.tolist()
    return np.vectorize(lambda v: float(v) if np.isfinite(v) else str(v), otypes=[object])(array).tolist()
