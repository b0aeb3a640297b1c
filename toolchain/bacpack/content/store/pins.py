"""Pins: which CIDs garbage collection keeps, by name."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from bacpack.content.cid.cid import Cid
from bacpack.content.store.database import reading, writing

#: `recursive` keeps all that the CID links to, `direct` its one block.
PinMode: TypeAlias = Literal["recursive", "direct"]


@dataclass(frozen=True, slots=True)
class Pin:
    """A CID that is kept. `created` is a time in UTC, ISO 8601."""

    cid: Cid
    name: str
    mode: PinMode
    created: str


class Pins:
    """The pins of the store in `folder`. A CID has one pin; versions 0 and 1 of a CID are one, kept as version 1."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, cid: Cid, name: str = "", mode: PinMode = "recursive") -> Pin:
        """Pin `cid`, whose blocks must be durable, and return its pin.

        A pin that was there gets this name, unless it is empty, and never keeps less than before.
        """
        # `max`, for "recursive" sorts after "direct".
        with writing(self._folder) as database:
            row = database.execute(
                "INSERT INTO pins (cid, name, mode, created) VALUES (?, ?, ?, ?) ON CONFLICT (cid) DO UPDATE SET"
                " name = iif(excluded.name = '', name, excluded.name), mode = max(mode, excluded.mode)"
                " RETURNING cid, name, mode, created",
                (str(cid.to_v1()), name, mode, now()),
            ).fetchone()
        return _pin(row)

    def remove(self, cid: Cid) -> bool:
        """Unpin `cid` and return whether it was pinned."""
        if self.get(cid) is None:
            return False
        with writing(self._folder) as database:
            return database.execute("DELETE FROM pins WHERE cid = ?", (str(cid.to_v1()),)).rowcount > 0

    def get(self, cid: Cid) -> Pin | None:
        """Return the pin of `cid` itself, not one that keeps it through a link."""
        return next((pin for pin in self.all() if pin.cid == cid.to_v1()), None)

    def all(self) -> list[Pin]:
        """Return all pins, oldest first."""
        with reading(self._folder) as database:
            if database is None:
                return []
            rows = database.execute("SELECT cid, name, mode, created FROM pins ORDER BY created, cid").fetchall()
        return [_pin(row) for row in rows]


def _pin(row: tuple[str, str, PinMode, str]) -> Pin:
    return Pin(Cid.parse(row[0]), *row[1:])


def now() -> str:
    """Return this moment in UTC, ISO 8601 to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
