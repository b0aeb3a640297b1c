"""Connections that keep the time limit of a target, and remember how an answer ended.

What comes after the last chunk of an answer, its trailers, is where Kubo says that it failed midway; HTTP clients drop
it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import httpcore2
import httpx2

from bacpack.wire import TimedStream, bounded

#: Trailers are short and come last.
_TAIL_BYTES = 16 << 10


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


class _Stream(TimedStream):
    tail = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = super().read(max_bytes, timeout)
        self.tail = (self.tail + data)[-_TAIL_BYTES:]
        return data


class Backend(httpcore2.SyncBackend):
    """Opens connections that keep to a clock."""

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
        """Connect."""
        timed = bounded(self._clock, timeout, httpcore2.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, timed, local_address, socket_options), self._clock)


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
