"""HTTP services on loopback that stand in for real ones, and a wire to them that fails where a test says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from serving import Quiet, Serving
from waiting import joined


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.query if key == name]

    def one(self, name: str, default: str = "") -> str:
        values = self.all(name)
        assert len(values) < 2, f"{name} is given {len(values)} times"
        return values[0] if values else default


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Sent after the body, which is then in chunks.
    trailers: Mapping[str, str] | None = None


class Stand(Serving):
    """A service. Subclasses answer in `reply`; what a client may not do is noted in `violations`, for a test to see."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.violations: list[str] = []
        #: Bytes of all bodies that came.
        self.bytes_in = 0
        #: Answers to give first, whatever is asked, by what the path ends in.
        self.first: list[tuple[str, Reply]] = []
        self._lock = threading.Lock()
        owner = self

        class Own(Quiet, BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                try:
                    body = b"".join(_body(self))
                except (ConnectionError, ValueError):
                    self.close_connection = True
                    return
                parts = urlsplit(self.path)
                query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
                request = Request(
                    self.command, parts.path, query, {k.lower(): v for k, v in self.headers.items()}, body
                )
                self._send(owner.answer(request))

            do_GET = do_POST = do_PUT = _serve  # noqa: N815 - as the base class calls them

            def _send(self, reply: Reply) -> None:
                try:
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    if reply.trailers is None:
                        self.send_header("Content-Length", str(len(reply.body)))
                        self.end_headers()
                        self.wfile.write(reply.body)
                        return
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    if reply.body:
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(reply.body), reply.body))
                    end = "".join(f"{name}: {value}\r\n" for name, value in reply.trailers.items())
                    self.wfile.write(b"0\r\n" + end.encode() + b"\r\n")
                except ConnectionError:
                    self.close_connection = True

        super().__init__(Own)

    def answer(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            self.bytes_in += len(request.body)
            for index, (end, reply) in enumerate(self.first):
                if request.path.endswith(end):
                    del self.first[index]
                    return reply
            try:
                return self.reply(request)
            except AssertionError as error:
                self.violations.append(f"{request.method} {request.path}: {error}")
                return Reply(400, str(error).encode())

    def reply(self, request: Request) -> Reply:
        raise NotImplementedError

    def count(self, method: str, path: str) -> int:
        return sum(1 for request in self.requests if request.method == method and request.path == path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if kind is None:
            assert self.violations == []


def _body(handler: BaseHTTPRequestHandler) -> Iterator[bytes]:
    if handler.headers.get("Transfer-Encoding", "").lower() != "chunked":
        length = int(handler.headers.get("Content-Length", "0"))
        data = handler.rfile.read(length)
        if len(data) < length:
            raise ConnectionError
        yield data
        return
    while size := int(handler.rfile.readline() or b"x", 16):
        data = handler.rfile.read(size)
        if len(data) < size or handler.rfile.read(2) != b"\r\n":
            raise ConnectionError
        yield data
    while handler.rfile.readline() not in (b"\r\n", b""):
        pass


@dataclass(frozen=True)
class Cut:
    """Cut a connection after so many bytes in one direction; None for never."""

    up: int | None = None
    down: int | None = None
    #: Let one byte of an answer through, so often in all, and not more.
    drip: bool = False


class Wire:
    """A proxy to a port of loopback, whose connections fail as planned: the first as the first plan says, and so on."""

    def __init__(self, port: int, plans: Sequence[Cut] = (), always: Cut | None = None) -> None:
        self._port = port
        self._plans = list(plans)
        self._always = always or Cut()
        #: Bytes that went up, over all connections.
        self.up = 0
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._ended = threading.Event()
        self._sockets: list[socket.socket] = []
        self._workers: list[threading.Thread] = []

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            plan = self._plans.pop(0) if self._plans else self._always
            server = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [client, server]
            for source, sink, limit, drip in (
                (client, server, plan.up, False),
                (server, client, plan.down, plan.drip),
            ):
                worker = threading.Thread(target=self._pump, args=(source, sink, limit, drip, source is client))
                worker.start()
                self._workers.append(worker)

    def _pump(self, source: socket.socket, sink: socket.socket, limit: int | None, drip: bool, upwards: bool) -> None:
        passed = 0
        try:
            while limit is None or passed < limit:
                data = source.recv(1 if drip else 65536 if limit is None else min(65536, limit - passed))
                if not data:
                    break
                sink.sendall(data)
                passed += len(data)
                if upwards:
                    self.up += len(data)
                if drip and self._ended.wait(0.05):
                    break
        except OSError:
            pass
        for end in (source, sink):
            # Both directions at once, as when a cable is pulled: shutdown wakes the other pump.
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        joined(self._thread, "the proxy ends")
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for worker in self._workers:
            joined(worker, "a connection ends")
        for end in self._sockets:
            end.close()
