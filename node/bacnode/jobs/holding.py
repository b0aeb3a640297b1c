"""Where jobs get modules from: this node's stores, then its peers; what comes from a peer is kept and passed on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from bacnode.peers.source import PeerSource
from bacnode.peers.swarm import Swarm
from bacnode.web import Web
from bacpack.content.blocks import MissingBlockError
from bacpack.content.cid import Cid
from bacpack.content.store import BlockStore

T = TypeVar("T")


class OneAtATime:
    """Has what several threads want at once done by one of them, for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._doing: dict[str, Future[object]] = {}

    def do(self, key: str, work: Callable[[], T]) -> T:
        """Return what `work` returns, or what another thread's work for the same key, under way, is going to."""
        with self._lock:
            future = self._doing.get(key)
            mine = future is None
            if future is None:
                future = self._doing[key] = Future()
        if not mine:
            return future.result()  # type: ignore[return-value]  # of the same key, so of the same kind
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
            raise
        else:
            future.set_result(result)
            return result
        finally:
            with self._lock:
                del self._doing[key]


class LayeredStore(BlockStore):
    """The blocks of the store in `folder`, and before them those in `private`, which are for jobs alone."""

    def __init__(self, folder: BlockStore, private: BlockStore) -> None:
        super().__init__(folder.folder)
        self._private = private

    def get(self, cid: Cid, *, verify: bool = True) -> bytes:
        """Return a block; raises as `BlockStore.get` does."""
        try:
            return self._private.get(cid, verify=verify)
        except MissingBlockError:
            return super().get(cid, verify=verify)

    def has(self, cid: Cid) -> bool:
        """Whether one of them holds the block."""
        return self._private.has(cid) or super().has(cid)


class JobWeb(Web):
    """What a job may reach over HTTP. Nobody at this machine named its program, so no address is let through."""

    def __init__(self, swarm: Swarm, store: BlockStore, deadline: float) -> None:
        super().__init__(deadline=deadline)
        swarm.refresh()
        self.nearby = PeerSource(swarm, store, deadline) if swarm.may_ask else None
        self.remotes = [self.nearby] if self.nearby else []  # type: ignore[list-item]  # as far as jobs use them

    def get(self, url: str, max_bytes: int, *, named_by_user: bool = False) -> bytes:
        """Return what `url` gives, from a public address; raises as `Web.get` does."""
        return super().get(url, max_bytes, named_by_user=False)
