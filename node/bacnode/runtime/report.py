"""The run report: what ran, every module in it, and where each came from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from bacnode.runtime.call_trace import Call
from bacnode.runtime.plan import Plan, PlannedModule


@dataclass(frozen=True, slots=True, kw_only=True)
class TrapReport:
    """Why a program was ended by the engine, and where."""

    reason: str
    #: The calls that led there, innermost first, for people.
    backtrace: list[str]
    #: The same for programs.
    calls: list[Call] = field(default_factory=list)


def run_report(
    ref: str, plan: Plan, exit_code: int, load_ms: float, run_ms: float, trap: dict[str, Any] | None, **of_node: object
) -> dict[str, Any]:
    """Return the content of `--report FILE`, and of the report of a job, which has what is `of_node` besides.

    Modules are in the order in which they were instantiated, the program last. `load_ms` is the time from the reference
    to code that can run: fetched, verified, compiled.
    """
    return {
        "schema": 1,
        "ref": ref,
        "exit_code": exit_code,
        "modules": [_module(module, with_others=bool(of_node)) for module in plan.modules],
        "load_ms": round(load_ms, 3),
        "run_ms": round(run_ms, 3),
        "trap": trap,
        **of_node,
    }


def encode_report(report: dict[str, Any]) -> bytes:
    """Return a report as JSON."""
    return json.dumps(report, indent=2).encode() + b"\n"


def _module(module: PlannedModule, *, with_others: bool) -> dict[str, Any]:
    identity = {"cid": module.cid} if module.url is None else {"url": module.url}
    others = {"also_from": module.also_from} if with_others else {}
    return {
        **identity,
        "name": module.name,
        "bytes": module.bytes,
        "source": module.source,
        "fetched_from": module.fetched_from,
        **others,
        "fetch_ms": module.fetch_ms,
        # A URL promises nothing that could be checked.
        "verified": module.verified,
        "compile_ms": module.compile_ms,
        "compiled_cached": module.compiled_cached,
    }
