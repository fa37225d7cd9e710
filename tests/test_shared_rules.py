"""The small shared rules: checks, seeds, blocks and files."""

import os
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from sparsegen_classic._files import atomic_write, check_output, write_npz
from sparsegen_classic._parallel import for_blocks, single_threaded_blas
from sparsegen_classic._random import seed_sequence, spawn_generators
from sparsegen_classic._validation import check_choice, check_integer, check_real


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.parametrize("n_jobs", [None, 1, 2, 3, -1])
def test_every_block_is_visited_once(n_jobs):
    visits = np.zeros(103, int)

    def visit(block):
        visits[block] += 1
        assert block.stop - block.start <= 10

    for_blocks(visit, 103, 10, n_jobs)
    assert (visits == 1).all()
    for_blocks(visit, 0, 10, n_jobs)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_first_exception_stops_the_loop(n_jobs):
    seen = []

    def fail(block):
        seen.append(block.start)
        raise RuntimeError(f"block {block.start}")

    with pytest.raises(RuntimeError, match="block 0"):
        for_blocks(fail, 1000, 1, n_jobs)
    assert len(seen) <= n_jobs
    assert threading.active_count() < 10


def test_a_failure_stops_the_loops_inside_other_blocks():
    waiting, seen = threading.Event(), []

    def block_of_blocks(outer):
        if outer.start == 0:
            assert waiting.wait(10)
            raise RuntimeError("first")

        def inner(block):
            seen.append(block.start)
            waiting.set()
            time.sleep(0.01)

        for_blocks(inner, 1000, 1)

    with pytest.raises(RuntimeError, match="first"):
        for_blocks(block_of_blocks, 2, 1, 2)
    assert len(seen) < 900


def test_blas_is_limited_inside_and_restored_after_also_when_nested_or_shared():
    before = blas_threads()
    inside = []
    for_blocks(lambda block: for_blocks(lambda _: inside.append(blas_threads()), 2, 1, 2), 4, 1, 2)
    assert inside == [{1}] * 8
    assert blas_threads() == before
    with pytest.raises(RuntimeError), single_threaded_blas():
        raise RuntimeError
    assert blas_threads() == before


def test_blas_is_limited_from_any_thread_and_restored_by_another():
    before, inside, entered, left = blas_threads(), [], threading.Event(), threading.Event()

    def first():
        with single_threaded_blas():
            entered.set()
            assert left.wait(10)
        inside.append(blas_threads())  # another is still in

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(10)
    with single_threaded_blas():
        left.set()
        thread.join(10)
    assert inside == [{1}]
    assert blas_threads() == before
    for _ in range(3):
        thread = threading.Thread(target=lambda: for_blocks(lambda _: inside.append(blas_threads()), 2, 1))
        thread.start()
        thread.join(10)
    assert inside == [{1}] * 7
    assert blas_threads() == before


def test_generators_do_not_depend_on_how_many_are_spawned():
    few, many = spawn_generators(7, 3), spawn_generators(7, 10)
    assert [g.random() for g in few] == [g.random() for g in many[:3]]
    assert spawn_generators(8, 1)[0].random() != spawn_generators(7, 1)[0].random()


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState])
def test_generator_objects_are_reproducible_and_advance(make):
    state = make(0)
    first, second = seed_sequence(state).entropy, seed_sequence(state).entropy
    assert first != second
    assert first == seed_sequence(make(0)).entropy
    assert seed_sequence(None).entropy != seed_sequence(None).entropy
    with pytest.raises(ValueError, match="cannot be used to seed"):
        seed_sequence("seed")


def test_checks_name_parameter_rule_value_and_remedy():
    assert check_integer("n", np.int64(3), 1) == 3
    assert check_real("x", 1, 0, 1) == 1.0
    assert check_choice("mode", None, (None, "a")) is None
    cases = (
        (lambda: check_integer("n", 0, 1, 9, "x"), ValueError,
         "n must be at least 1 and at most 9, got 0; x"),
        (lambda: check_integer("n", True, 1), TypeError, "n must be an integer, got True of type bool"),
        (lambda: check_real("x", 0, 0, 1, "(]"), ValueError, "x must be greater than 0 and at most 1, got 0"),
        (lambda: check_real("x", float("nan"), 0), ValueError, "x must be finite, got nan"),
        (lambda: check_real("x", "1"), TypeError, "x must be a real number, got '1' of type str"),
        (lambda: check_choice("m", "c", ("a", "b")), ValueError, "m must be one of 'a', 'b', got 'c'"),
        (lambda: check_choice("f", 1, (True, False)), ValueError, "f must be one of True, False, got 1"),
    )  # fmt: skip
    for call, error, message in cases:
        with pytest.raises(error) as caught:
            call()
        assert str(caught.value) == message


def test_files_are_whole_or_absent(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_write(path) as file:
        file.write(b"one")
    with pytest.raises(KeyboardInterrupt), atomic_write(path, overwrite=True) as file:
        file.write(b"half of")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a.txt"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_directories_are_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="is not writable; choose another place"):
        check_output(tmp_path / "a.npz")


def test_npz_bytes_depend_on_the_arrays_alone(tmp_path):
    arrays = {"a": np.arange(3), "b": np.float32(1.5), "c": np.array(["x", "yz"])}
    for name in ("one", "two"):
        with atomic_write(tmp_path / name) as file:
            write_npz(file, arrays)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with np.load(tmp_path / "one") as archive:
        assert archive["b"].shape == ()
        assert archive["c"].tolist() == ["x", "yz"]
