"""The jobs of a node: taken in, run one after the other as room is found, and noted durably when they end.

All of it runs in the node's event loop. Each job that has not ended has one task, which an executor drives.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from bacnode.execution.executor import Executor, Journal
from bacnode.execution.job import Job, JobEnd, Submission
from bacnode.execution.job_folder import JobFolder
from bacnode.execution.job_state import Event, Fault, JobState, Recovered, Signal
from bacnode.execution.messages import Prepared
from bacnode.http_server.errors import RequestError
from bacnode.jobs.database import JobDatabase, Record
from bacnode.jobs.speed_estimate import Speeds
from bacnode.runtime.plan import Plan
from bacpack.errors import BacpackError

log = logging.getLogger("bacnode.jobs")

#: Jobs that wait or run; further ones are refused.
MAX_WAITING = 10_000
#: Jobs that are kept once they have ended.
MAX_KEPT = 5_000

T = TypeVar("T")


class Live(Journal):
    """A job that has not ended."""

    def __init__(self, queue: JobQueue, record: Record, event: Event) -> None:
        self.record = record
        self._queue = queue
        self.task = asyncio.create_task(self._drive(event))

    async def _drive(self, event: Event) -> None:
        queue, job = self._queue, _job(self.record)
        try:
            await queue.executor.run(job, queue.folder(job.id), self, event)
        finally:
            del queue.live[job.id]

    def changed(self, state: JobState) -> None:
        """Show where it is, until its end is noted."""
        if state.end is None and state.phase != "dropped":
            self.record.state = state.shown

    async def planned(self, prepared: Prepared) -> None:
        """Learn how fast modules come here."""
        if prepared.plan is not None:
            self._queue.speeds.learn(prepared.plan)

    def lost(self, why: str) -> None:
        """Count it."""
        self._queue.on_lost(why)

    async def started(self, attempts: int) -> None:
        """Note it."""
        await self._queue.write(lambda: self._queue.database.start(self.record, attempts))

    async def ended(self, state: JobState, end: JobEnd, plan: Plan | None) -> None:
        """Note it, with the modules that were used; forget the oldest jobs now and then."""
        queue, record, how = self._queue, self.record, state.end
        assert how is not None
        used = [(module.cid, module.name, module.bytes) for module in (plan.modules if plan else ())]
        await queue.write(lambda: queue.database.finish(record, how.state, end, used))
        queue.on_end(record)
        if record.number % 64 == 0:
            for forgotten in await queue.write(lambda: queue.database.forget_oldest(MAX_KEPT)):
                await queue.executor.in_thread(queue.folder(forgotten).delete)


class JobQueue:
    """Takes jobs, has them run, and keeps how they went. `folder` is that of the node's state."""

    def __init__(self, folder: Path, executor: Executor) -> None:
        self.database = JobDatabase(folder)
        self.executor = executor
        self.speeds = Speeds()
        #: The jobs that have not ended.
        self.live: dict[str, Live] = {}
        self._folder = folder / "jobs"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One thread, for writing to one file in several would only make them wait for each other.
        self._writer = ThreadPoolExecutor(1, "jobs")
        #: Why no job may run, if that is so.
        self.refusal: BacpackError | None = None
        #: Called with a job that ended, and with why a process was lost.
        self.on_end: Callable[[Record], object] = lambda record: None
        self.on_lost: Callable[[str], object] = lambda why: None

    async def open(self) -> None:
        """Go on with what the last node that used this folder left: every job that had not ended."""
        unfinished = await self.write(self.database.unfinished)
        await self.write(self._remove_orphans)
        self.executor.open()
        for record in unfinished:
            if record.state == "running":
                about = {"job": record.id, "attempts": record.attempts}
                log.warning("the node ended while a job ran", extra={"about": about})
            self._begin(record, Recovered(record.state == "running"))

    async def submit(self, submission: Submission) -> Record:
        """Take a job in; it is durable when this returns.

        Raises `RequestError` (`bad-job`, `too-busy`), and `refusal`.
        """
        if self.refusal is not None:
            raise self.refusal
        granted = self.executor.grants.grant(submission.limits)
        if len(self.live) >= MAX_WAITING:
            raise RequestError(
                "too-busy", "this node has too many jobs", hint="try again later", status=429,
                headers={"Retry-After": "10"},
            )  # fmt: skip
        name = secrets.token_hex(16)
        folder = self.folder(name)
        try:
            await self.executor.in_thread(lambda: folder.create(submission))
            record = await self.write(lambda: self.database.add(name, _without_content(submission), granted))
        except BaseException:
            await self.executor.in_thread(folder.delete)
            raise
        self._begin(record, Signal.SUBMITTED)
        return record

    def folder(self, job: str) -> JobFolder:
        """The folder of a job."""
        return JobFolder(self._folder / job)

    async def cancel(self, job: str) -> None:
        """End a job, if it has not ended, and wait until it has."""
        if live := self.live.get(job):
            self.executor.cancel(job)
            await asyncio.wait([live.task])

    def waiting_ms(self, job_ms: float) -> float:
        """How long until a job that came now would find a place."""
        grants, free = self.executor.grants, self.executor.pool.capacity.places
        if free > 0:
            return 0.0
        return max(len(self.live) - free + 1, 0) * job_ms / (grants.workers * grants.jobs_per_worker)

    async def write(self, work: Callable[[], T]) -> T:
        """Use the database, in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def close(self) -> None:
        """End every process, not the database. Jobs that have not ended go on when a node uses this folder again."""
        tasks = [live.task for live in self.live.values()]
        await self.executor.close()
        await asyncio.gather(*tasks)
        self._writer.shutdown()

    def _begin(self, record: Record, event: Event) -> None:
        self.live[record.id] = Live(self, record, event if self.refusal is None else Fault(self.refusal.problem()))

    def _remove_orphans(self) -> None:
        known = self.database.ids()
        for path in self._folder.iterdir():
            if path.name not in known:
                JobFolder(path).delete()


def _job(record: Record) -> Job:
    submission = record.submission
    return Job(
        id=record.id, ref=submission.ref, shown_ref=submission.ref, args=submission.args,
        env=list(submission.env.items()), stdin=submission.stdin, files=submission.files, outputs=submission.outputs,
        invoke=submission.invoke, granted=record.granted, reruns=submission.rerun, attempts=record.attempts,
    )  # fmt: skip


def _without_content(submission: Submission) -> Submission:
    """Return a submission without what stands in files."""
    stdin = submission.stdin if submission.stdin is not None and submission.stdin.cid is not None else None
    files = [file for file in submission.files if file.cid is not None]
    return msgspec.structs.replace(submission, stdin=stdin, files=files)
