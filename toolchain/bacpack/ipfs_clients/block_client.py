"""What every client of blocks does alike: a block is read within limits and compared with its CID, whoever sent it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from bacpack.content.cid.block import MAX_BLOCK_BYTES, block_mismatch
from bacpack.content.cid.cid import Cid
from bacpack.errors import InputError
from bacpack.http_client import HttpClient, RequestError, Response
from bacpack.ipfs_clients.car_stream import CarStream


class NoCarError(RequestError):
    """A server does not answer with CAR streams; blocks may be had from it one by one."""


class BlockClient(Protocol):
    """Who can be asked for blocks, without a memory of how that went."""

    @property
    def http(self) -> HttpClient:
        """What it asks with."""

    @property
    def url(self) -> str:
        """Where it is."""

    @property
    def label(self) -> str:
        """How messages call it."""

    def block(self, cid: Cid) -> bytes:
        """Ask once for a block, and return it verified.

        Raises `MissingBlockError`, `RequestError`, and `CheckFailedError` (`block-mismatch`).
        """

    def car(self, cid: Cid) -> AbstractContextManager[CarStream]:
        """Ask once for all that is below `cid`, and yield the blocks as they come; there may be too few or too many.

        Raises `NoCarError`, `MissingBlockError`, `RequestError`, and as the stream does.
        """


def read_block(response: Response, cid: Cid, label: str, seconds: float) -> bytes:
    """Return the block that is the body of an answer, verified; raises `RequestError` and `CheckFailedError`."""
    try:
        block = response.read(MAX_BLOCK_BYTES, seconds)
    except InputError as error:
        # This server is at fault and not the content: others may be asked.
        raise RequestError(response.url, error.message, final=True) from error
    if not cid.matches(block):
        raise block_mismatch(cid, block, f" from {label}")
    return block
