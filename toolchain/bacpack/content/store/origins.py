"""Where content came from, when, and under which names: what reports and schedulers ask about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bacpack.content.cid.cid import Cid
from bacpack.content.store.database import reading, writing
from bacpack.content.store.pins import now


@dataclass(frozen=True, slots=True)
class Origin:
    """How a CID first came here. `obtained_from` says by what (`publish`, `car:FILE`, a URL), `names` what for."""

    cid: Cid
    names: tuple[str, ...]
    obtained_from: str
    #: Time in UTC, ISO 8601.
    obtained_at: str


class Provenance:
    """The record of the store in `folder`. What is known of a CID stays; new names are added to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def record(self, named: Iterable[tuple[Cid, str]], obtained_from: str) -> None:
        """Note that each CID, under its name (may be empty), came from `obtained_from` now."""
        moment = now()
        # The path of a file may be no UTF-8, which the database takes alone.
        source = obtained_from.encode(errors="replace").decode()
        rows = [(str(cid.to_v1()), name, source, moment) for cid, name in named]
        with writing(self._folder) as database:
            database.executemany("INSERT OR IGNORE INTO provenance VALUES (?, ?, ?, ?)", rows)

    def get(self, cid: Cid) -> Origin | None:
        """Return what is known of `cid`."""
        return next(iter(self._select("WHERE cid = ?", (str(cid.to_v1()),))), None)

    def all(self) -> list[Origin]:
        """Return what is known of every CID, in the order in which they came."""
        return self._select("", ())

    def forget(self, cids: Iterable[Cid]) -> None:
        """Delete what is known of `cids`, which are no longer here."""
        rows = [(str(cid.to_v1()),) for cid in cids]
        if rows:
            with writing(self._folder) as database:
                database.executemany("DELETE FROM provenance WHERE cid = ?", rows)

    def _select(self, where: str, parameters: tuple[str, ...]) -> list[Origin]:
        with reading(self._folder) as database:
            if database is None:
                return []
            rows = database.execute(
                f"SELECT cid, name, obtained_from, obtained_at FROM provenance {where} ORDER BY obtained_at, rowid",
                parameters,
            ).fetchall()
        origins: dict[str, Origin] = {}
        for cid, name, obtained_from, obtained_at in rows:
            first = origins.get(cid) or Origin(Cid.parse(cid), (), obtained_from, obtained_at)
            names = tuple(sorted({*first.names, name} - {""}))
            origins[cid] = Origin(first.cid, names, first.obtained_from, first.obtained_at)
        return list(origins.values())
