"""Calling a layer, and telling a wrong kind of answer from a wrong answer."""

from __future__ import annotations

import contextlib
import io
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_classic.crosscheck.adapters import EPS, Adapter, quantised
from sparsegen_classic.crosscheck.constraints import Constraint

Array = NDArray[np.float64]


class LayerError(Exception):
    """The layer raised, or what it returned is no answer at all."""


@contextlib.contextmanager
def guarded(printed: list[str]) -> Iterator[None]:
    """Turn what the user's code raises into a LayerError, keep what it prints, be silent on its warnings."""
    out = io.StringIO()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(out):
            warnings.simplefilter("ignore")
            yield
    except LayerError:
        raise
    except (Exception, SystemExit) as error:
        raise LayerError(f"raises {type(error).__name__}: {_brief(error)}{_where(error)}") from error
    finally:
        if out.getvalue():
            printed.append(out.getvalue())


@dataclass
class Probe:
    """A layer, its constraint and what the inputs may look like.

    Attributes
    ----------
    adapter, constraint
        How to call the layer and what it claims.
    shape : tuple of int
        Shape of the largest inputs.
    small : tuple of int
        Shape of the inputs of most checks, square and as small as the constraint allows.
    vary : str
        Letters of the axes whose size may vary.
    dtype : str
        In which most checks are done.
    with_k : callable or None
        Makes the layer for another k, for a layer that was given as a class or as a function of (x, k).
    rtol : float or None
        Relative error to allow; None: rounding in the dtype.
    patience : float
        Seconds left for shrinking.
    printed : list of str
        What the layer printed, call by call.
    """

    adapter: Adapter
    constraint: Constraint
    shape: tuple[int, ...]
    small: tuple[int, ...]
    vary: str
    dtype: str
    with_k: Callable[[Any], Probe] | None = None
    rtol: float | None = None
    patience: float = 3.0
    printed: list[str] = field(default_factory=list)

    def eps(self, dtype: str | None = None) -> float:
        """Return the relative error that counts as rounding."""
        return max(EPS[dtype or self.dtype], 0.0 if self.rtol is None else self.rtol / 8)

    def __call__(self, x: Array, dtype: str | None = None, how: str = "plain") -> Array:
        """Return the layer's answer to x, or raise a LayerError that says what came instead."""
        dtype = dtype or self.dtype
        return self.read(self.answer(self.adapter.native(x, dtype, how)), x.shape)[0]

    def answer(self, native: Any) -> Any:
        """Call the layer, keep what it prints, and turn what it raises into a LayerError."""
        with self.guarded():
            return self.adapter.run(native)

    def read(self, answer: Any, shape: tuple[int, ...]) -> tuple[Array, str]:
        """Return the answer as numpy and its dtype; raise a LayerError if it has another type or shape."""
        if not self.adapter.is_own(answer):
            kind = type(answer).__name__
            remedy = {"tuple": "; pass lambda x: layer(x)[0]", "NoneType": "; did it forget to return?"}
            raise LayerError(
                f"returns a {kind}, not an array of {self.adapter.framework}{remedy.get(kind, '')}"
            )
        try:
            array, dtype = self.adapter.read(answer)
        except (TypeError, ValueError) as error:
            raise LayerError(f"returns something that holds no real numbers: {error}") from error
        if self.constraint.scalar:
            if array.size != 1:
                raise LayerError(f"returns shape {array.shape} where one number is due")
            return array.reshape(()), dtype
        if array.shape != shape:
            raise LayerError(f"returns shape {array.shape} for an input of shape {shape}")
        return array, dtype

    def guarded(self) -> contextlib.AbstractContextManager[None]:
        """Catch what the user's code raises, prints and warns of."""
        return guarded(self.printed)

    def vjp(self, x: Array, grad: Array | None, dtype: str | None = None) -> Array:
        """Return the layer's gradient of sum(grad * layer(x))."""
        with self.guarded():
            return self.adapter.vjp(x, None if self.constraint.scalar else grad, dtype or self.dtype)

    def reference(self, x: Array) -> Array | None:
        """Return the reference's answer, or None where it has none."""
        if x.size == 0 or not np.isfinite(x).all():
            return None
        return np.asarray(self.constraint.reference(x), np.float64)

    def quantised(self, x: Array, dtype: str | None = None) -> Array:
        """Round to what the dtype can represent."""
        return quantised(x, dtype or self.dtype)

    def letters(self) -> str:
        """Return a letter for every axis."""
        return "NC" if self.constraint.layout == "flat" else self.constraint.layout

    def resized(self, **sizes: int) -> tuple[int, ...] | None:
        """Return the small shape with other sizes of the lettered axes, or None if they must not vary."""
        letters = self.letters()
        shape = list(self.small)
        for letter, size in sizes.items():
            axis = letters.find(letter)
            if axis < 0 or (shape[axis] != size and letter not in self.vary):
                return None
            shape[axis] = size
        return tuple(shape)


def _brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[0] if len(lines[0]) <= 200 else f"{lines[0][:200]}..."


def _where(error: BaseException) -> str:
    """Name the last line of the user's code, that is the first frame beneath ours."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "sparsegen_classic/crosscheck" not in f.filename.replace("\\", "/")]
    own = [f for f in own if not any(p in f.filename for p in ("site-packages", "contextlib", "<"))]
    return f" ({own[-1].filename.rsplit('/', 1)[-1]}:{own[-1].lineno})" if own else ""
