"""``map_blocks`` and ``--cluster`` on a local Dask cluster of separate worker processes."""

import logging
import os
import pickle
import signal
import sys
import threading
import time

import click
import numpy as np
import pytest
from click.testing import CliRunner
from joblib import effective_n_jobs, parallel_config

from sparsegen_classic import (
    KSVD,
    SparseImageGenerator,
    _parallel,
    open_images,
    save_model,
    store_images,
)
from sparsegen_classic._parallel import for_blocks, map_blocks, workers_are_remote
from sparsegen_classic.cli import _cluster
from sparsegen_classic.cli._cluster import check_visible, cluster_option, on_cluster
from sparsegen_classic.cli._common import common_options, guarded
from sparsegen_classic.generator import draws, fitting
from sparsegen_classic.images import store as image_stores

distributed = pytest.importorskip("distributed", reason="the cluster tests need the extra [dask]")
dask = pytest.importorskip("dask", reason="the cluster tests need the extra [dask]")

ROWS = np.random.default_rng(0).random((400, 90))


@pytest.fixture(scope="module")
def cluster():
    settings = {"distributed.scheduler.allowed-failures": 1, "distributed.worker.memory.terminate": 0.9}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, memory_limit="700MB",
            dashboard_address=":0", silence_logs=logging.CRITICAL,
        ) as local,
    ):  # fmt: skip
        yield local


@pytest.fixture
def client(cluster):
    """Two workers or more, whatever the test before did to them; those who have imported us stay."""
    _scale(cluster, len(cluster.worker_spec) or 2)
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        yield client


def _scale(cluster, n_workers):
    cluster.scale(n_workers)
    end = time.monotonic() + 30
    while len(cluster.scheduler.workers) != n_workers:
        assert time.monotonic() < end
        time.sleep(0.02)


# blocks are functions in functions: workers, which cannot import this file, get them by value
def _gram():
    def gram(block, rows, seconds):
        time.sleep(seconds)
        return rows[block].T @ rows[block]

    return gram


def _bits(seconds=0.0):
    return np.stack(list(map_blocks(_gram(), 400, 15, None, ROWS, seconds))).tobytes()


@pytest.mark.parametrize("n_workers", [2, 4])
def test_a_cluster_gives_the_bits_of_one_process(cluster, client, n_workers):
    expected = _bits()
    _scale(cluster, n_workers)
    with parallel_config(backend="dask", client=client):
        assert workers_are_remote()
        assert _bits(0.01) == expected
        pids = set(map_blocks(_pid(), 40, 1))
    assert len(pids) == n_workers
    assert os.getpid() not in pids


def _pid():
    def pid(block):
        time.sleep(0.02)
        return os.getpid()

    return pid


def test_blocks_are_serial_on_workers_and_local_loops_stay_local(client):
    def look(block):
        from joblib import effective_n_jobs
        from threadpoolctl import threadpool_info

        from sparsegen_classic._parallel import map_blocks

        blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
        return blas, effective_n_jobs(-1), list(map_blocks(lambda block: block.start, 3, 1, 2))

    seen = []
    with parallel_config(backend="dask", client=client):
        assert set(map(repr, map_blocks(look, 6, 1))) == {repr(({1}, 1, [0, 1, 2]))}
        for_blocks(lambda block: seen.append((threading.get_ident(), effective_n_jobs(-1))), 5, 1)
    assert {thread for thread, _ in seen} == {threading.get_ident()}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_worker_killed_in_the_middle_changes_nothing(client):
    expected = _bits()
    with parallel_config(backend="dask", client=client):
        results = map_blocks(_gram(), 400, 15, None, ROWS, 0.05)
        found = [next(results)]
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        found += results
    assert np.stack(found).tobytes() == expected


def test_a_worker_over_its_memory_limit_is_an_error_that_names_the_remedy(client):
    def hog(block):
        taken = []
        for _ in range(60 if block.start == 3 else 0):
            taken.append(np.ones(4_000_000))
            time.sleep(0.03)
        return len(taken)

    with parallel_config(backend="dask", client=client):
        with pytest.raises(MemoryError, match=r"more memory than its worker.*KilledWorker.*--memory-limit"):
            list(map_blocks(hog, 6, 1))
        assert _bits() == _bits()  # the cluster goes on


