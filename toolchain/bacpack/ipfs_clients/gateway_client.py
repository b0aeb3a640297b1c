"""The client of the Trustless Gateway protocol: https://specs.ipfs.tech/http-gateways/trustless-gateway/."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.errors import BacpackError
from bacpack.http_client import Cancel, HttpClient
from bacpack.ipfs_clients.answers import CarStream, NoCarError, read_block
from bacpack.text import shown

#: Answers that mean "I do not have it", as other implementations read them; the last, to who wants what is there.
_NOT_FOUND = frozenset((403, 404, 410, 451))
_NOT_CACHED = 412
#: Answers to a request for a CAR that mean "I do not speak that".
_NO_CAR = frozenset((400, 405, 406, 415, 501))
_CAR = "application/vnd.ipld.car"
#: For a gateway that would look elsewhere itself, and need not: others are asked here.
_ONLY_LOCAL = {"Cache-Control": "only-if-cached"}


@dataclass(frozen=True, slots=True)
class GatewayClient:
    """A `kind` of gateway, such as a node, at `url`; `any_address` is false for one that a stranger named."""

    http: HttpClient
    url: str
    kind: str
    any_address: bool = True

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"the {self.kind} {self.url}"

    def block(
        self,
        cid: Cid,
        *,
        only_local: bool = False,
        cancel: Cancel | None = None,
        on_head: Callable[[int | None], object] = lambda size: None,
    ) -> bytes:
        """Ask once for a block, and return it verified; `on_head` is told its size as promised, before it comes.

        Raises `MissingBlockError`, `RequestError`, and `CheckFailedError` (`block-mismatch`).
        """
        headers = {"Accept": "application/vnd.ipld.raw", **(_ONLY_LOCAL if only_local else {})}
        url = f"{self.url}/ipfs/{cid}?format=raw"
        with self.http.open("GET", url, headers, any_address=self.any_address, cancel=cancel) as answer:
            stated = answer.header("Content-Length")
            on_head(int(stated) if stated.isdecimal() else None)
            if answer.status in _NOT_FOUND or (only_local and answer.status == _NOT_CACHED):
                raise MissingBlockError(cid, self.label)
            answer.check()
            return read_block(answer, cid, self.label, self.http.policy.block)

    def size(self, cid: Cid, *, until: float | None = None) -> int | None:
        """Return how large a block is that it holds; None if it has none, or does not answer."""
        url = f"{self.url}/ipfs/{cid}?format=raw"
        try:
            with self.http.open("HEAD", url, _ONLY_LOCAL, any_address=self.any_address, until=until) as answer:
                length = answer.header("Content-Length")
                return int(length) if answer.status == 200 and length.isdecimal() else None
        except BacpackError:
            return None

    @contextmanager
    def car(self, cid: Cid) -> Iterator[CarStream]:
        """Ask once for all that is below `cid`, and yield the blocks as they come; there may be too few or too many.

        Raises `NoCarError`, `MissingBlockError`, `RequestError`, and as the stream does.
        """
        accept = {"Accept": f"{_CAR}; version=1; order=dfs; dups=n"}
        url = f"{self.url}/ipfs/{cid}?format=car&dag-scope=all"
        with self.http.open("GET", url, accept, any_address=self.any_address) as answer:
            if answer.status in _NOT_FOUND:
                raise MissingBlockError(cid, self.label)
            if answer.status in _NO_CAR:
                raise NoCarError(url, f"the server answers {answer.status} to a request for a CAR")
            answer.check()
            kind = answer.header("Content-Type")
            if kind.partition(";")[0].strip() != _CAR:
                raise NoCarError(url, f"the server answers with `{shown(kind)}` to a request for a CAR")
            yield CarStream(answer, f"the CAR from {self.label}", self.http.policy.block)


@contextmanager
def open_car_file(http: HttpClient, url: str) -> Iterator[CarStream]:
    """Yield the blocks of the CAR file at a URL that a person named; raises `RequestError`, and as the stream does."""
    with http.open("GET", url, {"Accept": f"{_CAR}, */*;q=0.5"}, any_address=True) as answer:
        answer.check()
        yield CarStream(answer, f"the CAR from `{url}`", http.policy.block)
