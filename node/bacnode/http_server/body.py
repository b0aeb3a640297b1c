"""Reading the body of a request: JSON into a type, and a stream as a file for a thread to read."""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from bacnode.http_server.errors import RequestError
from bacpack.decode import DecodeError, decode_json

#: What a client must send on average, in bytes a second, and the seconds before that counts.
MIN_RATE = 16 << 10
GRACE_SECONDS = 30

MAX_JSON_BYTES = 1 << 20

T = TypeVar("T")


class Body:
    """The body of one request, in parts, within limits on its size and on the time it takes."""

    def __init__(self, request: Request, max_bytes: int) -> None:
        self._receive: Receive = request.receive
        self._max_bytes = max_bytes
        self._read = 0
        self._more = True
        self._started = time.monotonic()
        length = request.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > max_bytes:
            raise self._too_large()

    async def next_part(self) -> bytes:
        """Return some bytes, or none at the end; raises `RequestError` (`too-large`, `too-slow`)."""
        while self._more:
            deadline = self._started + GRACE_SECONDS + self._read / MIN_RATE
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    message = await self._receive()
            except TimeoutError:
                raise RequestError(
                    "too-slow",
                    f"the body came too slowly: {self._read} bytes in {time.monotonic() - self._started:.0f} s",
                    hint=f"send {MIN_RATE} bytes a second or more",
                    status=408,
                    headers={"Connection": "close"},
                ) from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self._more = message.get("more_body", False)
            part: bytes = message.get("body", b"")
            self._read += len(part)
            if self._read > self._max_bytes:
                raise self._too_large()
            if part:
                return part
        return b""

    def _too_large(self) -> RequestError:
        return RequestError(
            "too-large",
            f"the body is larger than {self._max_bytes} bytes",
            hint="send it in several requests",
            status=413,
            details={"max_bytes": self._max_bytes},
        )


class BodyFile:
    """A body as a binary file, to be read in a thread while the event loop goes on."""

    def __init__(self, body: Body, loop: asyncio.AbstractEventLoop) -> None:
        self._body = body
        self._loop = loop
        self._part = memoryview(b"")

    def read(self, count: int = -1) -> bytes:
        """Return up to `count` bytes, none at the end; raises as `Body.next_part` does."""
        if not self._part:
            self._part = memoryview(asyncio.run_coroutine_threadsafe(self._body.next_part(), self._loop).result())
        data = bytes(self._part[:count])
        self._part = self._part[len(data) :]
        return data

    def seekable(self) -> bool:
        """A stream is not."""
        return False


async def read_json(request: Request, kind: type[T], max_bytes: int = MAX_JSON_BYTES) -> T:
    """Return the request's body, which must be JSON of this type; raises `RequestError` (`bad-request`)."""
    body = Body(request, max_bytes)
    parts = []
    while part := await body.next_part():
        parts.append(part)
    try:
        return decode_json(b"".join(parts), kind)
    except DecodeError as error:
        raise RequestError(
            "bad-request", f"the body is not the JSON that is expected: {error}", hint="see the guide to the node"
        ) from None


async def wait_for_end(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
