"""Preparing and running jobs: the same for the jobs of a node and for those of Dask.

Lives in an event loop. What becomes of a job is for `job_state` to say; here it is carried out.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from bacnode.execution import job_state
from bacnode.execution.child_process import ChildProcess, LostError, ProcessSupervisor
from bacnode.execution.grants import GRACE_SECONDS, OVERHEAD_BYTES, Grants
from bacnode.execution.job import Job, JobEnd
from bacnode.execution.job_folder import JobFolder
from bacnode.execution.job_state import Event, JobState, Signal, Task, step
from bacnode.execution.messages import Bid, Locate, Located, MissingModules, Prepare, Prepared, Ran, Run
from bacnode.execution.worker_pool import WorkerPool
from bacnode.runtime.plan import Plan, later
from bacnode.runtime.report import run_report
from bacpack.errors import BacpackError, Problem, UnreachableError

log = logging.getLogger("bacnode.jobs")

#: What is prepared at once for a node.
PREPARING = 8
#: Seconds that preparing a job may take: fetching has its own limit, and compiling none.
PREPARE_SECONDS = 900
#: Seconds after which the process that prepares is ended if nothing comes.
IDLE_SECONDS = 30
#: Plans that are remembered: those that were used last.
_PLANS = 256

T = TypeVar("T")


class Journal:
    """What is told of a job while it is run: by default, nobody is told."""

    def changed(self, state: JobState) -> None:
        """It is in another phase."""

    async def planned(self, prepared: Prepared) -> None:
        """A plan was made for it, or could not be made; it waits for this to return."""

    def lost(self, why: str) -> None:
        """A process ended under it."""

    async def started(self, attempts: int) -> None:
        """Its next attempt is about to start, and waits for this to return; `attempts` counts it."""

    async def ended(self, state: JobState, end: JobEnd, plan: Plan | None) -> None:
        """It ended; with the plan, if its program ran."""


class Executor:
    """Runs jobs in processes of its own. `folder` is the store with what belongs to it, `name` that of the node."""

    def __init__(
        self, folder: Path, cache: Path, grants: Grants, name: str, *,
        preparing: int = PREPARING, prepare_seconds: float | None = PREPARE_SECONDS,
    ) -> None:  # fmt: skip
        self.grants = grants
        self.name = name
        self.store_folder = str(folder)
        self.pool = WorkerPool(cache, grants)
        self.plans: OrderedDict[tuple[str, str | None, bool], Plan] = OrderedDict()
        self.preparing = asyncio.Semaphore(preparing)
        self.prepare_seconds = prepare_seconds
        self.preparer = ProcessSupervisor(
            lambda: ChildProcess.start(
                "bacnode.execution.prepare_process", folder, cache, all_features=grants.all_features
            ),
            IDLE_SECONDS,
        )
        self._files = ThreadPoolExecutor(2, "files")
        self._running: dict[str, _Execution] = {}

    def open(self) -> None:
        """Begin to watch the processes."""
        self.pool.open(self.preparer)

    async def start(self) -> None:
        """Start every process, so that the first jobs do not wait for that; raises `LostError`."""
        await asyncio.gather(self.pool.start(), self.preparer.get())
        self.preparer.rest()

    async def run(
        self, job: Job, folder: JobFolder, journal: Journal, event: Event, prepared: Prepared | None = None
    ) -> JobEnd | None:
        """Run a job, which begins with `event`; return how it ended, None if the executor is closed before.

        `prepared` is the plan that was made for it before, if it ended then because it `only_prepares`.
        """
        running = self._running[job.id] = _Execution(self, job, folder, journal, prepared)
        try:
            return await running.run(event)
        finally:
            del self._running[job.id]

    def cancel(self, job: str) -> None:
        """Have a job end, if it runs."""
        if job in self._running:
            self._running[job].happen(Signal.CANCEL)

    async def missing_modules(self, ref: str | None, modules: list[str]) -> MissingModules:
        """Say what is missing to run something; raises `UnreachableError` (`preparing-failed`)."""
        try:
            answer = await self._request(Bid(job=f"bid-{secrets.token_hex(8)}", ref=ref, modules=modules))
        except (LostError, TimeoutError) as error:
            raise UnreachableError(
                "preparing-failed", f"what it needs could not be told: {error}", hint="try again"
            ) from error
        assert isinstance(answer, MissingModules)
        return answer

    async def located(self, plan: Plan, trap: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return a trap with the modules that its calls are in, as far as that can be told."""
        if trap is None:
            return None
        modules = [(module.cid, module.name) for module in plan.modules]
        try:
            answer = await self._request(Locate(job=f"trap-{secrets.token_hex(8)}", modules=modules, trap=trap))
        except (LostError, TimeoutError):
            return trap
        assert isinstance(answer, Located)
        return answer.trap

    async def _request(self, question: Bid | Locate) -> object:
        async with self.preparing:
            preparer = await self.preparer.get()
            try:
                async with asyncio.timeout(60):
                    return await preparer.request(question, question.job)
            finally:
                self.preparer.rest()

    def processes(self) -> list[int]:
        """The numbers of the processes that run."""
        return [child.pid for supervisor in (self.preparer, *self.pool.supervisors) if (child := supervisor.running)]

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run what reads or writes files in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._files, work)

    async def close(self) -> None:
        """End every process; what has come to its end is kept before, and other jobs are dropped."""
        running = list(self._running.values())
        for one in running:
            one.happen(Signal.CLOSING)
        await asyncio.gather(*(one.over.wait() for one in running))
        await asyncio.gather(self.preparer.close(), self.pool.close())
        self._files.shutdown()


