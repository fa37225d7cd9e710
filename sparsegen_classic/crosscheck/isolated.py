"""A crosscheck in a process of its own: user code may raise, hang, print or die, and still gets a verdict.

The child writes one JSON document a line: which check begins, its verdict, and in the end the report.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from sparsegen_classic._validation import check_real
from sparsegen_classic.crosscheck.layer import crosscheck_layer, make_constraint
from sparsegen_classic.crosscheck.probe import LayerError, guarded
from sparsegen_classic.crosscheck.verdicts import LayerReport, Verdict

_CONSTRAINT_OPTIONS = ("k", "layout", "axis", "atom_shape", "stride", "boundary", "reduction")
_SHARE = 0.8  # of the time limit: checks that have not begun by then are left out, so that a report comes


class TargetError(ValueError):
    """What was named cannot be found, or the options do not fit it."""


def crosscheck_target(
    target: str,
    constraint: str,
    *,
    time_limit: float = 60.0,
    watch: Callable[[str, Verdict | None], None] = lambda check, verdict: None,
    **options: Any,
) -> LayerReport:
    """Hold a layer that is named, not given, against the reference, in a process of its own.

    Parameters
    ----------
    target : str
        ``module:name``, ``path/to/file.py:name``, or an ``.onnx`` file. Names are looked for from the current
        directory, too. A class, and a function with a parameter ``k``, is made for k.
    constraint, **options
        As for :func:`crosscheck_layer`, as far as JSON can say them.
    time_limit : float, default=60.0
        Seconds for everything. A check that has no end by then fails.
    watch : callable, optional
        As for :func:`crosscheck_layer`.

    Returns
    -------
    LayerReport

    Raises
    ------
    TargetError
        If there is no such layer, or an option is wrong.
    """
    time_limit = check_real("time_limit", time_limit, 0, closed="()")
    _parts(target)  # errors before a process is started for nothing
    try:
        make_constraint(constraint, **{o: options[o] for o in _CONSTRAINT_OPTIONS if o in options})
    except (ValueError, TypeError) as error:
        raise TargetError(str(error)) from error
    request = {"target": target, "constraint": constraint, "time_limit": time_limit, "options": options}
    verdicts: list[Verdict] = []
    check = "output"
    start = time.perf_counter()
    with _child(request) as (process, lines, errors):
        while True:
            try:
                line = lines.get(timeout=max(0.01, start + time_limit - time.perf_counter()))
            except queue.Empty:
                ending = f"no end after {time_limit:g} s: the layer hangs; if it is slow, allow more time"
                break
            if line is None:
                process.wait()
                ending = _death(process.returncode, errors)
                break
            message = json.loads(line)
            if "error" in message:
                raise TargetError(message["error"])
            if "report" in message:
                return LayerReport.from_dict(message["report"])
            check = message["check"]
            verdict = message.get("verdict") and Verdict.from_dict(message["verdict"])
            if verdict:
                verdicts.append(verdict)
            watch(check, verdict)
    verdicts.append(Verdict(check, "fail", ending))
    return _unfinished(request, tuple(verdicts), time.perf_counter() - start)


def _unfinished(request: dict[str, Any], verdicts: tuple[Verdict, ...], seconds: float) -> LayerReport:
    """Return the report of a crosscheck that did not come to its end, or not even to a layer."""
    options = request["options"]
    return LayerReport(
        request["target"], "", request["constraint"], options.get("k"), options.get("layout", "NCHW"),
        tuple(options.get("shape") or ()), verdicts, "", seconds,
    )  # fmt: skip


@contextlib.contextmanager
def _child(
    request: dict[str, Any],
) -> Iterator[tuple[subprocess.Popen[bytes], queue.Queue[bytes | None], IO[bytes]]]:
    """Start the process and a thread that reads its lines; leave none of them behind."""
    lines: queue.Queue[bytes | None] = queue.Queue()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "sparsegen_classic.crosscheck.isolated"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=os.name == "posix",  # so that its own children go with it
        )
        assert process.stdin is not None
        assert process.stdout is not None
        stdout = process.stdout

        def read() -> None:
            for line in stdout:
                lines.put(line)
            lines.put(None)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request).encode())
                process.stdin.close()
            yield process, lines, errors
        finally:
            _kill(process)
            process.wait()
            reader.join(timeout=5)
            stdout.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _death(code: int, errors: IO[bytes]) -> str:
    """Say how the process ended, with the last thing it said."""
    if code < 0:
        how = f"the process dies of {signal.Signals(-code).name}"
    else:
        how = f"the process ends with exit code {code} in the middle of the check"
    errors.seek(0)
    said = errors.read().decode(errors="replace").strip().splitlines()
    return f"{how}: {said[-1][:200]}" if said else how


def load_target(target: str) -> Any:
    """Return the layer that a target names; raise TargetError if there is none.

    Raises
    ------
    TargetError
        If the file, module or name does not exist.
    LayerError
        If importing it raises.
    """
    module, name = _parts(target)
    if not name:
        return target
    loaded = _load_file(module) if module.endswith(".py") else _load_module(module)
    for part in name.split("."):
        if not hasattr(loaded, part):
            raise TargetError(f"{module} has no {name!r}; it has {_names_in(loaded)}")
        loaded = getattr(loaded, part)
    return loaded


def _parts(target: str) -> tuple[str, str]:
    """Return module or file and name; of an ONNX file no name. Files must exist."""
    module, _, name = (target, "", "") if target.lower().endswith(".onnx") else target.rpartition(":")
    if not module or not (name or module == target):
        raise TargetError(
            f"{target!r} names no layer; write module:name, file.py:name or the path of an .onnx file"
        )
    if module.endswith((".py", ".onnx", ".ONNX")) and not Path(module).is_file():
        raise TargetError(f"there is no file {module}")
    return module, name


def _load_file(path: str) -> Any:
    sys.path.insert(0, str(Path(path).absolute().parent))
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[Path(path).stem] = module
    with guarded([]):
        spec.loader.exec_module(module)
    return module


def _load_module(name: str) -> Any:
    try:
        with guarded([]):
            return importlib.import_module(name)
    except LayerError as error:
        cause = error.__cause__
        missing = getattr(cause, "name", None) if isinstance(cause, ModuleNotFoundError) else None
        if missing and (name == missing or name.startswith(f"{missing}.")):
            where = f"here or on the path of {sys.executable}"
            raise TargetError(f"there is no module {name!r} {where}") from error
        raise


def _names_in(module: Any) -> str:
    names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
    return (
        ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        if names
        else "nothing that can be called"
    )


def _answer(request: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    """Do what the parent asks, and say what happens."""

    def watch(check: str, verdict: Verdict | None) -> None:
        say({"check": check, "verdict": verdict and verdict.to_dict()})

    options = request["options"]
    try:
        layer = load_target(request["target"])
        limit = _SHARE * request["time_limit"]
        report = crosscheck_layer(
            layer, request["constraint"], time_limit=limit, watch=watch, verbose=False, **options
        )
        say({"report": report.to_dict()})
    except LayerError as error:
        verdict = Verdict("output", "fail", f"importing {request['target']} {error}")
        say({"report": _unfinished(request, (verdict,), 0.0).to_dict()})
    except (ValueError, TypeError, ImportError) as error:
        say({"error": str(error)})


def _main() -> None:
    """Answer on what was stdout; what user code writes there goes to stderr instead."""
    request = json.loads(sys.stdin.buffer.read())
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        os.dup2(2, 1)
        sys.path.insert(0, os.getcwd())

        def say(message: dict[str, Any]) -> None:
            out.write(json.dumps(message).encode() + b"\n")

        _answer(request, say)


if __name__ == "__main__":
    _main()
