"""An answer: its status, and a body that is read within limits. What a server says of it is a promise, not a fact."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bacpack.decode import DecodeError, decode_json
from bacpack.errors import InputError
from bacpack.http_client.errors import RequestError, out_of_time
from bacpack.http_client.retry import retry_after
from bacpack.text import shown

# What speaks HTTP is imported where it is used: that takes longer than most programs run, and most need no network.
if TYPE_CHECKING:
    import httpcore2

#: What of an error's text is read.
_ERROR_BYTES = 4096


class Response:
    """What a server answers to a request for `url`, whatever its status; no reading outlasts `until`."""

    def __init__(self, url: str, response: httpcore2.Response, until: float | None) -> None:
        self.url = url
        self.status: int = response.status
        self._headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        self._response = response
        self._until = until

    def header(self, name: str) -> str:
        """Return a header of the answer, empty where there is none."""
        return self._headers.get(name.lower(), "")

    def trailer(self, name: str) -> str:
        """Return what was said after the body, which was read to its end; empty where nothing was."""
        from bacpack.http_client.connection import trailer

        return trailer(self._response, name) if "chunked" in self.header("Transfer-Encoding").lower() else ""

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait; None where it asks for nothing."""
        return retry_after(self.header("Retry-After"))

    def check(self) -> None:
        """Raise `RequestError` unless the status is 200, saying whether and when to ask again."""
        if self.status != 200:
            leads_on = 300 <= self.status < 400 and self.header("Location")
            redirect = " and leads to another address, where it is not followed" if leads_on else ""
            raise RequestError(
                self.url,
                f"the server answers {self.status}{redirect}",
                again=self.status == 429 or self.status >= 500,
                seconds=self.retry_after if self.status in (429, 503) else None,
            )

    def chunks(self) -> Iterator[bytes]:
        """Yield the body in pieces, however many there are."""
        encoding = self.header("Content-Encoding") or "identity"
        if encoding != "identity":
            reason = f"the server compresses its answer ({encoding}), which it was asked not to do"
            raise RequestError(self.url, reason, final=True)
        for chunk in self._response.iter_stream():
            if self._until is not None and time.monotonic() > self._until:
                raise out_of_time(self.url)
            yield chunk

    def read(self, max_bytes: int, seconds: float | None = None) -> bytes:
        """Return the body; raises `InputError` (`too-large`), and `RequestError` after so many seconds."""
        stated = self.header("Content-Length")
        if stated.isdecimal() and int(stated) > max_bytes:
            raise too_large(f"`{self.url}`", int(stated), max_bytes)
        end = None if seconds is None else time.monotonic() + seconds
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > max_bytes:
                raise too_large(f"`{self.url}`", None, max_bytes)
            if end is not None and time.monotonic() > end:
                raise RequestError(self.url, f"it was not done after {seconds:g} s", final=True)
        return bytes(body)

    def reason(self, seconds: float) -> str:
        """Return what the first bytes of the body say of a failure, as a message may repeat it."""
        body = b""
        end = time.monotonic() + seconds
        for chunk in self.chunks():
            body += chunk
            if len(body) >= _ERROR_BYTES or time.monotonic() > end:
                break
        return shown(reason_of(body))


def too_large(what: str, size: int | None, max_bytes: int) -> InputError:
    """The error for a module beyond a limit; `size` is None when it was not read to its end."""
    has = "more" if size is None else f"{size} bytes, more"
    return InputError(
        "too-large",
        f"{what} has {has} than the {max_bytes} bytes that a program may still load",
        hint="split the program, so that no module is so large",
        details={"bytes": size, "max_bytes": max_bytes},
    )


def reason_of(body: bytes) -> str:
    """What a server says of a failure: the message in the JSON of Kubo, of a pinning service, of a node; or text."""
    text = body[:_ERROR_BYTES].decode(errors="replace").strip()
    try:
        value = decode_json(body)
    except DecodeError:
        return "" if text.startswith("<") else text
    inner = value.get("error", value) if isinstance(value, dict) else text
    if not isinstance(inner, dict):
        return str(inner)
    said = [inner.get(key) for key in ("Message", "reason", "message", "details")]
    return ": ".join(part for part in said if isinstance(part, str) and part) or text
