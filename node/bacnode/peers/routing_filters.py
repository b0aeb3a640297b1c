"""What Delegated Routing answers with: records of peers, and filters on them.

Specification: https://specs.ipfs.tech/routing/http-routing-v1/ and, for the filters, IPIP-484.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bacpack.ipfs_clients.multiaddr import protocols_of
from bacpack.ipfs_clients.routing_client import GATEWAY_PROTOCOL

#: What stands in a filter for records that say nothing.
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """Who has something, and where they are reached."""

    peer_id: str
    addresses: tuple[str, ...]
    protocols: tuple[str, ...] = (GATEWAY_PROTOCOL,)

    def as_json(self) -> dict[str, Any]:
        """Return the record as it is sent."""
        addresses, protocols = list(self.addresses), list(self.protocols)
        return {"Schema": "peer", "ID": self.peer_id, "Addrs": addresses, "Protocols": protocols}


@dataclass(frozen=True, slots=True)
class Filters:
    """What a client can use: names of protocols in addresses, `!` before those it cannot use, and of transfer."""

    addresses: frozenset[str] = frozenset()
    protocols: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, addresses: str, protocols: str) -> Filters:
        """Read both as they are in a query, names with commas between them; case does not count."""
        return cls(_names(addresses), _names(protocols))

    def apply(self, records: Sequence[PeerRecord]) -> list[PeerRecord]:
        """Return the records that pass, with those of their addresses that do."""
        usable = [record for record in records if not self.protocols or self.protocols & set(record.protocols)]
        return [passed for record in usable if (passed := self._with_addresses(record)) is not None]

    def _with_addresses(self, record: PeerRecord) -> PeerRecord | None:
        if not self.addresses:
            return record
        if not record.addresses:
            return record if _UNKNOWN in self.addresses else None
        left = tuple(address for address in record.addresses if self._passes(address))
        return replace(record, addresses=left) if left else None

    def _passes(self, address: str) -> bool:
        names = protocols_of(address)
        refused = {name[1:] for name in self.addresses if name.startswith("!")}
        wanted = {name for name in self.addresses if not name.startswith("!")}
        return not names & refused and (not wanted or bool(names & wanted))


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in text.split(",") if name.strip())
