"""HTTP as one job may use it: to allowed addresses only, within limits of time and size.

A module can name any URL, so a program from a stranger could otherwise make this machine call services that only it can
reach: addresses that are not public are refused unless they are allowed, the name is looked up once and exactly what it
gave is connected to, also where an answer leads to another address.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from bacnode.redirects import MAX_HOPS, Address, is_public, is_same, next_hop, parse_url
from bacpack.errors import InputError, UnreachableError

# What speaks HTTP is imported where it is used: that takes longer than most programs run, and most need no network.
if TYPE_CHECKING:
    import httpcore2

Addresses: TypeAlias = dict[tuple[str, int], Sequence[Address]]

#: What of an error's text is read, and kept for a message.
_ERROR_BYTES = 4096
#: Open connections of one job.
_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Patience:
    """How long others are waited for, in seconds, and how often they are asked again."""

    #: Silence; also from a request to the end of the headers that answer it.
    idle: float = 30
    #: One block, however slowly it drips.
    block: float = 180
    #: One whole answer to a URL.
    answer: float = 600
    #: What a Kubo may spend on looking for one block that it does not hold.
    search: float = 10
    #: All that one source may make us wait for by saying that it is busy.
    busy: float = 60
    #: Requests for one thing, before a source that fails is given up.
    tries: int = 3
    #: The first pause before asking again; each is twice the one before.
    pause: float = 0.2
    #: Failures, one after the other, before a source is asked nothing more.
    strikes: int = 3


class RequestError(UnreachableError):
    """A request failed; the code is `url-failed`.

    `reason` is a clause. `again` says whether it may help to ask again, after so many `seconds` if the server said so.
    `final` says that the server is not worth another request.
    """

    def __init__(
        self, url: str, reason: str, *, again: bool = False, seconds: float | None = None, final: bool = False
    ) -> None:
        self.reason = reason
        self.again = again
        self.seconds = seconds
        self.final = final
        super().__init__(
            "url-failed",
            f"`{url}` cannot be fetched: {reason}",
            hint="check the URL and the network, and try again",
            details={"url": url},
        )


class Cancel:
    """A way to end another thread's request at once, wherever it waits for the server."""

    def __init__(self) -> None:
        self.cancelled = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def cancel(self) -> None:
        """End it; what it raises then means nothing."""
        with self._lock:
            self.cancelled = True
            if self._socket is not None:
                with suppress(OSError):
                    # Not that of an encrypted one, which takes away what the other thread reads from.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    @contextmanager
    def reading(self, from_socket: socket.socket | None) -> Iterator[None]:
        """Let the reading inside the block be ended; raises `ConnectionAbortedError` if it was before."""
        with self._lock:
            if self.cancelled:
                raise ConnectionAbortedError("it was cancelled")
            self._socket = from_socket
        try:
            yield
        finally:
            with self._lock:
                self._socket = None


class Clock(threading.local):
    """Until when the connections that the present thread uses may be read, as `time.monotonic` gives it."""

    until: float | None = None
    #: What ends that earlier.
    cancel: Cancel | None = None

    @property
    def left(self) -> float | None:
        """Seconds until then."""
        return None if self.until is None else self.until - time.monotonic()


