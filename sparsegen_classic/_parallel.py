"""The two parallel loops over fixed-size blocks of samples: threads that write, workers that return.

``for_blocks`` is a thread pool: kernels are serial and release the GIL, each block writes its own slice of
preallocated outputs. ``map_blocks`` yields what a function returns for each block, and runs wherever joblib
is told to: threads, processes, a cluster. The blocks depend neither on ``n_jobs`` nor on where they run and
BLAS runs on one thread inside them, so neither do the bits.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from tempfile import TemporaryDirectory
from traceback import format_exc
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs, parallel_config, wrap_non_picklable_objects
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController


def for_blocks(
    function: Callable[[slice], Any], n_samples: int, block_size: int, n_jobs: int | None = None
) -> None:
    """Call ``function(slice)`` once for every block of ``range(n_samples)``, on up to ``n_jobs`` threads.

    ``n_jobs`` follows joblib (None = 1 unless a ``parallel_config`` says otherwise, -1 = all cores). The
    first exception stops the loop and is raised. It, and an interrupt, also stop the loops inside blocks.
    """
    slices = _slices(n_samples, block_size)
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

    n_threads = min(_n_threads(n_jobs), len(slices))
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


def map_blocks(
    function: Callable[..., Any], n_samples: int, block_size: int, n_jobs: int | None = None, *arguments: Any
) -> Iterator[Any]:
    """Yield ``function(slice, *arguments)`` for every block of ``range(n_samples)``, in order.

    Runs on ``n_jobs`` threads, or where ``joblib.parallel_config`` says (``backend="loky"``, ``"dask"``);
    ``function`` and ``arguments`` must then be picklable, and data should be paths that workers read (see
    ``workers_are_remote``). Only a few results a worker are ahead of the caller. Inside a block ``n_jobs``
    is 1; until the last result is taken BLAS runs on one thread, for the caller too.

    Errors are raised when their block is due. MemoryError says so if workers die or have no memory left.
    """
    slices, work = _slices(n_samples, block_size), _Work(function, arguments)
    backend, _ = get_active_backend(prefer="threads")
    with single_threaded_blas():
        if not workers_are_remote():
            yield from _map_threads(work, slices, n_jobs)
        elif hasattr(backend, "client"):
            yield from _map_dask(work, slices, backend)
        else:
            yield from _map_processes(work, slices, n_jobs, backend)


def workers_are_remote() -> bool:
    """Return whether ``map_blocks`` would run in other processes, which do not see this one's memory."""
    return not getattr(get_active_backend(prefer="threads")[0], "supports_sharedmem", False)


def _slices(n_samples: int, block_size: int) -> list[slice]:
    return [slice(start, min(start + block_size, n_samples)) for start in range(0, n_samples, block_size)]


def _n_threads(n_jobs: int | None) -> int:
    """Return how many threads of this process ``n_jobs`` means, also if the active backend is a cluster."""
    if not workers_are_remote():
        return effective_n_jobs(n_jobs)
    with parallel_config(backend="threading"):
        return effective_n_jobs(n_jobs)


@dataclass(frozen=True)
class _Work:
    """What a worker does with a block. A class of ours: schedulers do not look for tasks inside."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __call__(self, block: slice) -> Any:
        with single_threaded_blas(), parallel_config(backend="sequential"):
            return self.function(block, *self.arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        # as plain bytes: Dask hands arrays over at odd addresses, where BLAS and kernels take other paths
        work = wrap_non_picklable_objects((self.function, self.arguments), keep_wrapper=False)
        return _unpack, (pickle.dumps(work),)


def _unpack(data: bytes) -> _Work:
    return _Work(*pickle.loads(data))


def _map_threads(work: _Work, slices: list[slice], n_jobs: int | None) -> Iterator[Any]:
    stop = threading.Event()
    stops = (*getattr(_this_thread, "stops", ()), stop)

    def run(block: slice) -> Any:
        around = getattr(_this_thread, "stops", ())
        if any(event.is_set() for event in stops):
            raise InterruptedError("another block failed or was interrupted")
        _this_thread.stops = stops
        try:
            return work(block)
        finally:
            _this_thread.stops = around

    n_threads = min(_n_threads(n_jobs), len(slices))
    if n_threads <= 1:
        yield from map(run, slices)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            yield from _in_order(lambda block: pool.submit(run, block), slices, 2 * n_threads)
        finally:
            stop.set()  # also after an error, an interrupt, or a caller who had enough


def _map_dask(work: _Work, slices: list[slice], backend: Any) -> Iterator[Any]:
    """Keep every thread of a cluster busy.

    Past joblib's own loop, which neither bounds the results that wait for the caller nor ends when a worker
    died too often.
    """
    import dask

    client, n_threads = backend.client, backend.effective_n_jobs(-1)
    # a task, not scattered data: the scheduler has it computed again if the workers that hold it die
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
        shared = client.submit(_same, work, pure=False)

    def submit(block: slice) -> Any:
        return client.submit(_call, shared, block, pure=False)

    def wait_for(future: Any) -> Any:
        while True:
            try:
                return pickle.loads(future.result(timeout=_PATIENCE))
            except TimeoutError:
                if future.done():
                    raise
                if not client.ncores():
                    raise ConnectionError(
                        f"the cluster has no workers left after {_PATIENCE} s; start some and run again"
                    ) from None

    with backend.retrieval_context(), _lost_workers_explained():
        yield from _in_order(submit, slices, 2 * n_threads, wait_for)


def _map_processes(work: _Work, slices: list[slice], n_jobs: int | None, backend: Any) -> Iterator[Any]:
    """Run windows of blocks through ``joblib.Parallel``, which does not wait for a slow caller by itself."""
    window = 8 * effective_n_jobs(n_jobs)
    # joblib's own files for large arguments (max_nbytes) are deleted while other tasks still open them
    pool = Parallel(n_jobs=n_jobs, batch_size=1, pre_dispatch="all", max_nbytes=None)
    with TemporaryDirectory(prefix="sparsegen-") as folder, _lost_workers_explained():
        call: Any = work
        if type(backend).__module__.startswith("joblib."):  # workers on this machine
            call = _StoredWork(os.path.join(folder, "work"))
            with open(call.path, "wb") as file:
                pickle.dump(work, file)
        for start in range(0, len(slices), window):
            tasks = [delayed(_attempt)(call, block) for block in slices[start : start + window]]
            for result in _persistently(pool, tasks):
                if isinstance(result, _Failure):
                    raise result.error
                yield result


@dataclass(frozen=True)
class _Failure:
    error: Exception


def _attempt(call: Callable[[slice], Any], block: slice) -> Any:
    """Return an error for the caller to raise when it is due; joblib would kill all workers at once."""
    try:
        return call(block)
    except Exception as error:
        error.add_note(f"In a worker:\n{format_exc()}")
        return _Failure(error)


@dataclass(frozen=True)
class _StoredWork:
    """Work that each worker reads once from this process's own temporary file, not with every block."""

    path: str

    def __call__(self, block: slice) -> Any:
        return _read_work(self.path)(block)


