"""Addresses as libp2p writes them, of what is reached over HTTP: `/ip4/127.0.0.1/tcp/8301/http`.

Specification: https://github.com/multiformats/multiaddr.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def of_url(url: str) -> str | None:
    """Return the address that an http or https URL names, or None for one that cannot be written so."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        return None
    secure = parts.scheme == "https"
    return of_host(parts.hostname, port or (443 if secure else 80), secure=secure)


def of_host(host: str, port: int, *, secure: bool = False) -> str:
    """Return the address of a server that speaks HTTP on this host and port."""
    try:
        kind = f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        kind = "dns"
    return f"/{kind}/{host}/tcp/{port}/{'tls/http' if secure else 'http'}"


def protocols_of(address: str) -> set[str]:
    """Return the names of the protocols in an address, with their values, which are none of them."""
    return set(address.lower().split("/")) - {""}
