"""Sending a CAR while it is made: blocks are read in a thread, a part at a time, and no more than a part is in memory.

Where a block turns out to be missing or bad after the first byte is sent, the connection is closed without the mark
that ends a chunked body, so that no client takes the part for the whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Executor

from bacpack.content.car import car_chunks
from bacpack.content.cid.cid import Cid

#: Bytes that are read before they are sent, unless one block is larger.
PART_BYTES = 512 << 10


def parts(root: Cid, blocks: Iterator[tuple[Cid, bytes]]) -> Iterator[bytes]:
    """Yield a CAR of `blocks` in parts."""
    waiting: list[bytes] = []
    size = 0
    for chunk in car_chunks([root], blocks):
        waiting.append(chunk)
        size += len(chunk)
        if size >= PART_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


async def ahead(executor: Executor, source: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield what `source` yields in a thread, reading one part ahead of the one that is being sent."""
    loop = asyncio.get_running_loop()

    def step() -> asyncio.Future[bytes | None]:
        return loop.run_in_executor(executor, next, source, None)

    coming = step()
    try:
        while (part := await coming) is not None:
            coming = step()
            yield part
    finally:
        # The thread must be done with the source before anything else may touch it.
        if not coming.done():
            await asyncio.wait([coming])
        if coming.done() and not coming.cancelled():
            coming.exception()
