"""The workers of a node: which runs the next job, and what becomes of one that takes too much memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bacnode.execution.capacity import Capacity
from bacnode.execution.child_process import ChildProcess, ProcessSupervisor
from bacnode.execution.grants import Grants

#: Seconds for which a worker that has nothing to do is kept.
IDLE_SECONDS = 60.0
#: Seconds between two looks at the memory of processes.
WATCH_SECONDS = 0.5
#: Memory of a worker itself, and what the engine takes to know modules.
WORKER_BYTES = 192 << 20


class WorkerPool:
    """So many workers, each with places for so many jobs, and memory for all of them."""

    def __init__(self, cache: Path, grants: Grants) -> None:
        self._grants = grants
        self.capacity = Capacity(grants.workers * grants.jobs_per_worker, grants.memory_bytes)
        self.supervisors = [
            ProcessSupervisor(
                lambda: ChildProcess.start("bacnode.execution.worker_process", cache, all_features=grants.all_features),
                IDLE_SECONDS,
            )
            for _ in range(grants.workers)
        ]
        #: Jobs of each worker, and the memory that they may take.
        self._jobs = [0] * grants.workers
        self._charged = [0] * grants.workers
        self._watcher: asyncio.Task[None] | None = None

    def open(self, preparer: ProcessSupervisor | None = None) -> None:
        """Begin to watch the workers, and the process that prepares, if there is one."""
        self._watcher = asyncio.create_task(self._watch(preparer))

    async def start(self) -> None:
        """Start every worker, so that the first jobs do not wait for that; raises `LostError`."""
        await asyncio.gather(*(supervisor.get() for supervisor in self.supervisors))
        for supervisor in self.supervisors:
            supervisor.rest()

    async def close(self) -> None:
        """End every worker."""
        if self._watcher is not None:
            self._watcher.cancel()
        await asyncio.gather(*(supervisor.close() for supervisor in self.supervisors))

    @asynccontextmanager
    async def worker(self, memory_bytes: int) -> AsyncIterator[ChildProcess]:
        """Have a worker with a place for a job, and that much memory, while the block runs; raises `LostError`."""
        async with self.capacity.take(min(memory_bytes, self._grants.memory_bytes)):
            number = min(range(len(self.supervisors)), key=self._cost)
            supervisor = self.supervisors[number]
            self._jobs[number] += 1
            self._charged[number] += memory_bytes
            try:
                yield await supervisor.get()
            finally:
                self._jobs[number] -= 1
                self._charged[number] -= memory_bytes
                supervisor.rest()

    def _cost(self, number: int) -> tuple[bool, bool, int]:
        """Prefer one that has a place, then one that need not be started, then the one with least to do."""
        jobs = self._jobs[number]
        return jobs >= self._grants.jobs_per_worker, self.supervisors[number].running is None, jobs

    async def _watch(self, preparer: ProcessSupervisor | None) -> None:
        """Kill what takes more memory than it may: the engine keeps its limits, but not all that it takes counts."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for supervisor, charged in zip(self.supervisors, self._charged, strict=True):
                if (child := supervisor.running) and child.jobs and child.private_bytes() > charged + WORKER_BYTES:
                    child.kill("a worker took more memory than its jobs may", "memory-limit")
            most = max(self._grants.memory_bytes, WORKER_BYTES)
            if preparer and (child := preparer.running) and child.jobs and child.private_bytes() > most:
                child.kill("it took too much memory", "memory-limit")
