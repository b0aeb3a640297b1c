"""Under which names a node may be called: protection from pages that have a name of theirs lead to this machine.

A page of `evil.example` may ask that name to be resolved to 127.0.0.1, and is then, to the browser, of one origin with
the node ("DNS rebinding"). What it cannot change is the name in the request. An address is no such name, and neither is
one that nobody else can give away; others are told with `--host-name`.
"""

from __future__ import annotations

import ipaddress
import socket

from bacnode.http_server.errors import RequestError


def host_of(header: str) -> str:
    """Return the name or address in a `Host` header, without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower().rstrip(".")


def own_names() -> frozenset[str]:
    """Names of this machine that no stranger can give to another: without a dot, or of the local network's own."""
    name = socket.gethostname().lower().partition(".")[0]
    return frozenset(("localhost", name, f"{name}.local")) if name else frozenset(("localhost",))


class Hosts:
    """Knows the names under which one node is called."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def check(self, header: str) -> None:
        """Raise `RequestError` (`wrong-host`) for a `Host` that is not this node's."""
        host = host_of(header)
        if host in self._names or _is_address(host):
            return
        raise RequestError(
            "wrong-host",
            f"this node is not called `{host[:100]}`",
            hint="call it by its address, or start it with `--host-name NAME`",
            status=421,
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
