"""What becomes of a job when something happens to it: phases, events and actions.

Nothing here waits, reads a clock or a file, or starts a process: `step` says what follows from what happened.

| phase | event | next | actions |
|---|---|---|---|
| new | SUBMITTED | waiting | PREPARE |
| new | Recovered | waiting; collecting if it ran and may not run again | PREPARE; KEEP_OUTPUTS |
| waiting | PREPARE_GRANTED | preparing | |
| waiting, preparing | Planned | ready; collecting with a problem, or if that was all | RUN; KEEP_OUTPUTS |
| preparing | PreparerLost, PREPARE_TIMEOUT | waiting; collecting the third time | CountLoss; PREPARE; KEEP_OUTPUTS |
| ready | WORKER_GRANTED | starting | |
| starting | STARTED | running | SET_DEADLINE |
| running | Ended, stale | waiting; collecting the fourth time | FORGET_PLAN, PREPARE; KEEP_OUTPUTS |
| running | Ended | collecting | KEEP_OUTPUTS |
| running | DEADLINE_PASSED, CANCEL_DEADLINE | running | KillWorker |
| running | CANCEL | running | STOP_JOB, SET_CANCEL_DEADLINE |
| ready, starting, running | WorkerLost | waiting or collecting | CountLoss, then PREPARE or KEEP_OUTPUTS |
| all before running | CANCEL | collecting | WITHDRAW, KEEP_OUTPUTS |
| collecting | OutputsKept | storing | STORE_END |
| storing | STORED, Fault | ended | |
| all before storing | Fault | collecting; storing if it was that | KEEP_OUTPUTS; STORE_END |
| all before collecting | CLOSING | dropped | WITHDRAW |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Literal, TypeAlias

from bacpack.errors import Problem

#: What a client is told. `done`: the program ended by itself, whatever its exit code. `failed`: it could not start or
#: was stopped; the error says why. `interrupted`: the node or a worker ended under it, too often or where it must not
#: be run again.
State: TypeAlias = Literal["queued", "fetching", "running", "done", "failed", "cancelled", "interrupted"]
ENDED: frozenset[State] = frozenset(("done", "failed", "cancelled", "interrupted"))

Phase: TypeAlias = Literal[
    "new", "waiting", "preparing", "ready", "starting", "running", "collecting", "storing", "ended", "dropped"
]
_SHOWN: dict[Phase, State] = {"preparing": "fetching", "running": "running"}
_OVER: frozenset[Phase] = frozenset(("collecting", "storing", "ended", "dropped"))

#: The exit code of what was ended from outside, as after SIGKILL.
KILLED = 137
#: Attempts at a job under which a process of the node ended, before it is given up.
MAX_ATTEMPTS = 3
#: The same where another job in its worker was at fault.
MAX_ATTEMPTS_OF_INNOCENTS = 10


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended."""

    state: State
    problem: Problem | None = None
    #: None for a program that did not run to its end.
    exit_code: int | None = None
    #: Whether the program ran: then there is a report.
    has_run: bool = False


@dataclass(frozen=True, slots=True)
class JobState:
    """Where a job is. `attempts` counts how often it was started, under other nodes before, too."""

    attempts: int = 0
    #: Whether it may be run again when a worker or the node ended under it.
    reruns: bool = True
    #: Whether it ends once there is a plan.
    only_prepares: bool = False
    phase: Phase = "new"
    #: Processes that ended while they prepared it, one after the other; workers that ended under it; plans that named
    #: code which was no longer there.
    preparers_lost: int = 0
    losses: int = 0
    stale: int = 0
    is_cancelled: bool = False
    #: Whether its worker was killed because of it, since it did not end in time.
    is_overdue: bool = False
    end: End | None = None

    @property
    def shown(self) -> State:
        """The state that a client is told of a job that has not ended."""
        return _SHOWN.get(self.phase, "queued")


class Signal(Enum):
    """What happened, where there is no more to say of it."""

    SUBMITTED = auto()
    PREPARE_GRANTED = auto()  # it is its turn to be prepared
    PREPARE_TIMEOUT = auto()  # the process that prepared it was killed
    WORKER_GRANTED = auto()
    STARTED = auto()  # its start is noted, and it is sent to the worker
    DEADLINE_PASSED = auto()  # it should have ended by its limit of time, and a while after
    CANCEL = auto()
    CANCEL_DEADLINE = auto()  # it was told to end, and has not
    STORED = auto()  # how it ended is noted
    CLOSING = auto()  # the node ends; the next one goes on


