"""Several threads, children by fork and by spawn, and two writers of one file."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from threadpoolctl import threadpool_info

from sparsegen_classic import (
    KSVD,
    ConvDictionaryLearning,
    SparseImageGenerator,
    Trainlets,
    load_model,
    open_images,
)
from sparsegen_classic._files import atomic_write
from sparsegen_classic._parallel import for_blocks, map_blocks, single_threaded_blas
from sparsegen_classic.images import check_target, grid, save_images

# Python warns of a fork beside threads, and so does JAX if another test has imported it: that is the test
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:.*fork.*:{kind}") for kind in ("DeprecationWarning", "RuntimeWarning")
]
IMAGES = open_images("digits").images[:300]
ROWS = IMAGES.reshape(300, 64)
# one job an estimator; two threads each, so that threads of several fits are at work at once
JOBS = {
    "generator": lambda: _generator().sample(6, random_state=1),
    "ksvd": lambda: KSVD(20, n_nonzero_coefs=4, max_iter=3, random_state=0, n_jobs=2).fit(ROWS).components_,
    "trainlets": lambda: Trainlets(20, n_nonzero_coefs=4, max_iter=2, random_state=0, n_jobs=2).fit(
        ROWS).components_,
    "filters": lambda: ConvDictionaryLearning(4, 5, max_iter=1, random_state=0, n_jobs=2).fit(
        IMAGES[:12]).filters_,
    "blocks": lambda: np.stack(list(map_blocks(_gram, 300, 7, 2, ROWS))),
    "wide": lambda: KSVD(80, n_nonzero_coefs=8, max_iter=2, random_state=1).fit(np.tile(ROWS, 6)).components_,
}  # fmt: skip


def _generator():
    dictionary = KSVD(20, n_nonzero_coefs=4, max_iter=3)
    return SparseImageGenerator(dictionary, random_state=0, n_jobs=2).fit(IMAGES)


def _gram(block, rows):
    return rows[block].T @ rows[block]


def bits(job):
    return JOBS[job]().tobytes()


def _blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


ALL_THREADS = _blas_threads()


@pytest.fixture(scope="module")
def alone():
    return {job: bits(job) for job in JOBS}


def test_threads_at_work_at_once_get_the_bits_of_one_alone(alone):
    jobs = list(JOBS) * 3
    start = threading.Barrier(len(jobs))

    def work(job):
        start.wait()
        return bits(job)

    with ThreadPoolExecutor(len(jobs)) as pool:
        found = list(pool.map(work, jobs))
    assert [job for job, made in zip(jobs, found, strict=True) if made != alone[job]] == []


def test_threads_share_one_fitted_model():
    generator = _generator()
    expected = [generator.sample(4, random_state=seed).tobytes() for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda seed: generator.sample(4, random_state=seed).tobytes(), range(8)))
    assert found == expected


def test_threads_open_images_at_once(tmp_path):
    for i in range(20):
        Image.fromarray(np.uint8(IMAGES[i] * 255)).save(tmp_path / f"{i:02d}.png")
    before = list(warnings.filters)
    expected = open_images(tmp_path).images
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: open_images(tmp_path).images, range(40)):
            np.testing.assert_array_equal(found, expected)
    assert warnings.filters == before


def child(jobs, queue):
    queue.put({job: bits(job) for job in jobs})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_get_the_same_bits(alone, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system does not {method}")
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    jobs = list(JOBS) if method == "fork" else ["generator", "wide"]
    children = [context.Process(target=child, args=(jobs, queue)) for _ in range(2)]
    for process in children:
        process.start()
    found = [queue.get(timeout=120) for _ in children]
    for process in children:
        process.join(120)
        assert process.exitcode == 0
    assert all(made == {job: alone[job] for job in jobs} for made in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_in_the_middle_of_other_threads_work_goes_on(alone):
    """Locks and limits that other threads hold at that moment are not inherited."""
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            for_blocks(lambda _: np.dot(ROWS.T, ROWS), 40, 1, 2)

    threads = [threading.Thread(target=busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                os._exit(_leaves_blas_as_it_was())
            assert _exit_code(pid) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _leaves_blas_as_it_was():
    """Return 0 if BLAS has all its threads before and after it is limited, and one within."""
    counts = [_blas_threads()]
    with single_threaded_blas():
        counts.append(_blas_threads())
    return int([*counts, _blas_threads()] != [ALL_THREADS, {1}, ALL_THREADS])


def _exit_code(pid, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise AssertionError(f"the child did not end within {seconds} s")


WRITER = """
import pathlib, sys, time
from sparsegen_classic import KSVD, save_model
import numpy as np
path, seed, overwrite, ready = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True", pathlib.Path(sys.argv[4])
model = KSVD(300, n_nonzero_coefs=2, max_iter=1, random_state=seed)
model.fit(np.random.default_rng(seed).random((400, 500)))
(ready / str(seed)).touch()
while len(list(ready.iterdir())) < 2:
    time.sleep(0.001)
