"""What the processes of a node say to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from bacnode.execution.job import Content, Granted, InputFile, JobSources
from bacnode.runtime.plan import Plan
from bacpack.errors import Problem


class Prepare(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """To the process that prepares: make a plan, and put what CIDs name into the job's folder."""

    job: str
    ref: str
    invoke: str | None
    folder: str
    stdin: Content | None
    files: Sequence[InputFile]
    fueled: bool
    #: Whether the plan is there and only files are wanted.
    only_files: bool = False
    sources: JobSources | None = None


class Bid(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """To the process that prepares: what is missing to run this, and what is not compiled."""

    job: str
    ref: str | None
    modules: list[str]


class Run(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """To a worker: run this. `folder` is the job's."""

    job: str
    plan: Plan
    folder: str
    arguments: Sequence[str]
    environment: Sequence[tuple[str, str]]
    limits: Granted
    #: Folders of this machine, each with the path under which the program sees it: for jobs that a person here sends.
    folders: Sequence[tuple[str, str]] = ()


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """To a worker: end this job."""

    job: str


class Locate(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """To the process that prepares: say in which modules, by CID, the calls to a trap are.

    See `bacnode.runtime.call_trace`.
    """

    job: str
    modules: list[tuple[str, str]]
    trap: dict[str, Any]


class Located(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The answer to `Locate`: the trap, with the modules."""

    job: str
    trap: dict[str, Any]


class Prepared(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The answer to `Prepare`: a plan, or why there is none."""

    job: str
    plan: Plan | None
    error: Problem | None
    load_ms: float
    #: What a command ends with that meets the error.
    exit_status: int | None = None


class MissingModules(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The answer to `Bid`. Sizes are in bytes."""

    job: str
    missing: list[str]
    #: Size of what is missing, as far as somebody has it; None where nobody says.
    missing_bytes: int | None
    #: Of those missing, the ones that nobody has who may be asked.
    unobtainable: list[str]
    #: What is still to be compiled, including what is missing.
    uncompiled_bytes: int
    error: Problem | None


class Ran(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """From a worker: how a job ended."""

    job: str
    exit_code: int
    results: list[str]
    trap: dict[str, Any] | None
    error: Problem | None
    run_ms: float
    #: Whether code that the plan names was not in the cache: make a new plan.
    stale: bool = False


class Ready(msgspec.Struct, frozen=True, tag=True):
    """From a process that has just started."""


ToChild = Prepare | Bid | Locate | Run | Stop
FromChild = Prepared | MissingModules | Located | Ran | Ready
