"""The peers as one job sees them: a source of modules that notes whom each came from."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence

from bacnode.fetch.fetched import Found
from bacnode.fetch.remote_source import RemoteSource, peer
from bacnode.fetch.session import Web
from bacnode.fetch.source import read_ahead
from bacnode.peers.block_exchange import BlockExchange, Given
from bacpack.content.cid.block import MAX_BLOCK_BYTES, MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.origins import Provenance
from bacpack.errors import BacpackError, CheckFailedError, UnreachableError
from bacpack.http_client import HttpClient


class PeerSource:
    """What peers have. `finish` keeps the notes; no request outlasts `deadline`, a time of `time.monotonic`."""

    def __init__(self, exchange: BlockExchange, store: BlockStore, deadline: float) -> None:
        self._exchange = exchange
        self._store = store
        self._deadline = deadline
        self._notes: dict[Cid, str] = {}
        self._lock = threading.Lock()

    @property
    def label(self) -> str:
        """How messages call it."""
        return self._exchange.label

    def get(self, cid: Cid) -> bytes:
        """Return a block, verified and kept; raises as `BlockExchange.get` does."""
        return self._exchange.get(cid, self._deadline).data

    def read(self, cid: Cid, max_bytes: int) -> Found:
        """Return a file of at most so many bytes, verified and kept block by block; blocks may be here already."""
        given: dict[Cid, Given] = {}

        def get(block: Cid) -> bytes:
            found = given[block.to_v1()] = self._exchange.get(block, self._deadline)
            return found.data

        data = read_ahead(get, cid, max_bytes)
        shares: Counter[str] = Counter()
        for found in given.values():
            shares[found.origin] += len(found.data)
        (most, _), *others = shares.most_common()
        new = {block: found.origin for block, found in given.items() if found.is_new}
        with self._lock:
            self._notes.update(new)
            if new:
                self._notes[cid.to_v1()] = most
        is_local = most == str(self._store.folder)
        return Found(data, "store" if is_local else "peer", most, tuple(sorted(origin for origin, _ in others)))

    def finish(self) -> None:
        """Keep whom each file and each block came from, and how peers did."""
        with self._lock:
            notes, self._notes = self._notes, {}
        local = str(self._store.folder)
        for origin in dict.fromkeys(notes.values()):
            if origin != local:
                Provenance(self._store.folder).record(
                    [(cid, "") for cid, noted in notes.items() if noted == origin], origin
                )
        self._exchange.save()


class Holders:
    """A source of the modules whose holders are known: each is asked for what it has, and nothing else."""

    label = "the workers that hold it"

    def __init__(self, holders: Mapping[str, Sequence[str]], http: HttpClient) -> None:
        self._holders = holders
        self._peers: dict[str, RemoteSource] = {}
        self._http = http

    def get(self, cid: Cid) -> bytes:
        """Return a block, verified; raises `MissingBlockError`."""
        return self.read(cid, MAX_BLOCK_BYTES).data

    def read(self, cid: Cid, max_bytes: int) -> Found:
        """Return a file, verified block by block; raises `MissingBlockError`, and what the last holder raised."""
        failure: BacpackError = MissingBlockError(cid, self.label)
        for url in self._holders.get(str(cid.to_v1()), ()):
            holder = self._peers.setdefault(url, peer(url, self._http))
            try:
                return holder.read(cid, max_bytes)
            except (UnreachableError, CheckFailedError) as error:
                failure = error
        raise failure


class JobWeb(Web):
    """What a job may reach over HTTP. Nobody at this machine named its program, so no address is let through."""

    def __init__(self, exchange: BlockExchange, store: BlockStore, deadline: float) -> None:
        super().__init__(deadline=deadline)
        self.deadline = deadline
        exchange.refresh()
        self.nearby = PeerSource(exchange, store, deadline) if exchange.may_ask else None
        self.sources = [self.nearby] if self.nearby else []

    def get(self, url: str, max_bytes: int, *, named_by_user: bool = False) -> bytes:
        """Return what `url` gives, from a public address; raises as `Web.get` does."""
        return super().get(url, max_bytes, named_by_user=False)
