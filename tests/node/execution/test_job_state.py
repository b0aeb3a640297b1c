"""What becomes of a job, in every phase and whatever happens: no process, no clock, no file."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacnode.execution import job_state
from bacnode.execution.job_state import (
    ENDED,
    KILLED,
    MAX_ATTEMPTS,
    MAX_ATTEMPTS_OF_INNOCENTS,
    Command,
    CountLoss,
    End,
    Ended,
    Event,
    Fault,
    JobState,
    KillWorker,
    OutputsKept,
    Phase,
    Planned,
    PreparerLost,
    Recovered,
    Signal,
    Task,
    WorkerLost,
    step,
)  # fmt: skip
from bacpack.errors import Problem

WRONG = Problem("module-not-found", "it is not there")
DONE = End("done", exit_code=0, has_run=True)
RUNNING = JobState(attempts=1, phase="running")
CRASH, LIMIT = WorkerLost("it ended"), WorkerLost("it took too much", alone=True, code="memory-limit", killed=True)
OTHERS = replace(LIMIT, alone=False)
#: What it is told whose neighbour was cancelled and did not end.
NEIGHBOUR = WorkerLost("a job in it did not end when it was told to", alone=True, killed=True)
LATE = KillWorker("a job in it ran longer than it may", "time-limit")

#: A state, an event, the phase after it, and what is to be done.
TABLE: list[tuple[JobState, Event, Phase, list[object]]] = [
    (JobState(), Signal.SUBMITTED, "waiting", [Task.PREPARE]),
    (JobState(), Recovered(was_running=False), "waiting", [Task.PREPARE]),
    (JobState(2), Recovered(was_running=True), "waiting", [Task.PREPARE]),
    (JobState(3), Recovered(was_running=True), "collecting", [Task.KEEP_OUTPUTS]),
    (JobState(1, reruns=False), Recovered(was_running=True), "collecting", [Task.KEEP_OUTPUTS]),
    (JobState(3, reruns=False), Recovered(was_running=False), "waiting", [Task.PREPARE]),
    (JobState(phase="waiting"), Signal.PREPARE_GRANTED, "preparing", []),
    (JobState(phase="waiting"), Planned(), "ready", [Task.RUN]),
    (JobState(phase="preparing"), Planned(), "ready", [Task.RUN]),
    (JobState(phase="preparing"), Planned(WRONG), "collecting", [Task.KEEP_OUTPUTS]),
    (JobState(phase="preparing"), PreparerLost("x"), "waiting", [CountLoss("x"), Task.PREPARE]),
    (JobState(phase="preparing"), Signal.PREPARE_TIMEOUT, "waiting", [Task.PREPARE]),
    (JobState(phase="preparing", preparers_lost=2), Signal.PREPARE_TIMEOUT, "collecting", [Task.KEEP_OUTPUTS]),
    (JobState(phase="ready"), Signal.WORKER_GRANTED, "starting", []),
    (JobState(phase="ready"), CRASH, "waiting", [CountLoss("it ended"), Task.PREPARE]),
    (JobState(phase="starting"), Signal.STARTED, "running", [Command.SET_DEADLINE]),
    (RUNNING, Ended(), "collecting", [Task.KEEP_OUTPUTS]),
    (RUNNING, Ended(stale=True), "waiting", [Command.FORGET_PLAN, Task.PREPARE]),
    (replace(RUNNING, stale=3), Ended(stale=True), "collecting", [Task.KEEP_OUTPUTS]),
    (RUNNING, Signal.DEADLINE_PASSED, "running", [LATE]),
    (RUNNING, CRASH, "waiting", [CountLoss("it ended"), Task.PREPARE]),
    (replace(RUNNING, reruns=False), CRASH, "collecting", [CountLoss("it ended"), Task.KEEP_OUTPUTS]),
    (replace(RUNNING, attempts=3), CRASH, "collecting", [CountLoss("it ended"), Task.KEEP_OUTPUTS]),
    (RUNNING, LIMIT, "collecting", [CountLoss("it took too much"), Task.KEEP_OUTPUTS]),
    (replace(RUNNING, attempts=9), OTHERS, "waiting", [CountLoss("it took too much"), Task.PREPARE]),
    (replace(RUNNING, attempts=10), OTHERS, "collecting", [CountLoss("it took too much"), Task.KEEP_OUTPUTS]),
    (replace(RUNNING, losses=9), OTHERS, "collecting", [CountLoss("it took too much"), Task.KEEP_OUTPUTS]),
    (RUNNING, Signal.CANCEL, "running", [Command.STOP_JOB, Command.SET_CANCEL_DEADLINE]),
    (replace(RUNNING, is_cancelled=True), Signal.CANCEL, "running", []),
    (RUNNING, Signal.CANCEL_DEADLINE, "running", [KillWorker(NEIGHBOUR.why)]),
    (RUNNING, Signal.CLOSING, "dropped", [Command.WITHDRAW]),
    (JobState(phase="waiting"), Signal.CANCEL, "collecting", [Command.WITHDRAW, Task.KEEP_OUTPUTS]),
    (JobState(phase="starting"), Signal.CANCEL, "collecting", [Command.WITHDRAW, Task.KEEP_OUTPUTS]),
    (JobState(phase="preparing"), Signal.DEADLINE_PASSED, "preparing", []),
    (JobState(phase="waiting"), Fault(WRONG), "collecting", [Task.KEEP_OUTPUTS]),
    (replace(RUNNING, attempts=MAX_ATTEMPTS), NEIGHBOUR, "waiting", [CountLoss(NEIGHBOUR.why), Task.PREPARE]),
    (JobState(phase="collecting", end=DONE), OutputsKept(), "storing", [Task.STORE_END]),
    (JobState(phase="collecting", end=DONE), Fault(WRONG), "storing", [Task.STORE_END]),
    (JobState(phase="collecting", end=DONE), Signal.CANCEL, "collecting", []),
    (JobState(phase="collecting", end=DONE), Signal.CLOSING, "collecting", []),
    (JobState(phase="storing", end=DONE), Signal.STORED, "ended", []),
    (JobState(phase="storing", end=DONE), Fault(WRONG), "ended", []),
]


@pytest.mark.parametrize(("state", "event", "phase", "actions"), TABLE, ids=range(len(TABLE)))
def test_what_follows(state: JobState, event: Event, phase: Phase, actions: list[object]) -> None:
    after, found = step(state, event)
    assert (after.phase, found) == (phase, actions)


@pytest.mark.parametrize(
    ("state", "event", "end"),
    [
        (RUNNING, Ended(7), ("done", 7, None)),
        (RUNNING, Ended(1, WRONG), ("failed", 1, "module-not-found")),
        (RUNNING, Ended(KILLED, Problem("cancelled", "so")), ("cancelled", KILLED, "cancelled")),
        (RUNNING, LIMIT, ("failed", KILLED, "memory-limit")),
        (replace(RUNNING, is_overdue=True), replace(OTHERS, code="time-limit"), ("failed", KILLED, "time-limit")),
        (replace(RUNNING, is_overdue=True), CRASH, ("failed", KILLED, "time-limit")),
        (replace(RUNNING, is_overdue=True), NEIGHBOUR, ("failed", KILLED, "time-limit")),
        (replace(RUNNING, is_cancelled=True), CRASH, ("cancelled", None, "cancelled")),
        (replace(RUNNING, is_cancelled=True), Ended(stale=True), ("cancelled", None, "cancelled")),
        (replace(RUNNING, reruns=False), CRASH, ("interrupted", None, "interrupted")),
        # It never ran, so that it is not done.
        (replace(RUNNING, stale=MAX_ATTEMPTS), Ended(1, stale=True), ("failed", None, "preparing-failed")),
        (JobState(phase="preparing", preparers_lost=2), PreparerLost("x"), ("failed", None, "preparing-failed")),
        (JobState(phase="ready"), Signal.CANCEL, ("cancelled", None, "cancelled")),
        (JobState(phase="ready"), Fault(WRONG), ("failed", None, "module-not-found")),
    ],
)  # fmt: skip
def test_how_it_ends(state: JobState, event: Event, end: tuple[object, ...]) -> None:
    found = step(state, event)[0].end
    assert found is not None
    assert (found.state, found.exit_code, found.problem and found.problem.code) == end


def test_what_went_wrong_first_is_told_and_not_that_outputs_cannot_be_kept_either() -> None:
    full = Problem("io-error", "the disk is full")
    for problem, told in ((None, full), (WRONG, WRONG)):
        state = JobState(phase="collecting", end=replace(DONE, problem=problem))
        for event in (OutputsKept(full), Fault(full)):
            end = step(state, event)[0].end
            assert end is not None
            assert end.problem == told


#: What may come of each task that is under way.
OUTCOMES: dict[Task, st.SearchStrategy[list[Event]]] = {
    Task.PREPARE: st.sampled_from([
        [Planned()], [Signal.PREPARE_GRANTED, Planned()], [Signal.PREPARE_GRANTED, Planned(WRONG)],
        [Signal.PREPARE_GRANTED, PreparerLost("x")], [Signal.PREPARE_GRANTED, Signal.PREPARE_TIMEOUT],
    ]),
    Task.RUN: st.sampled_from([
        [CRASH], [Signal.WORKER_GRANTED, CRASH],
        *([Signal.WORKER_GRANTED, Signal.STARTED, last] for last in (
            Ended(), Ended(1, WRONG), Ended(stale=True), CRASH, LIMIT, OTHERS,
        )),
    ]),
    Task.KEEP_OUTPUTS: st.sampled_from([[OutputsKept()], [OutputsKept(WRONG)], [Fault(WRONG)]]),
    Task.STORE_END: st.just([Signal.STORED]),
}  # fmt: skip
#: What may come at any time.
AT_ANY_TIME = st.sampled_from([Signal.CANCEL, Signal.DEADLINE_PASSED, Signal.CANCEL_DEADLINE, Signal.CLOSING])


@given(st.data(), st.integers(0, MAX_ATTEMPTS), st.booleans())
def test_every_job_ends_once_whatever_happens(data: st.DataObject, attempts: int, reruns: bool) -> None:
    state, actions = step(JobState(attempts, reruns), data.draw(st.sampled_from([Signal.SUBMITTED, Recovered(True)])))
    stored = tasks = 0
    while state.phase not in ("ended", "dropped"):
        (task,) = [action for action in actions if isinstance(action, Task)]
        tasks += 1
        stored += task is Task.STORE_END
        # Each loss and each plan that is stale takes one of few, whatever the order.
        assert tasks < 2 * (MAX_ATTEMPTS_OF_INNOCENTS + MAX_ATTEMPTS) * MAX_ATTEMPTS + 4
        coming = data.draw(OUTCOMES[task])
        at = data.draw(st.integers(-9, len(coming)))
        for event in [*coming[: max(at, 0)], *([data.draw(AT_ANY_TIME)] if at >= 0 else []), *coming[max(at, 0) :]]:
            started = state.attempts
            state, actions = step(state, event)
            assert state.attempts - started == (event is Signal.STARTED)
            if any(isinstance(action, Task) for action in actions) or state.phase == "dropped":
                # What is under way was withdrawn, or is over.
                break
    assert stored == (state.phase == "ended")
    if stored:
        assert state.end is not None and state.end.state in ENDED
        assert state.end.state == "done" or state.end.problem is not None
        assert reruns or state.attempts <= attempts + 1 + state.stale


def test_the_page_of_phases_names_all_of_them() -> None:
    table = job_state.__doc__ or ""
    for phase in get_args(Phase):
        assert f" {phase}" in table, phase
    for name in [*Signal.__members__, *Task.__members__]:
        assert name in table, name
