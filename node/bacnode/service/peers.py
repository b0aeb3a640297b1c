"""The peers that a node was told of: who they are, and which of them has a block.

Nothing is believed of them but that they may be asked: whoever fetches from them checks every block.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from bacnode.service.identity import peer_id_of_url
from bacnode.service.multiaddr import of_url
from bacnode.service.records import PeerRecord
from bacpack.content.cid import Cid

# Imported where it is used: most nodes have no peers, and it takes memory.
if TYPE_CHECKING:
    import httpx2

#: Seconds that a peer has to say whether it has a block.
ASK_SECONDS = 2.0
#: Seconds for which an answer is remembered, and for how many blocks.
REMEMBERED_SECONDS = 15.0
_REMEMBERED = 4096
#: Questions that are under way at once, to all peers together.
_QUESTIONS = 32

_PEER_ID = re.compile(r"(?:12D3KooW|Qm)[1-9A-HJ-NP-Za-km-z]{40,60}")
_MAX_DESCRIPTION_BYTES = 4096


class _Description(msgspec.Struct):
    peer_id: str


class Peers:
    """Peers by their URLs. Those whose addresses cannot be told to others are not asked."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        known = ((url.rstrip("/"), of_url(url)) for url in urls)
        self._addresses = {url: address for url, address in known if address is not None}
        self._ids: dict[str, str] = {}
        self._client: httpx2.AsyncClient | None = None
        self._answers: OrderedDict[Cid, tuple[float, asyncio.Task[list[PeerRecord]]]] = OrderedDict()
        self._turn = asyncio.Semaphore(_QUESTIONS)

    async def holding(self, cid: Cid) -> list[PeerRecord]:
        """Return the peers that say within two seconds that they hold the block."""
        if not self._addresses:
            return []
        key, now = cid.to_v1(), time.monotonic()
        until, answer = self._answers.get(key, (0.0, None))
        if answer is None or until < now:
            # One question for all who ask for the same block meanwhile.
            answer = asyncio.create_task(self._ask_all(key))
            self._answers[key] = (now + REMEMBERED_SECONDS, answer)
            self._answers.move_to_end(key)
            if len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        # One who asks and goes away must not end it for the others.
        return await asyncio.shield(answer)

    async def all(self) -> list[PeerRecord]:
        """Return every peer; one that does not say who it is gets an ID made of its URL."""
        return list(await asyncio.gather(*map(self._record, self._addresses)))

    async def close(self) -> None:
        """Close connections."""
        for _, answer in self._answers.values():
            answer.cancel()
        if self._client is not None:
            await self._client.aclose()

    async def _ask_all(self, cid: Cid) -> list[PeerRecord]:
        having = await asyncio.gather(*(self._has(url, cid) for url in self._addresses))
        urls = [url for url, has in zip(self._addresses, having, strict=True) if has]
        return list(await asyncio.gather(*map(self._record, urls)))

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

    async def _record(self, url: str) -> PeerRecord:
        if url not in self._ids:
            described = await self._describe(url)
            if described is None:
                return PeerRecord(peer_id_of_url(url), (self._addresses[url],))
            self._ids[url] = described
        return PeerRecord(self._ids[url], (self._addresses[url],))

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
            peer_id = msgspec.json.decode(body, type=_Description).peer_id
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        return peer_id if _PEER_ID.fullmatch(peer_id) else None

    def _http(self) -> httpx2.AsyncClient:
        if self._client is None:
            import httpx2

            # What the environment says of proxies is for the internet, not for peers that a person named.
            self._client = httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=ASK_SECONDS)
        return self._client