class Transport:
    """Requests of one job. `offline` refuses all; no request outlasts `deadline`, a time of `time.monotonic`."""

    def __init__(
        self,
        *,
        offline: bool = False,
        allow_private: bool = False,
        patience: Patience | None = None,
        deadline: float | None = None,
    ) -> None:
        self.offline = offline
        self.patience = patience or Patience()
        #: Told what is awaited, and from whom; from any thread.
        self.on_wait: Callable[[str, str], object] = lambda what, whom: None
        self._allow_private = allow_private
        self._deadline = deadline
        #: What each host and port was found to be: this is what is connected to.
        self._addresses: Addresses = {}
        self._clock = Clock()
        self._pools: dict[str, httpcore2.ConnectionPool] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def _pool(self, scheme: str) -> httpcore2.ConnectionPool:
        """Return the open connections, which are known by scheme, host and port."""
        import httpcore2

        from bacnode.wire import Backend

        with self._lock:
            if scheme not in self._pools:
                # It uses no proxy that the environment names: one would look names up anew, and the check of addresses
                # mean nothing.
                self._pools[scheme] = httpcore2.ConnectionPool(
                    ssl_context=httpcore2.default_ssl_context() if scheme == "https" else None,
                    max_connections=_CONNECTIONS,
                    keepalive_expiry=5,
                    network_backend=Backend(self._clock, self._addresses),
                )
            return self._pools[scheme]

    @contextmanager
    def ended_by(self, cancel: Cancel) -> Iterator[None]:
        """Let `cancel` end the requests that the present thread makes inside the block."""
        self._clock.cancel = cancel
        try:
            yield
        finally:
            self._clock.cancel = None

    def forget(self, url: str) -> None:
        """Look the name in `url` up again next time: it could not be reached where it was."""
        host = urlsplit(url).hostname or ""
        for known in [key for key in self._addresses if key[0].strip("[]") == host]:
            self._addresses.pop(known, None)

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
            raise _out_of_time(url)
        if self._stopped.wait(seconds):
            raise RequestError(url, "the work was stopped", final=True)

    @contextmanager
    def open(self, method: str, url: str, headers: Mapping[str, str], *, any_address: bool = False) -> Iterator[Answer]:
        """Yield what `url` answers, whatever its status; its body may be read inside the block.

        Raises `RequestError`, or `UnreachableError` (`offline`, `url-private`), also while the body is read.
        """
        if self.offline:
            raise UnreachableError(
                "offline",
                f"`{url}` is not fetched: --offline forbids it",
                hint="run without --offline",
                details={"url": url},
            )
        import httpcore2

        idle = self.patience.idle
        if self._deadline is not None:
            idle = min(idle, self._deadline - time.monotonic())
        if idle <= 0:
            raise _out_of_time(url)
        if self._stopped.is_set():
            raise RequestError(url, "the work was stopped", final=True)
        try:
            response = self._respond(method, url, headers, idle, any_address=any_address)
            try:
                self._clock.until = self._deadline
                yield Answer(url, response, self._deadline)
            finally:
                response.close()
        except httpcore2.ConnectError as error:
            raise RequestError(url, f"it cannot be connected to ({error})", again=True, final=True) from error
        except httpcore2.TimeoutException as error:
            if self._deadline is not None and time.monotonic() >= self._deadline:
                raise _out_of_time(url) from error
            raise RequestError(url, f"no answer came in {self.patience.idle:g} s", final=True) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            reason = f"the connection broke off ({str(error) or type(error).__name__})"
            raise RequestError(url, reason, again=True) from error
        finally:
            self._clock.until = None

    def _respond(
        self, method: str, url: str, headers: Mapping[str, str], idle: float, *, any_address: bool
    ) -> httpcore2.Response:
        """Send a request, and again where the answer leads to, if that is allowed; return the last answer."""
        from bacnode.wire import request_for

        known: Sequence[Address] = ()
        target = url
        for _ in range(MAX_HOPS + 1):
            try:
                parsed, port = parse_url(target)
            except ValueError as error:
                raise RequestError(url, str(error), final=True) from error
            addresses = self._look_up(url, parsed.raw_host.decode("ascii"), port)
            if any_address and target is url:
                # Who was named by a person may lead on to itself, wherever it is, and to no other such address.
                known = addresses
            for address in addresses:
                if not (self._allow_private or is_public(address) or is_same(address, known)):
                    raise _private(url, address)
            self._clock.until = time.monotonic() + idle
            response = self._pool(parsed.scheme).handle_request(request_for(method, parsed, port, headers, idle))
            location = next((value for name, value in response.headers if name.lower() == b"location"), b"")
            try:
                found = next_hop(method, target, response.status, location.decode("latin-1"))
            except ValueError as error:
                response.close()
                raise RequestError(url, str(error), final=True) from error
            if found is None:
                return response
            response.close()
            target = found
        raise RequestError(url, f"it leads on more than {MAX_HOPS} times", final=True)

    def _look_up(self, url: str, host: str, port: int) -> Sequence[Address]:
        """Return the addresses that a host is connected to by, so that what is checked is what is used."""
        known = self._addresses.get((host, port))
        if known is None:
            # Such names are this machine, by RFC 6761, which not every resolver knows.
            name = "localhost" if host.endswith(".localhost") else host
            try:
                found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                raise RequestError(url, f"the name `{host}` has no address ({error})", final=True) from error
            texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
            # The first thread that asks decides for all.
            known = self._addresses.setdefault((host, port), [ipaddress.ip_address(text) for text in texts])
        return known


