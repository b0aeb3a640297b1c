"""SQLite files of ours: opened with the one layout that is known, and what goes wrong told with what fixes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bacpack.errors import InputError

#: How long to wait for another process that is writing, in seconds.
BUSY_SECONDS = 30

_NO_PERMISSION = ("no-permission", "check the permissions of the file and of the folders above it")
_DAMAGED = ("store-damaged", "restore the file, or move it away: a new one is made, without what it held")
#: SQLite's primary result codes that have an error of their own, with what fixes it.
_REASONS = {
    sqlite3.SQLITE_FULL: ("disk-full", "free some space or choose another folder; nothing was left half-written"),
    sqlite3.SQLITE_READONLY: _NO_PERMISSION,
    sqlite3.SQLITE_CANTOPEN: _NO_PERMISSION,
    sqlite3.SQLITE_PERM: _NO_PERMISSION,
    sqlite3.SQLITE_BUSY: ("store-busy", "another bacpack is writing: try again when it is done"),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}


def open_sqlite(path: Path, schema: str, layout: int, **options: Any) -> sqlite3.Connection:
    """Open a file of this layout, in which every statement is a transaction; a new one is given the `schema`.

    Raises `sqlite3.Error`, and `InputError` (`store-too-new`).
    """
    connection: sqlite3.Connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, **options)
    try:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN IMMEDIATE; {schema} PRAGMA user_version = {layout}; COMMIT;")
        elif found != layout:
            raise InputError(
                "store-too-new",
                f"`{path}` was written by a newer bacpack (layout {found}; this one knows {layout})",
                hint="update bacpack, or choose another folder with BACPACK_HOME",
                details={"path": str(path), "layout": found},
            )
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """What is written in the block is kept when it ends well, and undone when it fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def explaining(path: Path, what: str) -> Iterator[None]:
    """Turn an error of SQLite inside the block into an `InputError` that says `what` the file is."""
    try:
        yield
    except sqlite3.Error as error:
        # Extended result codes carry the primary one in their low byte.
        code, hint = _REASONS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, ("io-error", "see the message above"))
        raise InputError(
            code, f"cannot use {what} `{path}`: {error}", hint=hint, details={"path": str(path)}
        ) from error
