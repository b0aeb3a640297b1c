"""Where an answer leads on: a few hops, none of them from an encrypted connection to one that is not.

The file of a release is elsewhere than its URL, at an address that lasts minutes, and a gateway for browsers has a host
name for each CID. What comes is compared with a CID, or with what came before, so it may come from anywhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urldefrag, urljoin, urlsplit

if TYPE_CHECKING:
    import httpx2

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Hops that are followed.
MAX_HOPS = 5

_STATUSES = frozenset((301, 302, 303, 307, 308))


def next_hop(method: str, url: str, status: int, location: str) -> str | None:
    """Return the URL to ask next, None if the answer is one; raises `ValueError`, which says why it leads nowhere."""
    if method not in ("GET", "HEAD") or status not in _STATUSES or not location:
        return None
    found = urldefrag(urljoin(url, location)).url
    parts = urlsplit(found)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it leads to what is no http or https URL")
    if urlsplit(url).scheme == "https" and parts.scheme == "http":
        raise ValueError(f"it leads from https to http, to {parts.hostname}")
    if parts.username or parts.password:
        raise ValueError(f"it leads to a URL with a user in it, at {parts.hostname}")
    return found


def parse_url(url: str) -> tuple[httpx2.URL, int]:
    """Read a URL, and its port; raises `ValueError`, which says why nothing can be asked there."""
    import httpx2

    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"it is malformed ({error})") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("it is no http or https URL")
    return parsed, parsed.port or (443 if parsed.scheme == "https" else 80)


def is_public(address: Address) -> bool:
    """Whether anybody may be led to an address."""
    return address.is_global and not address.is_multicast


def is_same(address: Address, known: Sequence[Address]) -> bool:
    """Whether an address is one of those known; all of this machine are one."""
    return address in known or (address.is_loopback and any(other.is_loopback for other in known))
