"""Which addresses may be connected to. A name is looked up once, and what that gave is what is connected to.

A module can name any URL, so a program from a stranger could otherwise make this machine call services that only it can
reach: addresses that are not public are refused unless they are allowed, also where an answer leads to another address.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

from bacpack.errors import UnreachableError
from bacpack.http_client.errors import RequestError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRules:
    """The addresses of hosts, and whether they may be connected to; safe for threads."""

    def __init__(self, *, allow_private: bool = False) -> None:
        self._allow_private = allow_private
        self._found: dict[tuple[str, int], Sequence[Address]] = {}

    def look_up(self, url: str, host: str, port: int) -> Sequence[Address]:
        """Return the addresses that a host is connected to by, so that what is checked is what is used."""
        known = self._found.get((host, port))
        if known is None:
            # Such names are this machine, by RFC 6761, which not every resolver knows.
            name = "localhost" if host.endswith(".localhost") else host
            try:
                found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                reason = f"the name `{host}` has no address ({error})"
                raise RequestError(url, reason, final=True, sent=False) from error
            texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
            # The first thread that asks decides for all.
            known = self._found.setdefault((host, port), [ipaddress.ip_address(text) for text in texts])
        return known

    def check(self, url: str, addresses: Sequence[Address], known: Sequence[Address] = ()) -> None:
        """Raise `UnreachableError` (`url-private`) for addresses that are not public, nor among those `known`."""
        for address in addresses:
            if not (self._allow_private or is_public(address) or is_same(address, known)):
                raise UnreachableError(
                    "url-private",
                    f"`{url}` is not fetched: {address} is not a public address",
                    hint="if you trust the program, allow it with --allow-private",
                    details={"url": url, "address": str(address)},
                )

    def forget(self, url: str) -> None:
        """Look the name in `url` up again next time: it could not be reached where it was."""
        host = urlsplit(url).hostname or ""
        for known in [key for key in self._found if key[0] == host]:
            self._found.pop(known, None)


def is_public(address: Address) -> bool:
    """Whether anybody may be led to an address."""
    return address.is_global and not address.is_multicast


def is_same(address: Address, known: Sequence[Address]) -> bool:
    """Whether an address is one of those known; all of this machine are one."""
    return address in known or (address.is_loopback and any(other.is_loopback for other in known))


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine, so that what is sent to it can be read by nobody else."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
