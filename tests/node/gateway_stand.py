"""Servers on loopback that speak as gateways and Kubos do, and break off, stall or lie where a test tells them to."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

from bacpack.content.car import car_chunks
from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.links import read_dag
from waiting import joined

Framing = Literal["length", "chunked", "close"]


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def cid(self) -> Cid:
        parts = urlsplit(self.target)
        query = parse_qs(parts.query)
        return Cid.parse(query["arg"][0] if "arg" in query else unquote(parts.path).split("/")[2])

    @property
    def is_car(self) -> bool:
        return "format=car" in self.target or "dag/export" in self.target


@dataclass(frozen=True)
class Reply:
    """An answer, and what goes wrong with it."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    framing: Framing = "length"
    trailers: Mapping[str, str] = field(default_factory=dict)
    #: Send so many bytes, from the first of the status line on, and break off.
    cut: int | None = None
    #: Before the rest: wait until the test says so.
    stall: threading.Event | None = None
    #: Send one byte at a time, with so many seconds between them.
    drip: float | None = None

    def encode(self) -> bytes:
        headers = dict(self.headers)
        body = self.body
        if self.framing == "length":
            headers["Content-Length"] = str(len(body))
        elif self.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
            if self.trailers:
                headers["Trailer"] = ", ".join(self.trailers)
            end = "".join(f"{name}: {value}\r\n" for name, value in self.trailers.items())
            body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + f"0\r\n{end}\r\n".encode()
        lines = [f"HTTP/1.1 {self.status} X", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


class Server:
    """Answers each request by `reply`; what `mend` makes of the answer is sent. Every connection is for one request."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.mend: Callable[[Asked, Reply], Reply] = lambda asked, reply: reply
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._closed = False

    def reply(self, asked: Asked) -> Reply:
        return Reply(404)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if self._closed:
                connection.close()
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = connection.recv(65536)
                    if not part:
                        return
                    head += part
                first, *lines = head.decode().split("\r\n")
                method, target, _ = first.split()
                headers = dict(line.split(": ", 1) for line in lines if ": " in line)
                asked = Asked(method, target, headers)
                self.asked.append(asked)
                self._send(connection, self.mend(asked, self.reply(asked)))
            except OSError:
                # The client had seen enough.
                return

    def _send(self, connection: socket.socket, reply: Reply) -> None:
        data = reply.encode()
        connection.sendall(data[: reply.cut] if reply.drip is None else b"")
        if reply.drip is not None:
            for at in range(len(data)):
                connection.sendall(data[at : at + 1])
                if threading.Event().wait(reply.drip):
                    return
        if reply.stall is not None:
            reply.stall.wait(60)
        if reply.cut is not None and reply.framing != "close":
            # Broken off for the client to see, as by a cable that was pulled; otherwise it is a quiet end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        # Closing alone does not wake a thread that accepts.
        with socket.create_connection(self._socket.getsockname()):
            pass
        joined(self._thread, "the server ends")
        self._socket.close()


class Gateway(Server):
    """A trustless gateway over some blocks."""

    def __init__(self, blocks: Mapping[Cid, bytes], *, car: bool = True, framing: Framing = "chunked") -> None:
        super().__init__()
        self.blocks = {cid.to_v1(): block for cid, block in blocks.items()}
        self.speaks_car = car
        self.framing = framing

    def get(self, cid: Cid) -> bytes:
        block = cid.identity_data if cid.is_identity else self.blocks.get(cid.to_v1())
        if block is None:
            raise MissingBlockError(cid)
        return block

    def reply(self, asked: Asked) -> Reply:
        if asked.method != "GET" or not asked.target.startswith("/ipfs/"):
            return Reply(404)
        cid = asked.cid
        if asked.is_car and not self.speaks_car:
            return Reply(406, body=b"only raw blocks here")
        if cid.to_v1() not in self.blocks:
            return Reply(404)
        if asked.is_car:
            headers = {"Content-Type": "application/vnd.ipld.car; version=1; order=dfs; dups=n"}
            return Reply(200, headers, self.car(cid), self.framing)
        return Reply(200, {"Content-Type": "application/vnd.ipld.raw"}, self.get(cid))

    def car(self, cid: Cid) -> bytes:
        """The stream: it ends early where a block is missing."""
        lacking: list[MissingBlockError] = []

        def present() -> Iterator[tuple[Cid, bytes]]:
            for found in read_dag(self.get, [cid], lacking.append):
                if lacking:
                    return
                if not found[0].is_identity:
                    yield found

        return b"".join(car_chunks([cid], present()))

    @property
    def cars(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.is_car]

    @property
    def raws(self) -> list[Asked]:
        return [asked for asked in self.asked if not asked.is_car]


class Kubo(Gateway):
    """The two calls of Kubo's RPC that fetching uses, errors as Kubo gives them."""

    def reply(self, asked: Asked) -> Reply:
        path = urlsplit(asked.target).path
        if asked.method != "POST":
            return Reply(405, body=b"405 - Method Not Allowed")
        if path == "/api/v0/block/get":
            if asked.cid.to_v1() not in self.blocks:
                return self.error(f"block was not found locally (offline): ipld: could not find {asked.cid}")
            return Reply(200, {"Content-Type": "application/vnd.ipld.raw"}, self.get(asked.cid), "chunked")
        if path == "/api/v0/dag/export":
            if asked.cid.to_v1() not in self.blocks:
                return self.error(f"block was not found locally (offline): ipld: could not find {asked.cid}")
            trailers = {"X-Stream-Error": "ipld: could not find a block"} if self._lacks(asked.cid) else {}
            return Reply(200, {"Content-Type": "application/vnd.ipld.car"}, self.car(asked.cid), "chunked", trailers)
        return Reply(404, {"Content-Type": "text/plain"}, b"404 page not found")

    def error(self, message: str) -> Reply:
        body = json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode()
        return Reply(500, {"Content-Type": "application/json"}, body)

    def _lacks(self, cid: Cid) -> bool:
        lacking: list[MissingBlockError] = []
        for _ in read_dag(self.get, [cid], lacking.append):
            pass
        return bool(lacking)


def first_only(mend: Callable[[Asked, Reply], Reply]) -> Callable[[Asked, Reply], Reply]:
    """Let something go wrong with the first request alone."""
    left = [mend]
    return lambda asked, reply: left.pop()(asked, reply) if left else reply


def cut_at(count: int) -> Callable[[Asked, Reply], Reply]:
    """Break each answer off after so many bytes."""
    return lambda asked, reply: replace(reply, cut=count)
