"""Messages between a node and its processes: MessagePack, each after its length, over pipes."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from bacnode.execution.messages import FromChild, ToChild
from bacpack.decode import DecodeError, decode_msgpack

#: Larger than any submission; a longer one is a sign that the stream is broken.
_MAX_BYTES = 64 << 20
_LENGTH_BYTES = 4

_encode = msgspec.msgpack.Encoder().encode
_decode_to_child = msgspec.msgpack.Decoder(ToChild).decode
_FROM_CHILD: Any = FromChild


def pack(message: ToChild | FromChild) -> bytes:
    """Return a message with its length."""
    body = _encode(message)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


async def receive(reader: asyncio.StreamReader) -> FromChild | None:
    """Return the next message of a process, or None when it is gone or talks nonsense."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
        if length > _MAX_BYTES:
            return None
        message: FromChild = decode_msgpack(await reader.readexactly(length), _FROM_CHILD)
        return message
    except (asyncio.IncompleteReadError, ConnectionError, DecodeError):
        return None


class Parent:
    """A process's side: it reads from the node on standard input and answers on what was standard output."""

    def __init__(self) -> None:
        # Moved away from their numbers, so that nothing that prints or reads by mistake garbles the messages.
        self._input: BinaryIO = os.fdopen(os.dup(0), "rb")
        self._output: BinaryIO = os.fdopen(os.dup(1), "wb")
        with open(os.devnull, "r+b") as nothing:  # noqa: PTH123 - for its descriptor
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._lock = threading.Lock()

    def send(self, message: FromChild) -> None:
        """Send a message, from any thread."""
        with self._lock:
            self._output.write(pack(message))
            self._output.flush()

    def read(self) -> Iterator[ToChild]:
        """Yield messages until the node closes the pipe, or is gone."""
        while len(length := self._input.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
            yield _decode_to_child(self._input.read(int.from_bytes(length, "big")))
