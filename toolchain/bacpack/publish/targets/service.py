"""Talking HTTP to a target: bounded in time and size, repeated when that may help, with errors that name it."""

from __future__ import annotations

import ipaddress
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from bacpack import __version__
from bacpack.decode import DecodeError, decode_json
from bacpack.publish.targets.base import TargetError
from bacpack.publish.targets.tokens import Token
from bacpack.publish.targets.wire import Backend, Clock, trailer
from bacpack.wire import Transport, retry_after

#: How often a request is sent in all, and the first wait between, which doubles.
_ATTEMPTS = 4
_FIRST_WAIT = 0.25
#: The longest wait for a connection, and for the next bytes where an answer comes at once.
_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 30.0
#: No answer that is asked for here is larger.
_MAX_ANSWER_BYTES = 32 << 20
#: What of a server's message is repeated.
_MAX_REASON = 300

#: Answers that mean "not now": the request was not carried out.
_LATER = frozenset((429, 502, 503, 504))


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, whatever its status."""

    status: int
    body: bytes
    #: Why it failed midway, as Kubo says after the body.
    stream_error: str = ""

    def lines(self, kind: type[T]) -> list[T]:
        """Return the JSON values in the body, one a line; raises `DecodeError`."""
        return [decode_json(line, kind) for line in self.body.splitlines() if line.strip()]


class Service:
    """The HTTP service that is a target. May be used by several threads."""

    def __init__(self, label: str, url: str, token: Token | None, seconds: float, token_help: str) -> None:
        self.label = label
        self.clock = Clock(seconds)
        self._url = url.rstrip("/")
        self._token = token
        self._token_help = token_help
        headers = {"User-Agent": f"bacpack/{__version__}", "Accept-Encoding": "identity", "Accept": "application/json"}
        if token:
            headers["Authorization"] = token.header
        self._client = httpx2.Client(
            transport=Transport(Backend(self.clock)), follow_redirects=False, trust_env=False, headers=headers
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        body: Mapping[str, Any] | Callable[[], Iterator[bytes]] | None = None,
        headers: Mapping[str, str] | None = None,
        slow: bool = False,
        again: bool = True,
    ) -> Answer:
        """Send a request and return the answer, whatever its status but 401 and 403.

        `body` is JSON, or makes the bytes anew for each attempt. With `slow` the answer may take all the time there is,
        because the server works first. Without `again` a request whose answer was lost is not repeated. Raises
        `TargetError` (`target-unreachable`, `target-denied`, `target-failed`, `target-timeout`).
        """
        for attempt in range(1, _ATTEMPTS + 1):
            last = attempt == _ATTEMPTS
            wait = _FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)
            try:
                response, answer = self._send(method, path, params, body, headers or {}, slow)
            except httpx2.TransportError as error:
                if self.clock.left <= 0:
                    raise self.timed_out() from error
                never_sent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
                if last or not (again or never_sent):
                    raise self._unreachable(error, attempt) from error
            else:
                if answer.status in (401, 403):
                    raise self._denied(answer)
                if answer.status not in _LATER:
                    return answer
                asked = retry_after(response.headers.get("Retry-After", "")) or 0.0
                if last or max(wait, asked) > self.clock.left:
                    soon = f", and asks to wait for {asked:.0f} s" if asked else ""
                    raise self.failed(answer, f"it answers {answer.status}{soon}", "try again later")
                wait = max(wait, asked)
            self.pause(wait)
        raise AssertionError("unreachable")

    def pause(self, seconds: float, doing: str = "") -> None:
        """Wait, but not beyond the time limit; raises `TargetError` (`target-timeout`) if there is none left."""
        time.sleep(max(0.0, min(seconds, self.clock.left)))
        if self.clock.left <= 0:
            raise self.timed_out(doing)

    def expect(self, answer: Answer, *statuses: int) -> dict[str, Any]:
        """Return the JSON object of an answer with one of these statuses; raises `TargetError` (`target-failed`)."""
        if answer.status not in statuses:
            redirect = ", and redirects are not followed" if 300 <= answer.status < 400 else ""
            raise self.failed(answer, f"it answers {answer.status}{redirect}")
        try:
            return decode_json(answer.body, dict[str, Any])
        except DecodeError:
            raise self.failed(None, "its answer is no JSON object", "is this the right URL?") from None

    def failed(self, answer: Answer | None, why: str, hint: str = "see the service's message above") -> TargetError:
        """Return the error for an answer that cannot be used, with what the server said of it."""
        said = self.masked(_reason(answer.body)) if answer else ""
        return self.error("target-failed", why + (f": {said}" if said else ""), hint)

    def timed_out(self, doing: str = "") -> TargetError:
        """Return the error for a time limit that was reached."""
        why = f"it was not done after {self.clock.seconds:g} s{doing}"
        return self.error("target-timeout", why, "publish again: what arrived is not sent twice; or set --timeout")

    def error(self, code: str, why: str, hint: str, details: Mapping[str, Any] | None = None) -> TargetError:
        """Return an error that names this target; no secret is in it."""
        return TargetError(
            code,
            f"cannot publish to `{self.label}`: {self.masked(why)}",
            hint=hint,
            details={"target": self.label, **(details or {})},
        )

    def masked(self, text: str) -> str:
        """Return a server's text in one line without control characters, secrets, or much length."""
        line = "".join(char if char.isprintable() else " " for char in text)
        line = self._token.mask(line) if self._token else line
        return line if len(line) <= _MAX_REASON else f"{line[:_MAX_REASON]}…"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(
        self,
        method: str,
        path: str,
        params: Sequence[tuple[str, str]],
        body: Mapping[str, Any] | Callable[[], Iterator[bytes]] | None,
        headers: Mapping[str, str],
        slow: bool,
    ) -> tuple[httpx2.Response, Answer]:
        content: Iterable[bytes] | bytes | None = None
        if callable(body):
            content = body()
        elif body is not None:
            content, headers = json.dumps(body).encode(), {**headers, "Content-Type": "application/json"}
        request = self._client.build_request(
            method,
            f"{self._url}{path}",
            params=httpx2.QueryParams(list(params)),
            content=content,
            headers=dict(headers),
            timeout=httpx2.Timeout(_IDLE_SECONDS, connect=_CONNECT_SECONDS, read=None if slow else _IDLE_SECONDS),
        )
        response = self._client.send(request, stream=True)
        try:
            received = bytearray()
            for chunk in response.iter_raw():
                received += chunk
                if len(received) > _MAX_ANSWER_BYTES:
                    raise self.error("target-failed", "its answer is too large", "is this the right URL?")
            return response, Answer(response.status_code, bytes(received), trailer(response, "X-Stream-Error"))
        finally:
            response.close()

    def _denied(self, answer: Answer) -> TargetError:
        said = self.masked(_reason(answer.body))
        why = "it does not accept the token" if self._token else "it asks for a token"
        return self.error("target-denied", f"{why} ({answer.status}{f': {said}' if said else ''})", self._token_help)

    def _unreachable(self, error: Exception, attempts: int) -> TargetError:
        why = str(error) or type(error).__name__
        tried = f" ({attempts} attempts)" if attempts > 1 else ""
        return self.error("target-unreachable", f"{why}{tried}", "check the URL, the network, and that it is running")


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine, so that what is sent to it can be read by nobody else."""
    host = httpx2.URL(url).host
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(body: bytes) -> str:
    """What a server says of a failure: the message in the JSON of Kubo, of a pinning service, of a node; or text."""
    text = body[: 4 * _MAX_REASON].decode(errors="replace").strip()
    try:
        value = decode_json(body)
    except ValueError:
        return "" if text.startswith("<") else text
    if not isinstance(value, dict):
        return text
    inner = value.get("error", value)
    if not isinstance(inner, dict):
        return str(inner)
    said = [inner.get(key) for key in ("Message", "reason", "message", "details")]
    return ": ".join(part for part in said if isinstance(part, str) and part) or text
