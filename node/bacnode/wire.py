"""Connections to addresses that were checked, which keep to the time of a thread, and the requests that go there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import httpcore2
import httpx2

from bacpack import __version__
from bacpack.wire import TimedStream

if TYPE_CHECKING:
    from bacnode.transport import Addresses, Clock


class Backend(httpcore2.NetworkBackend):
    """Opens connections that keep to `clock`, to one of the `addresses` of their host; it looks up no name."""

    def __init__(self, clock: Clock, addresses: Addresses) -> None:
        self._clock = clock
        self._addresses = addresses
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address that takes it."""
        failure: Exception = httpcore2.ConnectError("it was not looked up")
        for address in self._addresses.get((host, port), ()):
            try:
                stream = self._sockets.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._clock)
        raise failure


class _Stream(TimedStream):
    _clock: Clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return some bytes, none at the end; another thread may end this."""
        cancel = self._clock.cancel
        if cancel is None:
            return super().read(max_bytes, timeout)
        try:
            with cancel.reading(self.get_extra_info("socket")):
                return super().read(max_bytes, timeout)
        except ConnectionAbortedError as error:
            raise httpcore2.ReadError(str(error)) from error


def request_for(
    method: str, parsed: httpx2.URL, port: int, headers: Mapping[str, str], idle: float
) -> httpcore2.Request:
    """Return the request for a URL: its bytes as they are, and nothing of ours but what we are called."""
    target = httpcore2.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=port, target=parsed.raw_path)
    sent = {
        "Host": parsed.netloc.decode("ascii"),
        "User-Agent": f"bacpack/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        **({"Content-Length": "0"} if method == "POST" else {}),
        **headers,
    }
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), idle)
    return httpcore2.Request(
        method,
        target,
        headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in sent.items()],
        extensions={"timeout": timeout},
    )