def test_errors_of_blocks_arrive_as_they_were_raised_when_they_are_due(client):
    def fail(block):
        if block.start >= 2:
            raise (MemoryError if block.start == 30 else KeyError)(f"block {block.start}")
        return block.start

    found = []
    with parallel_config(backend="dask", client=client):
        with pytest.raises(KeyError, match="block 2"):
            for start in map_blocks(fail, 100, 1):
                found.append(start)
        with pytest.raises(MemoryError, match=r"MemoryError: block 30.*--nthreads 1"):
            list(map_blocks(fail, 60, 30))
    assert found == [0, 1]


def test_a_caller_who_had_enough_leaves_nothing_behind(cluster, client):
    with parallel_config(backend="dask", client=client):
        results = map_blocks(_gram(), 400, 1, None, ROWS, 0.05)
        next(results)
        assert len(cluster.scheduler.tasks) <= 3 + 2 * len(cluster.worker_spec)  # the work, what is ahead
        results.close()
    end = time.monotonic() + 10
    while cluster.scheduler.tasks and time.monotonic() < end:
        time.sleep(0.02)
    assert not cluster.scheduler.tasks


def test_a_cluster_without_workers_left_is_an_error(cluster, client, monkeypatch):
    monkeypatch.setattr(_parallel, "_PATIENCE", 0.3)
    with parallel_config(backend="dask", client=client):
        results = map_blocks(_gram(), 400, 1, None, ROWS, 0.05)
        next(results)
        _scale(cluster, 0)
        with pytest.raises(ConnectionError, match=r"no workers left after 0.3 s; start some"):
            list(results)


@pytest.fixture
def images(tmp_path):
    """Digits in a file that workers can read."""
    np.save(tmp_path / "digits.npy", (open_images("digits").images[:600] * 255).astype(np.uint8))
    return tmp_path / "digits.npy"


@pytest.fixture
def many_blocks(monkeypatch):
    monkeypatch.setattr(fitting, "_BLOCK", 20)
    monkeypatch.setattr(image_stores, "_BLOCK", 50)


def _fit(images, folder, per_class=False):
    """Return the bytes of the model file: from a store of the images, with a checkpoint."""
    folder.mkdir()
    generator = SparseImageGenerator(
        KSVD(16, n_nonzero_coefs=3, max_iter=2), per_class=per_class, random_state=0, n_jobs=2
    )
    store = store_images(images, folder / "store", n_jobs=2)
    labels = np.arange(len(store)) % 2 if per_class else None
    generator.fit(store, labels, checkpoint=folder / "checkpoint")
    return save_model(generator, folder / "model.npz").read_bytes()


@pytest.mark.parametrize("n_workers", [4, 2])
def test_a_fit_on_a_cluster_gives_the_same_model_file(
    cluster, client, images, many_blocks, tmp_path, n_workers
):
    expected = _fit(images, tmp_path / "here")
    _scale(cluster, n_workers)
    with parallel_config(backend="dask", client=client):
        assert _fit(images, tmp_path / "there") == expected


def test_models_of_classes_fitted_by_workers_are_the_same(client, images, tmp_path):
    expected = _fit(images, tmp_path / "here", per_class=True)
    with parallel_config(backend="dask", client=client):
        assert _fit(images, tmp_path / "there", per_class=True) == expected


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_worker_killed_during_a_fit_changes_nothing(client, images, many_blocks, tmp_path):
    expected = _fit(images, tmp_path / "here")
    pids, killed_at = list(client.run(os.getpid).values()), []

    def kill():
        codes, end = tmp_path / "there" / "checkpoint" / "model-0" / "codes", time.monotonic() + 60
        while time.monotonic() < end and not killed_at:
            if codes.is_dir() and len(list(codes.glob("0*"))) > 6:
                os.kill(pids[0], signal.SIGKILL)
                killed_at.append(len(list(codes.glob("0*"))))

    killer = threading.Thread(target=kill)
    killer.start()
    with parallel_config(backend="dask", client=client):
        found = _fit(images, tmp_path / "there")
    killer.join()
    assert killed_at[0] < 90  # files of 30 blocks, three each
    assert found == expected


