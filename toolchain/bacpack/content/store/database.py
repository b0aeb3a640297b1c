"""The SQLite file beside the blocks that holds what is not content: pins, and where blocks came from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bacpack.files import explain_os_error
from bacpack.sqlite_file import explaining, open_sqlite, transaction

DATABASE_NAME = "store.sqlite3"

#: Number of the layout below, kept in the file; a layout that differs gets the next.
_LAYOUT = 1
_SCHEMA = """
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
"""


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
    with _connected(folder / DATABASE_NAME) as connection, transaction(connection):
        yield connection


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
    with explaining(path, "the store's database"), closing(open_sqlite(path, _SCHEMA, _LAYOUT)) as connection:
        # A pin that was reported must survive a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        yield connection
