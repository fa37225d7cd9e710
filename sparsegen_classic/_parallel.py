"""The one parallel loop: a thread pool over fixed-size blocks of samples.

Kernels are serial and release the GIL; each block writes its own slice of preallocated outputs. The
blocks do not depend on ``n_jobs`` and BLAS runs on one thread inside them, so neither do the bits.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import Any

from joblib import effective_n_jobs
from threadpoolctl import ThreadpoolController


def for_blocks(
    function: Callable[[slice], Any], n_samples: int, block_size: int, n_jobs: int | None = None
) -> None:
    """Call ``function(slice)`` once for every block of ``range(n_samples)``, on up to ``n_jobs`` threads.

    ``n_jobs`` follows joblib (None = 1 unless a ``parallel_config`` says otherwise, -1 = all cores). The
    first exception stops the loop and is raised. It, and an interrupt, also stop the loops inside blocks.
    """
    slices = [slice(start, min(start + block_size, n_samples)) for start in range(0, n_samples, block_size)]
    pending, take = iter(slices), threading.Lock()
    stop, errors = threading.Event(), []
    stops = (*getattr(_this_thread, "stops", ()), stop)

    def work() -> None:
        around = getattr(_this_thread, "stops", ())
        _this_thread.stops = stops
        try:
            while True:
                with take:
                    block = next(pending, None)
                if block is None:
                    return
                if any(event.is_set() for event in stops):
                    raise InterruptedError("another block failed or was interrupted")
                function(block)
        except BaseException as error:
            errors.append(error)
            stop.set()
        finally:
            _this_thread.stops = around

    n_threads = min(effective_n_jobs(n_jobs), len(slices))
    with single_threaded_blas():
        if n_threads <= 1:
            work()
        else:
            with ThreadPoolExecutor(n_threads) as pool:
                try:
                    wait([pool.submit(work) for _ in range(n_threads)])
                finally:
                    stop.set()  # an interrupt lands here: let the threads finish their block and leave
    if errors:
        raise errors[0]


# .stops: the stop events of the loops in whose blocks this thread is; .blas_depth: how often it limits BLAS
_this_thread = threading.local()
_blas_lock = threading.Lock()
_blas_users = 0
_blas_limit: Any = None


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit BLAS to one thread; safe to enter from several threads at once (the last one out restores)."""
    global _blas_users, _blas_limit
    with _blas_lock:
        _blas_users += 1
        if _blas_users == 1:
            _blas_limit = _controller().limit(limits=1, user_api="blas")
    _this_thread.blas_depth = getattr(_this_thread, "blas_depth", 0) + 1
    try:
        yield
    finally:
        _this_thread.blas_depth -= 1
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0:
                _blas_limit.restore_original_limits()


@contextmanager
def single_threaded_openmp() -> Iterator[None]:
    """Limit what the calling thread starts by OpenMP to one thread; other threads are not concerned."""
    with _controller().limit(limits=1, user_api="openmp"):
        yield


def _after_fork() -> None:
    """Forget what other threads of the parent were at; only the thread that forked is in the child."""
    global _blas_lock, _blas_users
    _blas_lock = threading.Lock()
    was_limited, _blas_users = _blas_users > 0, getattr(_this_thread, "blas_depth", 0)
    if was_limited and not _blas_users and _blas_limit is not None:
        _blas_limit.restore_original_limits()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
