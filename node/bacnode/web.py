"""Fetching over HTTP: modules by URL, blocks from peers. Addresses and answers are not trusted.

A module can name any URL, so a program from a stranger could otherwise make this machine call services that only it can
reach: addresses that are not public are refused unless they are allowed, the name is looked up once and exactly what it
gave is connected to, and redirects are not followed.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from bacnode.sources import BlockSource, too_large
from bacpack import __version__
from bacpack.content.blocks import MAX_BLOCK_BYTES, MissingBlockError, block_mismatch
from bacpack.content.cid import Cid
from bacpack.errors import InputError, UnreachableError

# httpx2 is imported where it is used: its import takes longer than most programs run, and most need no network.
if TYPE_CHECKING:
    import httpx2

#: The longest silence, and the longest whole answer, that are waited for.
_IDLE_SECONDS = 30
_TOTAL_SECONDS = 600
#: Answers of a gateway that mean "I do not have it", as other implementations read them.
_NOT_HERE = frozenset((403, 404, 410, 451))


class Web:
    """What one job may reach over HTTP: nothing, when `offline`.

    `peers` are URLs that a person named. `allow_private` lets modules name URLs at addresses that are not public.
    """

    def __init__(self, peers: Sequence[str] = (), *, offline: bool = False, allow_private: bool = False) -> None:
        self._offline = offline
        self._allow_private = allow_private
        self.peers = [] if offline else [self._peer(url.rstrip("/")) for url in peers]

    @cached_property
    def _client(self) -> httpx2.Client:
        import httpx2

        return httpx2.Client(
            follow_redirects=False,
            timeout=_IDLE_SECONDS,
            # A proxy from the environment would look names up anew, and the check of addresses mean nothing.
            trust_env=False,
            headers={"User-Agent": f"bacpack/{__version__}", "Accept-Encoding": "identity"},
        )

    def _peer(self, url: str) -> BlockSource:
        return BlockSource("peer", url, f"the peer {url}", lambda cid: self._block(url, cid))

    def get(self, url: str, max_bytes: int, *, named_by_user: bool = False) -> bytes:
        """Return what `url` gives.

        Raises `UnreachableError` (`url-failed`, `url-private`, `offline`) or `InputError` (`too-large`).

        What a person typed may be at any address; what a module names may not.
        """
        status, body = self._request(url, max_bytes, {}, any_address=named_by_user or self._allow_private)
        if status != 200:
            redirect = " and redirects are not followed" if 300 <= status < 400 else ""
            raise _failed(url, f"the server answers {status}{redirect}")
        return body

    def _block(self, peer: str, cid: Cid) -> bytes:
        # The trustless gateway protocol: https://specs.ipfs.tech/http-gateways/trustless-gateway/
        url = f"{peer}/ipfs/{cid}?format=raw"
        accept = {"Accept": "application/vnd.ipld.raw"}
        try:
            status, body = self._request(url, MAX_BLOCK_BYTES, accept, any_address=True)
        except InputError as error:
            # This peer is at fault and not the module: others may be asked.
            raise _failed(url, error.message) from error
        if status in _NOT_HERE:
            raise MissingBlockError(cid, f"the peer {peer}")
        if status != 200:
            raise _failed(url, f"the peer answers {status}")
        if not cid.matches(body):
            raise block_mismatch(cid, body, f" from the peer {peer}")
        return body

    def _request(self, url: str, max_bytes: int, headers: Mapping[str, str], *, any_address: bool) -> tuple[int, bytes]:
        """Return the status that `url` answers, and the body if that is 200."""
        import httpx2

        if self._offline:
            raise UnreachableError(
                "offline",
                f"`{url}` is not fetched: --offline forbids it",
                hint="run without --offline",
                details={"url": url},
            )
        try:
            parsed = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise _failed(url, f"it is malformed ({error})") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise _failed(url, "it is no http or https URL")
        address = _look_up(url, parsed.host, parsed.port or (443 if parsed.scheme == "https" else 80))
        if not any_address and (not address.is_global or address.is_multicast):
            raise UnreachableError(
                "url-private",
                f"`{url}` is not fetched: {address} is not a public address",
                hint="if you trust the program, allow it with --allow-private",
                details={"url": url, "address": str(address)},
            )
        request = self._client.build_request(
            "GET",
            parsed.copy_with(host=str(address)),
            headers={**headers, "Host": parsed.netloc.decode("ascii")},
            extensions={"sni_hostname": parsed.host},
        )
        try:
            response = self._client.send(request, stream=True)
            try:
                return response.status_code, _body(url, response, max_bytes) if response.status_code == 200 else b""
            finally:
                response.close()
        except httpx2.HTTPError as error:
            raise _failed(url, str(error) or type(error).__name__) from error


def _body(url: str, response: httpx2.Response, max_bytes: int) -> bytes:
    """Read the body up to a limit: what the server says about its size is a promise, not a fact."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise _failed(url, f"the server compresses its answer ({encoding}), which it was asked not to do")
    stated = response.headers.get("Content-Length", "")
    if stated.isdecimal() and int(stated) > max_bytes:
        raise too_large(f"`{url}`", int(stated), max_bytes)
    deadline = time.monotonic() + _TOTAL_SECONDS
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > max_bytes:
            raise too_large(f"`{url}`", None, max_bytes)
        if time.monotonic() > deadline:
            raise _failed(url, f"it was not done after {_TOTAL_SECONDS} s")
    return bytes(body)


def _look_up(url: str, host: str, port: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address to connect to, so that what is checked is what is used."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _failed(url, f"the name `{host}` has no address ({error})") from error
    address = str(found[0][4][0]).partition("%")[0]
    return ipaddress.ip_address(address)


def _failed(url: str, reason: str) -> UnreachableError:
    return UnreachableError(
        "url-failed",
        f"`{url}` cannot be fetched: {reason}",
        hint="check the URL and the network, and try again",
        details={"url": url},
    )
