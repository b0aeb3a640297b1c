"""Running one program from its reference to its report: resolve, compile, run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bacnode.fetch.limits import LoadLimits
from bacnode.programs.module_graph import Graph, Node
from bacnode.programs.open_program import Program
from bacnode.programs.resolver import resolve
from bacnode.runtime.call_trace import Place, locate
from bacnode.runtime.engine import Compiled, Runtime
from bacnode.runtime.report import ModuleReport, RunReport
from bacnode.runtime.time_limit import supervise
from bacnode.runtime.traps import Outcome
from bacnode.runtime.wasi import Job
from bacpack.errors import BacpackError, TimeLimitError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program whose modules are all there and compiled."""

    graph: Graph
    compiled: dict[Node, Compiled]
    load_ms: float


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over; `error` says why, when the program did not end by itself."""

    report: RunReport
    #: What the called function returned, as text.
    results: Sequence[str]
    error: BacpackError | None


def load(program: Program, runtime: Runtime, limits: LoadLimits) -> Loaded:
    """Fetch, check and compile all that a program needs; raises `BacpackError` for the first thing that is wrong."""
    started = time.perf_counter()
    graph = resolve(program.root, program.sources.fetch, limits, program.sources.announce)
    graph.check()
    compiled = {node: runtime.compile(node) for node in graph.nodes}
    return Loaded(graph, compiled, program.root.fetch_ms + _since(started))


def run(ref: str, loaded: Loaded, runtime: Runtime, job: Job) -> Finished:
    """Run a loaded program to its end, or to that of its time."""
    started = time.perf_counter()
    stop = runtime.stop if runtime.interruptible else None
    try:
        outcome = supervise(lambda: runtime.run(loaded.graph, loaded.compiled, job), stop, job.limits.seconds)
    except TimeLimitError as error:
        outcome = Outcome(error.exit_status, error=error)
    trap = outcome.trap
    if trap is not None:
        calls = locate(trap.calls, (_place(node) for node in reversed(loaded.graph.nodes)))
        trap = replace(trap, calls=calls, backtrace=list(map(str, calls)) or trap.backtrace)
    report = RunReport(
        ref=ref,
        exit_code=outcome.exit_code,
        modules=[_module_report(node, loaded.compiled[node]) for node in loaded.graph.nodes],
        load_ms=_rounded(loaded.load_ms),
        run_ms=_rounded(_since(started)),
        trap=trap,
    )
    return Finished(report, outcome.results, outcome.error)


def _place(node: Node) -> Place:
    fetched = node.fetched
    return Place(fetched.url or str(fetched.cid), fetched.name, fetched.data)


def _module_report(node: Node, compiled: Compiled) -> ModuleReport:
    fetched = node.fetched
    return ModuleReport(
        cid=None if fetched.cid is None else str(fetched.cid),
        url=fetched.url,
        name=fetched.name,
        bytes=len(fetched.data),
        source=fetched.source,
        fetched_from=fetched.fetched_from,
        fetch_ms=_rounded(fetched.fetch_ms),
        verified=fetched.verified,
        compile_ms=_rounded(compiled.compile_ms),
        compiled_cached=compiled.cached,
    )


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _rounded(milliseconds: float) -> float:
    return round(milliseconds, 3)
