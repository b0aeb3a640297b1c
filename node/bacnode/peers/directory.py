"""The peers that a node knows: who they are, and which of them has a block.

Nothing is believed of them but that they may be asked: whoever fetches from them checks every block.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from cachetools import TTLCache

from bacnode.peers.identity import PEER_ID, peer_id_of_url
from bacnode.peers.peer_book import KnownPeer, PeerBook, PeerOptions
from bacnode.peers.routing_filters import PeerRecord
from bacpack.content.cid.cid import Cid
from bacpack.decode import DecodeError, decode_json
from bacpack.errors import BacpackError
from bacpack.http_client import HttpClient, RequestPolicy
from bacpack.ipfs_clients import GatewayClient
from bacpack.ipfs_clients.multiaddr import of_url

if TYPE_CHECKING:
    from bacnode.peers.mdns import LocalNetwork

#: Seconds that a peer has to say whether it has a block.
ASK_SECONDS = 2.0
#: Seconds for which an answer is remembered, and for how many blocks.
REMEMBERED_SECONDS = 15.0
_REMEMBERED = 4096
#: Seconds for which it is not looked up anew who is there.
_KNOWN_SECONDS = 1.0
#: Questions that are under way at once, to all peers together.
_QUESTIONS = 32

_MAX_DESCRIPTION_BYTES = 4096

T = TypeVar("T")


class _Description(msgspec.Struct):
    peer_id: str


class Peers:
    """The peers in `book`. Those whose addresses cannot be told to others are not asked.

    `options` say whether the local network is searched for more, and told of this node, whose peer ID is `own`.
    """

    def __init__(self, book: PeerBook, own: str, options: PeerOptions) -> None:
        self._book = book
        self._own = own
        self._mdns = options.mdns
        self._network: LocalNetwork | None = None
        self._http = HttpClient(allow_private=options.allow_private, policy=RequestPolicy(ASK_SECONDS, ASK_SECONDS))
        self._answers: TTLCache[Cid, asyncio.Task[list[PeerRecord]]] = TTLCache(_REMEMBERED, REMEMBERED_SECONDS)
        self._turn = asyncio.Semaphore(_QUESTIONS)
        self._present: tuple[float, dict[str, KnownPeer]] = 0.0, {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, url: str) -> None:
        """Measure the peers, and join the local network if that is wished; `url` is where this node is reached."""
        if self._mdns or self._peers():
            # Not in the time that the first peer has to answer.
            await asyncio.to_thread(import_module, "bacpack.http_client.connection")
        for peer in list(self._peers().values()):
            self._begin(self._ping(peer))
        if self._mdns:
            from bacnode.peers.mdns import LocalNetwork

            self._network = LocalNetwork(self._own, url, self._on_found, self._on_lost)
            await self._network.open()

    async def holding(self, cid: Cid) -> list[PeerRecord]:
        """Return the peers that say within two seconds that they hold the block."""
        if not self._peers():
            return []
        key = cid.to_v1()
        answer: asyncio.Task[list[PeerRecord]] | None = self._answers.get(key)
        if answer is None:
            # One question for all who ask for the same block meanwhile.
            answer = self._answers[key] = asyncio.create_task(self._ask_all(key))
        # One who asks and goes away must not end it for the others.
        return await asyncio.shield(answer)

    @property
    def urls(self) -> tuple[str, ...]:
        """The peers that are there."""
        return tuple(self._peers())

    async def all(self) -> list[PeerRecord]:
        """Return every peer; one that does not say who it is gets an ID made of its URL."""
        return list(await asyncio.gather(*(self._named(peer, record) for peer, record in self._records())))

    async def answering(self) -> list[tuple[str, str | None, float | None]]:
        """Return every peer's URL, peer ID and milliseconds to its answer; None for what it does not tell."""

        async def ask(peer: KnownPeer) -> tuple[str, str | None, float | None]:
            began = time.monotonic()
            described = await self._describe(peer)
            ms = None if described is None else round((time.monotonic() - began) * 1000, 1)
            return peer.url, described or peer.peer_id, ms

        return list(await asyncio.gather(*map(ask, self._peers().values())))

    async def close(self) -> None:
        """Leave the network and close connections."""
        if self._network is not None:
            await self._network.close()
        for task in [*self._tasks, *self._answers.values()]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._http.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _records(self) -> list[tuple[KnownPeer, PeerRecord]]:
        return [(peer, record) for peer in self._peers().values() if (record := _record(peer)) is not None]

    def _peers(self) -> dict[str, KnownPeer]:
        """Return the peers that are there, by URL."""
        until, present = self._present
        now = time.monotonic()
        if until < now:
            present = {peer.url: peer for peer in self._book.all() if peer.is_present}
            self._present = now + _KNOWN_SECONDS, present
        return present

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask_all(self, cid: Cid) -> list[PeerRecord]:
        records = self._records()
        having = await asyncio.gather(*(self._has(peer, cid) for peer, _ in records))
        holders = [(peer, record) for (peer, record), has in zip(records, having, strict=True) if has]
        return list(await asyncio.gather(*(self._named(peer, record) for peer, record in holders)))

    async def _named(self, peer: KnownPeer, record: PeerRecord) -> PeerRecord:
        """Ask a peer who it is, where that is not known."""
        if peer.peer_id is not None:
            return record
        described = await self._describe(peer)
        return record if described is None else replace(record, peer_id=described)

    def _on_found(self, url: str, peer_id: str) -> None:
        self._begin(self._found(url, peer_id))

    def _on_lost(self, url: str) -> None:
        self._begin(self._lost(url))

    async def _found(self, url: str, peer_id: str) -> None:
        # Anybody may announce any address: what does not answer as who it is said to be is no node.
        peer = KnownPeer(url, "mdns", peer_id, None, is_present=True)
        if peer_id == self._own:
            return
        for pause in self._http.policy.pauses():
            described = await self._describe(peer)
            if described is not None or pause is None:
                break
            # One that announces itself may still be starting.
            await asyncio.sleep(pause)
        if described == peer_id:
            await asyncio.to_thread(self._book.found, url, peer_id)
            self._present = 0.0, {}
            await self._ping(peer)

    async def _lost(self, url: str) -> None:
        await asyncio.to_thread(self._book.vanished, url)
        self._present = 0.0, {}

    async def _ping(self, peer: KnownPeer) -> None:
        """Measure how long a peer takes to answer; the first time also takes connecting."""
        if await self._describe(peer) is None:
            return
        started = time.monotonic()
        peer_id = await self._describe(peer)
        if peer_id is not None:
            await asyncio.to_thread(self._book.pinged, peer.url, peer_id, time.monotonic() - started)

    async def _has(self, peer: KnownPeer, cid: Cid) -> bool:
        client = GatewayClient(self._http, peer.url, "peer", peer.may_be_anywhere)
        return await self._in_thread(lambda until: client.size(cid, until=until)) is not None

    async def _describe(self, peer: KnownPeer) -> str | None:
        return await self._in_thread(lambda until: self._ask_who(peer, until))

    def _ask_who(self, peer: KnownPeer, until: float) -> str | None:
        url = f"{peer.url}/api/v1/node"
        try:
            with self._http.open("GET", url, any_address=peer.may_be_anywhere, follow=False, until=until) as answer:
                answer.check()
                peer_id = decode_json(answer.read(_MAX_DESCRIPTION_BYTES), _Description).peer_id
        except (BacpackError, DecodeError):
            return None
        return peer_id if PEER_ID.fullmatch(peer_id) else None

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_QUESTIONS, "asking")

    async def _in_thread(self, ask: Callable[[float], T]) -> T | None:
        """Ask in a thread until a time of `time.monotonic`; return None where that is not enough."""
        loop = asyncio.get_running_loop()
        try:
            # Looking up a name knows no limit.
            async with self._turn, asyncio.timeout(ASK_SECONDS):
                return await loop.run_in_executor(self._pool, ask, time.monotonic() + ASK_SECONDS)
        except TimeoutError:
            return None


def _record(peer: KnownPeer) -> PeerRecord | None:
    """Return what others are told of a peer; one that did not say who it is gets an ID made of its URL."""
    address = of_url(peer.url)
    return None if address is None else PeerRecord(peer.peer_id or peer_id_of_url(peer.url), (address,))
