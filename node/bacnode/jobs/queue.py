"""Which job is prepared or run next, and where; and what becomes of it when something ends under it.

All of it runs in the node's event loop. Each job that has not ended has one task. A job is first prepared, which takes
waiting for peers and no room; then it waits, in the order in which jobs came to that point, for a worker and memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from cachetools import LRUCache

from bacnode.execution.child_process import Child, Keeper, LostError
from bacnode.execution.grants import GRACE_SECONDS, KILLED, MAX_ATTEMPTS, OVERHEAD_BYTES, Grants
from bacnode.execution.job import ENDED, Ending, State, Submission
from bacnode.execution.job_folder import JobFolder
from bacnode.execution.job_report import job_report
from bacnode.execution.messages import Bid, Locate, Located, Prepare, Prepared, Ran, Run, Surveyed
from bacnode.execution.worker_pool import Pool
from bacnode.http_server.errors import RequestError
from bacnode.jobs.database import JobDatabase, Record
from bacnode.jobs.speed_estimate import Speeds
from bacnode.runtime.plan import Plan, later
from bacpack.errors import BacpackError, Problem

log = logging.getLogger("bacnode.jobs")

#: Attempts at a job where another one in its worker was at fault, before it is given up.
MAX_ATTEMPTS_OF_INNOCENTS = 10
#: Jobs that wait or run; further ones are refused.
MAX_WAITING = 10_000
#: Jobs that are kept once they have ended.
MAX_KEPT = 5_000
#: What is prepared at once.
PREPARING = 8
#: Seconds that preparing a job may take: fetching has its own limit, and compiling none.
PREPARE_SECONDS = 900
#: Plans that are remembered.
_PLANS = 256

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Live:
    """A job that has not ended."""

    record: Record
    task: asyncio.Task[None] | None = None
    worker: Child | None = None
    is_cancelled: bool = False
    #: Whether its worker was killed because of it, since it did not end in time.
    is_overdue: bool = False
    is_ending: bool = False
    #: Set, and replaced, when its state changes.
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Scheduler:
    """Takes jobs, runs them, and keeps how they went."""

    def __init__(self, folder: Path, cache: Path, grants: Grants, name: str) -> None:
        self.database = JobDatabase(folder)
        self.grants = grants
        self.speeds = Speeds()
        self._store_folder = folder
        self._folder = folder / "jobs"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._cache = cache
        self._name = name
        # One thread, for writing to one file in several would only make them wait for each other.
        self._writer = ThreadPoolExecutor(1, "jobs")
        self._files = ThreadPoolExecutor(2, "files")
        self._live: dict[str, Live] = {}
        self._plans: LRUCache[tuple[str, str | None, bool], Plan] = LRUCache(_PLANS)
        self._preparing = asyncio.Semaphore(PREPARING)
        self._preparer = Keeper(
            lambda: Child.start("bacnode.execution.prepare_process", folder, cache, all_features=grants.all_features),
            30,
        )
        self.pool = Pool(cache, grants)
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closing = False
        #: Why no job may run, if that is so.
        self.refusal: BacpackError | None = None
        #: Called with the state in which a job ended, and with what was lost.
        self.on_end: Callable[[Record], object] = lambda record: None
        self.on_lost: Callable[[str], object] = lambda why: None

    # Taking jobs

    async def open(self) -> None:
        """Go on with what the last node that used this folder left: every job that had not ended."""
        unfinished = await self._write(self.database.unfinished)
        await self._write(self._remove_orphans)
        self.pool.open(self._preparer)
        for record in unfinished:
            if record.state == "running":
                log.warning("the node ended while a job ran", extra=_about(record))
            self._begin(record)

    async def submit(self, submission: Submission) -> Record:
        """Take a job in; it is durable when this returns.

        Raises `RequestError` (`bad-job`, `too-busy`), and `refusal`.
        """
        if self.refusal is not None:
            raise self.refusal
        granted = self.grants.grant(submission.limits)
        if len(self._live) >= MAX_WAITING:
            raise RequestError(
                "too-busy", "this node has too many jobs", hint="try again later", status=429,
                headers={"Retry-After": "10"},
            )  # fmt: skip
        name = secrets.token_hex(16)
        folder = self.folder(name)
        try:
            await self._file(lambda: folder.create(submission))
            record = await self._write(lambda: self.database.add(name, _without_content(submission), granted))
        except BaseException:
            await self._file(folder.delete)
            raise
        self._begin(record)
        return record

    def folder(self, job: str) -> JobFolder:
        """The folder of a job."""
        return JobFolder(self._folder / job)

    async def find(self, job: str) -> Record | None:
        """Return a job as it is now."""
        live = self._live.get(job)
        return live.record if live else await self._write(lambda: self.database.get(job))

    async def page(self, state: str | None, before: int | None, count: int) -> list[Record]:
        """Return jobs as they are now, the newest first; see `JobDatabase.page`."""
        if state in ("queued", "fetching", "running"):
            found = [live.record for live in self._live.values() if live.record.state == state]
            found = [record for record in found if before is None or record.number < before]
            return sorted(found, key=lambda record: -record.number)[:count]
        records = await self._write(lambda: self.database.page(state, before, count))
        return [self._live[record.id].record if record.id in self._live else record for record in records]

    def live(self, job: str) -> Live | None:
        """Return a job that has not ended."""
        return self._live.get(job)

    async def cancel(self, job: str) -> None:
        """End a job, if it has not ended, and wait until it has."""
        live = self._live.get(job)
        if live is None or live.task is None:
            return
        live.is_cancelled = True
        if live.is_ending:
            pass
        elif live.worker is not None:
            live.worker.stop(job)
            await asyncio.wait([live.task], timeout=GRACE_SECONDS)
            if live.worker is not None and self._live.get(job) is live:
                live.worker.kill("a job in it did not end when it was told to")
        else:
            live.task.cancel()
        await asyncio.wait([live.task])

    def counts(self) -> dict[str, int]:
        """Return how many jobs have not ended, by state."""
        counts: dict[str, int] = {"queued": 0, "fetching": 0, "running": 0}
        for live in self._live.values():
            counts[live.record.state] = counts.get(live.record.state, 0) + 1
        return counts

    def waiting_ms(self, job_ms: float) -> float:
        """How long until a job that came now would find a place."""
        ahead = len(self._live) - self.pool.room.places if self.pool.room.places <= 0 else 0
        places = self.grants.workers * self.grants.jobs_per_worker
        return max(ahead + 1, 0) * job_ms / places if self.pool.room.places <= 0 else 0.0

    def processes(self) -> list[int]:
        """The numbers of the processes that run."""
        return [child.pid for keeper in (self._preparer, *self.pool.keepers) if (child := keeper.running)]

    async def survey(self, ref: str | None, modules: list[str]) -> Surveyed:
        """Say what is missing to run something; raises `RequestError` (`too-busy`)."""
        try:
            answer = await self._ask_preparer(Bid(job=f"bid-{secrets.token_hex(8)}", ref=ref, modules=modules))
        except (LostError, TimeoutError) as error:
            raise RequestError(
                "preparing-failed", f"what it needs could not be told: {error}", hint="try again", status=503
            ) from error
        assert isinstance(answer, Surveyed)
        return answer

    async def _ask_preparer(self, question: Bid | Locate) -> object:
        async with self._preparing:
            preparer = await self._preparer.get()
            try:
                async with asyncio.timeout(60):
                    return await preparer.ask(question, question.job)
            finally:
                self._preparer.rest()

    async def _located(self, plan: Plan, trap: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return a trap with the modules that its calls are in, as far as that can be told."""
        if trap is None:
            return None
        modules = [(module.cid, module.name) for module in plan.modules]
        try:
            answer = await self._ask_preparer(Locate(job=f"trap-{secrets.token_hex(8)}", modules=modules, trap=trap))
        except (LostError, TimeoutError):
            return trap
        assert isinstance(answer, Located)
        return answer.trap

    async def close(self) -> None:
        """End every process, not the database. Jobs that have not ended go on when a node uses this folder again."""
        self._is_closing = True
        tasks = [live.task for live in self._live.values() if live.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._ending, return_exceptions=True)
        await asyncio.gather(self._preparer.close(), self.pool.close())
        self._writer.shutdown()
        self._files.shutdown()

    # One job

    def _begin(self, record: Record) -> None:
        live = self._live[record.id] = Live(record)
        live.task = asyncio.create_task(self._drive(live))

    async def _drive(self, live: Live) -> None:
        record = live.record
        try:
            await self._drive_to_end(live)
        except asyncio.CancelledError:
            if self._is_closing:
                raise
            await self._end(live, "cancelled", Ending(error=_CANCELLED))
        except BacpackError as error:
            await self._end(live, "failed", Ending(error=error.problem()))
        except Exception as error:
            log.exception("a fault of the node", extra=_about(record))
            ending = Ending(error=Problem.fault("node-failed", error))
            with contextlib.suppress(BacpackError):
                await self._end(live, "failed", ending)
        finally:
            if not self._is_closing:
                self._live.pop(record.id, None)
                live.changed.set()

    async def _drive_to_end(self, live: Live) -> None:
        record = live.record
        if self.refusal is not None:
            raise self.refusal
        if record.state == "running":
            # Of a node that ended under it.
            if not record.submission.rerun or record.attempts >= MAX_ATTEMPTS:
                await self._end(live, "interrupted", Ending(error=_interrupted("the node ended while it ran", record)))
                return
            self._set(live, "queued")
        stale = lost = 0
        while True:
            prepared = await self._prepare(live)
            if prepared.plan is None:
                await self._end(live, "failed", Ending(error=prepared.error))
                return
            try:
                ran = await self._run(live, prepared.plan)
            except LostError as error:
                self.on_lost(error.why)
                log.warning("a job's process ended", extra=_about(record, why=error.why))
                if live.is_cancelled:
                    await self._end(live, "cancelled", Ending(error=_CANCELLED))
                    return
                if live.is_overdue or (error.code is not None and error.alone):
                    await self._end(live, "failed", Ending(exit_code=KILLED, error=_stopped(error)))
                    return
                # Where another job in the worker was at fault, this one gets more patience.
                most = MAX_ATTEMPTS if error.code is None else MAX_ATTEMPTS_OF_INNOCENTS
                lost += 1
                if not record.submission.rerun or record.attempts >= most or lost >= MAX_ATTEMPTS_OF_INNOCENTS:
                    await self._end(live, "interrupted", Ending(error=_interrupted(error.why, record)))
                    return
                self._set(live, "queued")
                continue
            if ran.stale and stale < MAX_ATTEMPTS:
                stale += 1
                self._forget_plan(record)
                self._set(live, "queued")
                continue
            await self._finish(live, prepared, ran)
            return

    async def _prepare(self, live: Live) -> Prepared:
        record = live.record
        submission = record.submission
        fueled = record.granted.fuel is not None
        key = (submission.ref, submission.invoke, fueled)
        plan = self._plans.get(key)
        has_files = any(file.cid is not None for file in submission.files) or (
            submission.stdin is not None and submission.stdin.cid is not None
        )
        if plan is not None and not has_files:
            return Prepared(job=record.id, plan=later(plan, str(self._store_folder)), error=None, load_ms=0.0)
        question = Prepare(
            job=record.id,
            submission=submission,
            folder=str(self.folder(record.id).path),
            fueled=fueled,
            only_files=plan is not None,
        )
        for _ in range(MAX_ATTEMPTS):
            async with self._preparing:
                self._set(live, "fetching")
                preparer = None
                try:
                    preparer = await self._preparer.get()
                    async with asyncio.timeout(PREPARE_SECONDS):
                        answer = await preparer.ask(question, record.id)
                except TimeoutError:
                    assert preparer is not None
                    preparer.kill("a job took too long to prepare")
                    continue
                except LostError as lost:
                    self.on_lost(lost.why)
                    log.warning("the process that prepares ended", extra=_about(record, why=lost.why))
                    continue
                finally:
                    self._preparer.rest()
            assert isinstance(answer, Prepared)
            self._set(live, "queued")
            if answer.plan is None and answer.error is None:
                answer = Prepared(
                    job=record.id, plan=later(plan, str(self._store_folder)) if plan else None, error=None,
                    load_ms=answer.load_ms,
                )  # fmt: skip
            elif answer.plan is not None:
                self.speeds.learn(answer.plan)
                if answer.plan.lasting:
                    self._plans[key] = answer.plan
            return answer
        error = Problem(
            "preparing-failed",
            f"the program could not be prepared: the process that does it ended {MAX_ATTEMPTS} times",
            "its modules may take too much memory or time to compile",
        )
        return Prepared(job=record.id, plan=None, error=error, load_ms=0.0)

    async def _run(self, live: Live, plan: Plan) -> Ran:
        record = live.record
        granted, folder = record.granted, self.folder(record.id)
        charge = granted.memory_bytes * max(plan.memories, 1) + OVERHEAD_BYTES
        question = Run(
            job=record.id,
            plan=plan,
            folder=str(folder.path),
            arguments=[plan.modules[-1].name, *record.submission.args],
            environment=list(record.submission.env.items()),
            limits=granted,
        )
        async with self.pool.worker(charge) as worker:
            await self._file(folder.begin)
            await self._write(lambda: self.database.start(record))
            live.worker = worker
            self._changed(live)
            deadline = asyncio.get_running_loop().call_later(granted.seconds + GRACE_SECONDS, self._overdue, live)
            try:
                answer = await worker.ask(question, record.id)
            finally:
                live.worker = None
                deadline.cancel()
        assert isinstance(answer, Ran)
        return answer

    @staticmethod
    def _overdue(live: Live) -> None:
        if live.worker is not None:
            live.is_overdue = True
            live.worker.kill("a job in it ran longer than it may", "time-limit")

    async def _finish(self, live: Live, prepared: Prepared, ran: Ran) -> None:
        record, plan = live.record, prepared.plan
        assert plan is not None
        state: State = "done" if ran.error is None else "failed"
        if ran.error is not None and ran.error.code == "cancelled":
            state = "cancelled"
        ran = msgspec.structs.replace(ran, trap=await self._located(plan, ran.trap))
        report = job_report(record.submission.ref, record.attempts, prepared, ran, self._name)
        ending = Ending(exit_code=ran.exit_code, error=ran.error, results=ran.results, report=report)
        used = [(module.cid, module.name, module.bytes) for module in plan.modules]
        await self._end(live, state, ending, used)

    async def _end(
        self, live: Live, state: State, ending: Ending, used: list[tuple[str, str, int]] | None = None
    ) -> None:
        record, folder, granted = live.record, self.folder(live.record.id), live.record.granted

        def keep() -> None:
            ending.files = folder.collect(record.submission.outputs, granted.files, granted.file_bytes)
            ending.stdout_bytes, ending.stderr_bytes = folder.cut(granted.output_bytes)

        # Not to be cut off half-way, by the end of the node or by a client that cancels.
        live.is_ending = True
        task = asyncio.create_task(self._keep(live, state, ending, used or [], keep))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        await asyncio.shield(task)

    async def _keep(
        self, live: Live, state: State, ending: Ending, used: list[tuple[str, str, int]], keep: Callable[[], None]
    ) -> None:
        try:
            await self._file(keep)
        except OSError as error:
            ending.error = ending.error or Problem("io-error", f"its outputs cannot be kept: {error}")
        await self._write(lambda: self.database.finish(live.record, state, ending, used))
        self._changed(live)
        self.on_end(live.record)
        if live.record.number % 64 == 0:
            for forgotten in await self._write(lambda: self.database.forget_oldest(MAX_KEPT)):
                await self._file(self.folder(forgotten).delete)

    def _set(self, live: Live, state: State) -> None:
        if live.record.state not in ENDED and live.record.state != state:
            live.record.state = state
            self._changed(live)

    def _changed(self, live: Live) -> None:
        live.changed.set()
        live.changed = asyncio.Event()

    def _forget_plan(self, record: Record) -> None:
        self._plans.pop((record.submission.ref, record.submission.invoke, record.granted.fuel is not None), None)

    def _remove_orphans(self) -> None:
        known = self.database.ids()
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if path.name not in known:
                    JobFolder(path).delete()

    async def _write(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def _file(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._files, work)

    in_thread = _file


def _about(record: Record, **more: object) -> dict[str, object]:
    """Fields of a line in the log."""
    return {"about": {"job": record.id, "attempts": record.attempts, **more}}


def _without_content(submission: Submission) -> Submission:
    """Return a submission without what stands in files."""
    import msgspec

    stdin = submission.stdin if submission.stdin is not None and submission.stdin.cid is not None else None
    files = [file for file in submission.files if file.cid is not None]
    return msgspec.structs.replace(submission, stdin=stdin, files=files)


_CANCELLED = Problem("cancelled", "the job was cancelled", "submit it again")


def _interrupted(why: str, record: Record) -> Problem:
    message = f"the job was interrupted: {why}; it was started {record.attempts} times"
    hint = "submit it again, if that does no harm"
    return Problem("interrupted", message, hint, {"attempts": record.attempts})


def _stopped(error: LostError) -> Problem:
    return Problem(error.code or "time-limit", f"the program was stopped: {error.why}", "give it more with `limits`")
