"""Clients that submit jobs while processes are killed at random: nothing is lost, and nothing is left."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import soak
from node.jobs import programs
from node.jobs.harness import JobNode, gone

CLIENTS = 4
JOBS = 15 * soak.TIMES
KILLS = 4 * soak.TIMES
SEED = 5


class Clients:
    """Several who submit, each job with a number that its program gives back, and note what they were told."""

    def __init__(self, folder: Path, cids: list[str]) -> None:
        self.url = ""
        self.told: dict[str, int] = {}
        self._folder = folder
        self._cids = cids
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._submit, args=(number,)) for number in range(CLIENTS)]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def are_busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _submit(self, client: int) -> None:
        chosen = random.Random(SEED + client)
        for _ in range(JOBS):
            number = chosen.randrange(len(self._cids))
            body = json.dumps({"ref": self._cids[number]})
            while True:
                # The node may be gone for a while, and may have taken a job whose answer never came.
                host, _, port = self.url.removeprefix("http://").rpartition(":")
                connection = http.client.HTTPConnection(host, int(port), timeout=20)
                try:
                    connection.request("POST", "/api/v1/jobs", body, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    content = json.loads(answer.read())
                except (OSError, http.client.HTTPException, ValueError):
                    time.sleep(0.05)
                    continue
                finally:
                    connection.close()
                assert answer.status == 201, content
                with self._lock:
                    self.told[content["id"]] = number
                break


def test_no_job_is_lost_whatever_is_killed(folder: Path) -> None:
    chosen = random.Random(SEED)
    node = JobNode(folder, "--workers", 2)
    cids = [node.add(programs.user_of(node.add(programs.library(number)))) for number in range(8)]
    clients = Clients(folder, cids)
    clients.url = node.url
    clients.begin()
    try:
        node, children = killing(node, clients, chosen)
        check(node, clients, children, folder)
    finally:
        if node.process.poll() is None:
            node.stop()


def killing(node: JobNode, clients: Clients, chosen: random.Random) -> tuple[JobNode, set[int]]:
    """Kill what is running, again and again; return the node that is left, and all processes there were."""
    children: set[int] = set()
    restarts = 0
    for kill in range(KILLS):
        time.sleep(chosen.random() * 0.3)
        children.update(node.children())
        victims = node.children()
        if kill % 4 == 3 or not victims:
            node.die()
            restarts += 1
            node = JobNode(node.store, "--workers", 2)
            clients.url = node.url
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chosen.choice(victims), signal.SIGKILL)
    assert restarts
    while clients.are_busy:
        time.sleep(0.05)
    return node, children


def check(node: JobNode, clients: Clients, children: set[int], folder: Path) -> None:
    """Compare what became of all jobs with what their clients were told."""
    for job, number in clients.told.items():
        ended = node.ended(job)
        if ended["state"] == "done":
            assert ended["exit_code"] == number
        else:
            # Given up, and said so.
            assert (ended["state"], ended["attempts"] >= 3) == ("interrupted", True) or (
                ended["error"]["code"] == "preparing-failed"
            ), ended["error"]
    assert len(clients.told) == CLIENTS * JOBS
    # Every run beyond the first is told of.
    counted: dict[str, dict[str, Any]] = {}
    page: dict[str, Any] = {"next": 1 << 60}
    while page["next"] is not None:
        page = node.get(f"/api/v1/jobs?limit=500&before={page['next']}").json
        counted |= {job["id"]: job for job in page["jobs"]}
    assert set(clients.told) <= set(counted)
    assert all(job["attempts"] >= 1 for job in counted.values() if job["state"] == "done")
    descriptors = len(list(Path(f"/proc/{node.process.pid}/fd").iterdir()))
    assert descriptors < 100
    children.update(node.children())
    node.stop()
    assert all(map(gone, children))
    assert {path.name for path in (folder / "jobs").iterdir()} == set(counted)
    assert not list((folder / "jobs").glob("*/root"))
