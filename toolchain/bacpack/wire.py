"""Connections that keep to a time, whatever the other side does, and what a server means by `Retry-After`.

The limits of an HTTP client are for one read or write each, so a server that sends a byte now and then holds it for
ever. Here every read and write ends when the time of the whole is over. What is used of `httpcore2` and `httpx2` beyond
requests is this: that others make the connections.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

import httpcore2
import httpx2

if TYPE_CHECKING:
    import ssl

#: So much is written before the time is looked at again.
_WRITE_BYTES = 64 << 10


class Clock(Protocol):
    """When the time of the whole is over."""

    @property
    def left(self) -> float | None:
        """Seconds that are left; None if there is no end."""


class TimedStream(httpcore2.NetworkStream):
    """A connection that keeps to a clock."""

    def __init__(self, inner: httpcore2.NetworkStream, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return some bytes, none at the end."""
        return self._inner.read(max_bytes, bounded(self._clock, timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        view = memoryview(buffer)
        for start in range(0, len(view), _WRITE_BYTES):
            timed = bounded(self._clock, timeout, httpcore2.WriteTimeout)
            self._inner.write(bytes(view[start : start + _WRITE_BYTES]), timed)

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """Go on encrypted."""
        timed = bounded(self._clock, timeout, httpcore2.ConnectTimeout)
        return type(self)(self._inner.start_tls(ssl_context, server_hostname, timed), self._clock)

    def get_extra_info(self, info: str) -> Any:
        """Return a fact about the connection."""
        return self._inner.get_extra_info(info)


class Transport(httpx2.HTTPTransport):
    """The transport of an `httpx2.Client` whose connections `backend` makes."""

    def __init__(self, backend: httpcore2.NetworkBackend) -> None:
        super().__init__(trust_env=False)
        # httpx2 has no parameter for the backend, httpcore2 has.
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context(), network_backend=backend, keepalive_expiry=5.0
        )


def bounded(clock: Clock, timeout: float | None, late: type[Exception]) -> float | None:
    """Return `timeout`, or what is left if that is less; raises `late` if nothing is."""
    left = clock.left
    if left is None:
        return timeout
    if left <= 0:
        raise late("the time is over")
    # Never 0, which means something else.
    return max(0.001, left if timeout is None else min(timeout, left))


def retry_after(text: str) -> float | None:
    """Seconds that a `Retry-After` header asks to wait, given as a number or a date; None where it says neither."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0)
    except (ValueError, TypeError, OverflowError):
        return None