@dataclass(frozen=True, slots=True)
class Recovered:
    """It was left by a node that ended."""

    was_running: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """There is a plan, or a problem."""

    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class PreparerLost:
    """The process that prepared it ended."""

    why: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The worker said how it ended; or, if `stale`, that the code of a module is no longer there."""

    exit_code: int = 0
    problem: Problem | None = None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """Its worker ended, or did not begin; `killed` by the node, and if it was for a limit, `code` is that."""

    why: str
    #: Whether it ran nothing else.
    alone: bool = False
    code: str | None = None
    killed: bool = False


@dataclass(frozen=True, slots=True)
class OutputsKept:
    """What it left is kept, as far as `problem` does not say otherwise."""

    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something failed that is no part of the job."""

    problem: Problem


Event: TypeAlias = Signal | Recovered | Planned | PreparerLost | Ended | WorkerLost | OutputsKept | Fault


class Task(Enum):
    """What is to be done; one at a time is under way, and its outcome is the next event."""

    PREPARE = auto()  # `PREPARE_GRANTED`, then `Planned`, `PreparerLost` or `PREPARE_TIMEOUT`
    RUN = auto()  # `WORKER_GRANTED`, `STARTED`, then `Ended`; or `WorkerLost`
    KEEP_OUTPUTS = auto()  # with its report: `OutputsKept`
    STORE_END = auto()  # `STORED`


class Command(Enum):
    """What is to be done at once."""

    WITHDRAW = auto()  # stop the task that is under way
    STOP_JOB = auto()  # tell its worker to end it
    SET_DEADLINE = auto()
    SET_CANCEL_DEADLINE = auto()
    FORGET_PLAN = auto()


@dataclass(frozen=True, slots=True)
class KillWorker:
    """Kill its worker; `code` is the limit for which."""

    why: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class CountLoss:
    """Note that a process ended under it."""

    why: str


Action: TypeAlias = Task | Command | KillWorker | CountLoss
Step: TypeAlias = tuple[JobState, list[Action]]


def step(state: JobState, event: Event) -> Step:
    """Return the state after an event, and what is to be done then.

    What cannot be meant any more, such as `CANCEL` for a job that ends already, changes nothing.
    """
    match event:
        case Signal.SUBMITTED:
            return _wait(state)
        case Recovered(was_running):
            if was_running and (not state.reruns or state.attempts >= MAX_ATTEMPTS):
                return _collect(state, _interrupted("the node ended while it ran", state))
            return _wait(state)
        case OutputsKept(problem):
            assert state.end is not None
            end = replace(state.end, problem=state.end.problem or problem)
            return replace(state, phase="storing", end=end), [Task.STORE_END]
        case Signal.STORED:
            return replace(state, phase="ended"), []
        case Fault(problem):
            return _on_fault(state, problem)
    if state.phase in _OVER:
        return state, []
    match event:
        case Signal.CLOSING:
            return replace(state, phase="dropped"), [Command.WITHDRAW]
        case Signal.CANCEL:
            return _on_cancel(state)
        case Signal.DEADLINE_PASSED | Signal.CANCEL_DEADLINE:
            return _on_deadline(state, event)
        case Signal.WORKER_GRANTED:
            return replace(state, phase="starting"), []
        case Signal.STARTED:
            return replace(state, phase="running", attempts=state.attempts + 1), [Command.SET_DEADLINE]
        case Ended():
            return _on_ran(state, event)
        case WorkerLost():
            return _on_worker_lost(state, event)
        case _:
            return _on_preparing(state, event)


def _wait(state: JobState) -> Step:
    return replace(state, phase="waiting"), [Task.PREPARE]


def _collect(state: JobState, end: End) -> Step:
    return replace(state, phase="collecting", end=end), [Task.KEEP_OUTPUTS]