@pytest.mark.parametrize("n_workers", [2, 4])
def test_a_model_that_draws_is_not_sent_with_every_block(cluster, client, monkeypatch, n_workers):
    """But by the client once, to one worker; the others get it from each other."""
    dictionary = KSVD(60, n_nonzero_coefs=8, max_iter=1)
    generator = SparseImageGenerator(dictionary, random_state=0, n_groups=2).fit(open_images("digits").images)
    expected, size = generator.sample(80, 1), len(pickle.dumps(generator))
    _scale(cluster, n_workers)
    monkeypatch.setattr(draws, "_BLOCK", 4)
    sent, write = [], distributed.comm.tcp.TCP.write

    async def counted(self, *message, **options):
        sent.append(await write(self, *message, **options))
        return sent[-1]

    client.run(_count_arrivals())
    with monkeypatch.context() as patch, parallel_config(backend="dask", client=client):
        patch.setattr(distributed.comm.tcp.TCP, "write", counted)
        patch.setattr(draws, "_draw_block", _slowly())  # else one worker does all
        found = generator.sample(80, 1)
    assert found.tobytes() == expected.tobytes()
    arrived = sum(client.run(_arrivals()).values())
    assert 2 <= arrived <= 2 * n_workers  # of twenty blocks; again where a block changes hands meanwhile
    large = [n for n in sent if n > size / 2]
    assert len(large) == 2  # to the scheduler, which is in this process, and from it to a worker
    assert sum(sent) < 2.5 * size  # twenty blocks, and their results


def _slowly():
    def draw(block, *given):
        from sparsegen_classic.generator.draws import _draw_block

        time.sleep(0.1)
        return _draw_block(block, *given)

    return draw


def _count_arrivals():
    def count():
        from sparsegen_classic import _parallel

        def counted(self, *given):
            counted.n += 1
            counted.init(self, *given)

        counted.n, counted.init = 0, _parallel._Work.__init__
        _parallel._Work.__init__ = counted

    return count


def _arrivals():
    def arrivals():
        from sparsegen_classic import _parallel

        counted = _parallel._Work.__init__
        _parallel._Work.__init__ = counted.init
        return counted.n

    return arrivals


@click.command()
@click.argument("path")
@click.option("--written", is_flag=True)
@cluster_option
@common_options
@guarded
def command(path, written, cluster, **_):
    with on_cluster(cluster) as client:
        check_visible(client, path, written=written)
        click.echo(f"remote: {workers_are_remote()}")


def _run(*arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_the_option_runs_on_the_cluster_and_without_it_nothing_changes(cluster, client, tmp_path):
    (tmp_path / "a").write_text("abc")
    assert _run(tmp_path / "a") == (0, "remote: False\n")
    for path in ((tmp_path / "a",), (tmp_path,), (tmp_path, "--written")):
        assert _run(*path, "--cluster", cluster.scheduler_address) == (0, "remote: True\n")
    assert os.listdir(tmp_path) == ["a"]


def test_addresses_without_scheduler_or_workers_are_one_line(cluster, client, tmp_path, monkeypatch):
    monkeypatch.setattr(_cluster, "_TIMEOUT", 1)
    for address, cause in (("tcp://127.0.0.1:1", "Timed out"), ("nonsense", "missing port")):
        code, text = _run(tmp_path, "--cluster", address)
        assert code == 1
        assert text.startswith(f"error: no Dask scheduler answers at --cluster {address} ({cause}")
        assert text.count("\n") == 1
    address = cluster.scheduler_address
    _scale(cluster, 0)
    code, text = _run(tmp_path, "--cluster", address)
    assert (code, text.count("\n")) == (1, 1)
    assert "has no workers; start some with dask worker" in text


def test_without_dask_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert _run(tmp_path, "--cluster", "tcp://a:1") == (
        1, "error: --cluster needs Dask; pip install 'sparsegen-classic[dask]'\n"
    )  # fmt: skip


class Workers:
    """Two machines on which everything that is run has one answer."""

    def __init__(self, answer):
        self.answer = answer

    def run(self, function, *arguments):
        return dict.fromkeys(("tcp://a:1", "tcp://b:2"), self.answer)


def test_paths_that_workers_do_not_see_and_other_versions_are_named(client, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing does not exist"):
        check_visible(client, tmp_path / "nothing")
    file = tmp_path / "rows.npy"
    file.write_bytes(b"1234")

    for size in (None, 3):
        with pytest.raises(
            ValueError, match="rows.npy is not the same on worker tcp://a:1 and 1 more.*mount"
        ):
            check_visible(Workers(size), file)
    here = _cluster._description()()
    with pytest.warns(
        UserWarning, match=r"worker tcp://a:1 and 1 more of the cluster has numpy 1.0, here it is"
    ):
        _cluster._check_workers(Workers(here | {"numpy": "1.0"}), "tcp://a:0")
    with pytest.raises(ValueError, match="is not installed on worker tcp://a:1 and 1 more"):
        _cluster._check_workers(Workers(here | {"sparsegen-classic": None}), "tcp://a:0")
