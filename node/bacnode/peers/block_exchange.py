"""All peers of a node as one source of blocks: the nearest that has a block gives it, once for all who wait for it.

Lives in the process that fetches, for all jobs. Nothing is believed of a peer: a block is compared with its CID before
anybody gets it, and a peer that sent another is suspended.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bacnode.peers.block_request import Peer, ask_peer
from bacnode.peers.hedged_request import MOST_RUNNING, Outcome, race
from bacnode.peers.peer_book import PeerBook
from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.origins import Provenance
from bacpack.errors import BacpackError, CheckFailedError, UnreachableError
from bacpack.http_client import HttpClient, RequestError, RequestPolicy
from bacpack.ipfs_clients.routing_client import GATEWAY_PROTOCOL, RUNS_JOBS, RoutingClient
from bacpack.single_flight import OneAtATime

#: How long one peer is waited for, while others are asked beside it. Jobs wait longer, and ask again.
POLICY = RequestPolicy(connect=10, idle=10, block=60)
#: Blocks of all jobs together that are asked for at once. Each has threads for all who may be asked for it, so that
#: those who wait for slow peers take none from others.
_BLOCKS = 64
#: Addresses that are taken of one answer of a router.
MOST_PROVIDERS = 8
#: Blocks of which it is remembered who gave them.
_REMEMBERED = 8192


@dataclass(frozen=True, slots=True)
class Given:
    """A block, verified and kept, and whom it came from: a URL, or the store's folder where nothing says it."""

    data: bytes
    origin: str
    #: Whether it came just now, so that its origin is not noted yet.
    is_new: bool = False


class _OutOfTimeError(RequestError):
    """Who asked had no time left; others who wait for the same may have some."""

    def __init__(self, cid: Cid) -> None:
        super().__init__(f"/ipfs/{cid}", "the time for all of the work is over", final=True)


