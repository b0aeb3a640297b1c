"""Addresses as libp2p writes them, of what is reached over HTTP: `/ip4/127.0.0.1/tcp/8301/http`.

Specification: https://github.com/multiformats/multiaddr.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


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


def to_url(address: str) -> str | None:
    """Return the http or https URL that an address names; None for one that is reached otherwise."""
    parts = address.split("/")
    if len(parts) < 6 or parts[0] or parts[3] != "tcp" or not (parts[4].isascii() and parts[4].isdecimal()):
        return None
    kind, host, port, how = parts[1], parts[2], int(parts[4]), tuple(part for part in parts[5:] if part)
    if how not in (("http",), ("https",), ("tls", "http")) or not 0 < port < 65536:
        return None
    try:
        if kind in ("ip4", "ip6"):
            version = ipaddress.ip_address(host).version
            if f"ip{version}" != kind:
                return None
            host = f"[{host}]" if version == 6 else host
        elif kind not in ("dns", "dns4", "dns6") or not _NAME.fullmatch(host):
            return None
    except ValueError:
        return None
    return f"{'http' if how == ('http',) else 'https'}://{host}:{port}"
