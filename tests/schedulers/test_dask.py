"""Jobs go where their modules are, survive workers that die, and proprietary modules stay where they are."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="extra `dask` is not installed")

from bacnode.jobs.proprietary import Proprietary
from bacnode.schedulers.block_server import BlockServer
from bacpack.content.cid import Cid
from bacpack.content.store import BlockStore
from schedulers.harness import LONG, Cluster, WorkerProcess, closure, library, orders, program, spin, until

pytestmark = pytest.mark.filterwarnings("default")

BIG, OTHER = library(200_000, 1), library(150_000, 2)
APP, BOTH = program(BIG), program(BIG, OTHER, text="both")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "cluster") as running:
        yield running


def test_jobs_go_where_their_modules_are(cluster: Cluster, tmp_path: Path) -> None:
    holder = cluster.start("holder", [APP, BIG])
    cluster.add("first", "second")
    holder.ready()
    found = closure(tmp_path / "client", APP, BIG)
    results = list(cluster.engine().run(orders(found, 10)))
    assert sorted(result.number for result in results) == list(range(10))
    assert {result.node for result in results} == {"holder"}
    assert {result.stdout for result in results} == {b"ran\n"} and sum(result.moved_bytes for result in results) == 0


def test_jobs_spread_when_waiting_takes_longer_than_moving(tmp_path: Path) -> None:
    app = program(BIG, body=spin(300))
    # A job is taken to need twenty seconds, and its modules forty to move.
    with Cluster(tmp_path / "cluster", LONG) as cluster:
        holder = cluster.start("holder", [app, BIG])
        cluster.add("first", "second")
        holder.ready()
        results = list(cluster.engine(window=10).run(orders(closure(tmp_path / "client", app, BIG), 10)))
    where = {result.number: result.node for result in results}
    assert where[0] == "holder", where
    assert set(where.values()) == {"holder", "first", "second"}, where
    moved = {result.node: result.moved_bytes for result in sorted(results, key=lambda one: -one.number)}
    assert moved["holder"] == 0


def test_modules_come_from_other_workers_verified_and_are_announced(cluster: Cluster, tmp_path: Path) -> None:
    holder = cluster.start("holder", [BOTH, BIG, OTHER])
    holder.ready()
    (empty,) = cluster.add("empty")
    assert cluster.holders(BIG) == ["holder"]
    found = closure(tmp_path / "client", BOTH, BIG, OTHER)
    # The holder cannot take it: it has no thread that is free for an hour, as far as the scheduler knows.
    with_memory = orders(found, memory_bytes=8 << 20)
    cluster.client.run(_set_memory, 0, workers=[holder.address])
    (result,) = cluster.engine().run(with_memory)
    assert result.node == "empty" and result.stdout == b"both\n"
    assert result.report is not None
    assert {module["source"] for module in result.report["modules"]} == {"peer"}
    assert all(module["verified"] for module in result.report["modules"])
    assert result.moved_bytes == sum(map(len, (BOTH, BIG, OTHER)))
    until(lambda: cluster.holders(BIG) == ["empty", "holder"], "what came was not announced")
    assert BlockStore(empty.folder).get(Cid.of_raw(OTHER)) == OTHER
    (again,) = cluster.engine().run(with_memory)
    assert (again.node, again.moved_bytes) == ("empty", 0)


async def _set_memory(size: int, dask_worker: object = None) -> None:
    await dask_worker.set_resources(**{"bacpack-memory": size})  # type: ignore[attr-defined]


def test_evicted_modules_are_withdrawn(cluster: Cluster) -> None:
    holder = cluster.start("holder", [APP, BIG]).ready()
    assert cluster.holders(BIG) == ["holder"]
    with holder.store.collecting() as delete:
        delete(Cid.of_raw(BIG))
    until(lambda: cluster.holders(BIG) == [], "an evicted module is still announced")
    assert cluster.holders(APP) == ["holder"]


def test_proprietary_modules_are_used_by_their_holder_only(cluster: Cluster, tmp_path: Path) -> None:
    secret = library(1000, 7)
    app = program(secret)
    Proprietary(cluster.folder / "owner").take(str(_file(tmp_path / "secret.wasm", secret)), BlockStore(tmp_path / "x"))
    cluster.add("one", "two")
    found = closure(tmp_path / "client", app)
    assert found.missing == (str(Cid.of_raw(secret)),)
    notes: list[str] = []
    with BlockServer(BlockStore(tmp_path / "client")) as server:
        engine = cluster.engine(peers=[server.url], wait_seconds=0.5)
        engine.on_note = notes.append
        (given_up,) = engine.run(orders(found))
        assert given_up.error is not None and given_up.error["code"] == "no-holder"
        assert notes == [f"job 0 waits: no worker offers {Cid.of_raw(secret)}"]

        engine = cluster.engine(peers=[server.url])
        engine.on_note = notes.append
        running = engine.run(orders(found, 4))
        owner: list[WorkerProcess] = []
        timer = threading.Timer(1, lambda: owner.extend(cluster.add("owner")))
        timer.start()
        results = list(running)
        timer.join()
    assert {(result.node, result.state) for result in results} == {("owner", "done")}, results
    assert f"job 0 waits no longer: a worker offers {Cid.of_raw(secret)}" in notes
    # Neither announced nor given to who asks.
    assert cluster.holders(secret) == []
    for name in ("one", "two"):
        assert not BlockStore(cluster.folder / name).has(Cid.of_raw(secret))
    assert not BlockStore(cluster.folder / "owner").has(Cid.of_raw(secret))


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_job_whose_worker_is_killed_runs_elsewhere(cluster: Cluster, tmp_path: Path) -> None:
    workers = {worker.name: worker for worker in cluster.add("one", "two")}
    found = closure(tmp_path / "client", program(body=spin(3000)))
    with BlockServer(BlockStore(tmp_path / "client")) as server:
        engine = cluster.engine(peers=[server.url])
        began: list[str] = []

        def kill_first(_number: int, worker: str) -> None:
            began.append(worker)
            if len(began) == 1:
                os.kill(workers[worker].process.pid, signal.SIGKILL)

        engine.on_begin = kill_first
        results = list(engine.run(orders(found)))
    assert len(results) == 1
    (result,) = results
    assert (result.state, result.attempts) == ("done", 2), result
    assert result.node == began[1] != began[0]
    assert result.lost == [f"{began[0]} ended while the job ran"]


def test_what_kills_workers_is_given_up(cluster: Cluster, tmp_path: Path) -> None:
    found = closure(tmp_path / "client", program(body=spin(100_000)))
    cluster.add("zero", "one", "two", "three")
    workers = {worker.name: worker for worker in cluster.workers}
    with BlockServer(BlockStore(tmp_path / "client")) as server:
        engine = cluster.engine(peers=[server.url])
        engine.on_begin = lambda _number, worker: os.kill(workers[worker].process.pid, signal.SIGKILL)
        (result,) = engine.run(orders(found))
    assert result.error is not None and result.error["code"] == "kills-workers", result
    assert len(result.lost) == 3 and result.attempts == 3


def test_each_result_arrives_once_while_workers_die(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add("w0", "w1")
    found = closure(tmp_path / "client", program(BIG, body=spin(60)), BIG)
    done = threading.Event()

    def kill_and_replace() -> None:
        number = 2
        while not done.wait(1.0):
            victim = cluster.workers[number - 2]
            cluster.start(f"w{number}").ready()
            victim.kill()
            number += 1

    with BlockServer(BlockStore(tmp_path / "client")) as server:
        killer = threading.Thread(target=kill_and_replace)
        killer.start()
        try:
            results = list(cluster.engine(peers=[server.url]).run(orders(found, 60)))
        finally:
            done.set()
            killer.join()
    assert Counter(result.number for result in results) == Counter(range(60))
    assert {result.state for result in results} == {"done"}, [r.error for r in results if r.error]
    assert {result.stdout for result in results} == {b"ran\n"}
