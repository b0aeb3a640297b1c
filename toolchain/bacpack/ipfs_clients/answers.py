"""What answers hold, whoever sent it: blocks within limits of size and time, each compared with its CID."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO, cast

from bacpack.content.car import CarReader
from bacpack.content.cid.block import MAX_BLOCK_BYTES, block_mismatch
from bacpack.content.cid.cid import Cid
from bacpack.errors import InputError
from bacpack.http_client import RequestError, Response


class NoCarError(RequestError):
    """A server does not answer with CAR streams; blocks may be had from it one by one."""


def read_block(response: Response, cid: Cid, label: str, seconds: float) -> bytes:
    """Return the block that is the body of an answer, verified.

    Raises `RequestError`, and `CheckFailedError` (`block-mismatch`).
    """
    try:
        block = response.read(MAX_BLOCK_BYTES, seconds)
    except InputError as error:
        # This server is at fault and not the content: others may be asked.
        raise RequestError(response.url, error.message, final=True) from error
    if not cid.matches(block):
        raise block_mismatch(cid, block, f" from {label}")
    return block


class CarStream:
    """The blocks of a CAR, verified, as they come; no block may take longer than so many seconds.

    Reading raises `RequestError`, `CarError`, `UnknownHashError`, and `CheckFailedError` (`block-mismatch`).
    """

    def __init__(self, response: Response, name: str, seconds: float) -> None:
        self._body = _Body(response.chunks(), response.url, seconds)
        self._name = name

    @cached_property
    def _reader(self) -> CarReader:
        return CarReader(cast(BinaryIO, self._body), self._name)

    @property
    def roots(self) -> tuple[Cid, ...]:
        """What the header names."""
        return self._reader.roots

    def __iter__(self) -> Iterator[tuple[Cid, bytes]]:
        for block in self._reader:
            self._body.renew()
            yield block


class _Body:
    """Pieces of bytes as a file that is read once; no block of it may take longer than so many seconds."""

    def __init__(self, chunks: Iterator[bytes], url: str, seconds: float) -> None:
        self._chunks = chunks
        self._url = url
        self._seconds = seconds
        self._chunk = b""
        self._at = 0
        self.renew()

    def renew(self) -> None:
        """Begin the time of the next block."""
        self._end = time.monotonic() + self._seconds

    def seekable(self) -> bool:
        """Whether one can go back in it: no."""
        return False

    def read(self, count: int) -> bytes:
        """Return the next bytes, fewer than `count` only where they end."""
        parts = []
        while count:
            if self._at == len(self._chunk):
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                if time.monotonic() > self._end:
                    raise RequestError(self._url, f"no whole block came in {self._seconds:g} s", final=True)
                self._chunk, self._at = chunk, 0
            part = self._chunk[self._at : self._at + count]
            self._at += len(part)
            count -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
