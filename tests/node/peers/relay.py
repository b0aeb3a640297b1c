"""A way to a node that is as slow, as full of lies or as broken as a test wants it."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from serving import Quiet, Serving


class Relay(Serving):
    """Passes requests on to `url`, and notes those for blocks. What it does wrong may be set at any time."""

    def __init__(self, url: str, *, delay: float = 0.0) -> None:
        #: Seconds before it answers.
        self.delay = delay
        #: Seconds before each byte of a body.
        self.drip = 0.0
        #: Whether blocks have a wrong byte.
        self.lies = False
        #: Whether connections are closed without an answer.
        self.is_down = False
        #: How many requests for blocks are told to come again, after a second.
        self.busy = 0
        #: CIDs that it says it does not have.
        self.lacks: set[str] = set()
        self.asked: Counter[str] = Counter()
        #: Most requests for blocks at one time.
        self.at_once = 0
        #: Set when a client went away before it had its answer.
        self.was_left = threading.Event()
        self._now = 0
        self._lock = threading.Lock()
        owner, target = self, urlsplit(url).netloc

        class Own(Quiet, BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner.answer(self, target)

            def do_HEAD(self) -> None:
                owner.answer(self, target)

        super().__init__(Own)

    def answer(self, handler: BaseHTTPRequestHandler, target: str) -> None:
        is_block = handler.command == "GET" and handler.path.startswith("/ipfs/")
        if self.is_down:
            handler.close_connection = True
            return
        if is_block:
            with self._lock:
                self._now += 1
                self.at_once = max(self.at_once, self._now)
                self.asked[handler.path.split("/")[2].partition("?")[0]] += 1
        try:
            self._pass_on(handler, target, is_block=is_block)
        except (BrokenPipeError, ConnectionResetError):
            self.was_left.set()
            handler.close_connection = True
        finally:
            if is_block:
                with self._lock:
                    self._now -= 1

    def _pass_on(self, handler: BaseHTTPRequestHandler, target: str, *, is_block: bool) -> None:
        connection = http.client.HTTPConnection(target, timeout=20)
        try:
            connection.request(handler.command, handler.path, headers=dict(handler.headers.items()))
            answer = connection.getresponse()
            status, body, size = answer.status, answer.read(), answer.headers["Content-Length"]
        except (OSError, http.client.HTTPException):
            handler.close_connection = True
            return
        finally:
            connection.close()
        self._wait(handler)
        extra = {}
        if is_block:
            if handler.path.split("/")[2].partition("?")[0] in self.lacks:
                status, body, size = 404, b"", "0"
            with self._lock:
                if self.busy:
                    self.busy -= 1
                    status, body, size, extra = 429, b"", "0", {"Retry-After": "1"}
            if self.lies and status == 200:
                body = bytes((body[0] ^ 1,)) + body[1:]
        handler.send_response(status)
        for name, value in {"Content-Length": size, "Content-Type": answer.headers["Content-Type"], **extra}.items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        if not self.drip:
            handler.wfile.write(body)
        for at in range(len(body) if self.drip else 0):
            time.sleep(self.drip)
            handler.wfile.write(body[at : at + 1])

    def _wait(self, handler: BaseHTTPRequestHandler) -> None:
        """Wait, but not for a client that is gone."""
        until = time.monotonic() + self.delay
        handler.connection.settimeout(0.01)
        try:
            while time.monotonic() < until:
                try:
                    if not handler.connection.recv(1):
                        raise BrokenPipeError
                except TimeoutError:
                    pass
        finally:
            handler.connection.settimeout(None)
