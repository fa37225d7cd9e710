"""``--cluster``: run the blocks of heavy stages on the workers of a Dask scheduler."""

from __future__ import annotations

import logging
import os
import secrets
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

_TIMEOUT = 10  # seconds for the scheduler to answer

cluster_option = click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Run the heavy stages on the workers of this Dask scheduler, e.g. tcp://host:8786; they read the "
    "data themselves, at the same path. The result is the same.",
)


@contextmanager
def on_cluster(address: str | None) -> Iterator[Any]:
    """Let ``map_blocks`` run on the cluster at ``address``; yield its client (None without an address).

    Every worker must have the package. A warning says which differ in versions or processor: the same bits
    are promised for the same ones only.
    """
    if address is None:
        yield None
        return
    import joblib

    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError("--cluster needs Dask; pip install 'sparsegen-classic[dask]'") from error
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # errors reach us; tracebacks need not be shown
    try:
        client = Client(address, timeout=_TIMEOUT)
    except Exception as error:  # whatever answers at a mistyped address
        raise ConnectionError(
            f"no Dask scheduler answers at --cluster {address} ({error}); start one with dask scheduler, "
            "or correct the address"
        ) from error
    with client:
        _check_workers(client, address)
        with joblib.parallel_config(backend="dask", client=client):
            yield client


def check_visible(client: Any, path: str | os.PathLike[str], *, written: bool = False) -> None:
    """Raise ValueError unless every worker sees what is at ``path`` here: a file of its size, or a folder.

    Of a folder that is to be ``written``, workers must see a file that is made there now. Without a client
    (None) nothing is checked.
    """
    if client is None:
        return
    target = Path(os.path.abspath(path))
    token = target / f".visible-{secrets.token_hex(8)}" if written else target
    try:
        if written:
            token.touch(exist_ok=False)
        here = _look(str(token), seconds=0)
        if here is None:
            raise FileNotFoundError(f"{target} does not exist")
        there = client.run(_look, str(token))
    finally:
        if written:
            token.unlink(missing_ok=True)
    lacking = [worker for worker, size in there.items() if size != here]
    if lacking:
        raise ValueError(
            f"{target} is not the same on {_named(lacking)} of the cluster as here; put it on a file system "
            "that all machines mount at the same path"
        )


def _look(path: str, seconds: float = 5.0) -> int | None:
    """Return the size of a file, -1 for a folder, None for nothing, also after shared folders caught up."""
    end = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > end:
            return None
        time.sleep(0.1)
    return os.path.getsize(path) if os.path.isfile(path) else -1


def _check_workers(client: Any, address: str) -> None:
    describe = _description()
    here, there = describe(), client.run(describe)
    if not there:
        raise ConnectionError(
            f"the scheduler at --cluster {address} has no workers; start some with "
            f"dask worker {address} --nthreads 1"
        )
    lacking = [worker for worker, found in there.items() if found["sparsegen-classic"] is None]
    if lacking:
        raise ValueError(
            f"sparsegen-classic is not installed on {_named(lacking)} of the cluster; install "
            f"{here['sparsegen-classic']} there too"
        )
    for name, value in here.items():
        other = {worker: found[name] for worker, found in there.items() if found[name] != value}
        if other:
            warnings.warn(
                f"{_named(list(other))} of the cluster has {name} {next(iter(other.values()))}, here it is "
                f"{value}; the result may differ in its last bits from one computed here",
                stacklevel=2,
            )


def _description() -> Callable[[], dict[str, str | None]]:
    """Return a function that workers can run without the package: it travels by value, being local."""

    def describe() -> dict[str, str | None]:
        import platform
        from importlib.metadata import PackageNotFoundError, version

        found: dict[str, str | None] = {"Python": platform.python_version(), "processor": platform.machine()}
        for name in ("sparsegen-classic", "numpy", "scipy", "numba", "scikit-learn"):
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = None
        if found["numba"]:
            from llvmlite.binding import get_host_cpu_name

            found["processor"] = get_host_cpu_name()
        return found

    return describe


def _named(workers: list[str]) -> str:
    """Return the first worker and how many more there are."""
    return f"worker {workers[0]}" + (f" and {len(workers) - 1} more" if len(workers) > 1 else "")
