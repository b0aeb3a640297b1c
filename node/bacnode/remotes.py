"""Sources on the network: peers, gateways and Kubos, asked for blocks and for CAR streams, and never trusted.

Peers and gateways speak the Trustless Gateway protocol (https://specs.ipfs.tech/http-gateways/trustless-gateway/), a
Kubo its RPC (https://docs.ipfs.tech/reference/kubo/rpc/). Every block is checked before it is returned. A source that
sends a wrong one, or fails again and again, is put aside: it is asked nothing more in this run.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import BinaryIO, ClassVar, TypeVar, cast

from bacnode.resolver import SourceKind
from bacnode.sources import Found, read_ahead
from bacnode.transport import Answer, RequestError, Transport
from bacpack.content.blocks import MAX_BLOCK_BYTES, MissingBlockError, block_mismatch
from bacpack.content.car import CarError, CarReader
from bacpack.content.cid import RAW, Cid
from bacpack.content.multihash import UnknownHashError
from bacpack.content.unixfs import read_bytes
from bacpack.decode import DecodeError, decode_json
from bacpack.errors import CheckFailedError, InputError
from bacpack.text import shown

#: Answers of a gateway that mean "I do not have it", as other implementations read them.
_NOT_HERE = frozenset((403, 404, 410, 451))
#: Answers to a request for a CAR that mean "I do not speak that".
_NO_CAR = frozenset((400, 405, 406, 415, 501))
#: How Kubo says that it has no such block, and that it looked for it in vain.
_KUBO_MISSING = ("not found", "could not find", "not found locally")
_KUBO_IN_VAIN = ("deadline exceeded", "timeout", "timed out")
#: The longest pause between two requests for one thing, where the server names none.
_LONGEST_PAUSE = 10.0

T = TypeVar("T")


class NoCarError(RequestError):
    """A source does not answer with CAR streams; blocks may be had from it one by one."""


class Remote(ABC):
    """One source on the network; safe for threads."""

    kind: ClassVar[SourceKind]

    def __init__(self, url: str, transport: Transport) -> None:
        self.origin = url.rstrip("/")
        self.label = f"the {'Kubo' if self.kind == 'kubo' else self.kind} {self.origin}"
        #: Why it is asked nothing more, as a clause; None while it is asked.
        self.aside: str | None = None
        #: Whether asking for a CAR may help.
        self.speaks_car = True
        self._transport = transport
        self._patience = transport.patience
        self._lock = threading.Lock()
        self._strikes = 0
        self._not_before = 0.0
        self._waited = 0.0

    def get(self, cid: Cid) -> bytes:
        """Return a block, verified.

        Raises `MissingBlockError`, `RequestError`, and `CheckFailedError` (`block-mismatch`).
        """
        if cid.is_identity:
            return cid.identity_data
        self._transport.on_wait(f"block {cid}", self.label)
        return self._ask(lambda: self._verified(cid))

    def read(self, cid: Cid, max_bytes: int) -> Found:
        """Return a file of at most so many bytes, verified block by block; several blocks are on their way at once."""
        if cid.codec == RAW:
            data = read_bytes(self.get, cid, max_bytes)
        else:
            with read_ahead(self.get, cid) as get:
                data = read_bytes(get, cid, max_bytes)
        return Found(data, self.kind, self.origin)

    @contextmanager
    def car(self, cid: Cid) -> Iterator[CarStream]:
        """Yield the blocks of all that is below `cid`, verified, as they come; there may be too few or too many.

        Raises `NoCarError`, `MissingBlockError`, `RequestError`, `CarError`, and `CheckFailedError`.
        """
        with self._streaming(lambda stack: self._open_car(cid, stack)) as stream:
            yield stream

    @contextmanager
    def _streaming(self, open_car: Callable[[ExitStack], Answer]) -> Iterator[CarStream]:
        self._transport.on_wait("a stream of blocks", self.label)
        with ExitStack() as stack:
            answer = self._ask(lambda: _opened(open_car, stack), stream=True)
            try:
                yield CarStream(_Body(answer.chunks(), answer.url, self._patience.block), f"the CAR from {self.label}")
            except CheckFailedError as error:
                self.put_aside(error.message)
                raise
            except (CarError, UnknownHashError) as error:
                # A stream that ends too early may do better next time; one that is no CAR will not.
                self.speaks_car = self.speaks_car and error.code == "car-truncated"
                raise
            except RequestError as error:
                # Where a long stream stalls, single blocks may still come.
                self.speaks_car = self.speaks_car and not error.final
                raise

    def put_aside(self, reason: str) -> None:
        """Ask nothing more of it in this run."""
        self.aside = self.aside or reason

    @abstractmethod
    def _block(self, cid: Cid) -> bytes:
        """Ask once for a block."""

    @abstractmethod
    def _open_car(self, cid: Cid, stack: ExitStack) -> Answer:
        """Ask once for a CAR stream, which stays open as long as `stack`."""

    def _verified(self, cid: Cid) -> bytes:
        try:
            block = self._block(cid)
        except InputError as error:
            # This source is at fault and not the content: others may be asked.
            raise RequestError(self.origin, error.message, final=True) from error
        if not cid.matches(block):
            raise block_mismatch(cid, block, f" from {self.label}")
        return block

    def _ask(self, attempt: Callable[[], T], *, stream: bool = False) -> T:
        """Ask for a block, or for a `stream`, and again where that may help; raises what the last attempt raised."""
        failures = pauses = 0
        while True:
            if self.aside is not None:
                raise RequestError(self.origin, f"it is not asked any more: {self.aside}")
            self._wait_if_busy()
            try:
                result = attempt()
            except MissingBlockError:
                self._strikes = 0
                raise
            except CheckFailedError as error:
                self.put_aside(error.message)
                raise
            except NoCarError:
                self.speaks_car = False
                raise
            except RequestError as error:
                pause = min(self._patience.pause * 2**pauses, _LONGEST_PAUSE)
                pauses += 1
                if error.seconds is None:
                    failures += 1
                    if not error.again or failures >= self._patience.tries:
                        self._strike(error, stream=stream)
                        raise
                    self._transport.sleep(self.origin, pause)
                else:
                    self._busy(error, max(error.seconds, pause))
            else:
                self._strikes = 0
                return result

    def _strike(self, error: RequestError, *, stream: bool) -> None:
        if stream and not error.again:
            # It may have to work long before a stream begins: single blocks may come sooner.
            self.speaks_car = False
            return
        with self._lock:
            self._strikes += 1
            if error.final or self._strikes >= self._patience.strikes:
                self.put_aside(error.reason)

    def _busy(self, error: RequestError, seconds: float) -> None:
        """Note that the source asks to be left alone for a while; raises `error` if that is more than it may ask."""
        with self._lock:
            now = time.monotonic()
            longer = now + seconds - max(self._not_before, now)
            self._waited += max(longer, 0)
            if self._waited > self._patience.busy:
                self.put_aside(f"{error.reason} and asks to wait for more than {self._patience.busy:g} s")
                raise error
            self._not_before = max(self._not_before, now + seconds)

    def _wait_if_busy(self) -> None:
        seconds = self._not_before - time.monotonic()
        if seconds > 0:
            self._transport.on_wait(f"the end of the {seconds:.0f} s that it asked for", self.label)
            self._transport.sleep(self.origin, seconds)


class _Trustless(Remote):
    """What answers as a trustless gateway does."""

    def _block(self, cid: Cid) -> bytes:
        accept = {"Accept": "application/vnd.ipld.raw"}
        with self._transport.open("GET", f"{self.origin}/ipfs/{cid}?format=raw", accept, any_address=True) as answer:
            if answer.status in _NOT_HERE:
                raise MissingBlockError(cid, self.label)
            answer.check()
            return answer.read(MAX_BLOCK_BYTES, self._patience.block)

    def _open_car(self, cid: Cid, stack: ExitStack) -> Answer:
        accept = {"Accept": "application/vnd.ipld.car; version=1; order=dfs; dups=n"}
        url = f"{self.origin}/ipfs/{cid}?format=car&dag-scope=all"
        answer = stack.enter_context(self._transport.open("GET", url, accept, any_address=True))
        if answer.status in _NOT_HERE:
            raise MissingBlockError(cid, self.label)
        if answer.status in _NO_CAR:
            raise NoCarError(url, f"the server answers {answer.status} to a request for a CAR")
        answer.check()
        content_type = answer.header("Content-Type")
        if content_type.partition(";")[0].strip() != "application/vnd.ipld.car":
            raise NoCarError(url, f"the server answers with `{shown(content_type)}` to a request for a CAR")
        return answer


class Peer(_Trustless):
    """Another node, which serves what it holds."""

    kind = "peer"


class Gateway(_Trustless):
    """A gateway, which may look for what it does not hold."""

    kind = "gateway"


class Kubo(Remote):
    """A Kubo by its RPC. It may look for a block on its own network, for a few seconds each.

    An export that fails midway ends in a trailer, `X-Stream-Error`, behind the last whole block: what it lacks is found
    by walking, as with any stream, and asked for by itself, which brings the reason as the answer to that.
    """

    kind = "kubo"

    def __init__(self, url: str, transport: Transport, authorization: str | None = None) -> None:
        super().__init__(url, transport)
        self._headers = {"Authorization": authorization} if authorization else {}

    def _block(self, cid: Cid) -> bytes:
        url = f"{self.origin}/api/v0/block/get?arg={cid}&timeout={self._patience.search:g}s"
        with self._transport.open("POST", url, self._headers, any_address=True) as answer:
            self._check(answer, cid)
            return answer.read(MAX_BLOCK_BYTES, self._patience.block)

    def _open_car(self, cid: Cid, stack: ExitStack) -> Answer:
        url = f"{self.origin}/api/v0/dag/export?arg={cid}&progress=false"
        answer = stack.enter_context(self._transport.open("POST", url, self._headers, any_address=True))
        self._check(answer, cid)
        return answer

    def _check(self, answer: Answer, cid: Cid) -> None:
        """Raise what an answer other than 200 means: errors are status 500, and JSON with a message."""
        if answer.status == 500:
            message = _kubo_message(answer.error_text(self._patience.idle))
            if any(text in message for text in _KUBO_IN_VAIN):
                raise RequestError(answer.url, f"it looked for {cid} in vain: {message}")
            if any(text in message for text in _KUBO_MISSING):
                raise MissingBlockError(cid, self.label)
            raise RequestError(answer.url, f"it says: {message}")
        if answer.status in (401, 403):
            raise RequestError(answer.url, f"it answers {answer.status}: it wants to be authorised", final=True)
        if answer.status in (404, 405):
            raise RequestError(answer.url, f"it answers {answer.status}: this is no RPC of a Kubo", final=True)
        answer.check()


def _kubo_message(text: str) -> str:
    try:
        body = decode_json(text)
    except DecodeError:
        body = None
    message = body.get("Message") if isinstance(body, dict) else None
    return shown(message if isinstance(message, str) else text)


class CarUrl(Remote):
    """A CAR file at a URL that a person named. It has no blocks but those of the file, in whatever order."""

    kind = "url"

    def __init__(self, url: str, transport: Transport) -> None:
        super().__init__(url, transport)
        self.origin = url
        self.label = f"`{url}`"
        self.speaks_car = False

    @contextmanager
    def open(self) -> Iterator[CarStream]:
        """Yield the blocks of the file; raises as `car` does."""
        with self._streaming(self._open) as stream:
            yield stream

    def _open(self, stack: ExitStack) -> Answer:
        accept = {"Accept": "application/vnd.ipld.car, */*;q=0.5"}
        answer = stack.enter_context(self._transport.open("GET", self.origin, accept, any_address=True))
        answer.check()
        return answer

    def _block(self, cid: Cid) -> bytes:
        raise MissingBlockError(cid, self.label)

    def _open_car(self, cid: Cid, stack: ExitStack) -> Answer:
        raise NoCarError(self.origin, f"it is one file, and not asked for {cid}")


class CarStream:
    """The blocks of a CAR, verified, as they come."""

    def __init__(self, body: _Body, name: str) -> None:
        self._body = body
        self._name = name

    @cached_property
    def _reader(self) -> CarReader:
        return CarReader(cast(BinaryIO, self._body), self._name)

    @property
    def roots(self) -> tuple[Cid, ...]:
        """What the header names."""
        return self._reader.roots

    def __iter__(self) -> Iterator[tuple[Cid, bytes]]:
        for block in self._reader:
            self._body.renew()
            yield block


def _opened(open_car: Callable[[ExitStack], Answer], stack: ExitStack) -> Answer:
    with ExitStack() as attempt:
        answer = open_car(attempt)
        # Kept only if it is what was asked for; otherwise the connection is given back.
        stack.push(attempt.pop_all())
    return answer


class _Body:
    """Pieces of bytes as a file that is read once; no block of it may take longer than so many seconds."""

    def __init__(self, chunks: Iterator[bytes], url: str, seconds: float) -> None:
        self._chunks = chunks
        self._url = url
        self._seconds = seconds
        self._chunk = b""
        self._at = 0
        self.renew()

    def renew(self) -> None:
        """Begin the time of the next block."""
        self._end = time.monotonic() + self._seconds

    def seekable(self) -> bool:
        """Whether one can go back in it: no."""
        return False

    def read(self, count: int) -> bytes:
        """Return the next bytes, fewer than `count` only where they end."""
        parts = []
        while count:
            if self._at == len(self._chunk):
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                if time.monotonic() > self._end:
                    raise RequestError(self._url, f"no whole block came in {self._seconds:g} s", final=True)
                self._chunk, self._at = chunk, 0
            part = self._chunk[self._at : self._at + count]
            self._at += len(part)
            count -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
