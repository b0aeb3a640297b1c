"""Asking routers who has a block, by Delegated Routing: https://specs.ipfs.tech/routing/http-routing-v1/."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

from bacnode.service.multiaddr import to_url
from bacnode.service.records import GATEWAY_PROTOCOL
from bacnode.transport import Transport
from bacpack.content.cid import Cid
from bacpack.decode import DecodeError, decode_json
from bacpack.errors import BacpackError

_MAX_BYTES = 256 << 10
_SECONDS = 5.0
#: Peers that one answer may name, and addresses of one of them.
_MOST, _ADDRESSES = 8, 2
_PEER_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]{20,80}")


def ask_routers(
    transport: Transport, routers: Sequence[str], cid: Cid, deadline: float
) -> list[tuple[str, str | None]]:
    """Return URLs of those who have a block and speak HTTP, as the first router says that knows any; and their IDs."""
    for router in routers:
        url = f"{router.rstrip('/')}/routing/v1/providers/{cid.to_v1()}?filter-protocols={GATEWAY_PROTOCOL}"
        seconds = min(_SECONDS, deadline - time.monotonic())
        if seconds <= 0:
            break
        try:
            with transport.open("GET", url, {"Accept": "application/json"}, any_address=True) as answer:
                answer.check()
                found = list(_providers(decode_json(answer.read(_MAX_BYTES, seconds))))
        except (BacpackError, DecodeError):
            continue
        if found:
            return found[:_MOST]
    return []


def _providers(body: Any) -> list[tuple[str, str | None]]:
    records = body.get("Providers") if isinstance(body, dict) else None
    found: dict[str, str | None] = {}
    for record in records if isinstance(records, list) else ():
        if not isinstance(record, dict) or record.get("Schema") != "peer":
            continue
        protocols, addresses, name = record.get("Protocols"), record.get("Addrs"), record.get("ID")
        # A router that knows no filters says more than it was asked.
        if isinstance(protocols, list) and protocols and GATEWAY_PROTOCOL not in protocols:
            continue
        peer_id = name if isinstance(name, str) and _PEER_ID.fullmatch(name) else None
        urls = [to_url(text) for text in addresses if isinstance(text, str)] if isinstance(addresses, list) else []
        for url in [url for url in urls if url is not None][:_ADDRESSES]:
            found.setdefault(url, peer_id)
    return list(found.items())
