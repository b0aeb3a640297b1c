"""HTTP/1.1 as uvicorn speaks it, with limits on what a client may make the node wait for or remember.

uvicorn waits for ever for the first request of a connection, collects headers without a bound, and waits for ever for
a client that does not read. A few slow clients could so use up a small machine.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

#: Bytes of a request's line and headers together.
MAX_HEAD_BYTES = 32 << 10
#: Seconds from the first byte of a request, or from connecting, to the end of its headers.
HEAD_SECONDS = 10
#: Seconds in which a client that is sent an answer takes none of it.
STALLED_SECONDS = 30
#: Seconds that what is left of a request's body may take once it is answered. Closing at once would lose the answer.
LINGER_SECONDS = 5
#: Bytes of it that are read past.
LINGER_BYTES = 64 << 20
#: Open connections; further ones are told so and closed.
MAX_CONNECTIONS = 512


class JoinedWrites:
    """A transport that sends what is written at one moment at once: an answer's head and its body.

    For a small block each call of the system takes as long as finding and checking the block.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Send `data`, with what else is written before the loop goes on."""
        if self._waiting:
            self._waiting.append(data)
            self._send()
        else:
            self._waiting.append(data)
            self._loop.call_soon(self._send)

    def close(self) -> None:
        """Close when all is sent."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            if not self._transport.is_closing():
                self._transport.writelines(waiting)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Bytes of the head that is being read, or None inside a body.
        self._head_bytes: int | None = 0
        #: Bytes of a body that is not read any more which may still come, or None where it is read.
        self._left_bytes: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin; or say that there are too many."""
        super().connection_made(transport)
        self.transport = JoinedWrites(transport, self.loop)  # type: ignore[assignment]  # it does what is asked of it
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(503, b"too many connections")
        else:
            self._arm(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every clock."""
        self._disarm()
        self._unset_keepalive_if_required()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in, up to the limit on heads."""
        if self.transport.is_closing():
            return
        if self._head_bytes is not None:
            if self._timer is None:
                self._arm(HEAD_SECONDS)
            self._head_bytes += len(data)
            before = self._head_bytes
            super().data_received(data)
            # Unchanged if these bytes did not end the head.
            if self._head_bytes == before and before > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(431, b"the request's headers are too large")
        else:
            if self._left_bytes is not None:
                self._left_bytes -= len(data)
                if self._left_bytes < 0:
                    self.transport.close()
                    return
            super().data_received(data)

    def on_headers_complete(self) -> None:
        """Stop the clock on the head: what reads the body has one of its own."""
        self._disarm()
        self._head_bytes = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the next head."""
        self._disarm()
        self._head_bytes, self._left_bytes = 0, None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """If the body is still coming, read past it for a while, then close."""
        super().on_response_complete()
        if self._head_bytes is None and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._left_bytes = LINGER_BYTES
            self._arm(LINGER_SECONDS)

    def pause_writing(self) -> None:
        """Give a client that does not read a limited time."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._time_is_up)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._head_bytes:
            self._refuse(408, b"the request took too long to come")
        else:
            self.transport.close()

    def _refuse(self, status: int, reason: bytes) -> None:
        """Answer outside of any request, and close."""
        head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(
            reason
        )
        self.transport.write(STATUS_LINE[status] + head + reason)
        self.transport.close()


class Server(uvicorn.Server):
    """Says when it accepts connections, and ends without an error when told to end."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, and say so."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals that end a process as a wish to end; uvicorn's own way dies of them afterwards."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
