"""Sources on the network: peers, gateways and Kubos, asked for blocks and for CAR streams, and never trusted.

A source that sends a wrong block, or fails again and again, is suspended: it is asked nothing more in this run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

from bacnode.fetch.fetched import Found, SourceKind
from bacnode.fetch.source import read_ahead
from bacnode.fetch.source_health import OF_A_RUN, Busy, Health
from bacpack.content.car import CarError
from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.multihash import UnknownHashError
from bacpack.errors import BacpackError, CheckFailedError
from bacpack.http_client import HttpClient, RequestError
from bacpack.ipfs_clients import CarStream, GatewayClient, KuboRpc, NoCarError, open_car_file

T = TypeVar("T")


class RemoteSource:
    """One source on the network; safe for threads."""

    def __init__(self, kind: SourceKind, client: GatewayClient | KuboRpc) -> None:
        self.kind = kind
        self.origin = client.url
        self.label = client.label
        #: Whether asking for a CAR may help.
        self.speaks_car = True
        self._client = client
        self._http = client.http
        self._policy = client.http.policy
        self._lock = threading.Lock()
        self._health = Health()
        self._busy = Busy()

    @property
    def suspended(self) -> str | None:
        """Why it is asked nothing more, as a clause; None while it is asked."""
        return self._health.aside_reason

    def get(self, cid: Cid) -> bytes:
        """Return a block, verified; raises as `GatewayClient.block` does."""
        if cid.is_identity:
            return cid.identity_data
        self._http.on_wait(f"block {cid}", self.label)
        return self._ask(lambda: self._client.block(cid))

    def read(self, cid: Cid, max_bytes: int) -> Found:
        """Return a file of at most so many bytes, verified block by block; several blocks are on their way at once."""
        return Found(read_ahead(self.get, cid, max_bytes), self.kind, self.origin)

    @contextmanager
    def car(self, cid: Cid) -> Iterator[CarStream]:
        """Yield the blocks of all that is below `cid`; raises as `GatewayClient.car` does."""
        with self._streaming(lambda: self._client.car(cid)) as stream:
            yield stream

    @contextmanager
    def _streaming(self, open_car: Callable[[], AbstractContextManager[CarStream]]) -> Iterator[CarStream]:
        self._http.on_wait("a stream of blocks", self.label)
        with ExitStack() as stack:
            stream = self._ask(lambda: stack.enter_context(open_car()), stream=True)
            try:
                yield stream
            except CheckFailedError as error:
                self._note(error)
                raise
            except (CarError, UnknownHashError) as error:
                # A stream that ends too early may do better next time; one that is no CAR will not.
                self.speaks_car = self.speaks_car and error.code == "car-truncated"
                raise
            except RequestError as error:
                # Where a long stream stalls, single blocks may still come.
                self.speaks_car = self.speaks_car and not error.final
                raise

    def _ask(self, attempt: Callable[[], T], *, stream: bool = False) -> T:
        """Ask for a block, or for a `stream`, and again where that may help; raises what the last attempt raised."""
        failures = pauses = 0
        while True:
            if self.suspended is not None:
                raise RequestError(self.origin, f"it is not asked any more: {self.suspended}")
            self._wait_if_busy()
            try:
                result = attempt()
            except (MissingBlockError, CheckFailedError) as error:
                self._note(error)
                raise
            except NoCarError:
                self.speaks_car = False
                raise
            except RequestError as error:
                pauses += 1
                pause = self._policy.pause_after(pauses)
                if error.seconds is not None:
                    self._is_busy(error, max(error.seconds, pause))
                    continue
                failures += 1
                if not error.again or failures >= self._policy.tries:
                    if stream and not error.again:
                        # It may have to work long before a stream begins: single blocks may come sooner.
                        self.speaks_car = False
                    else:
                        self._note(error)
                    raise
                self._http.sleep(self.origin, pause)
            else:
                self._note(None)
                return result

    def _note(self, error: BacpackError | None) -> None:
        """Note how it answered: as it should, which may also be that it has no such block, or with an error."""
        now = time.time()
        with self._lock:
            if isinstance(error, CheckFailedError):
                self._health.sent_corrupt(now, error.message, OF_A_RUN)
            elif isinstance(error, RequestError):
                self._health.failed(now, error.reason, OF_A_RUN, final=error.final)
            else:
                self._health.recovered(now)

    def _is_busy(self, error: RequestError, seconds: float) -> None:
        """Note that the source asks to be left alone for a while; raises `error` if that is more than it may ask."""
        with self._lock:
            self._busy.asked_for(time.monotonic(), seconds)
            if self._busy.seconds > self._policy.busy:
                reason = f"{error.reason} and asks to wait for more than {self._policy.busy:g} s"
                self._health.failed(time.time(), reason, OF_A_RUN, final=True)
                raise error

    def _wait_if_busy(self) -> None:
        seconds = self._busy.until - time.monotonic()
        if seconds > 0:
            self._http.on_wait(f"the end of the {seconds:.0f} s that it asked for", self.label)
            self._http.sleep(self.origin, seconds)


class CarUrl(RemoteSource):
    """A CAR file at a URL that a person named. It has no blocks but those of the file, in whatever order."""

    def __init__(self, url: str, http: HttpClient) -> None:
        super().__init__("url", GatewayClient(http, url, "URL"))
        self.label = f"`{url}`"
        self.speaks_car = False

    @contextmanager
    def open(self) -> Iterator[CarStream]:
        """Yield the blocks of the file; raises as `open_car_file` does."""
        with self._streaming(lambda: open_car_file(self._http, self.origin)) as stream:
            yield stream


def peer(url: str, http: HttpClient) -> RemoteSource:
    """Return another node, which serves what it holds."""
    return RemoteSource("peer", GatewayClient(http, url.rstrip("/"), "peer"))
