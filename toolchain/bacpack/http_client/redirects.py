"""URLs, and where an answer leads on: a few hops, none of them from an encrypted connection to one that is not.

The file of a release is elsewhere than its URL, at an address that lasts minutes, and a gateway for browsers has a host
name for each CID. What comes is compared with a CID, or with what came before, so it may come from anywhere.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urldefrag, urljoin, urlsplit

#: Hops that are followed.
MAX_HOPS = 5

_STATUSES = frozenset((301, 302, 303, 307, 308))
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9._-]+")
#: Characters that two editions of the rules for names write differently: they would lead to different owners.
_AMBIGUOUS = frozenset("ßς")
#: What stays as it is in a path or query; all else is written with `%`.
_PLAIN = "%/:@!$&'()*+,;=~?[]|"


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """A URL as it is asked for: `host` in ASCII, of an IPv6 address without brackets; `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What the header `Host` says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(url: str) -> HttpUrl:
    """Read a URL; raises `ValueError`, which says why nothing can be asked there."""
    if not url.isprintable():
        raise ValueError("it is malformed (it has a character that cannot be printed)")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = _ascii_host(parts.hostname or "")
    except ValueError as error:
        raise ValueError(f"it is malformed ({error})") from error
    if parts.scheme not in _PORTS or not host:
        raise ValueError("it is no http or https URL")
    target = quote(parts.path or "/", safe=_PLAIN) + (f"?{quote(parts.query, safe=_PLAIN)}" if parts.query else "")
    return HttpUrl(parts.scheme, host, port or _PORTS[parts.scheme], target)


def _ascii_host(name: str) -> str:
    if ":" in name:
        return str(ipaddress.IPv6Address(name))
    if _AMBIGUOUS & set(name):
        raise ValueError(f"the name `{name}` can be read in two ways: write it as `xn--…`")
    host = name if name.isascii() else name.encode("idna").decode("ascii")
    if host and not _HOST.fullmatch(host):
        raise ValueError(f"`{name}` cannot be the name of a host")
    return host


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
