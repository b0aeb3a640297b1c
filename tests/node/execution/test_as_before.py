"""The state machine of jobs decides as the scheduler did, over random histories."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bacnode.execution.child_process import LostError
from bacnode.execution.grants import Grants
from bacnode.execution.job import Ending, Limits, Submission
from bacnode.execution.job_state import (
    CountLoss,
    Ended,
    JobState,
    OutputsKept,
    Planned,
    PreparerLost,
    Recovered,
    Signal,
    Task,
    WorkerLost,
    step,
)
from bacnode.execution.messages import Prepared, Ran
from bacnode.jobs.database import Record
from bacnode.jobs.queue import Scheduler
from bacnode.runtime.plan import Plan, PlannedEntry, PlannedModule
from bacpack.errors import Problem

WRONG = {"code": "bad-cid", "message": "no", "hint": None, "details": {}}
STOPPED = {"code": "cancelled", "message": "stop", "hint": None, "details": {}}
MODULE = PlannedModule(
    cid="c", url=None, name="m", bytes=1, namespaces=[], initializes=False, growths=[], source="store",
    fetched_from="", fetch_ms=0, verified=True, compile_ms=0, compiled_cached=True,
)  # fmt: skip
PLAN = Plan(
    modules=[MODULE], entry=PlannedEntry(name="", params=None, results=None), memories=1, tables=0, table_elements=0,
    lasting=False,
)  # fmt: skip


class Fake(Scheduler):
    """Today's scheduler, with processes that do what a history says."""

    prepares: list[tuple[str, bool]]
    runs: list[tuple[str, bool]]

    def __init__(self, record: Record) -> None:
        self.counts_of: dict[str, int] = defaultdict(int)
        self.grants = Grants(1, 1, 1 << 30)
        self.refusal = None
        self.speeds = SimpleNamespace(learn=lambda plan: None)  # type: ignore[assignment]
        self._live, self._plans, self._is_closing, self._ending = {}, {}, False, set()  # type: ignore[assignment]
        self._preparing = asyncio.Semaphore(1)
        self._store_folder, self._name = "", ""  # type: ignore[assignment]
        self._preparer = SimpleNamespace(get=self.get, rest=lambda: None)  # type: ignore[assignment]
        self.pool = SimpleNamespace(worker=self.worker)  # type: ignore[assignment]
        self.database = SimpleNamespace(start=self.start, finish=self.finish)  # type: ignore[assignment]
        self.on_end = lambda record: None
        self.on_lost = lambda why: self.counts_of.__setitem__("lost", self.counts_of["lost"] + 1)
        self._begin(record)

    def folder(self, job: str) -> Any:
        return SimpleNamespace(
            path="", begin=lambda: None, collect=lambda *a: [], cut=lambda most: (0, 0), create=lambda s: None
        )

    async def _write(self, work: Callable[[], Any]) -> Any:
        return work()

    _file = _write

    async def _located(self, plan: Plan, trap: Any) -> Any:
        return trap

    def start(self, record: Record) -> None:
        record.state, record.attempts = "running", record.attempts + 1

    def finish(self, record: Record, state: Any, ending: Ending, used: Any) -> None:
        record.state, record.ending = state, ending

    async def get(self) -> Any:
        return SimpleNamespace(ask=self.prepared, kill=lambda *a: None)

    async def prepared(self, question: Any, job: str) -> Prepared:
        what, cancel = self.prepares[self.counts_of["prepared"]]
        self.counts_of["prepared"] += 1
        if cancel:
            self.cancelling = asyncio.ensure_future(self.cancel(job))
            await asyncio.sleep(60)
        if what == "lost":
            raise LostError("gone", alone=True)
        if what == "late":
            raise TimeoutError
        error = Problem(**WRONG) if what == "wrong" else None
        return Prepared(job=job, plan=None if error else PLAN, error=error, load_ms=0)

    @asynccontextmanager
    async def worker(self, charge: int) -> AsyncIterator[Any]:
        what = self.runs[self.counts_of["run"]]
        self.counts_of["run"] += 1
        if what[0] == "unstarted":
            raise LostError("no start", alone=True)
        yield SimpleNamespace(ask=lambda question, job: self.ran(job, *what), stop=lambda job: None, kill=lambda *a: 0)

    async def ran(self, job: str, what: str, cancel: bool) -> Ran:
        if cancel:
            self.cancelling = asyncio.ensure_future(self.cancel(job))
            await asyncio.sleep(0)
        if what == "overdue":
            self._overdue(self._live[job])
        if what in LOST:
            raise LostError(*LOST[what][:1], alone=LOST[what][1], code=LOST[what][2])
        given = {"wrong": WRONG, "stopped": STOPPED}.get(what)
        error = Problem(**given) if given else None
        return Ran(
            job=job, exit_code=int(error is not None), results=[], trap=None, error=error, run_ms=0,
            stale=what == "stale",
        )  # fmt: skip


