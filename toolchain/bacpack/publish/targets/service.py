"""Talking HTTP to a target: bounded in time and size, repeated when that may help, with errors that name it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from bacpack.decode import DecodeError, decode_json
from bacpack.errors import InputError
from bacpack.http_client import HttpClient, RequestError, RequestPolicy, Response, reason_of
from bacpack.http_client.client import Body
from bacpack.publish.targets.target import TargetError
from bacpack.publish.targets.tokens import Token
from bacpack.text import shown

#: How long a target is waited for, within the time limit that a person set for all of it.
POLICY = RequestPolicy(connect=10, idle=30, tries=4, pause=0.25)
#: No answer that is asked for here is larger.
_MAX_ANSWER_BYTES = 32 << 20
#: What of a server's message is repeated.
_MAX_REASON = 300

#: Answers that mean "not now": the request was not carried out.
_LATER = frozenset((429, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, whatever its status."""

    status: int
    body: bytes
    #: Why it failed midway, as Kubo says after the body.
    stream_error: str = ""


class Service:
    """The HTTP service that is a target. May be used by several threads."""

    def __init__(self, label: str, url: str, token: Token | None, seconds: float, token_help: str) -> None:
        self.label = label
        self._seconds = seconds
        self.restart()
        self._url = url.rstrip("/")
        self._token = token
        self._token_help = token_help
        self._headers = {"Accept": "application/json", **({"Authorization": token.header} if token else {})}
        self._http = HttpClient(policy=POLICY)

    def restart(self) -> None:
        """Count the time limit from now."""
        self._end = time.monotonic() + self._seconds

    @property
    def left(self) -> float:
        """Seconds until the time limit."""
        return self._end - time.monotonic()

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
        url = f"{self._url}{path}" + (f"?{urlencode(params)}" if params else "")
        for attempt, pause in enumerate(POLICY.pauses(), 1):
            asked = 0.0
            try:
                answer, asked = self._send(method, url, body, headers or {}, slow)
            except RequestError as error:
                if self.left <= 0:
                    raise self.timed_out() from error
                if pause is None or not (again or not error.sent):
                    raise self._unreachable(error, attempt) from error
            else:
                if answer.status in (401, 403):
                    raise self._denied(answer)
                if answer.status not in _LATER:
                    return answer
                if pause is None or max(pause, asked) > self.left:
                    soon = f", and asks to wait for {asked:.0f} s" if asked else ""
                    raise self.failed(answer, f"it answers {answer.status}{soon}", "try again later")
            self.pause(max(pause, asked))
        raise AssertionError("unreachable")

    def pause(self, seconds: float, doing: str = "") -> None:
        """Wait, but not beyond the time limit; raises `TargetError` (`target-timeout`) if there is none left."""
        time.sleep(max(0.0, min(seconds, self.left)))
        if self.left <= 0:
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
        said = self.masked(reason_of(answer.body)) if answer else ""
        return self.error("target-failed", why + (f": {said}" if said else ""), hint)

    def timed_out(self, doing: str = "") -> TargetError:
        """Return the error for a time limit that was reached."""
        why = f"it was not done after {self._seconds:g} s{doing}"
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
        return shown(self._token.mask(text) if self._token else text, _MAX_REASON)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _send(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | Callable[[], Iterator[bytes]] | None,
        headers: Mapping[str, str],
        slow: bool,
    ) -> tuple[Answer, float]:
        """Send a request once; return the answer, and the seconds that the server asks to wait."""
        sent = {**self._headers, **headers}
        content: Body | None
        if body is None or callable(body):
            content = body() if body else None
        else:
            content, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        # A token goes to nobody but whom a person named.
        with self._http.open(
            method, url, sent, content, slow=slow, any_address=True, follow=False, until=self._end
        ) as response:
            return self._received(response), response.retry_after or 0.0

    def _received(self, response: Response) -> Answer:
        try:
            body = response.read(_MAX_ANSWER_BYTES)
        except InputError:
            raise self.error("target-failed", "its answer is too large", "is this the right URL?") from None
        return Answer(response.status, body, response.trailer("X-Stream-Error"))

    def _denied(self, answer: Answer) -> TargetError:
        said = self.masked(reason_of(answer.body))
        why = "it does not accept the token" if self._token else "it asks for a token"
        return self.error("target-denied", f"{why} ({answer.status}{f': {said}' if said else ''})", self._token_help)

    def _unreachable(self, error: RequestError, attempts: int) -> TargetError:
        tried = f" ({attempts} attempts)" if attempts > 1 else ""
        why = f"{error.reason}{tried}"
        return self.error("target-unreachable", why, "check the URL, the network, and that it is running")


class ServiceTarget:
    """What the targets that are services have in common."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def label(self) -> str:
        """How it is named."""
        return self._service.label

    def close(self) -> None:
        """Close the connections."""
        self._service.close()
