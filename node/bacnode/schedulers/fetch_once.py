"""Fetching for several jobs of one process: what several want at once comes once, and is in the store for all."""

from __future__ import annotations

from dataclasses import replace

from bacnode.schedulers.closure import keep_file
from bacnode.sources import BlockSource, Found, Source
from bacpack.content.blocks import MissingBlockError
from bacpack.content.cid import Cid
from bacpack.content.store import BlockStore
from bacpack.http_client import too_large
from bacpack.single_flight import OneAtATime


class FetchOnce:
    """What jobs of one process are fetching, and the store that it goes to."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store
        self._fetching = OneAtATime()

    def of(self, source: Source) -> Source:
        """A source that has what `source` has."""
        return _Once(source, self._store, self._fetching)


class _Once:
    def __init__(self, source: Source, store: BlockStore, fetching: OneAtATime) -> None:
        self.label = source.label
        self.get = source.get
        self._source = source
        self._here = BlockSource("store", str(store.folder), "the store", store.get)
        self._store = store
        self._fetching = fetching

    def read(self, cid: Cid, max_bytes: int) -> Found:
        """Return a file of at most so many bytes, verified; what another job fetched meanwhile is the store's."""
        mine = False

        def fetch() -> Found:
            nonlocal mine
            mine = True
            try:
                return self._here.read(cid, max_bytes)  # another job may just have brought it
            except MissingBlockError:
                found = self._source.read(cid, max_bytes)
            keep_file(cid, found.data, self._store)
            return found

        found = self._fetching.do(f"{cid} {self.label}", fetch)
        if len(found.data) > max_bytes:
            raise too_large(str(cid), len(found.data), max_bytes)
        return found if mine else replace(found, kind="store", origin=str(self._store.folder), also=())
