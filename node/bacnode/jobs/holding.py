"""Where jobs get modules from: this node's stores, then its peers; what comes from a peer is kept and passed on."""

from __future__ import annotations

from bacnode.peers.source import PeerSource
from bacnode.peers.swarm import Swarm
from bacnode.web import Web
from bacpack.content.blocks import MissingBlockError
from bacpack.content.cid import Cid
from bacpack.content.store import BlockStore


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
        self.deadline = deadline
        swarm.refresh()
        self.nearby = PeerSource(swarm, store, deadline) if swarm.may_ask else None
        self.remotes = [self.nearby] if self.nearby else []  # type: ignore[list-item]  # as far as jobs use them

    def get(self, url: str, max_bytes: int, *, named_by_user: bool = False) -> bytes:
        """Return what `url` gives, from a public address; raises as `Web.get` does."""
        return super().get(url, max_bytes, named_by_user=False)
