"""Asking peers what can be told without giving it away: how large a block is, and who runs what nobody gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bacnode.service.records import RUNS_JOBS
from bacnode.transport import Transport
from bacpack.decode import decode_json
from bacpack.errors import BacpackError

_MAX_BYTES = 64 << 10
_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Runner:
    """A node that runs jobs which need a module."""

    url: str
    peer_id: str


def find_runner(transport: Transport, peers: Sequence[str], cid: str) -> Runner | None:
    """Return a peer that says it runs jobs with this module."""
    for peer in peers:
        url = peer.rstrip("/")
        try:
            with transport.open(
                "GET", f"{url}/routing/v1/providers/{cid}", {"Accept": "application/json"}, any_address=True
            ) as answer:
                answer.check()
                found = decode_json(answer.read(_MAX_BYTES, _SECONDS))
        except (BacpackError, ValueError):
            continue
        for record in _records(found):
            if RUNS_JOBS in (record.get("Protocols") or ()) and isinstance(record.get("ID"), str):
                return Runner(url, record["ID"][:100])
    return None


def size_at_peers(transport: Transport, peers: Sequence[str], cid: str) -> int | None:
    """Return the size of a block as the first peer that has it says; None if none has it."""
    for peer in peers:
        url = f"{peer.rstrip('/')}/ipfs/{cid}?format=raw"
        try:
            with transport.open("HEAD", url, {"Cache-Control": "only-if-cached"}, any_address=True) as answer:
                length = answer.header("Content-Length")
                if answer.status == 200 and length.isdecimal():
                    return int(length)
        except BacpackError:
            continue
    return None


def _records(found: Any) -> list[dict[str, Any]]:
    records = found.get("Providers") if isinstance(found, dict) else None
    return [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []
