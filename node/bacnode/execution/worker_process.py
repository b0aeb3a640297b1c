"""The process that runs programs: plans come in, endings go out. It has no network code and no store.

Each job has a thread and an engine's store of its own. Time is kept by epochs: a ticker counts, and at every tenth of a
second of its running a program looks whether it must end. What only sleeps in the host is ended by the node, which
kills the process.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import wasmtime

from bacnode.execution.channel import Parent
from bacnode.execution.grants import ALL_FEATURES, LARGEST_FILE
from bacnode.execution.job_folder import JobFolder, usage
from bacnode.execution.job_state import KILLED
from bacnode.execution.messages import Ran, Ready, Run, Stop
from bacnode.runtime.code_cache import open_cache
from bacnode.runtime.engine import Runtime
from bacnode.runtime.engine_config import at_epochs, start_thread
from bacnode.runtime.plan import Plan
from bacnode.runtime.run_limits import MAX_TABLE_ELEMENTS, RunLimits
from bacnode.runtime.traps import Outcome
from bacnode.runtime.wasi import Job, Streams
from bacnode.sandbox.process_limits import confine
from bacpack.errors import BacpackError, Problem

#: Seconds from one count of the epoch to the next, and counts after which a program looks whether it must end.
TICK_SECONDS = 0.02
TICKS_TO_LOOK = 5
#: Seconds between two looks at what jobs have written.
WATCH_SECONDS = 0.1
#: Modules that stay loaded: each takes some memory.
MAX_LOADED = 512

_FUEL = re.compile("all fuel consumed")


@dataclass(eq=False, slots=True)
class _Running:
    """A job that is being run; `reason` is the code of what ends it, set by any thread."""

    run: Run
    folder: JobFolder
    deadline: float
    reason: str | None = None
    #: What the engine calls must not be collected before its store.
    kept: object = None


class Worker:
    """Runs jobs that the node sends."""

    def __init__(self, parent: Parent, cache_folder: Path, *, all_features: bool) -> None:
        self._parent = parent
        self._all_features = all_features
        self._cache = open_cache(cache_folder)
        self._runtimes: dict[tuple[bool, bool], Runtime] = {}
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self._busy = threading.Event()

    def serve(self) -> None:
        """Answer the node until it closes the pipe."""
        for target in (self._tick, self._watch):
            threading.Thread(target=target, daemon=True).start()
        self._parent.send(Ready())
        for message in self._parent.read():
            if isinstance(message, Run):
                start_thread(self._answer, message)
            elif isinstance(message, Stop) and (running := self._running.get(message.job)):
                running.reason = running.reason or "cancelled"

    def _answer(self, run: Run) -> None:
        started = time.perf_counter()
        running = _Running(run, JobFolder(Path(run.folder)), time.monotonic() + run.limits.seconds)
        with self._lock:
            self._running[run.job] = running
            self._busy.set()
        stale = False
        try:
            modules = self._modules(run.plan, self._runtime(run))
            if modules is None:
                outcome, stale = Outcome(1), True
            else:
                outcome = self._run(running, modules)
            error = outcome.error.problem() if outcome.error else None
            if error is not None and outcome.trap is not None:
                error = replace(error, hint=_HINTS.get(error.code, _TRACE_HINT))
        except BacpackError as failure:
            outcome, error = Outcome(failure.exit_status), failure.problem()
        except Exception as failure:
            # A fault of ours must not leave the node waiting.
            outcome, error = Outcome(1), Problem.fault("worker-failed", failure)
        finally:
            with self._lock:
                del self._running[run.job]
                if not self._running:
                    self._busy.clear()
        exit_code = outcome.exit_code
        if running.reason is not None:
            error, exit_code = _ended(running.reason, run), 124 if running.reason == "time-limit" else KILLED
        self._parent.send(
            Ran(
                job=run.job,
                exit_code=exit_code,
                results=list(outcome.results),
                trap=asdict(outcome.trap) if outcome.trap else None,
                error=error,
                run_ms=(time.perf_counter() - started) * 1000,
                stale=stale,
            )
        )

    def _run(self, running: _Running, modules: list[wasmtime.Module]) -> Outcome:
        run, folder = running.run, running.folder
        limits, plan = run.limits, run.plan
        job = Job(
            arguments=run.arguments,
            environment=run.environment,
            folders=[(folder.root, "/"), *((Path(host), guest) for host, guest in run.folders)],
            limits=RunLimits(
                limits.seconds,
                limits.memory_bytes,
                # Each may grow to its share; a split program has many and grows none.
                table_elements=max(MAX_TABLE_ELEMENTS // max(plan.tables, 1), plan.table_elements),
                instances=len(modules),
                tables=plan.tables,
                memories=plan.memories,
                fuel=limits.fuel,
            ),
            streams=Streams(folder.stdin, folder.stdout, folder.stderr),
        )
        runtime = self._runtime(run)

        def prepare(store: wasmtime.Store) -> None:
            running.kept = at_epochs(store, lambda: running.reason is not None, TICKS_TO_LOOK)

        outcome = runtime.run(plan, modules, job, prepare)
        if outcome.trap is not None and _FUEL.search(outcome.trap.reason):
            running.reason = running.reason or "fuel-limit"
        return outcome

    def _runtime(self, run: Run) -> Runtime:
        fueled, linked = kind = run.limits.fuel is not None, len(run.plan.modules) > 1
        with self._lock:
            if kind not in self._runtimes:
                self._runtimes[kind] = Runtime(
                    interruptible=True,
                    fueled=fueled,
                    all_features=self._all_features,
                    linked=linked,
                    cache=self._cache,
                )
            return self._runtimes[kind]

    def _modules(self, plan: Plan, runtime: Runtime) -> list[wasmtime.Module] | None:
        """Load the modules of a plan; None if the code of one is not in the cache."""
        with self._lock:
            runtime.keep_at_most(MAX_LOADED)
            known = [runtime.known(planned.cid) for planned in plan.modules]
        modules = [module for module in known if module is not None]
        return modules if len(modules) == len(known) else None

    def _tick(self) -> None:
        while True:
            self._busy.wait()
            time.sleep(TICK_SECONDS)
            now = time.monotonic()
            for running in list(self._running.values()):
                if now > running.deadline:
                    running.reason = running.reason or "time-limit"
            for runtime in list(self._runtimes.values()):
                runtime.stop()

    def _watch(self) -> None:
        while True:
            self._busy.wait()
            time.sleep(WATCH_SECONDS)
            for running in list(self._running.values()):
                if running.reason is None:
                    running.reason = _too_much(running)


def _too_much(running: _Running) -> str | None:
    """The code of the limit that a job is beyond with what it has written."""
    limits, folder = running.run.limits, running.folder
    try:
        printed = folder.stdout.stat().st_size + folder.stderr.stat().st_size
    except OSError:
        return None
    if printed > limits.output_bytes:
        return "output-limit"
    files, size = usage(folder.root, limits.files)
    return "file-limit" if files > limits.files or size > limits.file_bytes else None


#: What a person does about a trap; the hints of the engine are for `bacpack run`.
_TRACE_HINT = "`trap` in the report of the job lists the calls that led there"
_HINTS = {"memory-limit": "give it more memory with `limits`, or --max-memory of `submit`"}
_MESSAGES: dict[str, Callable[[Run], str]] = {
    "time-limit": lambda run: f"the program was stopped: it ran longer than {run.limits.seconds:g} s",
    "output-limit": lambda run: f"the program was stopped: it printed more than {run.limits.output_bytes} bytes",
    "file-limit": lambda run: (
        f"the program was stopped: its files are more than {run.limits.files} or than {run.limits.file_bytes} bytes"
    ),
    "fuel-limit": lambda run: f"the program was stopped: it used up its fuel of {run.limits.fuel}",
    "cancelled": lambda run: "the job was cancelled",
}


def _ended(reason: str, run: Run) -> Problem:
    hint = "submit it again" if reason == "cancelled" else "give it more with `limits`, as far as the node allows"
    return Problem(reason, _MESSAGES[reason](run), hint)


def main() -> None:
    """Run as `python -m bacnode.execution.worker_process NODE_PID CACHE [--all-features]`."""
    parent = Parent()
    node, cache, *options = sys.argv[1:]
    confine(file_bytes=LARGEST_FILE, node=int(node))
    Worker(parent, Path(cache), all_features=ALL_FEATURES in options).serve()
    # Threads of programs that have not ended would hold the process up.
    os._exit(0)


if __name__ == "__main__":
    main()
