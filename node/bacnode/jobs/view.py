"""What clients are told of a job."""

from __future__ import annotations

from typing import Any

import msgspec

from bacnode.execution.job import Granted, OutputFile
from bacnode.execution.job_state import State
from bacnode.jobs.database import Record
from bacpack.errors import Problem


class JobView(msgspec.Struct, kw_only=True):
    """What a client is told of a job. Times are UTC, ISO 8601."""

    schema: int = 1
    id: str
    state: State
    ref: str
    args: list[str]
    created: str
    started: str | None
    finished: str | None
    #: How often it was started; more than 1 says that it was run again.
    attempts: int
    exit_code: int | None
    error: Problem | None
    limits: Granted
    #: What the called function returned, as text.
    results: list[str]
    files: list[OutputFile]
    stdout_bytes: int
    stderr_bytes: int
    #: As `bacpack run --report` writes it, once the job has ended.
    report: dict[str, Any] | None


def view(record: Record) -> JobView:
    """What a client is told of a job."""
    submission, ending = record.submission, record.ending
    return JobView(
        id=record.id,
        state=record.state,
        ref=submission.ref,
        args=submission.args,
        created=record.created,
        started=record.started,
        finished=record.finished,
        attempts=record.attempts,
        exit_code=ending.exit_code,
        error=ending.error,
        limits=record.granted,
        results=ending.results,
        files=ending.files,
        stdout_bytes=ending.stdout_bytes,
        stderr_bytes=ending.stderr_bytes,
        report=ending.report,
    )
