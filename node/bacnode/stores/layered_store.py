"""The blocks of a node, and before them those that are for its jobs alone."""

from __future__ import annotations

from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore


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
