"""A worker of Dask runs programs as a node does: in a process of their own, within the same limits."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bacnode.schedulers.job_message import JobResult
from bacnode.schedulers.submitted_jobs import SubmittedJob
from node.jobs import programs
from node.schedulers.harness import Cluster, WorkerProcess, closure, program, spin, submitted_jobs
from waiting import PATIENCE, joined, until

pytestmark = pytest.mark.filterwarnings("default")

MIB = 1 << 20


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "cluster") as running:
        yield running


def runner(worker: WorkerProcess, module: str = "worker_process") -> psutil.Process | None:
    """The process in which a worker runs programs."""
    children = psutil.Process(worker.process.pid).children()
    return next((child for child in children if f"bacnode.execution.{module}" in child.cmdline()), None)


def test_programs_that_mean_harm_end_as_on_a_node(cluster: Cluster, tmp_path: Path) -> None:
    (worker,) = cluster.add("one")
    given = [
        (programs.endless(), {"seconds": 0.5}),
        (programs.sleeper(), {"seconds": 0.3}),
        (programs.memory_bomb(), {"memory_bytes": 64 * MIB}),
        (programs.flood(), {"output_bytes": 1 * MIB}),
        (programs.hello(), {}),
    ]
    sent: list[SubmittedJob] = []
    for data, limits in given:
        found = closure(worker.folder, data)
        sent += submitted_jobs(found, first=len(sent), **limits)
    results = sorted(cluster.engine().run(sent), key=lambda one: one.number)
    assert [(one.state, one.exit_code, one.error and one.error.code) for one in results] == [
        ("failed", 124, "time-limit"),
        ("failed", 137, "time-limit"),
        ("done", 7, None),
        ("failed", 137, "output-limit"),
        ("done", 0, None),
    ]
    assert len(results[3].stdout) == MIB and results[4].stdout == b"hello\n"
    assert {one.attempts for one in results} == {1} and worker.process.poll() is None


def test_a_program_runs_confined_and_again_where_its_process_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    (worker,) = cluster.add("one")
    found = closure(worker.folder, program(body=spin(1500)))
    results: list[JobResult] = []
    running = threading.Thread(target=lambda: results.extend(cluster.engine().run(submitted_jobs(found))))
    running.start()
    until(lambda: (child := runner(worker)) and child.cpu_times().user > 0.3, "the program runs")
    child = runner(worker)
    assert child is not None
    status = Path(f"/proc/{child.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert Path(f"/proc/{child.pid}/oom_score_adj").read_text().strip() == "500"
    os.kill(child.pid, signal.SIGKILL)
    joined(running, "the job ends")
    assert [(one.state, one.stdout) for one in results] == [("done", b"ran\n")], results
    assert worker.process.poll() is None


def test_what_kills_its_process_each_time_is_given_up(cluster: Cluster, tmp_path: Path) -> None:
    (worker,) = cluster.add("one")
    found = closure(worker.folder, program(body=spin(1_000_000)))
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.05):
            if (child := runner(worker)) and child.is_running():
                child.kill()
                child.wait(PATIENCE)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        (result,) = cluster.engine().run(submitted_jobs(found))
    finally:
        over.set()
        joined(killer, "the last process is killed")
    assert result.error is not None and result.error.code == "interrupted", result


def test_what_strangers_wrote_is_prepared_in_a_process_that_may_be_lost(cluster: Cluster, tmp_path: Path) -> None:
    (worker,) = cluster.add("one")
    (first,) = cluster.engine().run(submitted_jobs(closure(worker.folder, program(text="first"))))
    child = runner(worker, "prepare_process")
    assert child is not None
    assert "NoNewPrivs:\t1" in Path(f"/proc/{child.pid}/status").read_text()
    child.kill()
    (second,) = cluster.engine().run(submitted_jobs(closure(worker.folder, program(text="second"))))
    assert [(one.state, one.stdout, one.attempts) for one in (first, second)] == [
        ("done", b"first\n", 1),
        ("done", b"second\n", 1),
    ]