class BlockExchange:
    """The peers of the node whose state is in `folder`; what they give is kept in `store`. Safe for threads."""

    def __init__(self, folder: Path, store: BlockStore) -> None:
        self._book = PeerBook(folder)
        self._store = store
        self._provenance = Provenance(store.folder)
        options = self._book.options()
        self._routers = options.routers
        self._http = HttpClient(allow_private=options.allow_private, policy=POLICY)
        self._lock = threading.Lock()
        self._peers: dict[str, Peer] = {}
        self._present: list[Peer] = []
        self._fetching = OneAtATime()
        self._origins: OrderedDict[Cid, str] = OrderedDict()
        self._routed: OrderedDict[Cid, float] = OrderedDict()
        self._changed: set[Peer] = set()
        self._limit = threading.Semaphore(_BLOCKS)
        self.refresh()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_BLOCKS * MOST_RUNNING, "peer")

    @property
    def may_ask(self) -> bool:
        """Whether there is anybody to ask."""
        return bool(self._present or self._routers)

    @property
    def label(self) -> str:
        """How messages call all of them."""
        return ", ".join(f"the peer {peer.url}" for peer in self._present) or "any peer"

    def refresh(self) -> None:
        """See who came and who left."""
        present = []
        with self._lock:
            for known in self._book.all():
                peer = self._peers.get(known.url)
                if peer is None:
                    if known.health.first_byte is None:
                        known.health.first_byte = known.ping
                        known.health.measured_at = time.time() if known.ping else 0.0
                    peer = self._peers[known.url] = Peer(known.url, known.may_be_anywhere, known.health)
                peer.may_be_anywhere = known.may_be_anywhere
                if known.is_present:
                    present.append(peer)
            self._present = present

    def size(self, cid: Cid, until: float) -> int | None:
        """Return how large a block is, as the first peer that has it says; None if none has it."""
        sizes = (peer.client(self._http).size(cid, until=until) for peer in self._askable())
        return next((size for size in sizes if size is not None), None)

    def runner(self, cid: Cid, until: float) -> tuple[str, str] | None:
        """Return the URL and the ID of a peer that says it runs jobs with a module that nobody gives."""
        for peer in self._askable():
            router = RoutingClient(self._http, peer.url, peer.may_be_anywhere)
            for provider in router.providers(cid, RUNS_JOBS, until):
                if provider.peer_id is not None and RUNS_JOBS in provider.protocols:
                    return peer.url, provider.peer_id
        return None

    def save(self) -> None:
        """Keep how peers did."""
        with self._lock:
            changed, self._changed = self._changed, set()
        if changed:
            self._book.measured({peer.url: peer.health for peer in changed})

    def get(self, cid: Cid, deadline: float) -> Given:
        """Return a block from the store or a peer.

        However many threads want it, it is asked for once. Raises `MissingBlockError`, `UnreachableError`, and
        `CheckFailedError` (`block-mismatch`) when the only peer that gave something gave that.
        """
        if cid.is_identity:
            return Given(cid.identity_data, str(self._store.folder))
        key = cid.to_v1()
        while True:
            seconds = max(deadline - time.monotonic(), 0)
            try:
                return self._fetching.do(key, lambda: self._local(key) or self._fetch(key, deadline), seconds)
            except (TimeoutError, _OutOfTimeError):
                # Another thread had less time than this one.
                if time.monotonic() >= deadline:
                    raise _OutOfTimeError(key) from None

    def _local(self, cid: Cid) -> Given | None:
        try:
            data = self._store.get(cid)
        except MissingBlockError:
            return None
        origin = self._origins.get(cid)
        if origin is not None:
            return Given(data, origin, is_new=True)
        known = self._provenance.get(cid)
        return Given(data, known.obtained_from if known else str(self._store.folder))

    def _fetch(self, cid: Cid, deadline: float) -> Given:
        said: dict[Peer, BacpackError] = {}
        for pause in self._http.policy.pauses():
            outcome = self._race(cid, self._order(said), deadline)
            said.update(outcome.failures)
            if outcome.winner is None and not all(isinstance(error, MissingBlockError) for error in said.values()):
                # Who was suspended before may be there again, now that another is gone.
                others = [peer for peer in self._ranked(time.time()) if peer not in said]
                outcome = self._race(cid, _may_be_back(others), deadline)
                said.update(outcome.failures)
            if outcome.winner is None and self._ask_routers(cid, deadline):
                new = [peer for peer in self._order(said) if peer not in said]
                outcome = self._race(cid, new, deadline)
                said.update(outcome.failures)
            if outcome.winner is not None and outcome.value is not None:
                return self._keep(cid, outcome.value, outcome.winner)
            again = [peer for peer, error in said.items() if _may_help(error)]
            if pause is None or not again:
                break
            now = time.monotonic()
            seconds = max(pause, min(peer.busy.until for peer in again) - now)
            if now + seconds >= deadline:
                break
            time.sleep(seconds)
        raise self._failure(cid, said)

    def _race(self, cid: Cid, peers: Sequence[Peer], deadline: float) -> Outcome[Peer, bytes]:
        with self._lock:
            self._changed.update(peers)
        if not self._limit.acquire(timeout=max(deadline - time.monotonic(), 0)):
            raise _OutOfTimeError(cid)
        try:
            return race(
                iter(peers),
                lambda peer, attempt: ask_peer(self._http, peer, cid, attempt),
                self._pool,
                deadline,
                lambda: _OutOfTimeError(cid),
            )
        finally:
            self._limit.release()

    def _keep(self, cid: Cid, block: bytes, peer: Peer) -> Given:
        with self._store.batch() as batch:
            batch.put(cid, block, verified=True)
            # No pin keeps it: what a power failure takes is fetched again.
            batch.leave()
        with self._lock:
            self._origins[cid] = peer.url
            if len(self._origins) > _REMEMBERED:
                self._origins.popitem(last=False)
        return Given(block, peer.url, is_new=True)

    def _order(self, said: dict[Peer, BacpackError]) -> list[Peer]:
        """Return those to ask for a block, the nearest first; some have `said` already that they have it not."""
        now, soon = time.time(), time.monotonic()
        willing = [peer for peer in self._ranked(now) if peer not in said or _may_help(said[peer])]
        ready = [peer for peer in willing if not peer.health.is_suspended(now) and not peer.is_busy(soon)]
        if ready:
            return ready
        # One that could not be reached may be there again, and only asking tells.
        return _may_be_back(willing)

    def _ranked(self, now: float) -> Iterator[Peer]:
        with self._lock:
            present = list(self._present)
        return iter(sorted(present, key=lambda peer: peer.health.expected(now, peer.under_way)))

    def _askable(self) -> list[Peer]:
        """Return those that are not suspended, the nearest first."""
        now = time.time()
        return [peer for peer in self._ranked(now) if not peer.health.is_suspended(now)]

    def _ask_routers(self, cid: Cid, deadline: float) -> bool:
        """Ask who has a block, unless that was asked lately; return whether there is anybody new to ask."""
        now = time.monotonic()
        with self._lock:
            if not self._routers or self._routed.get(cid, 0.0) > now:
                return False
            self._routed[cid] = now + 30
            if len(self._routed) > _REMEMBERED:
                self._routed.popitem(last=False)
        for router in self._routers:
            found: dict[str, str | None] = {}
            for provider in RoutingClient(self._http, router).providers(cid, GATEWAY_PROTOCOL, deadline):
                for url in provider.urls:
                    found.setdefault(url, provider.peer_id)
            if found:
                self._book.routed(list(found.items())[:MOST_PROVIDERS])
                self.refresh()
                return True
        return False

    def _failure(self, cid: Cid, said: dict[Peer, BacpackError]) -> BacpackError:
        for error in said.values():
            if isinstance(error, CheckFailedError):
                return error
        clauses = []
        for peer in self._present:
            answer = said.get(peer)
            if answer is None:
                clauses.append(f"{peer.url} is suspended: {peer.health.aside_reason or 'it is busy'}")
            elif not isinstance(answer, MissingBlockError):
                clauses.append(f"{peer.url}: {getattr(answer, 'reason', answer.message)}")
        if not clauses:
            return MissingBlockError(cid, self.label)
        return UnreachableError(
            "peers-failed",
            f"{cid} did not come from any peer: {'; '.join(clauses)}",
            hint="see GET /api/v1/peers; try again later, or name another node with --peer",
            details={"cid": str(cid), "peers": clauses},
        )


def _may_be_back(peers: Iterable[Peer]) -> list[Peer]:
    """Return those who may be asked if nobody better is left, suspended or not."""
    soon = time.monotonic()
    return [peer for peer in peers if not peer.health.is_liar and not peer.is_busy(soon)]


def _may_help(error: BacpackError) -> bool:
    """Whether it may help to ask again."""
    return isinstance(error, RequestError) and (error.again or error.seconds is not None)