try:
    save_model(model, path, overwrite=overwrite)
except FileExistsError as error:
    sys.exit(f"{error}")
"""


@pytest.mark.parametrize("overwrite", [True, False])
def test_two_processes_that_write_one_file_leave_a_whole_one(tmp_path, tmp_path_factory, overwrite):
    path, ready = tmp_path / "model.npz", tmp_path_factory.mktemp("ready")
    arguments = [
        [sys.executable, "-c", WRITER, str(path), str(seed), str(overwrite), str(ready)] for seed in (0, 1)
    ]
    writers = [subprocess.Popen(call, stderr=subprocess.PIPE, text=True) for call in arguments]
    messages = [writer.communicate(timeout=120)[1] for writer in writers]
    codes = [writer.returncode for writer in writers]
    assert load_model(path).random_state in (0, 1)
    assert os.listdir(tmp_path) == ["model.npz"]
    if overwrite:
        assert codes == [0, 0], messages
    else:
        assert sorted(codes) == [0, 1], messages
        assert "exists; choose another name" in messages[codes.index(1)]


def test_writers_that_meet_are_told_apart(tmp_path):
    """Without leave to overwrite, the later of two that both found no file must not replace the earlier."""
    path = tmp_path / "a.txt"
    with pytest.raises(FileExistsError, match="exists; choose another name"), atomic_write(path) as late:
        late.write(b"late")
        with atomic_write(path) as early:
            early.write(b"early")
    assert path.read_bytes() == b"early"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_inside_a_block_counts_its_own_thread_on():
    with single_threaded_blas():
        pid = os.fork()
        if pid == 0:
            inside = _blas_threads()
    if pid == 0:
        os._exit(int(inside != {1}) or _leaves_blas_as_it_was())
    assert _exit_code(pid) == 0


def test_without_links_the_name_is_checked_once_more(tmp_path, monkeypatch):
    def no_links(source, target):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", no_links)
    test_writers_that_meet_are_told_apart(tmp_path)
    with atomic_write(tmp_path / "b.txt") as file:
        file.write(b"b")
    assert (tmp_path / "b.txt").read_bytes() == b"b"


def test_many_threads_write_one_file(tmp_path):
    path = tmp_path / "a.bin"
    contents = [bytes([i]) * 200_000 for i in range(16)]

    def write(content):
        with atomic_write(path, overwrite=True) as file:
            for start in range(0, len(content), 1000):
                file.write(content[start : start + 1000])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, contents))
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["a.bin"]


def test_many_threads_write_one_folder(tmp_path):
    """Each writer replaces the folder whole or is told, and nothing is left beside it."""
    folder = tmp_path / "images"
    stacks = [np.full((3, 4, 4), level / 8, np.float32) for level in range(8)]

    def write(stack):
        try:
            save_images(stack, folder, overwrite=True)
        except FileExistsError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(8) as pool:
        messages = list(pool.map(write, stacks))
    assert "" in messages
    assert all("being written by somebody else" in message for message in messages if message)
    found = open_images(folder).images
    assert any(np.array_equal(found, np.rint(stack * 255) / np.float32(255)) for stack in stacks)
    assert os.listdir(tmp_path) == ["images"]


def test_a_folder_that_came_in_the_meantime_is_not_replaced(tmp_path, monkeypatch):
    folder, calls = tmp_path / "images", []

    def check(target, overwrite):
        calls.append(target)
        if len(calls) == 2:
            monkeypatch.undo()
            save_images(np.ones((2, 4, 4)), folder)
            check_target(target, overwrite)

    monkeypatch.setattr(grid, "_check_folder", check)
    with pytest.raises(FileExistsError, match="is not empty; choose another name"):
        save_images(np.zeros((3, 4, 4)), folder)
    np.testing.assert_array_equal(open_images(folder).images, np.ones((2, 4, 4)))
    assert os.listdir(tmp_path) == ["images"]
