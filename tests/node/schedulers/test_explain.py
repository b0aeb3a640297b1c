"""`bacpack submit --explain`: of each node, whether the job runs there, and why not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bacnode.schedulers.dask.keys import JOB_PREFIX
from bacnode.schedulers.placement import Need, NodeView, mark, place
from bacnode.stores.proprietary import Proprietary
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from node.harness import Command, write_release
from node.schedulers.harness import Cluster, library, program
from waiting import until

pytestmark = pytest.mark.filterwarnings("default")

MIB = 1 << 20
BIG, SECRET = library(200_000, 1), library(1000, 7)
APP, LICENSED = program(BIG), program(SECRET)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "cluster") as running:
        yield running


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path / "home")


def test_each_reason() -> None:
    need = Need({"a": 300, "b": 700}, frozenset({"s"}), memory_bytes=64)
    every, offers = frozenset({"a", "b"}), frozenset({"s"})
    nodes = [
        NodeView("best", holds=every, offers=offers),
        NodeView("same", holds=every, offers=offers, stored_bytes=5),
        NodeView("lacks", holds=frozenset({"a"}), offers=offers),
        NodeView("works", holds=every, offers=offers, backlog_seconds=2, jobs=4, memory_bytes=64),
        NodeView("other", holds=every),
        NodeView("small", holds=every, offers=offers, memory_bytes=63),
    ]
    found = {one.node: one for one in place(need, nodes, bandwidth=100)}
    assert {name: one.reason for name, one in found.items()} == {
        "best": None, "same": "equal", "lacks": "missing", "works": "busy", "other": "proprietary", "small": "memory"
    }  # fmt: skip
    assert [name for name, one in found.items() if one.chosen] == ["best"]
    assert (found["lacks"].missing, found["lacks"].missing_bytes, found["lacks"].start_seconds) == (("b",), 700, 7.0)
    assert found["lacks"].message == "it lacks 1 modules, 700 bytes; it is idle"
    assert found["works"].message == "it has every module; 4 jobs are ahead"
    assert found["other"].message == "it may not use s, which its holders do not give away"
    assert found["small"].message == "the job may use 64 bytes of memory, and it has 63"
    moved = {one.node: one for one in mark(place(need, nodes, bandwidth=100), "works")}
    assert [name for name, one in moved.items() if one.chosen] == ["works"] and moved["best"].reason == "equal"


def nodes_of(command: Command, cluster: Cluster, *arguments: object) -> dict[str, dict[str, Any]]:
    line = ("submit", *arguments, "--engine", "dask", "--scheduler", cluster.url, "--explain", "--json")
    done = command(*line)
    assert done.returncode == 0, done.stderr
    return {one["node"]: one for one in json.loads(done.stdout)["nodes"]}


def test_of_each_node_of_a_cluster(cluster: Cluster, command: Command, tmp_path: Path) -> None:
    Proprietary(cluster.folder / "owner").take(str(_file(tmp_path, SECRET)), BlockStore(tmp_path / "x"))
    workers = [
        cluster.start("holder", [APP, BIG]),
        cluster.start("twin", [APP, BIG]),
        cluster.start("small", [APP, BIG], memory_bytes=MIB),
        cluster.start("owner"),
    ]
    for worker in workers:
        worker.ready()
    app = write_release(tmp_path / "out", APP, BIG)
    twin = workers[1]

    # What stands for a job that takes long, on one of the two that hold all.
    ahead = cluster.client.submit(time.sleep, 60, workers=["twin"], key=f"{JOB_PREFIX}ahead", pure=False)
    until(lambda: any(cluster.client.processing().values()), "a job is ahead")
    found = nodes_of(command, cluster, app, "--dry-run", "--max-memory", "8MiB")
    assert {name: one["reason"] for name, one in found.items()} == {
        "holder": None, "twin": "busy", "small": "memory", "owner": "missing"
    }  # fmt: skip
    assert found["holder"]["chosen"] and not found["twin"]["chosen"]
    assert found["owner"]["missing"] == sorted(str(Cid.of_raw(data)) for data in (APP, BIG))
    assert found["owner"]["missing_bytes"] == len(APP) + len(BIG)
    ahead.cancel()
    twin.kill()
    until(lambda: len(cluster.client.scheduler_info()["workers"]) == 3, "the worker is gone")

    licensed = write_release(tmp_path / "licensed", LICENSED)
    found = nodes_of(command, cluster, licensed)
    assert {name: one["reason"] for name, one in found.items()} == {
        "holder": "proprietary", "small": "proprietary", "owner": None
    }  # fmt: skip
    assert found["owner"]["chosen"] and str(Cid.of_raw(SECRET)) in found["holder"]["message"]


def test_for_people(cluster: Cluster, command: Command, tmp_path: Path) -> None:
    cluster.start("holder", [APP, BIG]).ready()
    cluster.add("empty")
    app = write_release(tmp_path / "out", APP, BIG)
    done = command("submit", app, "--engine", "dask", "--scheduler", cluster.url, "--explain")
    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr
    size = len(APP) + len(BIG)
    assert "  holder: chosen; it has every module; it is idle\n" in done.stderr.decode()
    assert f"  empty: not chosen (missing); it lacks 2 modules, {size} bytes; it is idle\n" in done.stderr.decode()


def _file(folder: Path, data: bytes) -> Path:
    (folder / "secret.wasm").write_bytes(data)
    return folder / "secret.wasm"
