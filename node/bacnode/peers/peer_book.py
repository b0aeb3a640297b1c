"""The peers that a node knows, in a file: who told of them, and how they did; kept from one start to the next.

The node writes who there is, the process that fetches writes how they do, and both read.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Literal, TypeAlias

from bacnode.fetch.source_health import Health

Told: TypeAlias = Literal["configured", "mdns", "routing"]

BOOK_NAME = "peers.sqlite3"
#: Peers that nobody told of for so long are forgotten, with what was measured.
_FORGOTTEN_SECONDS = 30 * 86400.0
#: For how long one is asked that a router named, and most of those.
ROUTED_SECONDS, MOST_ROUTED = 3600.0, 32
#: Peers on the local network, at most: anybody there can tell of some.
MOST_FOUND = 64
_FOR_EVER = 1e18

_KINDS = {"float": "REAL", "float | None": "REAL", "int": "INTEGER", "bool": "INTEGER"}
_COLUMNS = [(entry.name, _KINDS.get(str(entry.type), "TEXT")) for entry in fields(Health)]
_NAMES = ", ".join(name for name, _ in _COLUMNS)
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS peers (
    url TEXT PRIMARY KEY, told TEXT NOT NULL, peer_id TEXT, ping REAL, present_until REAL NOT NULL, seen REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS standings (url TEXT PRIMARY KEY, {", ".join(f"{name} {kind}" for name, kind in _COLUMNS)});
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class PeerOptions:
    """Whom a person wants a node to ask."""

    peers: tuple[str, ...] = ()
    #: Routers that are asked who has a block that no peer has.
    routers: tuple[str, ...] = ()
    #: Whether to find nodes on the local network, and be found by them.
    mdns: bool = False
    #: Whether a router may name addresses that are not public.
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class KnownPeer:
    """A peer, as the file has it."""

    url: str
    told: Told
    peer_id: str | None
    #: Seconds in which it last said who it is.
    ping: float | None
    is_present: bool
    health: Health = field(default_factory=Health)

    @property
    def may_be_anywhere(self) -> bool:
        """Whether it may be at any address: a router is a stranger, who must not lead where only this machine can."""
        return self.told != "routing"


class PeerBook:
    """What is known of peers by the node whose state is in `folder`. Safe for threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / BOOK_NAME

    def begin(self, options: PeerOptions) -> None:
        """Note whom a node that starts is to ask: those it found or was told of before are not there any more."""
        now = time.time()
        with self._connected() as book:
            book.execute("UPDATE peers SET present_until = 0")
            book.execute("DELETE FROM peers WHERE seen < ?", (now - _FORGOTTEN_SECONDS,))
            book.execute("DELETE FROM standings WHERE url NOT IN (SELECT url FROM peers)")
            for name, value in (("routers", options.routers), ("allow_private", options.allow_private)):
                book.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))
            for url in options.peers:
                _tell(book, url.rstrip("/"), "configured", None, _FOR_EVER)

    def options(self) -> PeerOptions:
        """Return what a person wants, but for the peers, which `all` gives."""
        with self._connected() as book:
            values = dict(book.execute("SELECT name, value FROM settings").fetchall())
        routers = tuple(json.loads(values.get("routers", "[]")))
        return PeerOptions(routers=routers, allow_private=json.loads(values.get("allow_private", "false")))

    def found(self, url: str, peer_id: str) -> bool:
        """Note a peer on the local network; return whether there was room for it."""
        with self._connected() as book:
            count = _count(book, "mdns")
            if count < MOST_FOUND:
                _tell(book, url, "mdns", peer_id, _FOR_EVER)
        return count < MOST_FOUND

    def routed(self, urls: Sequence[tuple[str, str | None]]) -> None:
        """Note peers, and their IDs, that a router named; the oldest of these are not asked any more."""
        now = time.time()
        with self._connected() as book:
            for url, peer_id in urls:
                _tell(book, url, "routing", peer_id, now + ROUTED_SECONDS)
            book.execute(
                "UPDATE peers SET present_until = 0 WHERE told = 'routing' AND url NOT IN "
                "(SELECT url FROM peers WHERE told = 'routing' ORDER BY present_until DESC LIMIT ?)",
                (MOST_ROUTED,),
            )

    def vanished(self, url: str) -> None:
        """Note that a peer left the local network; one that was configured stays."""
        with self._connected() as book:
            book.execute("UPDATE peers SET present_until = 0 WHERE url = ? AND told = 'mdns'", (url,))

    def pinged(self, url: str, peer_id: str, seconds: float) -> None:
        """Note who a peer says it is, and how long it took to."""
        with self._connected() as book:
            book.execute(
                "UPDATE peers SET peer_id = ?, ping = ?, seen = ? WHERE url = ?", (peer_id, seconds, time.time(), url)
            )

    def measured(self, healths: dict[str, Health]) -> None:
        """Keep how peers did."""
        places = ", ".join("?" * (len(_COLUMNS) + 1))
        with self._connected() as book:
            book.executemany(
                f"INSERT OR REPLACE INTO standings (url, {_NAMES}) VALUES ({places})",
                [(url, *astuple(health)) for url, health in healths.items()],
            )

    def all(self) -> list[KnownPeer]:
        """Return every peer that was ever told of and is not forgotten."""
        now = time.time()
        columns = ", ".join(f"standings.{name}" for name, _ in _COLUMNS)
        with self._connected() as book:
            rows = book.execute(
                "SELECT peers.url, told, peer_id, ping, present_until, standings.url IS NOT NULL, "
                f"{columns} FROM peers LEFT JOIN standings ON standings.url = peers.url ORDER BY peers.rowid"
            ).fetchall()
        return [
            KnownPeer(url, told, peer_id, ping, until > now, _health(values) if measured else Health())
            for url, told, peer_id, ping, until, measured, *values in rows
        ]

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a transaction. A file that is damaged is made anew: it holds nothing of worth."""
        try:
            connection = self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    self._path.with_name(self._path.name + suffix).unlink()
            connection = self._open()
        with closing(connection), connection:
            yield connection

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=30)
        try:
            # What a power cut may take is the last measurements.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'settings'").fetchone():
                connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection


def _tell(book: sqlite3.Connection, url: str, told: Told, peer_id: str | None, until: float) -> None:
    # One that a person named stays so, whoever else tells of it; and a router's word counts least.
    book.execute(
        "INSERT INTO peers VALUES (?1, ?2, ?3, NULL, ?4, ?5) ON CONFLICT (url) DO UPDATE SET "
        "told = CASE WHEN present_until > ?5 AND (told = 'configured' OR ?2 = 'routing') THEN told ELSE ?2 END, "
        "peer_id = coalesce(?3, peer_id), present_until = max(present_until, ?4), seen = ?5",
        (url, told, peer_id, until, time.time()),
    )


def _count(book: sqlite3.Connection, told: Told) -> int:
    query = "SELECT count(*) FROM peers WHERE told = ? AND present_until > ?"
    return int(book.execute(query, (told, time.time())).fetchone()[0])


def _health(values: Sequence[object]) -> Health:
    health = Health(*values)  # type: ignore[arg-type]  # as they were written
    health.is_liar = bool(health.is_liar)
    return health
