"""The peers that a node knows: who they are, and which of them has a block.

Nothing is believed of them but that they may be asked: whoever fetches from them checks every block.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
from cachetools import TTLCache

from bacnode.peers.book import KnownPeer, PeerBook
from bacnode.service.identity import peer_id_of_url
from bacnode.service.multiaddr import of_url
from bacnode.service.records import PeerRecord
from bacpack.content.cid import Cid
from bacpack.decode import DecodeError, decode_json

# Imported where it is used: most nodes have no peers, and it takes memory.
if TYPE_CHECKING:
    import httpx2

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

_PEER_ID = re.compile(r"(?:12D3KooW|Qm)[1-9A-HJ-NP-Za-km-z]{40,60}")
_MAX_DESCRIPTION_BYTES = 4096


class _Description(msgspec.Struct):
    peer_id: str


class Peers:
    """The peers in `book`. Those whose addresses cannot be told to others are not asked.

    With `mdns` the local network is searched for more, and told of this node, whose peer ID is `own`.
    """

    def __init__(self, book: PeerBook, own: str, *, mdns: bool = False) -> None:
        self._book = book
        self._own = own
        self._mdns = mdns
        self._network: LocalNetwork | None = None
        self._client: httpx2.AsyncClient | None = None
        self._answers: TTLCache[Cid, asyncio.Task[list[PeerRecord]]] = TTLCache(_REMEMBERED, REMEMBERED_SECONDS)
        self._turn = asyncio.Semaphore(_QUESTIONS)
        self._present: tuple[float, dict[str, KnownPeer]] = 0.0, {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, url: str) -> None:
        """Measure the peers, and join the local network if that is wished; `url` is where this node is reached."""
        for peer in list(self._peers().values()):
            self._begin(self._ping(peer.url))
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
            described = await self._describe(peer.url)
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
        if self._client is not None:
            await self._client.aclose()

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
        having = await asyncio.gather(*(self._has(peer.url, cid) for peer, _ in records))
        holders = [(peer, record) for (peer, record), has in zip(records, having, strict=True) if has]
        return list(await asyncio.gather(*(self._named(peer, record) for peer, record in holders)))

    async def _named(self, peer: KnownPeer, record: PeerRecord) -> PeerRecord:
        """Ask a peer who it is, where that is not known."""
        if peer.peer_id is not None:
            return record
        described = await self._describe(peer.url)
        return record if described is None else replace(record, peer_id=described)

    def _on_found(self, url: str, peer_id: str) -> None:
        self._begin(self._found(url, peer_id))

    def _on_lost(self, url: str) -> None:
        self._begin(self._lost(url))

    async def _found(self, url: str, peer_id: str) -> None:
        # Anybody may announce any address: what does not answer as who it is said to be is no node.
        if peer_id != self._own and await self._describe(url) == peer_id:
            await asyncio.to_thread(self._book.found, url, peer_id)
            self._present = 0.0, {}
            await self._ping(url)

    async def _lost(self, url: str) -> None:
        await asyncio.to_thread(self._book.vanished, url)
        self._present = 0.0, {}

    async def _ping(self, url: str) -> None:
        """Measure how long a peer takes to answer; the first time also takes connecting."""
        if await self._describe(url) is None:
            return
        started = time.monotonic()
        peer_id = await self._describe(url)
        if peer_id is not None:
            await asyncio.to_thread(self._book.pinged, url, peer_id, time.monotonic() - started)

    async def _has(self, url: str, cid: Cid) -> bool:
        import httpx2

        # A gateway that would look elsewhere itself must not.
        headers = {"Cache-Control": "only-if-cached"}
        try:
            async with self._turn, asyncio.timeout(ASK_SECONDS):
                answer = await self._http().head(f"{url}/ipfs/{cid}?format=raw", headers=headers)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError):
            return False
        return answer.status_code == 200

    async def _describe(self, url: str) -> str | None:
        import httpx2

        body = b""
        try:
            async with (
                self._turn,
                asyncio.timeout(ASK_SECONDS),
                self._http().stream("GET", f"{url}/api/v1/node") as answer,
            ):
                if answer.status_code != 200:
                    return None
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _MAX_DESCRIPTION_BYTES:
                        return None
            peer_id = decode_json(body, _Description).peer_id
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError, DecodeError):
            return None
        return peer_id if _PEER_ID.fullmatch(peer_id) else None

    def _http(self) -> httpx2.AsyncClient:
        if self._client is None:
            import httpx2

            # What the environment says of proxies is for the internet, not for peers that a person named.
            self._client = httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=ASK_SECONDS)
        return self._client


def _record(peer: KnownPeer) -> PeerRecord | None:
    """Return what others are told of a peer; one that did not say who it is gets an ID made of its URL."""
    address = of_url(peer.url)
    return None if address is None else PeerRecord(peer.peer_id or peer_id_of_url(peer.url), (address,))
