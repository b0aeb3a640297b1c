"""The SQLite file beside the blocks that holds what is not content: pins, and where blocks came from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bacpack.errors import InputError
from bacpack.files import explain_os_error

DATABASE_NAME = "store.sqlite3"

#: Number of the layout below, kept in the file; a layout that differs gets the next.
_LAYOUT = 1
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS pins (
    cid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('recursive', 'direct')),
    created TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS provenance (
    cid TEXT NOT NULL,
    name TEXT NOT NULL,
    obtained_from TEXT NOT NULL,
    obtained_at TEXT NOT NULL,
    PRIMARY KEY (cid, name)
) STRICT;
PRAGMA user_version = {_LAYOUT};
COMMIT;
"""
#: How long to wait for another process that is writing, in seconds.
_BUSY_SECONDS = 30

#: SQLite's primary result codes that have an error of their own; the message, and what mends it.
_REASONS = {
    sqlite3.SQLITE_FULL: ("disk-full", "free some space or choose another folder; nothing was left half-written"),
    sqlite3.SQLITE_READONLY: ("no-permission", "check the permissions of the file and of the folders above it"),
    sqlite3.SQLITE_CANTOPEN: ("no-permission", "check the permissions of the file and of the folders above it"),
    sqlite3.SQLITE_PERM: ("no-permission", "check the permissions of the file and of the folders above it"),
    sqlite3.SQLITE_BUSY: ("store-busy", "another bacpack is writing: try again when it is done"),
    sqlite3.SQLITE_CORRUPT: ("store-damaged", "restore the file, or move it away and pin again what is needed"),
    sqlite3.SQLITE_NOTADB: ("store-damaged", "restore the file, or move it away and pin again what is needed"),
}


@contextmanager
def writing(folder: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection in a transaction, which is durable when the block ends well and undone when it fails.

    A connection is opened for each use, so that threads and processes need to know nothing of each other. Raises
    `InputError` (`store-…`, `disk-full`, `no-permission`), as `reading` does.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, f"use the store at `{folder}`") from error
    with _connected(folder / DATABASE_NAME) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """Yield a connection to read through, or None where there is no database yet: reading makes nothing."""
    path = folder / DATABASE_NAME
    try:
        exists = path.is_file()
    except OSError as error:
        raise explain_os_error(error, f"use the store at `{folder}`") from error
    if not exists:
        yield None
        return
    with _connected(path) as connection:
        yield connection


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
            _prepare(connection, path)
            yield connection
    except sqlite3.Error as error:
        # Extended result codes carry the primary one in their low byte.
        code, hint = _REASONS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, ("io-error", "see the message above"))
        message = f"cannot use the store's database `{path}`: {error}"
        raise InputError(code, message, hint=hint, details={"path": str(path)}) from error


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    layout = connection.execute("PRAGMA user_version").fetchone()[0]
    # A pin that was reported must survive a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    if layout == 0:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)
    elif layout != _LAYOUT:
        raise InputError(
            "store-too-new",
            f"`{path}` was written by a newer bacpack (layout {layout}; this one knows {_LAYOUT})",
            hint="update bacpack, or choose another folder with BACPACK_HOME",
            details={"path": str(path), "layout": layout},
        )
