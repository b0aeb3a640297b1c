"""A node is a worker of Dask: jobs go to it by what it holds, and it gives its modules by the gateway."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacnode.schedulers.dask.worker_supervisor import WorkerSupervisor
from node.jobs.harness import JobNode
from node.schedulers.harness import Cluster, closure, library, program, submitted_jobs
from waiting import until

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "cluster") as running:
        yield running


def test_a_node_takes_jobs_from_dask(cluster: Cluster, tmp_path: Path) -> None:
    module = library(1000, 3)
    app = program(module)
    with JobNode(tmp_path / "other") as other:
        other.add(module)
        with JobNode(tmp_path / "node", "--workers", 1, "--scheduler", cluster.url, "--peer", other.url) as node:
            node.add(app)
            until(lambda: cluster.client.scheduler_info()["workers"], "the node joins")
            (result,) = cluster.engine().run(submitted_jobs(closure(tmp_path / "client", app, module)))
            assert (result.state, result.node, result.stdout) == ("done", node.peer_id, b"ran\n"), result
            assert result.report is not None
            assert [one["source"] for one in result.report["modules"]] == ["peer", "store"]
    until(lambda: not cluster.client.scheduler_info()["workers"], "the worker ends with its node")


def test_a_worker_that_is_killed_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary, made = tmp_path / "tmp", tmp_path / "made"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    worker = WorkerSupervisor("tcp://127.0.0.1:1", {})
    killed = "import os, sys, tempfile; open(sys.argv[1], 'w').write(tempfile.mkdtemp()); os.kill(os.getpid(), 9)"
    worker._line = [sys.executable, "-c", killed, str(made)]
    with worker:
        until(lambda: made.is_file() and made.read_text(), "the worker runs")
        until(lambda: not list(temporary.iterdir()), "what it made is gone")
    assert temporary in Path(made.read_text()).parents