class _Execution:
    """One job on its way."""

    def __init__(
        self, executor: Executor, job: Job, folder: JobFolder, journal: Journal, given: Prepared | None
    ) -> None:
        self._executor, self._job, self._folder, self._journal = executor, job, folder, journal
        self._state = JobState(job.attempts, job.reruns, job.only_prepares)
        #: A plan that is there already; used once, as it may be out of date.
        self._given = given
        #: The task that is next, and the one that is under way.
        self._next: Task | None = None
        self._under_way: asyncio.Task[Event] | None = None
        self._worker: ChildProcess | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._prepared: Prepared | None = None
        self._ran: Ran | None = None
        self._end = JobEnd()
        self.over = asyncio.Event()

    async def run(self, event: Event) -> JobEnd | None:
        """Do one task after the other until the job is over."""
        self.happen(event)
        try:
            while (task := self._next) is not None:
                self._next = None
                self._under_way = asyncio.create_task(self._do(task))
                await asyncio.wait([self._under_way])
                # Where there is a next one already, this one was withdrawn.
                if self._next is None and not self._under_way.cancelled():
                    self.happen(self._under_way.result())
            return self._end if self._state.phase == "ended" else None
        finally:
            self.over.set()

    def happen(self, event: Event) -> None:
        """Take an event in, and do what follows from it."""
        before = self._state.phase
        self._state, actions = step(self._state, event)
        if self._state.phase != before:
            self._journal.changed(self._state)
        for action in actions:
            if isinstance(action, Task):
                self._next = action
            else:
                self._carry_out(action)

    def _carry_out(self, action: job_state.Action) -> None:
        match action:
            case job_state.Command.WITHDRAW if self._under_way is not None:
                self._under_way.cancel()
            case job_state.Command.STOP_JOB if self._worker is not None:
                self._worker.stop(self._job.id)
            case job_state.KillWorker(why, code) if self._worker is not None:
                self._worker.kill(why, code)
            case job_state.Command.SET_DEADLINE:
                self._later(self._job.granted.seconds + GRACE_SECONDS, Signal.DEADLINE_PASSED)
            case job_state.Command.SET_CANCEL_DEADLINE:
                self._later(GRACE_SECONDS, Signal.CANCEL_DEADLINE)
            case job_state.Command.FORGET_PLAN:
                self._executor.plans.pop(self._job.program, None)
            case job_state.CountLoss(why):
                self._journal.lost(why)
                log.warning("a process ended under a job", extra=self._about(why=why))

    def _later(self, seconds: float, signal: Signal) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, self.happen, signal))

    async def _do(self, task: Task) -> Event:
        try:
            match task:
                case Task.PREPARE:
                    return await self._prepare()
                case Task.RUN:
                    return await self._run()
                case Task.KEEP_OUTPUTS:
                    return await self._keep_outputs()
                case Task.STORE_END:
                    return await self._store_end()
        except BacpackError as error:
            return job_state.Fault(error.problem())
        except Exception as error:
            log.exception("a fault of the node", extra=self._about())
            return job_state.Fault(Problem.fault("node-failed", error))

    async def _prepare(self) -> Event:
        job, executor = self._job, self._executor
        if self._given is not None:
            self._prepared, self._given = self._given, None
            return job_state.Planned()
        known = executor.plans.get(job.program)
        if known is not None:
            executor.plans.move_to_end(job.program)
            if not job.files and job.stdin is None:
                return self._planned(known, 0.0)
        question = Prepare(
            job=job.id, ref=job.ref, invoke=job.invoke, folder=str(self._folder.path), stdin=job.stdin,
            files=job.files, fueled=job.granted.fuel is not None, only_files=known is not None, sources=job.sources,
        )  # fmt: skip
        async with executor.preparing:
            self.happen(Signal.PREPARE_GRANTED)
            preparer = None
            try:
                preparer = await executor.preparer.get()
                async with asyncio.timeout(executor.prepare_seconds):
                    answer = await preparer.request(question, job.id)
            except TimeoutError:
                assert preparer is not None
                preparer.kill("a job took too long to prepare")
                return Signal.PREPARE_TIMEOUT
            except LostError as lost:
                return job_state.PreparerLost(lost.why)
            finally:
                executor.preparer.rest()
        assert isinstance(answer, Prepared)
        await self._journal.planned(answer)
        if answer.error is not None:
            return job_state.Planned(answer.error)
        if answer.plan is None:
            assert known is not None
            return self._planned(known, answer.load_ms)
        self._prepared = answer
        if answer.plan.lasting:
            executor.plans[job.program] = answer.plan
            if len(executor.plans) > _PLANS:
                executor.plans.popitem(last=False)
        return job_state.Planned()

    def _planned(self, known: Plan, load_ms: float) -> job_state.Planned:
        plan = later(known, self._executor.store_folder)
        self._prepared = Prepared(job=self._job.id, plan=plan, error=None, load_ms=load_ms)
        return job_state.Planned()

    async def _run(self) -> Event:
        job, executor = self._job, self._executor
        assert self._prepared is not None and self._prepared.plan is not None
        plan = self._prepared.plan
        question = Run(
            job=job.id, plan=plan, folder=str(self._folder.path), environment=job.env, limits=job.granted,
            arguments=[job.name or plan.modules[-1].name, *job.args], folders=job.folders,
        )  # fmt: skip
        charge = job.granted.memory_bytes * max(plan.memories, 1) + OVERHEAD_BYTES
        try:
            async with executor.pool.worker(charge) as worker:
                self.happen(Signal.WORKER_GRANTED)
                await executor.in_thread(self._folder.begin)
                await self._journal.started(self._state.attempts + 1)
                self._worker = worker
                self.happen(Signal.STARTED)
                try:
                    answer = await worker.request(question, job.id)
                finally:
                    self._worker = None
                    for timer in self._timers:
                        timer.cancel()
        except LostError as lost:
            return job_state.WorkerLost(lost.why, lost.alone, lost.code, lost.killed)
        assert isinstance(answer, Ran)
        self._ran = answer
        return job_state.Ended(answer.exit_code, answer.error, answer.stale)

    async def _keep_outputs(self) -> Event:
        job, end, prepared, ran = self._job, self._state.end, self._prepared, self._ran
        if end is not None and end.has_run:
            assert prepared is not None and prepared.plan is not None and ran is not None
            self._end.results = ran.results
            self._end.report = run_report(
                job.shown_ref, prepared.plan, ran.exit_code, prepared.load_ms, ran.run_ms,
                await self._executor.located(prepared.plan, ran.trap),
                node=self._executor.name, attempts=self._state.attempts,
            )  # fmt: skip

        def keep() -> None:
            self._end.files = self._folder.collect(job.outputs, job.granted.files, job.granted.file_bytes)
            self._end.stdout_bytes, self._end.stderr_bytes = self._folder.cut(job.granted.output_bytes)

        try:
            await self._executor.in_thread(keep)
        except OSError as error:
            return job_state.OutputsKept(Problem("io-error", f"its outputs cannot be kept: {error}"))
        return job_state.OutputsKept()

    async def _store_end(self) -> Event:
        end = self._state.end
        assert end is not None
        self._end.exit_code, self._end.error = end.exit_code, end.problem
        plan = self._prepared.plan if end.has_run and self._prepared is not None else None
        await self._journal.ended(self._state, self._end, plan)
        return Signal.STORED

    def _about(self, **more: object) -> dict[str, object]:
        """Fields of a line in the log."""
        return {"about": {"job": self._job.id, "attempts": self._state.attempts, **more}}
