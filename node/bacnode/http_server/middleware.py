"""What every request passes before it is served: how often its client may come, and what it calls the node."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bacnode.http_server.cross_origin import CROSS_ORIGIN, Headers
from bacnode.http_server.errors import RequestError, error_response
from bacnode.http_server.host_check import Hosts, own_names
from bacnode.http_server.rate_limit import Rates, client_of, too_often

log = logging.getLogger("bacnode.service")

#: Requests a second for content, and for everything else, of one client; and how many may come at once, in seconds.
CONTENT_RATE, API_RATE = 20_000.0, 1_000.0
BURST_SECONDS = 5.0
#: Seconds for which a client that comes too often is not named again in the log.
_QUIET_SECONDS = 60.0

#: What pages of anyone may read, by the rules of browsers, so that the name does not matter.
_OPEN_TO_PAGES = ("/ipfs/", "/routing/")


@dataclass(frozen=True, slots=True)
class MiddlewareOptions:
    """What a person chose of it."""

    content_rate: float = CONTENT_RATE
    api_rate: float = API_RATE
    host_names: tuple[str, ...] = ()
    log_requests: bool = False


@dataclass(slots=True)
class Middleware:
    """The application, behind these checks."""

    app: ASGIApp
    content: ASGIApp
    options: MiddlewareOptions
    hosts: Hosts = field(init=False)
    _content_rates: Rates = field(init=False)
    _api_rates: Rates = field(init=False)
    #: When each client that came too often was last named in the log.
    _named: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        options = self.options
        self.hosts = Hosts(own_names() | {name.lower() for name in options.host_names})
        self._content_rates = Rates(options.content_rate, options.content_rate * BURST_SECONDS)
        self._api_rates = Rates(options.api_rate, options.api_rate * BURST_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.options.log_requests:
            send = _logged(scope, send)
        # Most requests are for blocks, and going through the router would take as long as serving one.
        path: str = scope["path"]
        is_content = path.startswith("/ipfs/")
        client = client_of(scope.get("client"))
        seconds = (self._content_rates if is_content else self._api_rates).take(client)
        if seconds:
            await self._refuse(scope, receive, send, self._too_often(client, seconds))
        elif is_content:
            await self.content(scope, receive, send)
        else:
            try:
                self._check_host(scope, path)
            except RequestError as error:
                await self._refuse(scope, receive, send, error)
            else:
                await self.app(scope, receive, send)

    def _check_host(self, scope: Scope, path: str) -> None:
        if path == "/healthz" or path.startswith(_OPEN_TO_PAGES):
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        # A page that does not know the token gains nothing by its name, and one that does needs no trick.
        if b"authorization" not in headers:
            self.hosts.check(headers.get(b"host", b"").decode("latin-1"))

    def _too_often(self, client: str, seconds: float) -> RequestError:
        now = time.monotonic()
        if now - self._named.get(client, -_QUIET_SECONDS) >= _QUIET_SECONDS:
            if len(self._named) > 1000:
                self._named.clear()
            self._named[client] = now
            log.warning("a client comes too often", extra={"about": {"client": client}})
        return too_often("this client makes too many requests", seconds)

    @staticmethod
    async def _refuse(scope: Scope, receive: Receive, send: Send, error: RequestError) -> None:
        response = error_response(error)
        if scope["path"].startswith(_OPEN_TO_PAGES):
            cross_origin: Headers = CROSS_ORIGIN
            response.raw_headers.extend(cross_origin)
        await response(scope, receive, send)


def _logged(scope: Scope, send: Send) -> Send:
    """Return a `send` that logs the request when its answer begins."""
    began = time.monotonic()

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            about = {
                "client": client_of(scope.get("client")),
                "method": scope["method"],
                # Without the query: people put secrets there.
                "path": scope["path"],
                "status": message["status"],
                "ms": round((time.monotonic() - began) * 1000, 1),
            }
            log.info("request", extra={"about": about})
        await send(message)

    return sending