def _private(url: str, address: Address) -> UnreachableError:
    return UnreachableError(
        "url-private",
        f"`{url}` is not fetched: {address} is not a public address",
        hint="if you trust the program, allow it with --allow-private",
        details={"url": url, "address": str(address)},
    )


class Answer:
    """What a server answers: its status, and a body that is read in pieces."""

    def __init__(self, url: str, response: httpcore2.Response, deadline: float | None) -> None:
        self.url = url
        self.status: int = response.status
        self._headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        self._response = response
        self._deadline = deadline

    def header(self, name: str) -> str:
        """Return a header of the answer, empty where there is none."""
        return self._headers.get(name.lower(), "")

    def check(self) -> None:
        """Raise `RequestError` unless the status is 200, saying whether and when to ask again."""
        if self.status == 200:
            return
        from bacpack.wire import retry_after

        leads_on = 300 <= self.status < 400 and self.header("Location")
        redirect = " and leads to another address, where it is not followed" if leads_on else ""
        raise RequestError(
            self.url,
            f"the server answers {self.status}{redirect}",
            again=self.status == 429 or self.status >= 500,
            seconds=retry_after(self.header("Retry-After")) if self.status in (429, 503) else None,
        )

    def chunks(self) -> Iterator[bytes]:
        """Yield the body in pieces, however many there are."""
        encoding = self.header("Content-Encoding") or "identity"
        if encoding != "identity":
            reason = f"the server compresses its answer ({encoding}), which it was asked not to do"
            raise RequestError(self.url, reason, final=True)
        for chunk in self._response.iter_stream():
            if self._deadline is not None and time.monotonic() > self._deadline:
                raise _out_of_time(self.url)
            yield chunk

    def read(self, max_bytes: int, seconds: float) -> bytes:
        """Return the body; raises `InputError` (`too-large`), and `RequestError` after so many seconds.

        What the server says about its size is a promise, not a fact.
        """
        stated = self.header("Content-Length")
        if stated.isdecimal() and int(stated) > max_bytes:
            raise too_large(f"`{self.url}`", int(stated), max_bytes)
        end = time.monotonic() + seconds
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > max_bytes:
                raise too_large(f"`{self.url}`", None, max_bytes)
            if time.monotonic() > end:
                raise RequestError(self.url, f"it was not done after {seconds:g} s", final=True)
        return bytes(body)

    def error_text(self, seconds: float) -> str:
        """Return the first bytes of the body as text for a message."""
        text = b""
        end = time.monotonic() + seconds
        for chunk in self.chunks():
            text += chunk
            if len(text) >= _ERROR_BYTES or time.monotonic() > end:
                break
        return text[:_ERROR_BYTES].decode("utf-8", "replace")


def too_large(what: str, size: int | None, max_bytes: int) -> InputError:
    """The error for a module beyond a limit; `size` is None when it was not read to its end."""
    has = "more" if size is None else f"{size} bytes, more"
    return InputError(
        "too-large",
        f"{what} has {has} than the {max_bytes} bytes that a program may still load",
        hint="split the program, so that no module is so large",
        details={"bytes": size, "max_bytes": max_bytes},
    )


def _out_of_time(url: str) -> RequestError:
    return RequestError(url, "the time for all of the work is over", final=True)
