"""Who is signed in to the pages: a browser that showed the token once has a cookie that stands for it, for a while.

The cookie is no token: browsers send cookies to every port of a host, so whoever listens at another one may see it. It
opens the pages alone, not the interface for programs, and ends with the session: on signing out, after
`SESSION_SECONDS`, and with the node.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from cachetools import TTLCache
from starlette.requests import Request
from starlette.responses import Response

from bacnode.http_server.errors import RequestError

SESSION_SECONDS = 12 * 3600
#: Sessions that are open at once; one more ends the oldest.
MAX_SESSIONS = 256


class Sessions:
    """The open sessions of one node."""

    def __init__(self, peer_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        #: Of its own for each node, as several nodes of one machine share a host.
        self.cookie = f"bacpack_{peer_id[-12:]}"
        self._open: TTLCache[str, bool] = TTLCache(MAX_SESSIONS, SESSION_SECONDS, clock)

    def open(self, request: Request, response: Response) -> None:
        """Begin a session, and have the browser keep it."""
        session = secrets.token_urlsafe(32)
        self._open[session] = True
        response.set_cookie(
            self.cookie,
            session,
            max_age=SESSION_SECONDS,
            path="/",
            httponly=True,
            samesite="strict",
            # A proxy with TLS before the node shows in what the browser says of itself.
            secure=request.headers.get("Origin", "").startswith("https://"),
        )

    def has(self, request: Request) -> bool:
        """Whether a request comes with a session that is open."""
        return request.cookies.get(self.cookie, "") in self._open

    def close(self, request: Request, response: Response) -> None:
        """End the session of a request."""
        self._open.pop(request.cookies.get(self.cookie, ""), None)
        response.delete_cookie(self.cookie, path="/", httponly=True, samesite="strict")


def require_own_page(request: Request) -> None:
    """Raise `RequestError` (`wrong-origin`) for a form that another page sent."""
    origin = request.headers.get("Origin")
    host = request.headers.get("Host", "")
    is_foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
    if is_foreign or request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise RequestError(
            "wrong-origin", "another page sent this form", hint="open the node's own page, and do it there", status=403
        )


def safe_next(path: str) -> str:
    """Return where to go after signing in: a path of this node, whatever the form said."""
    is_own = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if is_own and path.isascii() and path.isprintable() else "/"
