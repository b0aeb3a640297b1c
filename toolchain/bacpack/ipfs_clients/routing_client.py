"""The client of Delegated Routing, which says who has a block: https://specs.ipfs.tech/routing/http-routing-v1/."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bacpack.content.cid.cid import Cid
from bacpack.decode import DecodeError, decode_json
from bacpack.errors import BacpackError
from bacpack.http_client import HttpClient
from bacpack.ipfs_clients.multiaddr import to_url

#: What a record says of one that answers as a gateway does, and of a node that runs jobs which need something that it
#: does not give.
GATEWAY_PROTOCOL = "transport-ipfs-gateway-http"
RUNS_JOBS = "bacpack-jobs"

_MAX_BYTES = 256 << 10
_SECONDS = 5.0
#: Addresses that are taken of one of those that an answer names.
_ADDRESSES = 2
_PEER_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]{20,80}")


@dataclass(frozen=True, slots=True)
class Provider:
    """Who has something, by its ID if it says a sound one, the URLs where it speaks HTTP, and its protocols."""

    peer_id: str | None
    urls: tuple[str, ...]
    protocols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoutingClient:
    """A router, or a node, at `url`. One that a stranger named, and not a person, is asked with `any_address` false."""

    http: HttpClient
    url: str
    any_address: bool = True

    def providers(self, cid: Cid, protocol: str, until: float | None = None) -> list[Provider]:
        """Return those who have a block and speak a protocol, or say nothing of protocols; none if it does not answer.

        It is waited for until `until`, a time of `time.monotonic`, and never for more than a few seconds.
        """
        url = f"{self.url.rstrip('/')}/routing/v1/providers/{cid.to_v1()}?filter-protocols={protocol}"
        headers = {"Accept": "application/json"}
        end = time.monotonic() + _SECONDS
        until = end if until is None else min(end, until)
        try:
            with self.http.open("GET", url, headers, any_address=self.any_address, until=until) as answer:
                answer.check()
                records = _records(decode_json(answer.read(_MAX_BYTES)))
        except (BacpackError, DecodeError):
            return []
        # A router that knows no filters says more than it was asked.
        return [one for one in records if not one.protocols or protocol in one.protocols]


def _records(body: Any) -> Iterator[Provider]:
    records = body.get("Providers") if isinstance(body, dict) else None
    for record in records if isinstance(records, list) else ():
        if not isinstance(record, dict) or record.get("Schema") != "peer":
            continue
        name = record.get("ID")
        peer_id = name if isinstance(name, str) and _PEER_ID.fullmatch(name) else None
        urls = [url for url in map(to_url, _texts(record.get("Addrs"))) if url is not None][:_ADDRESSES]
        yield Provider(peer_id, tuple(urls), tuple(_texts(record.get("Protocols"))))


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
