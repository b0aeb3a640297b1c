"""Fetching for several jobs of one process: what several want at once comes once, and is in the store for all."""

from __future__ import annotations

import io
from dataclasses import replace

from bacnode.fetch.fetched import Fetched, Found
from bacnode.fetch.source import BlockSource, Source
from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.content.unixfs.writer import build_file
from bacpack.http_client import too_large
from bacpack.single_flight import OneAtATime


def keep_one(fetched: Fetched, store: BlockStore) -> Cid | None:
    """Put one module into `store`; return its CID, or None if it has none or is a tree of another shape than ours."""
    if fetched.cid is None:
        return None
    cid = fetched.cid.to_v1()
    return cid if fetched.source == "store" or keep_file(cid, fetched.data, store) else None


def keep_file(cid: Cid, data: bytes, store: BlockStore) -> bool:
    """Put a file into `store`; return whether it is there now, and not a tree of another shape than ours."""
    blocks: list[tuple[Cid, bytes]] = []
    if build_file(io.BytesIO(data), lambda block_cid, block: blocks.append((block_cid, block))).cid != cid.to_v1():
        return False
    if not all(store.has(block_cid) for block_cid, _ in blocks):
        with store.batch() as batch:
            for block_cid, block in blocks:
                batch.put(block_cid, block, verified=True)
    return True


class StoredSource:
    """A source that has what `source` has, and puts it into a store; what jobs fetch at once, each is in `fetching`."""

    def __init__(self, source: Source, store: BlockStore, fetching: OneAtATime) -> None:
        self.label = source.label
        self.get = source.get
        self._source = source
        self._local = BlockSource("store", str(store.folder), "the store", store.get)
        self._store = store
        self._fetching = fetching

    def read(self, cid: Cid, max_bytes: int) -> Found:
        """Return a file of at most so many bytes, verified; what another job fetched meanwhile is the store's."""
        mine = False

        def fetch() -> Found:
            nonlocal mine
            mine = True
            try:
                return self._local.read(cid, max_bytes)  # another job may just have brought it
            except MissingBlockError:
                found = self._source.read(cid, max_bytes)
            keep_file(cid, found.data, self._store)
            return found

        found = self._fetching.do(f"{cid} {self.label}", fetch)
        if len(found.data) > max_bytes:
            raise too_large(str(cid), len(found.data), max_bytes)
        return found if mine else replace(found, kind="store", origin=str(self._store.folder), also=())
