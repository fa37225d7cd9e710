"""``map_blocks``: results of blocks in order, on threads and on processes."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from joblib import effective_n_jobs, parallel_config
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_info

from sparsegen_classic._parallel import for_blocks, map_blocks, workers_are_remote

ROWS = np.random.default_rng(0).random((103, 40))
ENGINES = {"threads": {"backend": "threading"}, "processes": {"backend": "loky", "n_jobs": 2}}


@pytest.fixture(scope="module", autouse=True)
def _no_workers_after():
    yield
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


# blocks are functions in functions: workers, which cannot import this file, get them by value
def _gram():
    def gram(block, rows, power):
        return (rows[block].T @ rows[block]) ** power

    return gram


def _surroundings():
    def look(block):
        from joblib import effective_n_jobs
        from threadpoolctl import threadpool_info

        blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
        return blas, effective_n_jobs(-1), os.getpid()

    return look


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.parametrize("n_jobs", [None, 1, 2, 3, -1])
def test_results_come_in_order_of_the_blocks(n_jobs):
    def late(block):
        time.sleep(0.02 if block.start == 0 else 0)
        return block.start, block.stop

    expected = [(start, min(start + 10, 103)) for start in range(0, 103, 10)]
    assert list(map_blocks(late, 103, 10, n_jobs)) == expected
    assert list(map_blocks(late, 0, 10, n_jobs)) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_gives_the_same_bits(engine):
    expected = list(map_blocks(_gram(), 103, 10, 1, ROWS, 2))
    np.testing.assert_allclose(expected[10], (ROWS[100:].T @ ROWS[100:]) ** 2)
    with parallel_config(**ENGINES[engine]):
        assert workers_are_remote() == (engine == "processes")
        found = list(map_blocks(_gram(), 103, 10, 2, ROWS, 2))
    assert np.stack(found).tobytes() == np.stack(expected).tobytes()
    assert not workers_are_remote()


@pytest.mark.parametrize("engine", ENGINES)
def test_inside_blocks_everything_is_serial_wherever_they_run(engine):
    before = blas_threads()
    with parallel_config(**ENGINES[engine]):
        results = map_blocks(_surroundings(), 20, 1, 2)
        found = [next(results)]
        assert blas_threads() == {1}  # what the caller sums up may not depend on threads either
        found += results
    assert blas_threads() == before
    assert {(frozenset(blas), n_jobs) for blas, n_jobs, _ in found} == {(frozenset({1}), 1)}
    assert (os.getpid() in {pid for *_, pid in found}) == (engine == "threads")


def test_only_a_few_results_wait_for_a_slow_caller():
    started = []
    before = blas_threads()
    results = map_blocks(lambda block: started.append(block.start), 1000, 1, 2)
    next(results)
    time.sleep(0.1)
    assert len(started) <= 5
    results.close()
    time.sleep(0.05)
    assert len(started) <= 5
    assert blas_threads() == before


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_arrives_as_it_was_raised_when_its_block_is_due(engine):
    def fail(block):
        if block.start >= 2:
            raise KeyError(f"block {block.start}")
        time.sleep(0.05)
        return block.start

    found = []
    with parallel_config(**ENGINES[engine]), pytest.raises(KeyError, match="block 2"):
        for start in map_blocks(fail, 100, 1, 2):
            found.append(start)
    assert found == [0, 1]
    assert threading.active_count() < 20


def test_an_interrupt_stops_the_loops_inside_blocks():
    seen, waiting = [], threading.Event()

    def block_of_blocks(outer):
        def inner(block):
            seen.append(block.start)
            waiting.set()
            time.sleep(0.01)

        for_blocks(inner, 1000, 1) if outer.start else None

    results = map_blocks(block_of_blocks, 3, 1, 2)
    next(results)
    assert waiting.wait(10)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)
    count = len(seen)
    assert count < 900
    time.sleep(0.05)
    assert len(seen) == count  # nothing goes on behind the caller's back


def test_a_failure_around_it_stops_the_map():
    waiting, seen = threading.Event(), []

    def block_of_blocks(outer):
        if outer.start == 0:
            assert waiting.wait(10)
            raise RuntimeError("first")
        for start in map_blocks(lambda block: time.sleep(0.01) or block.start, 1000, 1, 2):
            seen.append(start)
            waiting.set()

    with pytest.raises(RuntimeError, match="first"):
        for_blocks(block_of_blocks, 2, 1, 2)
    assert 0 < len(seen) < 900


def test_maps_in_maps_are_serial():
    def outer(block):
        return list(map_blocks(lambda _: threading.get_ident(), 5, 1, 4)), threading.get_ident()

    for inside, thread in map_blocks(outer, 6, 1, 2):
        assert inside == [thread] * 5


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_worker_is_forgiven_and_one_that_dies_again_and_again_is_explained(tmp_path):
    def die(block, folder, deaths):
        path = os.path.join(folder, "deaths")
        if block.start == 5:
            with open(path, "a+") as file:
                file.seek(0)
                count = len(file.read())
                file.write("x")
            if count < deaths:
                os.kill(os.getpid(), 9)
        return block.start

    with parallel_config(**ENGINES["processes"]):
        assert list(map_blocks(die, 20, 1, None, str(tmp_path), 1)) == list(range(20))
        (tmp_path / "deaths").unlink()
        with pytest.raises(MemoryError, match="needs more memory than its worker has.*fewer at once"):
            list(map_blocks(die, 20, 1, None, str(tmp_path), 9))


def test_memory_errors_name_the_remedy_only_where_workers_are():
    def hog(block):
        raise MemoryError("Unable to allocate 9 EiB")

    with pytest.raises(MemoryError, match="^Unable"):
        list(map_blocks(hog, 3, 1, 2))
    with parallel_config(**ENGINES["processes"]), pytest.raises(MemoryError, match="9 EiB.*fewer threads"):
        list(map_blocks(hog, 3, 1))


def test_what_a_worker_cannot_unpickle_is_not_called_a_lack_of_memory():
    def needs(block, lock):
        return lock

    with parallel_config(**ENGINES["processes"]), pytest.raises(TypeError, match="pickle"):
        list(map_blocks(needs, 3, 1, None, threading.Lock()))


def test_sequential_and_one_job_run_in_the_callers_thread():
    with parallel_config(backend="sequential"):
        assert set(map_blocks(lambda _: threading.get_ident(), 9, 1, 4)) == {threading.get_ident()}
    assert set(map_blocks(lambda _: threading.get_ident(), 9, 1)) == {threading.get_ident()}
    assert effective_n_jobs(2) == 2
