"""What a node that was killed, or ended, does with its jobs when it comes back."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from bacpack.content.store.block_store import BlockStore
from node.jobs import programs
from node.jobs.harness import JobNode, b64, gone
from node.serving import Node


def test_results_are_there_after_a_restart(folder: Path) -> None:
    with JobNode(folder) as node:
        done = node.run(programs.copier(), stdin={"text": "kept"}, outputs=["out"])
        node.stop()
    with JobNode(folder) as node:
        assert node.job(done["id"]) == done
        assert node.get(f"/api/v1/jobs/{done['id']}/files/out/copy.txt").body == b"kept"
        node.stop()


def test_a_killed_node_runs_again_what_it_had_begun_and_begins_what_waited(folder: Path) -> None:
    with JobNode(folder, "--workers", 1) as node:
        running = node.submit(programs.endless("on"))
        node.until_printed(running, b"on")
        waiting = node.submit(programs.copier(), stdin={"base64": b64(b"in")}, outputs=["out"])
        children = node.children()
        assert children
        node.die()
        assert all(map(gone, children))
    with JobNode(folder, "--workers", 1) as node:
        assert node.until(running, "running")["attempts"] == 2
        node.until_printed(running, b"on")
        assert node.post(f"/api/v1/jobs/{running}", method="DELETE").json["state"] == "cancelled"
        ended = node.ended(waiting)
        assert (ended["state"], ended["attempts"]) == ("done", 1)
        assert node.get(f"/api/v1/jobs/{waiting}/files/out/copy.txt").body == b"in"
        node.stop()


def test_what_must_not_run_again_is_reported(folder: Path) -> None:
    with JobNode(folder) as node:
        job = node.submit(programs.endless("on"), rerun=False)
        node.until_printed(job, b"on")
        node.die()
    with JobNode(folder) as node:
        ended = node.ended(job)
        assert (ended["state"], ended["error"]["code"], ended["attempts"]) == ("interrupted", "interrupted", 1)
        assert node.get(f"/api/v1/jobs/{job}/logs").body == b"on\n"
        node.stop()


def test_a_job_that_ends_the_node_each_time_is_given_up(folder: Path) -> None:
    job = ""
    for attempt in (1, 2, 3):
        with JobNode(folder) as node:
            job = job or node.submit(programs.endless("on"))
            assert node.until(job, "running")["attempts"] == attempt
            node.until_printed(job, b"on")
            node.die()
    with JobNode(folder) as node:
        ended = node.ended(job)
        assert (ended["state"], ended["attempts"]) == ("interrupted", 3)
        node.stop()


def test_no_process_and_no_folder_is_left(folder: Path) -> None:
    with JobNode(folder) as node:
        jobs = [node.submit(programs.hello(str(number))) for number in range(5)]
        for job in jobs:
            node.ended(job)
        children = node.children()
        assert children
        node.stop()
        assert all(map(gone, children))
    left = {path.name for path in (folder / "jobs").iterdir()}
    assert left == set(jobs)
    assert all(
        {path.name for path in (folder / "jobs" / job).iterdir()} == {"stdin", "stdout", "stderr"} for job in jobs
    )


def test_a_node_ends_while_its_processes_start(folder: Path) -> None:
    for _ in range(5):
        with JobNode(folder) as node:
            node.submit(programs.hello())
            # Leaving the block ends it, and looks at what it says.
    with JobNode(folder) as node:
        for job in node.get("/api/v1/jobs").json["jobs"]:
            assert node.ended(job["id"])["state"] == "done"


def test_what_a_killed_writer_left_is_removed_when_nobody_writes(folder: Path) -> None:
    left = folder / "blocks" / "tmp" / "half-written"
    left.parent.mkdir(parents=True)
    left.touch()
    with BlockStore(folder).batch(), JobNode(folder) as node:
        assert left.exists()
        node.stop()
    with JobNode(folder) as node:
        assert not left.exists()
        node.stop()


def test_two_nodes_do_not_share_a_folder(folder: Path) -> None:
    with JobNode(folder) as node:
        try:
            Node(folder).stop()
        except AssertionError as error:
            assert "node-is-running" in str(error) or "another node" in str(error)
        else:
            raise AssertionError("a second node came up")
        node.stop()


def test_workers_end_with_the_node(folder: Path) -> None:
    with JobNode(folder) as node:
        job = node.submit(programs.sleeper())
        node.until(job, "running")
        worker = node.worker()
        os.kill(node.process.pid, signal.SIGKILL)
        assert gone(worker)
        node.process.communicate(timeout=20)
