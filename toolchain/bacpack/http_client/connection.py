"""Connections to addresses that were checked, which keep to the time of a thread and remember how an answer ended.

What comes after the last chunk of an answer, its trailers, is where Kubo says that it failed midway; HTTP clients drop
it. What is used of `httpcore2` beyond requests is this: that others make the connections.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import httpcore2

from bacpack.http_client.deadline import Clock

if TYPE_CHECKING:
    import ssl

#: So much is written before the time is looked at again.
_WRITE_BYTES = 64 << 10
#: Trailers are short and come last.
_TAIL_BYTES = 16 << 10
#: Open connections of one client, and seconds that one is kept which nobody uses.
_CONNECTIONS, _KEPT_SECONDS = 64, 5


def new_pool(scheme: str, clock: Clock) -> httpcore2.ConnectionPool:
    """Return a pool of connections; no proxy is used: one would look names up anew, and checks mean nothing."""
    return httpcore2.ConnectionPool(
        ssl_context=httpcore2.default_ssl_context() if scheme == "https" else None,
        max_connections=_CONNECTIONS,
        keepalive_expiry=_KEPT_SECONDS,
        network_backend=_Backend(clock),
    )


class _Backend(httpcore2.NetworkBackend):
    """Opens connections to the addresses that were checked for the request; it looks up no name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
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
        for address in self._clock.addresses:
            timed = self._clock.bounded(timeout, httpcore2.ConnectTimeout)
            try:
                stream = self._sockets.connect_tcp(str(address), port, timed, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._clock)
        raise failure


class _Stream(httpcore2.NetworkStream):
    """A connection that keeps to a clock."""

    def __init__(self, inner: httpcore2.NetworkStream, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        #: The last bytes that came.
        self.tail = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return some bytes, none at the end; another thread may end this."""
        timed = self._clock.bounded(timeout, httpcore2.ReadTimeout)
        cancel = self._clock.cancel
        if cancel is None:
            data = self._inner.read(max_bytes, timed)
        else:
            try:
                with cancel.reading(self.get_extra_info("socket")):
                    data = self._inner.read(max_bytes, timed)
            except ConnectionAbortedError as error:
                raise httpcore2.ReadError(str(error)) from error
        self.tail = (self.tail + data if len(data) < _TAIL_BYTES else data)[-_TAIL_BYTES:]
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        view = memoryview(buffer)
        for start in range(0, len(view), _WRITE_BYTES):
            timed = self._clock.bounded(timeout, httpcore2.WriteTimeout)
            self._inner.write(bytes(view[start : start + _WRITE_BYTES]), timed)

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """Go on encrypted."""
        timed = self._clock.bounded(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timed), self._clock)

    def get_extra_info(self, info: str) -> Any:
        """Return a fact about the connection."""
        return self._inner.get_extra_info(info)


def trailer(response: httpcore2.Response, name: str) -> str:
    """Return a trailer of an answer that was read to its end; empty if there is none."""
    stream = response.extensions.get("network_stream")
    if not isinstance(stream, _Stream):
        return ""
    for line in stream.tail.rpartition(b"\r\n0\r\n")[2].split(b"\r\n"):
        key, separator, value = line.partition(b":")
        if separator and key.decode(errors="replace").strip().lower() == name.lower():
            return value.decode(errors="replace").strip()
    return ""