def _on_fault(state: JobState, problem: Problem) -> Step:
    match state.phase:
        case "storing" | "ended" | "dropped":
            # It cannot be noted: the next node finds it as it was.
            return replace(state, phase="ended"), []
        case "collecting":
            return step(state, OutputsKept(problem))
        case _:
            return _collect(state, End("failed", problem))


def _on_cancel(state: JobState) -> Step:
    if state.phase == "running":
        actions: list[Action] = [] if state.is_cancelled else [Command.STOP_JOB, Command.SET_CANCEL_DEADLINE]
        return replace(state, is_cancelled=True), actions
    state, actions = _collect(state, _CANCELLED)
    return state, [Command.WITHDRAW, *actions]


def _on_deadline(state: JobState, event: Event) -> Step:
    if state.phase != "running":
        return state, []
    if event is Signal.DEADLINE_PASSED:
        return replace(state, is_overdue=True), [KillWorker("a job in it ran longer than it may", "time-limit")]
    return state, [KillWorker("a job in it did not end when it was told to")]


def _on_preparing(state: JobState, event: Event) -> Step:
    match event:
        case Signal.PREPARE_GRANTED:
            return replace(state, phase="preparing"), []
        case Planned(None) if state.only_prepares:
            return _collect(state, End("done"))
        case Planned(None):
            return replace(state, phase="ready", preparers_lost=0), [Task.RUN]
        case Planned(problem):
            return _collect(state, End("failed", problem))
        case PreparerLost() | Signal.PREPARE_TIMEOUT:
            lost = state.preparers_lost + 1
            state = replace(state, preparers_lost=lost)
            after, actions = _wait(state) if lost < MAX_ATTEMPTS else _collect(state, _NOT_PREPARED)
            return after, [CountLoss(event.why), *actions] if isinstance(event, PreparerLost) else actions
    raise AssertionError(event)


def _on_ran(state: JobState, ran: Ended) -> Step:
    if not ran.stale:
        problem = ran.problem
        how: State = "done" if problem is None else "cancelled" if problem.code == "cancelled" else "failed"
        return _collect(state, End(how, problem, ran.exit_code, has_run=True))
    if state.is_cancelled:
        return _collect(state, _CANCELLED)
    if state.stale >= MAX_ATTEMPTS:
        return _collect(state, _ALWAYS_STALE)
    after, actions = _wait(replace(state, stale=state.stale + 1))
    return after, [Command.FORGET_PLAN, *actions]


def _on_worker_lost(state: JobState, lost: WorkerLost) -> Step:
    state = replace(state, losses=state.losses + 1)
    # A worker that the node killed was so for another job in it: this one gets more patience.
    most = MAX_ATTEMPTS_OF_INNOCENTS if lost.killed else MAX_ATTEMPTS
    if state.is_cancelled:
        after, actions = _collect(state, _CANCELLED)
    elif state.is_overdue or (lost.code is not None and lost.alone):
        after, actions = _collect(state, End("failed", _stopped(lost), KILLED))
    elif not state.reruns or state.attempts >= most or state.losses >= MAX_ATTEMPTS_OF_INNOCENTS:
        after, actions = _collect(state, _interrupted(lost.why, state))
    else:
        after, actions = _wait(state)
    return after, [CountLoss(lost.why), *actions]


_CANCELLED = End("cancelled", Problem("cancelled", "the job was cancelled", "submit it again"))
_NOT_PREPARED = End(
    "failed",
    Problem(
        "preparing-failed",
        f"the program could not be prepared: the process that does it ended {MAX_ATTEMPTS} times",
        "its modules may take too much memory or time to compile",
    ),
)
_ALWAYS_STALE = End(
    "failed",
    Problem(
        "preparing-failed",
        f"the program could not be run: its compiled code was gone {MAX_ATTEMPTS + 1} times when it was to begin",
        "look what empties the folder of compiled modules",
    ),
)


def _interrupted(why: str, state: JobState) -> End:
    message = f"the job was interrupted: {why}; it was started {state.attempts} times"
    hint = "submit it again, if that does no harm"
    return End("interrupted", Problem("interrupted", message, hint, {"attempts": state.attempts}))


def _stopped(lost: WorkerLost) -> Problem:
    # A worker may be killed for another reason in the moment in which its job's time is over.
    return Problem(lost.code or "time-limit", f"the program was stopped: {lost.why}", "give it more with `limits`")
