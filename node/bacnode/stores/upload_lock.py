"""Keeping garbage collection away from blocks that were taken in for someone and are not pinned yet.

Between the question which blocks are missing and the pin that keeps them lie many requests, and `bacpack gc` in another
process must not free in between what the first answer called present. So from such a request until no other came for a
while, the node holds the store's lock as a writer does, and collection waits. The system gives the lock back when the
node ends, however it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import ExitStack, asynccontextmanager

from bacpack.content.store.block_store import BlockStore

#: Seconds after the last request of an upload for which collection still waits.
GRACE_SECONDS = 30


class UploadLock:
    """The lock of one store, held for as long as something is being uploaded and a while longer."""

    def __init__(self, store: BlockStore, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self._entering = asyncio.Lock()
        self._held = ExitStack()
        self._is_held = False
        self._active = 0
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the lock while the block runs, and `GRACE_SECONDS` longer; waits for a collection under way."""
        loop = asyncio.get_running_loop()
        self._active += 1
        try:
            async with self._entering:
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                if not self._is_held:
                    await loop.run_in_executor(self._executor, self._held.enter_context, self._store.batch())
                    self._is_held = True
            yield
        finally:
            self._active -= 1
            if self._active == 0 and self._is_held:
                self._timer = loop.call_later(GRACE_SECONDS, self.release)

    def release(self) -> None:
        """Let collection go on."""
        self._timer = None
        self._is_held = False
        self._held.close()
