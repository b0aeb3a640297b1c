"""Requests as one job or command may make them: to allowed addresses only, within limits of time and size."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from bacpack import __version__
from bacpack.errors import UnreachableError
from bacpack.http_client.address_rules import Address, AddressRules
from bacpack.http_client.deadline import Cancel, Clock, earlier
from bacpack.http_client.errors import RequestError, out_of_time
from bacpack.http_client.redirects import MAX_HOPS, HttpUrl, next_hop, parse_url
from bacpack.http_client.response import Response
from bacpack.http_client.retry import RequestPolicy

# What speaks HTTP is imported where it is used: that takes longer than most programs run, and most need no network.
if TYPE_CHECKING:
    import httpcore2

#: The bytes that are sent, or what makes them while they are.
Body: TypeAlias = bytes | Iterable[bytes]


class HttpClient:
    """Requests of one job, from any of its threads.

    `offline` refuses all; `allow_private` lets strangers name addresses that are not public; no request outlasts
    `deadline`, a time of `time.monotonic`.
    """

    def __init__(
        self,
        *,
        offline: bool = False,
        allow_private: bool = False,
        policy: RequestPolicy | None = None,
        deadline: float | None = None,
    ) -> None:
        self.offline = offline
        self.policy = policy or RequestPolicy()
        #: Told what is awaited, and from whom; from any thread.
        self.on_wait: Callable[[str, str], object] = lambda what, whom: None
        self._rules = AddressRules(allow_private=allow_private)
        self._deadline = deadline
        self._clock = Clock()
        self._pools: dict[str, httpcore2.ConnectionPool] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Begin no request any more, and wait for nothing."""
        self._stopped.set()

    def close(self) -> None:
        """Begin no request any more, and close all connections."""
        self.stop()
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()

    def sleep(self, url: str, seconds: float) -> None:
        """Wait before asking `url` again; raises `RequestError` when there is no time for that."""
        if self._deadline is not None and time.monotonic() + seconds > self._deadline:
            raise out_of_time(url)
        if self._stopped.wait(seconds):
            raise RequestError(url, "the work was stopped", final=True)

    @contextmanager
    def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        *,
        slow: bool = False,
        any_address: bool = False,
        follow: bool = True,
        until: float | None = None,
        cancel: Cancel | None = None,
    ) -> Iterator[Response]:
        """Yield what `url` answers, whatever its status; its body may be read inside the block, until `until`.

        With `any_address` a person named the URL, so it may be anywhere, and lead on to itself. Without `follow` an
        answer that leads on is the answer. `slow` lets the server work first for as long as there is time; `cancel`
        ends the request from another thread. Raises `RequestError`, or `UnreachableError` (`offline`, `url-private`),
        also while the body is read.
        """
        import httpcore2

        until = earlier(until, self._deadline)
        self._may_begin(url, until)
        try:
            with self._clock.of_request(cancel):
                response = self._respond(method, url, headers or {}, body, slow, any_address, follow, until)
                try:
                    self._clock.until = until
                    yield Response(url, response, until)
                finally:
                    response.close()
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
            # It may be elsewhere by now.
            self._rules.forget(url)
            self._check_time(url, until, error)
            reason = f"it cannot be connected to ({str(error) or type(error).__name__})"
            # Where nobody listens somebody may in a moment; where nothing comes back that is unlikely.
            again = isinstance(error, httpcore2.ConnectError)
            raise RequestError(url, reason, again=again, final=True, sent=False) from error
        except httpcore2.TimeoutException as error:
            self._check_time(url, until, error)
            raise RequestError(url, f"no answer came in {self.policy.idle:g} s", final=True) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            reason = f"the connection broke off ({str(error) or type(error).__name__})"
            raise RequestError(url, reason, again=True) from error

    def _may_begin(self, url: str, until: float | None) -> None:
        if self.offline:
            raise UnreachableError(
                "offline",
                f"`{url}` is not fetched: --offline forbids it",
                hint="run without --offline",
                details={"url": url},
            )
        self._check_time(url, until)
        if self._stopped.is_set():
            raise RequestError(url, "the work was stopped", final=True)

    def _check_time(self, url: str, until: float | None, error: Exception | None = None) -> None:
        if until is not None and time.monotonic() >= until:
            raise out_of_time(url) from error

    def _respond(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        slow: bool,
        any_address: bool,
        follow: bool,
        until: float | None,
    ) -> httpcore2.Response:
        """Send a request, and again where the answer leads to, if that is allowed; return the last answer."""
        known: Sequence[Address] = ()
        target = url
        for _ in range(MAX_HOPS + 1):
            try:
                parsed = parse_url(target)
            except ValueError as error:
                raise RequestError(url, str(error), final=True, sent=False) from error
            addresses = self._rules.look_up(url, parsed.host, parsed.port)
            if any_address and target is url:
                # Who was named by a person may lead on to itself, wherever it is, and to no other such address.
                known = addresses
            self._rules.check(url, addresses, known)
            self._clock.addresses = addresses
            soon = None if slow or body is not None else time.monotonic() + self.policy.idle
            self._clock.until = earlier(until, soon)
            response = self._pool(parsed.scheme).handle_request(self._request(method, parsed, headers, body, slow))
            location = next((value for name, value in response.headers if name.lower() == b"location"), b"")
            try:
                found = follow and next_hop(method, target, response.status, location.decode("latin-1"))
            except ValueError as error:
                response.close()
                raise RequestError(url, str(error), final=True) from error
            if not found:
                return response
            response.close()
            target = found
        raise RequestError(url, f"it leads on more than {MAX_HOPS} times", final=True)

    def _request(
        self, method: str, parsed: HttpUrl, headers: Mapping[str, str], body: Body | None, slow: bool
    ) -> httpcore2.Request:
        """Return the request for a URL, with nothing of ours but what we are called."""
        import httpcore2

        length = len(body) if isinstance(body, bytes) else None if body is not None else 0
        sent = {
            "Host": parsed.authority,
            "User-Agent": f"bacpack/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            **({"Transfer-Encoding": "chunked"} if length is None else {}),
            **({"Content-Length": str(length)} if length is not None and (length or method == "POST") else {}),
            **headers,
        }
        idle = self.policy.idle
        read = None if slow else idle
        return httpcore2.Request(
            method,
            httpcore2.URL(
                scheme=parsed.scheme.encode(),
                host=parsed.host.encode(),
                port=parsed.port,
                target=parsed.target.encode(),
            ),
            headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in sent.items()],
            content=body,
            extensions={"timeout": {"connect": self.policy.connect, "read": read, "write": idle, "pool": idle}},
        )

    def _pool(self, scheme: str) -> httpcore2.ConnectionPool:
        from bacpack.http_client.connection import new_pool

        with self._lock:
            if scheme not in self._pools:
                self._pools[scheme] = new_pool(scheme, self._clock)
            return self._pools[scheme]
