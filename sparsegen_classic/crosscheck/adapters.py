"""Layers of numpy, PyTorch, JAX and ONNX behind one small interface.

Everything outside is a float64 array whose values the dtype at hand can represent; an adapter makes the
framework's own array of it, calls the layer, and reads the answer back. A framework is imported only when a
layer of it is passed.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES: tuple[str, ...] = ("float16", "bfloat16", "float32", "float64")
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
LARGEST = {"float16": 65504.0, "bfloat16": 3.3e38, "float32": 3.4e38, "float64": 1.7e308}
SMALLEST = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}


class Adapter:
    """A numpy function, and the interface of all adapters."""

    framework = "numpy"
    dtypes: tuple[str, ...] = ("float16", "float32", "float64")
    main_dtypes: tuple[str, ...] = ("float32", "float64")  # what every layer should take
    has_gradient = False
    strides: tuple[str, ...] = ("sliced", "reversed", "channels last")
    fixed_shape: tuple[int | None, ...] | None = None  # None: a size that may vary

    def __init__(self, layer: Callable[..., Any]):
        self.layer = layer

    def native(self, x: NDArray[Any], dtype: str, how: str = "plain") -> Any:
        """Return x as an array of the framework, laid out in memory as ``how`` says."""
        return strided(x.astype(dtype), how)

    def run(self, native: Any) -> Any:
        """Call the layer."""
        return self.layer(native)

    def is_own(self, answer: Any) -> bool:
        """Say whether the answer is an array of the framework."""
        return isinstance(answer, np.ndarray | np.generic | float)

    def read(self, answer: Any) -> tuple[NDArray[np.float64], str]:
        """Return the answer as float64 (a copy) and the name of its dtype."""
        array = np.asarray(answer)
        return np.array(array, np.float64), str(array.dtype)

    def vjp(self, x: NDArray[Any], grad: NDArray[Any] | None, dtype: str) -> NDArray[np.float64]:
        """Return the gradient of sum(grad * layer(x)); ``grad`` is None for a layer that returns a number."""
        raise NotImplementedError

    def set_training(self, training: bool) -> bool:
        """Switch between training and evaluation; say whether there is such a switch."""
        return False

    def synchronise(self) -> None:
        """Wait until everything is computed."""

    def intermediate_bytes(self, x: NDArray[Any], dtype: str) -> float | None:
        """Return the memory the layer takes for x, in bytes, or None if that cannot be seen."""
        import tracemalloc

        native = self.native(x, dtype)
        self.run(native)
        tracing = tracemalloc.is_tracing()
        if not tracing:
            tracemalloc.start()
        try:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            self.run(native)
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            if not tracing:
                tracemalloc.stop()


class TorchAdapter(Adapter):
    """A torch.nn.Module or a function of tensors, on the device of its parameters."""

    framework = "torch"
    dtypes: tuple[str, ...] = DTYPES
    has_gradient = True
    strides = ("sliced", "channels last")  # torch has no negative strides

    def __init__(self, layer: Callable[..., Any], device: Any = None):
        import torch

        super().__init__(layer)
        self.torch = torch
        tensors = []
        if isinstance(layer, torch.nn.Module):
            tensors = [*layer.parameters(), *layer.buffers()]
        self.device = torch.device(device) if device else tensors[0].device if tensors else "cpu"
        floating = {str(t.dtype).removeprefix("torch.") for t in tensors if t.is_floating_point()}
        if floating:  # a module with parameters works in their dtype
            self.dtypes = self.main_dtypes = tuple(d for d in DTYPES if d in floating)

    def native(self, x: NDArray[Any], dtype: str, how: str = "plain") -> Any:
        """Return a tensor."""
        tensor = self.torch.from_numpy(np.array(x, order="C")).to(self.device, getattr(self.torch, dtype))
        if how == "sliced":
            wide = self.torch.full((*tensor.shape[:-1], 2 * tensor.shape[-1]), 7.0).to(tensor)
            wide[..., ::2] = tensor
            return wide[..., ::2]
        if how == "channels last":
            return tensor.movedim(1, -1).contiguous().movedim(-1, 1)
        return tensor.clone()

    def is_own(self, answer: Any) -> bool:
        """Say whether the answer is a tensor."""
        return isinstance(answer, self.torch.Tensor)

    def read(self, answer: Any) -> tuple[NDArray[np.float64], str]:
        """Return the tensor as numpy."""
        dtype = str(answer.dtype).removeprefix("torch.")
        return answer.detach().to(self.torch.float64).cpu().numpy().copy(), dtype

    def vjp(self, x: NDArray[Any], grad: NDArray[Any] | None, dtype: str) -> NDArray[np.float64]:
        """Return what ``backward`` leaves in x.grad; zeros if nothing arrives there."""
        leaf = self.native(x, dtype).requires_grad_()
        with self.torch.enable_grad():
            answer = self.layer(leaf)
            if not answer.requires_grad:
                raise RuntimeError("the answer does not depend on the input for autograd (detached?)")
            answer.backward(self.torch.ones_like(answer) if grad is None else self.native(grad, dtype))
        return np.zeros(x.shape) if leaf.grad is None else self.read(leaf.grad)[0]

    def set_training(self, training: bool) -> bool:
        """Call train() or eval()."""
        if not isinstance(self.layer, self.torch.nn.Module):
            return False
        self.layer.train(training)
        return True

    def synchronise(self) -> None:
        """Wait for the GPU."""
        if "cuda" in str(self.device):
            self.torch.cuda.synchronize(self.device)

    def intermediate_bytes(self, x: NDArray[Any], dtype: str) -> float | None:
        """Return the size of the largest tensor that any operation of the layer returned."""
        from torch.utils._python_dispatch import TorchDispatchMode
        from torch.utils._pytree import tree_leaves

        largest, tensor = 0, self.torch.Tensor

        class Watch(TorchDispatchMode):
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                nonlocal largest
                answer = func(*args, **(kwargs or {}))
                for leaf in tree_leaves(answer):
                    if isinstance(leaf, tensor):
                        largest = max(largest, leaf.numel() * leaf.element_size())
                return answer

        native = self.native(x, dtype)
        with Watch():
            self.run(native)
        return float(largest)


class JaxAdapter(Adapter):
    """A function of JAX arrays."""

    framework = "jax"
    dtypes: tuple[str, ...] = ("float16", "bfloat16", "float32")
    main_dtypes: tuple[str, ...] = ("float32",)
    has_gradient = True
    strides = ()  # JAX arrays have no strides

    def __init__(self, layer: Callable[..., Any]):
        import jax

        super().__init__(layer)
        self.jax = jax
        if jax.config.read("jax_enable_x64"):
            self.dtypes, self.main_dtypes = DTYPES, ("float32", "float64")

    def native(self, x: NDArray[Any], dtype: str, how: str = "plain") -> Any:
        """Return a JAX array."""
        return self.jax.numpy.asarray(x, dtype=getattr(self.jax.numpy, dtype))

    def is_own(self, answer: Any) -> bool:
        """Say whether the answer is a JAX array."""
        return isinstance(answer, self.jax.Array)

    def read(self, answer: Any) -> tuple[NDArray[np.float64], str]:
        """Return the array as numpy."""
        return np.array(np.asarray(answer).astype(np.float64)), str(answer.dtype)

    def vjp(self, x: NDArray[Any], grad: NDArray[Any] | None, dtype: str) -> NDArray[np.float64]:
        """Return the vector-Jacobian product."""
        answer, back = self.jax.vjp(self.layer, self.native(x, dtype))
        ones = self.jax.numpy.ones_like(answer)
        return self.read(back(ones if grad is None else self.native(grad, dtype))[0])[0]

    def synchronise(self) -> None:
        """Wait for what is under way."""
        self.jax.effects_barrier()

    def intermediate_bytes(self, x: NDArray[Any], dtype: str) -> float | None:
        """Return the size of the largest array in the traced program."""
        return float(_largest_in(self.jax.make_jaxpr(self.layer)(self.native(x, dtype)).jaxpr))


class OnnxAdapter(Adapter):
    """An ONNX file with one input, run by onnxruntime on the CPU."""

    framework = "onnx"

    def __init__(self, path: str | os.PathLike[str]):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors arrive as exceptions
        try:
            self.session = onnxruntime.InferenceSession(
                os.fspath(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has a class of its own for everything
            raise ValueError(f"{os.fspath(path)} cannot be read as an ONNX model: {error}") from error
        inputs = self.session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(
                f"the layer {os.fspath(path)} must have one input, got {len(inputs)}: "
                f"{', '.join(i.name for i in inputs)}; make the others initializers"
            )
        kinds = {"tensor(float16)": "float16", "tensor(float)": "float32", "tensor(double)": "float64"}
        if inputs[0].type not in kinds:
            raise ValueError(f"the input of {os.fspath(path)} must be of floats, got {inputs[0].type}")
        self.dtypes = self.main_dtypes = (kinds[inputs[0].type],)
        sizes = [size if isinstance(size, int) and size > 0 else None for size in inputs[0].shape or []]
        self.fixed_shape = tuple(sizes) if sizes else None
        self.input = inputs[0].name
        super().__init__(lambda native: self.session.run(None, {self.input: native})[0])

    def intermediate_bytes(self, x: NDArray[Any], dtype: str) -> float | None:
        """Onnxruntime allocates where nobody sees it."""
        return None


def adapter_of(
    layer: Any, framework: str = "auto", device: Any = None, shape: tuple[int, ...] = (1, 4)
) -> Adapter:
    """Return the adapter that fits a layer.

    ``framework="auto"`` looks at what the layer is made of, and where that says nothing, as for functions
    that only call methods of their input, tries what is imported on ones of the given shape.
    """
    if isinstance(layer, str | os.PathLike):
        return OnnxAdapter(layer)
    if not callable(layer):
        raise TypeError(
            f"layer must be callable or the path of an .onnx file, got {layer!r} of type "
            f"{type(layer).__name__}"
        )
    makers: dict[str, Callable[[], Adapter]] = {
        "numpy": lambda: Adapter(layer),
        "torch": lambda: TorchAdapter(layer, device),
        "jax": lambda: JaxAdapter(layer),
    }
    if framework == "auto":
        framework = framework_of(layer)
    if framework:
        return makers[framework]()
    for name, make in makers.items():
        if name in sys.modules and _takes(adapter := make(), shape):
            return adapter
    return makers["numpy"]()


def _takes(adapter: Adapter, shape: tuple[int, ...]) -> bool:
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return adapter.is_own(adapter.run(adapter.native(np.ones(shape), adapter.main_dtypes[0])))
        except (Exception, SystemExit):  # anything a layer may raise at an array that is not its own
            return False


def framework_of(layer: Any) -> str:
    """Guess the framework: of a module by its class, of a function by what it mentions; "" if nothing."""
    if "torch" in sys.modules and isinstance(layer, sys.modules["torch"].nn.Module):
        return "torch"
    used: set[str] = set()
    _collect(layer, used, depth=4)
    return next((name for name in ("torch", "jax", "numpy") if name in used), "")


def _collect(thing: Any, used: set[str], depth: int) -> None:
    """Add the top-level modules that a function mentions, also through its helpers and closures."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    home = (type(thing).__module__ if not inspect.ismodule(thing) else thing.__name__).split(".")[0]
    used.add("jax" if home == "jaxlib" else home)
    if inspect.ismodule(thing) or depth == 0:
        return
    used.add((getattr(thing, "__module__", None) or "").split(".")[0])
    thing = inspect.unwrap(thing) if callable(thing) else thing
    if not inspect.isfunction(thing):
        thing = getattr(thing, "__func__", None) or vars(type(thing)).get("__call__")
    if not inspect.isfunction(thing):
        return
    names = thing.__code__.co_names
    cells = [cell.cell_contents for cell in thing.__closure__ or () if cell.cell_contents is not thing]
    for value in [*(thing.__globals__[n] for n in names if n in thing.__globals__), *cells]:
        if inspect.ismodule(value) or callable(value):
            _collect(value, used, depth - 1)
    used.update(name for name in names if name in ("torch", "jax") and name in sys.modules)


def coarser(answered: str, dtype: str) -> bool:
    """Say whether a dtype has fewer digits than another; what is no dtype of floats has none."""
    return EPS.get(answered, 1.0) > EPS[dtype]


def quantised(x: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    """Round to what a dtype can represent."""
    if dtype != "bfloat16":
        with np.errstate(over="ignore", under="ignore"):
            return x.astype(dtype).astype(np.float64)
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32).astype(np.float64)


def strided(x: NDArray[Any], how: str) -> NDArray[Any]:
    """Return x with other strides: every second entry of a wider array, reversed, or channels last."""
    if how == "sliced":
        wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), 7, x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if how == "reversed":
        return np.flip(np.flip(x).copy())
    if how == "channels last":
        return np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)
    return np.array(x, order="C")


def _largest_in(jaxpr: Any) -> int:
    """Return the bytes of the largest array of a traced program, its inner programs included."""
    largest = 0
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            shape = getattr(variable.aval, "shape", ())
            itemsize = getattr(getattr(variable.aval, "dtype", None), "itemsize", 4)
            largest = max(largest, int(np.prod(shape)) * itemsize)
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                largest = max(largest, _largest_in(inner))
    return largest
