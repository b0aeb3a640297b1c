"""Places and memory for jobs, given out in the order in which they are asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Capacity:
    """So many places and so much memory. Who asks for much is not passed by who asks for little."""

    def __init__(self, places: int, memory_bytes: int) -> None:
        self.places = places
        self.memory_bytes = memory_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, memory_bytes: int) -> AsyncIterator[None]:
        """Have one place and so much memory, no more than there is in all, while the block runs."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((memory_bytes, future))
        self._give()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._put_back(memory_bytes)
            raise
        try:
            yield
        finally:
            self._put_back(memory_bytes)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(not future.done() for _, future in self._waiting)

    def _put_back(self, memory_bytes: int) -> None:
        self.places += 1
        self.memory_bytes += memory_bytes
        self._give()

    def _give(self) -> None:
        while self._waiting:
            memory_bytes, future = self._waiting[0]
            if not future.done():
                if self.places < 1 or self.memory_bytes < memory_bytes:
                    return
                self.places -= 1
                self.memory_bytes -= memory_bytes
                future.set_result(None)
            self._waiting.popleft()
