"""Who may administer the node: whoever can read the token file in its state folder, and shows the token."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from pathlib import Path

from starlette.requests import Request

from bacnode.http_server.errors import RequestError
from bacnode.http_server.host_check import host_of
from bacpack.errors import InputError
from bacpack.secret_file import private_file

TOKEN_FILE = "node-token"

#: What pages write into a request that came with a session: the `Access` that may trust it. No client can.
SIGNED_IN = "bacnode.signed_in"

#: Bytes of randomness in a token that is made here.
_TOKEN_BYTES = 32
#: A token that a person wrote into the file may be shorter, but not so short that it can be guessed.
_MIN_TOKEN_CHARACTERS = 16


def load_token(folder: Path) -> str:
    """Return the token in `folder`, made on first use; raises `InputError` (`bad-node-token`)."""
    path = folder / TOKEN_FILE
    token = private_file(path, lambda: secrets.token_urlsafe(_TOKEN_BYTES).encode("ascii") + b"\n")
    text = token.decode("ascii", "replace").strip()
    if len(text) < _MIN_TOKEN_CHARACTERS or not text.isprintable() or not text.isascii() or " " in text:
        raise InputError(
            "bad-node-token",
            f"`{path}` holds no token: {_MIN_TOKEN_CHARACTERS} or more printable characters of ASCII, without spaces",
            hint="delete the file: the next start makes a new one",
            details={"path": str(path)},
        )
    return text


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at a host name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """Checks requests against the node's token."""

    def __init__(self, token: str) -> None:
        self._expected = token.encode("ascii")
        #: Whether only this machine reaches the node: then jobs need no token.
        self.is_local = False

    def is_token(self, given: str) -> bool:
        """Whether a text is the token."""
        # In constant time, so that how long it takes tells nothing of the token.
        return hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._expected)

    def require_job(self, request: Request) -> None:
        """Raise `RequestError` (`unauthorized`) unless the request has the token, or needs none for jobs.

        A page in a browser on this machine does need it: its requests say that they are a page's, or call this machine
        by a name that it was given by others.
        """
        if request.scope.get(SIGNED_IN) is self:
            return
        headers = request.headers
        is_page = "Origin" in headers or headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        if (
            not self.is_local
            or "Authorization" in headers
            or is_page
            or not is_loopback(host_of(headers.get("Host", "")))
        ):
            self.require(request)

    def require(self, request: Request) -> None:
        """Raise `RequestError` (`unauthorized`) unless the request shows the token, or is of a page that did so."""
        if request.scope.get(SIGNED_IN) is self:
            return
        given = request.headers.get("Authorization", "")
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer" or not self.is_token(token):
            raise RequestError(
                "unauthorized",
                "this needs the node's token" if not given else "the token is not this node's",
                hint=f"send `Authorization: Bearer TOKEN`; the token is in the file `{TOKEN_FILE}` in the node's store",
                status=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
