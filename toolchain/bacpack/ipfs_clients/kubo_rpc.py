"""The client of a Kubo by its RPC: https://docs.ipfs.tech/reference/kubo/rpc/. It may look for a block elsewhere.

An export that fails midway ends in a trailer, `X-Stream-Error`, behind the last whole block: what it lacks is found by
walking, as with any stream, and asked for by itself, which brings the reason as the answer to that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.http_client import HttpClient, RequestError, Response
from bacpack.ipfs_clients.answers import CarStream, read_block

#: How Kubo says that it has no such block, and that it looked for it in vain.
_MISSING = ("not found", "could not find", "not found locally")
_IN_VAIN = ("deadline exceeded", "timeout", "timed out")


@dataclass(frozen=True, slots=True)
class KuboRpc:
    """A Kubo, by the URL of its RPC."""

    http: HttpClient
    url: str
    authorization: str | None = None

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"the Kubo {self.url}"

    def block(self, cid: Cid) -> bytes:
        """Ask once for a block, for which it may look a few seconds."""
        url = f"{self.url}/api/v0/block/get?arg={cid}&timeout={self.http.policy.search:g}s"
        with self.http.open("POST", url, self._headers, any_address=True) as answer:
            self._check(answer, cid)
            return read_block(answer, cid, self.label, self.http.policy.block)

    @contextmanager
    def car(self, cid: Cid) -> Iterator[CarStream]:
        """Ask once for all below `cid`; yield the blocks as they come."""
        url = f"{self.url}/api/v0/dag/export?arg={cid}&progress=false"
        with self.http.open("POST", url, self._headers, any_address=True) as answer:
            self._check(answer, cid)
            yield CarStream(answer, f"the CAR from {self.label}", self.http.policy.block)

    @property
    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": self.authorization} if self.authorization else {}

    def _check(self, answer: Response, cid: Cid) -> None:
        """Raise what an answer other than 200 means: errors are status 500, and JSON with a message."""
        if answer.status == 500:
            message = answer.reason(self.http.policy.idle)
            if any(text in message for text in _IN_VAIN):
                raise RequestError(answer.url, f"it looked for {cid} in vain: {message}")
            if any(text in message for text in _MISSING):
                raise MissingBlockError(cid, self.label)
            raise RequestError(answer.url, f"it says: {message}")
        if answer.status in (401, 403):
            raise RequestError(answer.url, f"it answers {answer.status}: it wants to be authorised", final=True)
        if answer.status in (404, 405):
            raise RequestError(answer.url, f"it answers {answer.status}: this is no RPC of a Kubo", final=True)
        answer.check()
