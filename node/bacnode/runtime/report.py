"""The run report: what ran, every module in it, and where each came from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from bacnode.fetch.fetched import SourceKind
from bacnode.runtime.call_trace import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleReport:
    """One module of a run; either `cid` or, for what came from a URL, `url` is set."""

    cid: str | None = None
    url: str | None = None
    name: str
    bytes: int
    source: SourceKind
    fetched_from: str
    fetch_ms: float
    #: Whether the bytes were checked to be what `cid` names. A URL promises nothing that could be checked.
    verified: bool
    compile_ms: float
    #: Whether it was compiled already, by an earlier run in this process.
    compiled_cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrapReport:
    """Why a program was ended by the engine, and where."""

    reason: str
    #: The calls that led there, innermost first, for people.
    backtrace: list[str]
    #: The same for programs.
    calls: list[Call] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """The content of `--report FILE`; modules in the order in which they were instantiated, the program last."""

    schema: int = 1
    ref: str
    exit_code: int
    modules: list[ModuleReport]
    #: From the reference to code that can run: fetched, verified, compiled.
    load_ms: float
    run_ms: float
    trap: TrapReport | None = None


def encode_report(report: RunReport) -> bytes:
    """Return the report as JSON."""
    content = asdict(report)
    for module in content["modules"]:
        del module["cid" if module["cid"] is None else "url"]
    return json.dumps(content, indent=2).encode() + b"\n"
