"""Connections to addresses that were checked, which keep to a time.

`httpcore2` limits each silence, and this how long a thread may go on at all: a server that sends its headers one byte
at a time is never silent, and would hold a request for as long as it likes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import httpcore2
import httpx2

from bacpack import __version__

if TYPE_CHECKING:
    import ssl

    from bacnode.transport import Addresses, Clock


class Backend(httpcore2.NetworkBackend):
    """Opens connections that keep to `clock`, to one of the `addresses` of their host; it looks up no name."""

    def __init__(self, clock: Clock, addresses: Addresses) -> None:
        self._clock = clock
        self._addresses = addresses
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address that takes it."""
        failure: Exception = httpcore2.ConnectError("it was not looked up")
        for address in self._addresses.get((host, port), ()):
            try:
                stream = self._sockets.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._clock)
        raise failure


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return some bytes, none at the end."""
        if self._clock.until is not None:
            left = self._clock.until - time.monotonic()
            if left <= 0:
                raise httpcore2.ReadTimeout("the time is over")
            timeout = left if timeout is None else min(left, timeout)
        cancel = self._clock.cancel
        if cancel is None:
            return self._stream.read(max_bytes, timeout)
        try:
            with cancel.reading(self._stream.get_extra_info("socket")):
                return self._stream.read(max_bytes, timeout)
        except ConnectionAbortedError as error:
            raise httpcore2.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """Go on encrypted."""
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._clock)

    def get_extra_info(self, info: str) -> Any:
        """Return a fact about the connection."""
        return self._stream.get_extra_info(info)


def request_for(
    method: str, parsed: httpx2.URL, port: int, headers: Mapping[str, str], idle: float
) -> httpcore2.Request:
    """Return the request for a URL: its bytes as they are, and nothing of ours but what we are called."""
    target = httpcore2.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=port, target=parsed.raw_path)
    sent = {
        "Host": parsed.netloc.decode("ascii"),
        "User-Agent": f"bacpack/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        **({"Content-Length": "0"} if method == "POST" else {}),
        **headers,
    }
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), idle)
    return httpcore2.Request(
        method,
        target,
        headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in sent.items()],
        extensions={"timeout": timeout},
    )
