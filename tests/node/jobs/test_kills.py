"""Clients that submit jobs while processes are killed at random: nothing is lost, and nothing is left.

The long form, with `BACPACK_SOAK=1`, is a night in small: 2,000 jobs of 8 clients, and some hundreds of kills.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import soak
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from node.jobs import programs
from node.jobs.harness import JobNode, children_with, gone, is_running
from waiting import PATIENCE, until

IS_LONG = soak.TIMES > 1
CLIENTS = 8
JOBS = 250 if IS_LONG else 8
#: Different programs, each with a module of its own, so that the node goes on fetching from its peers.
PROGRAMS = 240 if IS_LONG else 16
#: What is killed, again and again in this order; and so many jobs are submitted between two kills.
VICTIMS = ("child", "peer", "child", "node")
JOBS_A_KILL = 8
#: Jobs that nothing disturbs, after which memory and descriptors are where they were.
QUIET_JOBS = 400 if IS_LONG else 40
MOST_GROWTH = 4 << 20
SEED = 5
_NAME = "#" * 59

#: Has a worker note each program before it runs it, and how many files it has open: nobody else may look there.
_NOTING = """
if module.__name__ == "bacnode.execution.worker_process":
    import os
    run = module.Worker._run
    def noted(self, running, parts):
        with open({notes!r}, "a") as file:
            file.write(f"{{running.run.job}} {{os.getpid()}} {{len(os.listdir('/proc/self/fd'))}}\\n")
        return run(self, running, parts)
    module.Worker._run = noted
"""


class Stage:
    """A node that has nothing, two peers that have all programs, and what each program exits with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        self.notes.touch()
        self.peers = [JobNode(folder / f"peer{number}") for number in range(2)]
        # It imports a module whose name is as long as a CID, and is replaced by one.
        user = programs.user_of(_NAME)
        self.exits = {self._add(number, user): number for number in range(PROGRAMS)}
        self._first = children_with(folder, _NOTING.format(notes=str(self.notes)))
        self.node = self._start()
        #: Every process there ever was.
        self.processes = {peer.process.pid for peer in self.peers}
        self.kills: Counter[str] = Counter()

    def kill(self, what: str, chosen: random.Random) -> None:
        """Kill a process, and start again what nobody else would."""
        children = self.node.children()
        self.processes |= {self.node.process.pid, *children}
        if what == "child":
            # There may be none yet, and one that is there may be gone by now.
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(chosen.choice(children), signal.SIGKILL)
        elif what == "peer":
            number = chosen.randrange(len(self.peers))
            peer = self.peers[number]
            peer.die()
            self.peers[number] = JobNode(peer.store, listen=f"{peer.host}:{peer.port}")
            self.processes.add(self.peers[number].process.pid)
        elif what == "node":
            self.node.die()
            self.node = self._start()
        self.kills[what] += 1

    def close(self) -> None:
        """End all in an orderly way."""
        self.processes |= {self.node.process.pid, *self.node.children()}
        for node in (self.node, *self.peers):
            if node.process.poll() is None:
                node.stop()

    def runs(self) -> Counter[str]:
        """How often the program of each job was begun, by those who began it."""
        return Counter(line.split()[0] for line in self.notes.read_text().splitlines())

    def most_opened(self, pid: int) -> int:
        """How many files a worker had open at most."""
        lines = map(str.split, self.notes.read_text().splitlines())
        return max(int(opened) for _, process, opened in lines if int(process) == pid)

    def _start(self) -> JobNode:
        peers = [argument for peer in self.peers for argument in ("--peer", peer.url)]
        return JobNode(self.folder / "node", "--workers", 2, *peers, first=self._first)

    def _add(self, number: int, user: bytes) -> str:
        """Give both peers a program that exits with `number`; return its CID."""
        library = str(Cid.of_raw(programs.numbered(number)))
        program = user.replace(_NAME.encode(), library.encode())
        for peer in self.peers:
            peer.add(programs.numbered(number))
            peer.add(program)
        return str(Cid.of_raw(program))


class Clients:
    """Several who submit jobs, wait for each, and note what they were told."""

    def __init__(self, stage: Stage) -> None:
        self.told: dict[str, str] = {}
        #: Jobs that may be submitted before the next kill: clients that ran ahead would not be disturbed.
        self.allowed = threading.Semaphore(2 * JOBS_A_KILL)
        self._stage = stage
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    @property
    def are_busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _work(self, client: int) -> None:
        chosen = random.Random(SEED + client)
        refs = list(self._stage.exits)
        for _ in range(JOBS):
            assert self.allowed.acquire(timeout=PATIENCE)
            ref = chosen.choice(refs)
            # The node may be gone for a while, and may have taken a job whose answer never came.
            job = self._ask("POST", "/api/v1/jobs", {"ref": ref})["id"]
            self.told[job] = ref
            until(lambda: self._ask("GET", f"/api/v1/jobs/{job}?wait=10")["finished"], f"the job {job} ends")  # noqa: B023

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        content: dict[str, Any] = {}

        def is_answered() -> bool:
            connection = self._stage.node.connect()
            try:
                connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content.update(json.loads(answer.read()))
            except (OSError, http.client.HTTPException, ValueError):
                return False
            finally:
                connection.close()
            assert answer.status in (200, 201), content
            return True

        until(is_answered, f"{method} {path} is answered", pause=0.05)
        return content


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    folder.mkdir()
    stage = Stage(folder)
    try:
        yield stage
    finally:
        stage.close()


