"""Connections that keep a time limit, whatever the other side does, and remember how an answer ended.

The limits of an HTTP client are for one read or write each, so a server that sends a byte now and then holds it for
ever. Here every read and write ends when the time of the whole is over. What comes after the last chunk of an answer,
its trailers, is where Kubo says that it failed midway; HTTP clients drop it.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore2
import httpx2

#: Trailers are short and come last.
_TAIL_BYTES = 16 << 10
#: So much is written before the time is looked at again.
_WRITE_BYTES = 64 << 10


class Clock:
    """When the time for a target is over."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def restart(self) -> None:
        """Count from now."""
        self._end = time.monotonic() + self._seconds

    @property
    def seconds(self) -> float:
        """The time limit."""
        return self._seconds

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._end - time.monotonic()

    def bounded(self, timeout: float | None) -> float:
        """Return `timeout`, or what is left if that is less, and never 0, which means something else."""
        return max(0.001, self.left if timeout is None else min(timeout, self.left))


class _Stream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self.tail = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._clock.left <= 0:
            raise httpcore2.ReadTimeout
        data = self._inner.read(max_bytes, self._clock.bounded(timeout))
        self.tail = (self.tail + data)[-_TAIL_BYTES:]
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        for start in range(0, len(view), _WRITE_BYTES):
            if self._clock.left <= 0:
                raise httpcore2.WriteTimeout
            self._inner.write(bytes(view[start : start + _WRITE_BYTES]), self._clock.bounded(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, self._clock.bounded(timeout)), self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore2.SyncBackend):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        bounded = self._clock.bounded(timeout)
        return _Stream(super().connect_tcp(host, port, bounded, local_address, socket_options), self._clock)


class Wire(httpx2.HTTPTransport):
    """The transport of an `httpx2.Client` whose connections are as described above."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(trust_env=False)
        # httpx2 has no parameter for the backend, httpcore2 has.
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context(), network_backend=_Backend(clock), keepalive_expiry=5.0
        )


def trailer(response: httpx2.Response, name: str) -> str:
    """Return a trailer of an answer that was read to its end; empty if there is none."""
    stream = response.extensions.get("network_stream")
    if not isinstance(stream, _Stream):
        return ""
    for line in stream.tail.rpartition(b"\r\n0\r\n")[2].split(b"\r\n"):
        key, separator, value = line.partition(b":")
        if separator and key.decode(errors="replace").strip().lower() == name.lower():
            return value.decode(errors="replace").strip()
    return ""