@lru_cache(maxsize=1)
def _read_work(path: str) -> _Work:
    with open(path, "rb") as file:
        return pickle.load(file)


def _persistently(pool: Parallel, tasks: list[Any]) -> list[Any]:
    """Return the results of all tasks; start again twice if a worker was killed, as Dask would."""
    for _ in range(2):
        try:
            return pool(tasks)
        except BrokenExecutor as error:
            if not _is_lost_worker(error):
                raise
    return pool(tasks)


def _in_order(
    submit: Callable[[slice], Any],
    slices: list[slice],
    ahead: int,
    wait_for: Callable[[Any], Any] = lambda future: future.result(),
) -> Iterator[Any]:
    """Yield the results of futures in order of the blocks, with at most ``ahead`` more under way."""
    futures: deque[Any] = deque()
    try:
        for block in slices:
            futures.append(submit(block))
            if len(futures) > ahead:
                yield wait_for(futures.popleft())
        while futures:
            yield wait_for(futures.popleft())
    finally:
        futures.clear()  # a cluster forgets what nobody waits for; tracebacks keep this frame


def _same(work: _Work) -> _Work:
    return work


def _call(work: _Work, block: slice) -> bytes:
    return pickle.dumps(work(block))


def _is_lost_worker(error: Exception) -> bool:
    """Tell by names of loky and distributed, which are imported only if they run."""
    return type(error).__name__ in ("TerminatedWorkerError", "KilledWorker")


@contextmanager
def _lost_workers_explained() -> Iterator[None]:
    """Name cause and remedy of what the engine says; errors of the work itself pass."""
    try:
        yield
    except CancelledError as error:
        cause, *_ = str(error).split("\n")
        raise ConnectionError(
            f"the cluster gave the work up ({cause}); see that its scheduler runs, and run again"
        ) from error
    except Exception as error:
        if not (isinstance(error, MemoryError) or _is_lost_worker(error)):
            raise
        cause = f"{type(error).__name__}: {str(error).split('. ')[0]}"
        raise MemoryError(
            f"a block of samples needs more memory than its worker has: it died or ran out of it ({cause}); "
            "start workers with fewer threads or more memory each (for Dask: --nthreads 1, a larger "
            "--memory-limit), or run fewer at once (n_jobs)"
        ) from error


_PATIENCE = 120  # seconds
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
            _let_any_thread_limit()
            _blas_limit = _controller().limit(limits=1, user_api="blas")
    _this_thread.blas_depth = getattr(_this_thread, "blas_depth", 0) + 1
    try:
        yield
    finally:
        _this_thread.blas_depth -= 1
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0:
                _restore_blas()


def _let_any_thread_limit() -> None:
    """Undo what threadpoolctl 3.8 brought: only the thread that set a limit first may set another.

    Here the first to enter sets it and the last to leave restores it, whichever threads they are.
    """
    for library in _controller().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)


def _restore_blas() -> None:
    _let_any_thread_limit()
    _blas_limit.restore_original_limits()
    _let_any_thread_limit()


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
        _restore_blas()


if hasattr(os, "register_at_fork"):  # no thread is inside threadpoolctl, whose own lock would stay closed
    os.register_at_fork(
        before=lambda: _blas_lock.acquire(),
        after_in_parent=lambda: _blas_lock.release(),
        after_in_child=_after_fork,
    )