LOST: dict[str, tuple[str, bool, str | None]] = {
    "crash": ("it ended", True, None), "limit": ("too much", True, "memory-limit"),
    "others": ("too much", False, "memory-limit"), "overdue": ("late", False, "time-limit"),
}  # fmt: skip
PREPARE = st.tuples(
    st.sampled_from(["plan", "plan", "plan", "wrong", "lost", "late"]), st.integers(0, 9).map(lambda n: not n)
)
RUN = st.tuples(
    st.sampled_from(["done", "wrong", "stopped", "stale", "unstarted", "crash", "limit", "others", "overdue"]),
    st.integers(0, 9).map(lambda n: not n),
)
History = tuple[list[tuple[str, bool]], list[tuple[str, bool]]]


async def as_before(history: History, record: Record) -> tuple[object, ...]:
    scheduler = Fake.__new__(Fake)
    scheduler.prepares, scheduler.runs = history
    scheduler.__init__(record)  # type: ignore[misc]
    live = scheduler._live[record.id]
    assert live.task is not None
    await asyncio.wait([live.task])
    ending, counts = record.ending, scheduler.counts_of
    return (
        record.state,
        ending.exit_code,
        ending.error and ending.error.as_json(),
        record.attempts,
        counts["prepared"],
        counts["run"],
        counts["lost"],
    )


def as_it_is(history: History, state: JobState, was_running: bool) -> tuple[object, ...]:
    prepared = runs = lost = 0

    def happen(event: Any) -> None:
        nonlocal state, actions, lost
        state, actions = step(state, event)
        lost += sum(isinstance(action, CountLoss) for action in actions)

    actions: list[Any] = []
    happen(Recovered(was_running))
    while state.phase != "ended":
        task = next(action for action in actions if isinstance(action, Task))
        if task is Task.PREPARE:
            what, cancel = history[0][prepared]
            prepared += 1
            happen(Signal.PREPARE_GRANTED)
            happen(
                Signal.CANCEL if cancel else Planned() if what == "plan" else Planned(Problem(**WRONG))
                if what == "wrong" else PreparerLost("gone") if what == "lost" else Signal.PREPARE_TIMEOUT
            )  # fmt: skip
        elif task is Task.RUN:
            what, cancel = history[1][runs]
            runs += 1
            if what == "unstarted":
                happen(WorkerLost("no start", alone=True))
                continue
            happen(Signal.WORKER_GRANTED)
            happen(Signal.STARTED)
            if cancel:
                happen(Signal.CANCEL)
            if what == "overdue":
                happen(Signal.DEADLINE_PASSED)
            error = {"wrong": WRONG, "stopped": STOPPED}.get(what)
            happen(
                WorkerLost(*LOST[what]) if what in LOST
                else Ended(int(error is not None), Problem(**error) if error else None, what == "stale")
            )  # fmt: skip
        else:
            happen(OutputsKept() if task is Task.KEEP_OUTPUTS else Signal.STORED)
    assert state.end is not None
    problem = state.end.problem.as_json() if state.end.problem else None
    return state.end.state, state.end.exit_code, problem, state.attempts, prepared, runs, lost


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(st.lists(PREPARE, min_size=60, max_size=60), st.lists(RUN, min_size=40, max_size=40)),
    st.integers(0, 3), st.booleans(), st.booleans(),
)  # fmt: skip
def test_random_histories_end_alike(history: History, attempts: int, reruns: bool, was_running: bool) -> None:
    submission = Submission(ref="r", rerun=reruns)
    granted = Grants(1, 1, 1 << 30).grant(Limits())
    record = Record(
        1, "j", "running" if was_running else "queued", attempts, "", None, None, submission, granted, Ending()
    )
    after = as_it_is(history, JobState(attempts, reruns), was_running)
    before = asyncio.run(as_before(history, record))
    # What it did wrong: a program that never ran was `done`, and one that was to end began anew.
    never_ran = before[0] == "done" and history[1][int(str(before[5])) - 1][0] == "stale"
    if not never_ran and ("stale", True) not in history[1][: int(str(after[5]))]:
        assert after == before
