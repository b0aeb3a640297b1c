"""What tests of scheduling share: a scheduler of Dask, and workers in processes with stores of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dask
from distributed import Client, LocalCluster

from bacnode.fetch.session import Web
from bacnode.programs.closure import Closure, closure_of
from bacnode.schedulers.dask.client import DaskEngine
from bacnode.schedulers.dask.keys import module_key
from bacnode.schedulers.dask.local_cluster import SETTINGS
from bacnode.schedulers.job_message import JobSpec
from bacnode.schedulers.submitted_jobs import SubmittedJob
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from node.harness import assemble
from waiting import PATIENCE, line_of

#: Bytes a second, at which workers are taken to get modules.
BANDWIDTH = 5_000
#: As slow as a network far away, so that moving bytes counts for more than the jobs of a test.
SLOW = {**SETTINGS, "distributed.scheduler.bandwidth": BANDWIDTH, "distributed.scheduler.default-task-durations": {
    "bacpack-job": "100ms"}}  # fmt: skip


#: The same, where a job is taken to need twenty seconds.
LONG = {**SLOW, "distributed.scheduler.default-task-durations": {"bacpack-job": "20s"}}


def library(size: int, mark: int = 0) -> bytes:
    """A module of about so many bytes that gives a number."""
    data = f"\\{mark:02x}" * size
    return assemble(
        f"""(module (memory 64) (data (i32.const 0) "{data}")
          (func (export "number") (result i32) (i32.const {mark})))"""
    )


def program(*libraries: bytes, body: str = "", text: str = "ran") -> bytes:
    """A program that needs these modules, prints a text, and then does what `body` says."""
    imports = "".join(
        f'(import "{Cid.of_raw(data)}" "number" (func $n{at} (result i32)))' for at, data in enumerate(libraries)
    )
    calls = "".join(f"(drop (call $n{at}))" for at in range(len(libraries)))
    return assemble(
        f"""(module {imports}
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1) (data (i32.const 100) "{text}\\0a")
          (func (export "_start") (local $i i64) {calls}
            (i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const {len(text) + 1}))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) {body}))"""
    )


def spin(rounds: int) -> str:
    """A body that counts so many millions."""
    return f"""(loop $again (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $again (i64.lt_u (local.get $i) (i64.const {rounds * 1_000_000}))))"""


class WorkerProcess:
    """A worker with a store of its own."""

    def __init__(self, scheduler: str, folder: Path, name: str, sent: Path | None = None, **options: Any) -> None:
        self.name, self.folder = name, folder
        self.store = BlockStore(folder)
        given = json.dumps({"folder": str(folder), "name": name, "bandwidth": BANDWIDTH, **options})
        # One that is given a file writes down there what it sends.
        module = "node.schedulers.recording" if sent else "bacnode.schedulers.dask.worker_main"
        line = [sys.executable, "-m", module, scheduler, given]
        # Only one that is killed may leave something there.
        self._temporary = folder.with_name(f"{folder.name}-temporary")
        self._temporary.mkdir()
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "SENT": str(sent), "TMPDIR": str(self._temporary),
        }  # fmt: skip
        self.process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
        )

    def ready(self) -> Self:
        self.address = line_of(self.process.stdout, "a worker is ready").strip()
        assert self.address, "the worker did not start"
        return self

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            assert list(self._temporary.iterdir()) == []
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Cluster:
    """A scheduler in this process, and workers in others."""

    def __init__(self, folder: Path, settings: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.workers: list[WorkerProcess] = []
        self._settings = dask.config.set(settings or SLOW)
        self._cluster = LocalCluster(
            n_workers=0, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1", silence_logs=50,
            scheduler_kwargs={"local_directory": str(folder / "scheduler")},
        )  # fmt: skip
        self.client = Client(self._cluster, set_as_default=False)
        self.url = self._cluster.scheduler_address

    def start(self, name: str, modules: Sequence[bytes] = (), **options: Any) -> WorkerProcess:
        """Begin to start a worker that holds modules."""
        folder = self.folder / name
        store = BlockStore(folder)
        with store.batch() as batch:
            for data in modules:
                batch.put(Cid.of_raw(data), data)
        worker = WorkerProcess(self.url, folder, name, **options)
        self.workers.append(worker)
        return worker

    def add(self, *names: str, **options: Any) -> list[WorkerProcess]:
        """Start workers that hold nothing."""
        return [worker.ready() for worker in [self.start(name, **options) for name in names]]

    def engine(self, **options: Any) -> DaskEngine:
        return DaskEngine(self.client, ensure=None, **options)

    def holders(self, data: bytes) -> list[str]:
        """The names of the workers that are said to hold a module."""
        key = module_key(str(Cid.of_raw(data)))
        found = self.client.sync(self.client.scheduler.who_has, keys=[key])[key]
        return sorted(worker.name for worker in self.workers if worker.address in found)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.close()
        self.client.close()
        self._cluster.close()
        self._settings.__exit__(kind, error, trace)


def closure(folder: Path, root: bytes, *modules: bytes) -> Closure:
    """The closure of a program whose modules are in a store in `folder`; those that are not are missing."""
    store = BlockStore(folder)
    with store.batch() as batch:
        for data in (root, *modules):
            batch.put(Cid.of_raw(data), data)
    return closure_of(str(Cid.of_raw(root)), store, Web(offline=True))


def submitted_jobs(found: Closure, count: int = 1, first: int = 0, **options: Any) -> list[SubmittedJob]:
    return [
        SubmittedJob(JobSpec(number=first + at, ref=found.ref, target=found.target, name=found.name, **options), found)
        for at in range(count)
    ]
