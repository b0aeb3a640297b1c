"""Running one program from its reference to its report: resolve, compile, run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import wasmtime

from bacnode.fetch.limits import LoadLimits
from bacnode.programs.module_graph import Node
from bacnode.programs.open_program import Program
from bacnode.programs.resolver import resolve
from bacnode.runtime.call_trace import Place, located
from bacnode.runtime.engine import Runtime
from bacnode.runtime.plan import Plan
from bacnode.runtime.planner import make_plan
from bacnode.runtime.report import run_report
from bacnode.runtime.time_limit import supervise
from bacnode.runtime.traps import Outcome
from bacnode.runtime.wasi import Job
from bacpack.errors import BacpackError, TimeLimitError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program whose modules are all there and compiled."""

    ref: str
    plan: Plan
    modules: Sequence[wasmtime.Module]
    places: Sequence[Place]
    load_ms: float


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over; `error` says why, when the program did not end by itself."""

    exit_code: int
    report: dict[str, Any]
    #: What the called function returned, as text.
    results: Sequence[str]
    error: BacpackError | None


def load(ref: str, program: Program, invoke: str | None, runtime: Runtime, limits: LoadLimits) -> Loaded:
    """Fetch, check and compile all that a program needs; raises `BacpackError` for the first thing that is wrong."""
    started = time.perf_counter()
    graph = resolve(program.root, program.sources.fetch, limits, program.sources.announce)
    modules: list[wasmtime.Module] = []

    def compile_module(_cid: str, node: Node) -> bool:
        compiled = runtime.compile(node)
        modules.append(compiled.module)
        return compiled.cached

    plan = make_plan(ref, graph, invoke, compile_module)
    fetched = [node.fetched for node in graph.nodes]
    # As the person wrote it.
    named = [
        msgspec.structs.replace(planned, cid=str(one.cid)) if one.cid is not None else planned
        for planned, one in zip(plan.modules, fetched, strict=True)
    ]
    places = [Place(one.url or str(one.cid), one.name, one.data) for one in reversed(fetched)]
    load_ms = program.root.fetch_ms + _since(started)
    return Loaded(ref, msgspec.structs.replace(plan, modules=named), modules, places, load_ms)


def run(loaded: Loaded, runtime: Runtime, job: Job) -> Finished:
    """Run a loaded program to its end, or to that of its time."""
    started = time.perf_counter()
    stop = runtime.stop if runtime.interruptible else None
    try:
        outcome = supervise(lambda: runtime.run(loaded.plan, loaded.modules, job), stop, job.limits.seconds)
    except TimeLimitError as error:
        outcome = Outcome(error.exit_status, error=error)
    trap = located(asdict(outcome.trap), loaded.places) if outcome.trap is not None else None
    report = run_report(loaded.ref, loaded.plan, outcome.exit_code, loaded.load_ms, _since(started), trap)
    return Finished(outcome.exit_code, report, outcome.results, outcome.error)


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
