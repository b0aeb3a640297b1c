"""Until when a request may last, and ending one that another thread makes.

The limits of an HTTP client are for one read or write each, so a server that sends a byte now and then holds it for
ever. Here every read and write ends when the time of the whole is over. How long each may take: see `RequestPolicy`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from bacpack.http_client.address_rules import Address


class Cancel:
    """A way to end another thread's request at once, wherever it waits for the server."""

    def __init__(self) -> None:
        self.cancelled = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def cancel(self) -> None:
        """End it; what it raises then means nothing."""
        with self._lock:
            self.cancelled = True
            if self._socket is not None:
                with suppress(OSError):
                    # Not that of an encrypted one, which takes away what the other thread reads from.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    @contextmanager
    def reading(self, from_socket: socket.socket | None) -> Iterator[None]:
        """Let the reading inside the block be ended; raises `ConnectionAbortedError` if it was before."""
        with self._lock:
            if self.cancelled:
                raise ConnectionAbortedError("it was cancelled")
            self._socket = from_socket
        try:
            yield
        finally:
            with self._lock:
                self._socket = None


class Clock(threading.local):
    """What holds for the request that the present thread makes."""

    #: Until when its connection may be used, as `time.monotonic` gives it, and what ends that earlier.
    until: float | None = None
    cancel: Cancel | None = None
    #: Where it may be sent.
    addresses: Sequence[Address] = ()

    @contextmanager
    def of_request(self, cancel: Cancel | None) -> Iterator[None]:
        """Let `cancel` end what the thread does in the block; afterwards, what held before holds again."""
        before = self.until, self.cancel
        self.cancel = cancel
        try:
            yield
        finally:
            self.until, self.cancel = before

    def bounded(self, timeout: float | None, late: type[Exception]) -> float | None:
        """Return `timeout`, or what is left if that is less; raises `late` if nothing is."""
        if self.until is None:
            return timeout
        left = self.until - time.monotonic()
        if left <= 0:
            raise late("the time is over")
        # Never 0, which means something else.
        return max(0.001, left if timeout is None else min(timeout, left))


def earlier(one: float | None, other: float | None) -> float | None:
    """Return the earlier of two times, None being never."""
    return other if one is None else one if other is None else min(one, other)
