"""Jobs go where their modules are, survive workers that die, and proprietary modules stay where they are."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bacnode.schedulers.dask.block_server import BlockServer
from bacnode.schedulers.dask.local_cluster import local_engine
from bacnode.schedulers.placement import Need, NodeView, place
from bacnode.schedulers.submitted_jobs import SubmittedJob
from bacnode.stores.proprietary import Proprietary
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from node.schedulers.harness import LONG, Cluster, WorkerProcess, closure, library, program, spin, submitted_jobs
from waiting import PATIENCE, joined, until

pytestmark = pytest.mark.filterwarnings("default")

BIG, OTHER = library(200_000, 1), library(150_000, 2)
#: Whether the long form is run.
SOAK = bool(os.environ.get("BACPACK_SOAK"))
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
    results = list(cluster.engine().run(submitted_jobs(found, 10)))
    assert sorted(result.number for result in results) == list(range(10))
    assert {result.node for result in results} == {"holder"}
    assert {result.stdout for result in results} == {b"ran\n"} and sum(result.moved_bytes for result in results) == 0


class _EnoughError(Exception):
    """The jobs, which never end, were all placed."""


def test_jobs_spread_in_the_order_that_the_objective_says(tmp_path: Path) -> None:
    app = program(BIG, body="(loop (br 0))")
    found = closure(tmp_path / "client", app, BIG)
    # A job is taken to need twenty seconds, and its modules fifty to move. What is asked is where jobs are placed: Dask
    # would move some of them again, to a worker that has no work while it fetches.
    settings = {"distributed.scheduler.bandwidth": found.bytes / 50, "distributed.scheduler.work-stealing": False}
    with Cluster(tmp_path / "cluster", {**LONG, **settings}) as cluster:
        holder = cluster.start("holder", [app, BIG], bandwidth=found.bytes / 50)
        cluster.add("first", "second", bandwidth=found.bytes / 50)
        holder.ready()
        need = Need(found.sizes)
        names = {worker.address: worker.name for worker in cluster.workers}
        expected: list[str] = []
        came: list[str] = []
        began: set[str] = set()

        def counts() -> Counter[str]:
            ahead = cluster.client.processing()
            return Counter({names[address]: len(keys) for address, keys in ahead.items() if keys})

        def compare(job: SubmittedJob) -> None:
            """See where the job before went, and what the objective says of this one."""
            now = Counter[str]()

            def are_placed() -> bool:
                """Whether all jobs before are where they stay: a program is work from when its modules are there."""
                now.clear()
                now.update(counts())
                return now.total() == job.spec.number and set(now) <= began

            until(are_placed, "all jobs are placed")
            came.extend((now - Counter(came)).elements())
            views = [
                NodeView(name, 1, 20.0 * came.count(name), holds=frozenset(found.sizes) if name in {"holder", *came}
                         else frozenset())
                for name in names.values()
            ]  # fmt: skip
            verdicts = place(need, views, found.bytes / 50)
            best = min(one.start_seconds for one in verdicts if one.start_seconds is not None)
            expected.append(" ".join(sorted(one.node for one in verdicts if one.start_seconds == best)))
            if job.spec.number == 10:
                raise _EnoughError

        with pytest.raises(_EnoughError):
            engine = cluster.engine(window=11, on_send=compare, on_begin=lambda _number, worker: began.add(worker))
            list(engine.run(submitted_jobs(found, 11)))
        for worker in cluster.workers:
            worker.kill()
        kinds = [name if name == "holder" else "other" for name in came]
    assert kinds[:9] == ["holder"] * 3 + ["other"] * 6, came
    assert len(set(came[3:6])) == len(set(came[6:9])) == 1 and set(came) == {"holder", "first", "second"}, came
    assert all(where in best.split() for where, best in zip(came, expected, strict=False)), (came, expected)


def test_modules_come_from_other_workers_verified_and_are_announced(cluster: Cluster, tmp_path: Path) -> None:
    holder = cluster.start("holder", [BOTH, BIG, OTHER])
    holder.ready()
    (empty,) = cluster.add("empty")
    assert cluster.holders(BIG) == ["holder"]
    found = closure(tmp_path / "client", BOTH, BIG, OTHER)
    # The holder cannot take it: it has no thread that is free for an hour, as far as the scheduler knows.
    with_memory = submitted_jobs(found, memory_bytes=8 << 20)
    cluster.client.run(_set_memory, 0, workers=[holder.address])
    (result,) = cluster.engine().run(with_memory)
    assert result.node == "empty" and result.stdout == b"both\n"
    assert result.report is not None
    assert {module["source"] for module in result.report["modules"]} == {"peer"}
    assert all(module["verified"] for module in result.report["modules"])
    assert result.moved_bytes == sum(map(len, (BOTH, BIG, OTHER)))
    until(lambda: cluster.holders(BIG) == ["empty", "holder"], "what came is announced")
    assert BlockStore(empty.folder).get(Cid.of_raw(OTHER)) == OTHER
    (again,) = cluster.engine().run(with_memory)
    assert (again.node, again.moved_bytes) == ("empty", 0)


async def _set_memory(size: int, dask_worker: object = None) -> None:
    await dask_worker.set_resources(**{"bacpack-memory": size})  # type: ignore[attr-defined]


class _Gated(BlockServer):
    """Gives nothing away until it may, and remembers what it was asked for."""

    def __init__(self, store: BlockStore) -> None:
        self.may, self.asked = threading.Event(), Counter[str]()
        super().__init__(store)

    def find(self, path: str, store: BlockStore, only: Collection[Cid] | None) -> bytes | None:
        self.asked[path.partition("?")[0].rpartition("/")[2]] += 1
        assert self.may.wait(PATIENCE)
        return super().find(path, store, only)


def test_a_job_that_fetches_holds_up_no_other_and_what_two_want_comes_once(cluster: Cluster, tmp_path: Path) -> None:
    ready = program(text="ready")
    one = cluster.start("one", [ready])
    one.ready()
    slow, quick = closure(tmp_path / "client", APP, BIG), closure(tmp_path / "client", ready)
    with closing(_Gated(BlockStore(tmp_path / "client"))) as origin:
        engine = cluster.engine(peers=(origin.url,), window=21)
        results = engine.run([*submitted_jobs(slow, 20), *submitted_jobs(quick, 1, 20)])
        first = next(results)
        assert (first.number, first.stdout) == (20, b"ready\n")
        origin.may.set()
        others = list(results)
    assert [result.stdout for result in others] == [b"ran\n"] * 20
    assert set(origin.asked.values()) == {1} and sum(result.moved_bytes for result in others) == len(APP) + len(BIG)
    assert cluster.holders(BIG) == ["one"]


def test_evicted_modules_are_withdrawn(cluster: Cluster) -> None:
    holder = cluster.start("holder", [APP, BIG]).ready()
    assert cluster.holders(BIG) == ["holder"]
    with holder.store.collecting() as delete:
        delete(Cid.of_raw(BIG))
    until(lambda: cluster.holders(BIG) == [], "an evicted module is announced no more")
    assert cluster.holders(APP) == ["holder"]


def test_proprietary_modules_are_used_by_their_holder_only(cluster: Cluster, tmp_path: Path) -> None:
    # Bytes that stand nowhere else; and a module that the owner does give away, to see that what it sends is seen.
    secret, public = library(1000, 0xA7), library(3000, 0xB9)
    app, other = program(secret), program(public)
    Proprietary(cluster.folder / "owner").take(str(_file(tmp_path / "secret.wasm", secret)), BlockStore(tmp_path / "x"))
    cluster.add("one", "two")
    found = closure(tmp_path / "client", app)
    assert found.missing == (str(Cid.of_raw(secret)),)
    notes: list[str] = []
    with closing(BlockServer(BlockStore(tmp_path / "client"))) as server:
        engine = cluster.engine(peers=[server.url], wait_seconds=0.5)
        engine.on_note = notes.append
        (given_up,) = engine.run(submitted_jobs(found))
        assert given_up.error is not None and given_up.error.code == "no-holder"
        assert notes == [f"job 0 waits: no worker offers {Cid.of_raw(secret)}"]

        engine = cluster.engine(peers=[server.url])
        engine.on_note = notes.append
        running = engine.run(submitted_jobs(found, 4))
        owner: list[WorkerProcess] = []
        sent = tmp_path / "sent"
        timer = threading.Timer(
            1, lambda: owner.append(cluster.start("owner", [public], memory_bytes=64 << 20, sent=sent).ready())
        )
        timer.start()
        results = list(running)
        joined(timer, "the owner starts")
        # Jobs for which the owner has too little memory fetch what it does give away from it.
        engine = cluster.engine(peers=[server.url])
        with_memory = submitted_jobs(closure(tmp_path / "client", other, public), memory_bytes=128 << 20)
        (fetched,) = engine.run(with_memory)
        assert (fetched.state, fetched.node in ("one", "two")) == ("done", True), fetched
    assert {(result.node, result.state) for result in results} == {("owner", "done")}, results
    assert f"job 0 waits no longer: a worker offers {Cid.of_raw(secret)}" in notes
    wire = sent.read_bytes()
    assert b"\xb9" * 3000 in wire and b"ran\n" in wire
    assert b"\xa7" * 16 not in wire and secret[:64] not in wire
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
    with closing(BlockServer(BlockStore(tmp_path / "client"))) as server:
        engine = cluster.engine(peers=[server.url])
        began: list[str] = []

        def kill_first(_number: int, worker: str) -> None:
            began.append(worker)
            if len(began) == 1:
                os.kill(workers[worker].process.pid, signal.SIGKILL)

        engine.on_begin = kill_first
        results = list(engine.run(submitted_jobs(found)))
    assert len(results) == 1
    (result,) = results
    assert (result.state, result.attempts) == ("done", 2), result
    assert result.node == began[1] != began[0]
    assert result.lost == [f"{began[0]} ended while the job ran"]


def test_what_kills_workers_is_given_up(cluster: Cluster, tmp_path: Path) -> None:
    found = closure(tmp_path / "client", program(body=spin(100_000)))
    cluster.add("zero", "one", "two", "three")
    workers = {worker.name: worker for worker in cluster.workers}
    with closing(BlockServer(BlockStore(tmp_path / "client"))) as server:
        engine = cluster.engine(peers=[server.url])
        engine.on_begin = lambda _number, worker: os.kill(workers[worker].process.pid, signal.SIGKILL)
        (result,) = engine.run(submitted_jobs(found))
    assert result.error is not None and result.error.code == "kills-workers", result
    # Dask counts for each task: that a worker took modules along which the task waited for is not counted there.
    assert 3 <= len(result.lost) <= 4 and result.attempts == len(result.lost)


def test_each_result_arrives_once_while_workers_die(cluster: Cluster, tmp_path: Path) -> None:
    count, pause, rounds = (200, 3.0, 400) if SOAK else (40, 1.0, 60)
    cluster.add("w0", "w1")
    found = closure(tmp_path / "client", program(BIG, body=spin(rounds)), BIG)
    done = threading.Event()

    def kill_and_replace() -> None:
        number = 2
        while not done.wait(pause):
            victim = cluster.workers[number - 2]
            cluster.start(f"w{number}").ready()
            victim.kill()
            number += 1

    with closing(BlockServer(BlockStore(tmp_path / "client"))) as server:
        killer = threading.Thread(target=kill_and_replace)
        killer.start()
        try:
            results = list(cluster.engine(peers=[server.url]).run(submitted_jobs(found, count)))
        finally:
            done.set()
            joined(killer, "the last worker is replaced")
    killed = len(cluster.workers) - 2
    print(f"{killed} workers killed, {sum(result.attempts > 1 for result in results)} jobs begun again")
    assert killed >= (10 if SOAK else 1)
    assert Counter(result.number for result in results) == Counter(range(count))
    assert {result.state for result in results} == {"done"}, [r.error for r in results if r.error]
    assert {result.stdout for result in results} == {b"ran\n"}


def test_an_engine_of_this_machine_leaves_nothing_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with local_engine(tmp_path / "store", tmp_path / "cache", workers=1):
        pass
    assert list(temporary.iterdir()) == []


def test_a_worker_that_is_told_to_end_leaves_its_job_to_another(cluster: Cluster) -> None:
    workers = {worker.name: worker for worker in cluster.add("one", "two")}
    data = program(body=spin(1500))
    for worker in workers.values():
        found = closure(worker.folder, data)
    engine = cluster.engine()
    ended: list[str] = []

    def end_first(_number: int, name: str) -> None:
        if not ended:
            ended.append(name)
            workers[name].process.terminate()

    engine.on_begin = end_first
    (result,) = engine.run(submitted_jobs(found))
    assert (result.state, result.stdout) == ("done", b"ran\n"), result
    assert result.node not in ended
