"""The SQLite file with every job of a node and how it went, and how often each module was used.

It is written by one node only. What a client was told is durable: a job that was accepted, and how one ended. A column
more is a change of layout: files of another layout are refused.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bacnode.execution.job import Granted, JobEnd, Submission
from bacnode.execution.job_state import ENDED, State
from bacpack.content.store.pins import now
from bacpack.errors import InputError
from bacpack.files import explain_os_error
from bacpack.sqlite_file import explaining, open_sqlite, transaction

DATABASE_NAME = "jobs.sqlite3"

_LAYOUT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    created TEXT NOT NULL,
    started TEXT,
    finished TEXT,
    submission BLOB NOT NULL,
    granted BLOB NOT NULL,
    ending BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, number);
CREATE TABLE IF NOT EXISTS uses (
    cid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    uses INTEGER NOT NULL,
    last_used TEXT NOT NULL
) STRICT;
"""


@dataclass(slots=True)
class Record:
    """One job. `number` counts all jobs of the node, in the order in which they came."""

    number: int
    id: str
    state: State
    attempts: int
    created: str
    started: str | None
    finished: str | None
    submission: Submission
    granted: Granted
    ending: JobEnd


@dataclass(frozen=True, slots=True)
class Use:
    """How often a module was used by jobs here."""

    cid: str
    name: str
    bytes: int
    uses: int
    last_used: str


_COLUMNS = "number, id, state, attempts, created, started, finished, submission, granted, ending"


class JobDatabase:
    """The jobs below `folder`; safe for threads. Raises `InputError` when the file cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / DATABASE_NAME
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Two nodes would run each other's jobs. The system gives the lock back when the node ends.
            self._held = os.open(folder / "jobs.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._held)
            raise InputError(
                "node-is-running",
                f"another node runs with the state in `{folder}`",
                hint="choose another folder with --store, or end the other node",
                details={"path": str(folder)},
            ) from None
        except OSError as error:
            raise explain_os_error(error, f"use `{folder}`") from error
        try:
            with self._explaining():
                self._connection = open_sqlite(self._path, _SCHEMA, _LAYOUT, check_same_thread=False)
        except BaseException:
            os.close(self._held)
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
        os.close(self._held)

    def add(self, job: str, submission: Submission, granted: Granted) -> Record:
        """Keep a new job; it is durable when this returns."""
        created = now()
        row = (job, created, msgspec.msgpack.encode(submission), msgspec.msgpack.encode(granted))
        with self._writing(durably=True) as connection:
            number = connection.execute(
                "INSERT INTO jobs (id, state, created, submission, granted) VALUES (?, 'queued', ?, ?, ?)", row
            ).lastrowid
        assert number is not None
        return Record(number, job, "queued", 0, created, None, None, submission, granted, JobEnd())

    def start(self, record: Record, attempts: int) -> None:
        """Note that a job is being run, and which attempt it is. Survives the end of the node, not a loss of power."""
        record.state, record.attempts, record.started = "running", attempts, now()
        with self._writing(durably=False) as connection:
            connection.execute(
                "UPDATE jobs SET state = 'running', attempts = ?, started = ? WHERE number = ?",
                (record.attempts, record.started, record.number),
            )

    def finish(self, record: Record, state: State, ending: JobEnd, used: Iterable[tuple[str, str, int]] = ()) -> None:
        """Note how a job ended, and which modules it used; durable when this returns."""
        record.state, record.ending, record.finished = state, ending, now()
        with self._writing(durably=True) as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, finished = ?, ending = ? WHERE number = ?",
                (state, record.finished, msgspec.msgpack.encode(ending), record.number),
            )
            connection.executemany(
                "INSERT INTO uses VALUES (?, ?, ?, 1, ?) ON CONFLICT (cid) DO UPDATE SET"
                " uses = uses + 1, last_used = excluded.last_used",
                [(cid, name, size, record.finished) for cid, name, size in used],
            )

    def get(self, job: str) -> Record | None:
        """Return a job."""
        return next(iter(self._select("WHERE id = ?", (job,))), None)

    def page(self, state: str | None, before: int | None, count: int) -> list[Record]:
        """Return jobs, the newest first; those with lower numbers than `before`."""
        conditions, values = ["number < ?"], [before if before is not None else 1 << 62]
        if state is not None:
            conditions.append("state = ?")
        parameters = (*values, *([state] if state is not None else []), count)
        return self._select(f"WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?", parameters)

    def unfinished(self) -> list[Record]:
        """Return every job that has not ended, in the order in which they came."""
        return self._select("WHERE state IN ('queued', 'fetching', 'running') ORDER BY number", ())

    def counts(self) -> dict[str, int]:
        """Return how many jobs are kept, by state."""
        with self._lock:
            return dict(self._connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())

    def ids(self) -> set[str]:
        """Return the name of every job."""
        with self._lock:
            return {row[0] for row in self._connection.execute("SELECT id FROM jobs")}

    def forget_oldest(self, kept: int) -> list[str]:
        """Delete the oldest jobs that have ended, so that no more than so many are left; return their names."""
        ended = ", ".join(f"'{state}'" for state in sorted(ENDED))
        with self._writing(durably=False) as connection:
            rows = connection.execute(
                f"DELETE FROM jobs WHERE number IN (SELECT number FROM jobs WHERE state IN ({ended})"
                " ORDER BY number DESC LIMIT -1 OFFSET ?) RETURNING id",
                (kept,),
            ).fetchall()
        return [row[0] for row in rows]

    def uses(self) -> dict[str, Use]:
        """Return how often each module was used, by CID."""
        with self._lock:
            rows = self._connection.execute("SELECT cid, name, bytes, uses, last_used FROM uses").fetchall()
        return {row[0]: Use(*row) for row in rows}

    def _select(self, where: str, parameters: tuple[Any, ...]) -> list[Record]:
        with self._lock, self._explaining():
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM jobs {where}", parameters).fetchall()
        return [_record(row) for row in rows]

    @contextmanager
    def _writing(self, *, durably: bool) -> Iterator[sqlite3.Connection]:
        with self._lock, self._explaining():
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durably else 'NORMAL'}")
            with transaction(self._connection):
                yield self._connection

    def _explaining(self) -> AbstractContextManager[None]:
        return explaining(self._path, "the node's database")


def _record(row: tuple[Any, ...]) -> Record:
    number, job, state, attempts, created, started, finished, *_ = row
    submission = msgspec.msgpack.decode(row[7], type=Submission)
    granted = msgspec.msgpack.decode(row[8], type=Granted)
    ending = JobEnd() if row[9] is None else msgspec.msgpack.decode(row[9], type=JobEnd)
    return Record(number, job, state, attempts, created, started, finished, submission, granted, ending)