@pytest.mark.long
def test_no_job_is_lost_whatever_is_killed(folder: Path) -> None:
    chosen = random.Random(SEED)
    started = time.monotonic()
    with staged(folder) as stage:
        clients = Clients(stage)
        victims = itertools.cycle(VICTIMS)
        while clients.are_busy:
            if len(clients.told) >= (stage.kills.total() + 1) * JOBS_A_KILL:
                time.sleep(chosen.random() * 0.1)
                stage.kill(next(victims), chosen)
                clients.allowed.release(JOBS_A_KILL)
            time.sleep(0.01)
        assert len(clients.told) == CLIENTS * JOBS
        assert set(stage.kills) == set(VICTIMS)
        jobs = all_jobs(stage.node)
        states = check_jobs(stage, clients, jobs)
        growth = check_level(stage)
        # No folder but of a job that is known.
        assert {path.name for path in (stage.node.store / "jobs").iterdir()} == set(all_jobs(stage.node))
    took = time.monotonic() - started
    print(f"{len(clients.told)} jobs {dict(states)}, {dict(stage.kills)} killed, grown by {growth} bytes, {took:.0f} s")
    assert all(map(gone, stage.processes))
    assert not list(users_of(folder))
    check_files(stage)


def all_jobs(node: JobNode) -> dict[str, dict[str, Any]]:
    """Every job that the node knows, once each has ended."""
    found: dict[str, dict[str, Any]] = {}
    page: dict[str, Any] = {"next": 1 << 60}
    while page["next"] is not None:
        page = node.get(f"/api/v1/jobs?limit=500&before={page['next']}").json
        found |= {job["id"]: node.ended(job["id"]) for job in page["jobs"]}
    return found


def check_jobs(stage: Stage, clients: Clients, jobs: dict[str, dict[str, Any]]) -> Counter[str]:
    """Compare what became of all jobs with what their clients were told, and with who ran them."""
    assert set(clients.told) <= set(jobs)
    runs = stage.runs()
    assert set(runs) <= set(jobs)
    for name, job in jobs.items():
        if job["state"] == "done":
            assert job["exit_code"] == stage.exits[job["ref"]]
            assert runs[name] >= 1
        elif job["state"] == "interrupted":
            # Given up, and said so.
            assert (job["error"]["code"], job["attempts"] >= 3) == ("interrupted", True)
        else:
            assert job["error"]["code"] == "preparing-failed", job
        # A job may be begun and not come to run, but never run without having been begun.
        assert runs[name] <= job["attempts"], job
    states = Counter(str(job["state"]) for job in jobs.values())
    assert states["done"] >= len(jobs) * 0.9, states
    return states


def check_level(stage: Stage) -> int:
    """Run jobs undisturbed; return by how many bytes the node and its workers have grown over them."""
    node, refs = stage.node, itertools.cycle(stage.exits)
    for _ in range(PROGRAMS):
        assert node.run(next(refs))["state"] == "done"
    processes = [node.process.pid, *node.children("bacnode.execution.worker_process")]
    opened, before = descriptors(node.process.pid), list(map(private_bytes, processes))
    for _ in range(QUIET_JOBS):
        assert node.run(next(refs))["state"] == "done"
    assert descriptors(node.process.pid) <= opened + 2
    # A worker has one for each module that it has loaded.
    assert all(stage.most_opened(pid) <= 2 * PROGRAMS + 20 for pid in processes[1:])
    after = list(map(private_bytes, processes))
    assert sum(after) - sum(before) < MOST_GROWTH, (before, after)
    return sum(after) - sum(before)


def check_files(stage: Stage) -> None:
    """What is on the disk is whole, and nothing is there that nobody needs."""
    folder = stage.node.store
    assert not list((folder / "jobs").glob("*/root"))
    for store in (folder, *(peer.store for peer in stage.peers)):
        blocks = BlockStore(store)
        for cid in blocks:
            blocks.get(cid)
    # What was being written when its writer was killed; the node that is started next removes it.
    with JobNode(folder) as node:
        node.stop()
    assert not list((folder / "blocks").glob("tmp/*"))
    # Of compiled modules an hour later.
    assert len(list((folder / "cache" / "compiled").glob("*/.*"))) <= stage.kills.total()


def users_of(folder: Path) -> Iterator[str]:
    """The processes that are running with a path below `folder` in their arguments."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (path / "cmdline").read_bytes()
            if os.fsencode(folder) in line and is_running(int(path.name)):
                yield line.decode(errors="replace")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))
