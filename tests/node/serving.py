"""What tests of the service share: a node as a process of its own, and a client that hides nothing."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from bacpack.content.car import car_chunks
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from content.harness import Blocks
from waiting import PATIENCE, line_of

CAR = {"Content-Type": "application/vnd.ipld.car; version=1"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error that this is."""
        error = self.json["error"]
        assert error["message"] and error["hint"], error
        return str(error["code"])


class Node:
    """The real command, serving a store of its own; ends cleanly or fails the test."""

    def __init__(
        self,
        store: Path,
        *arguments: object,
        listen: str = "127.0.0.1:0",
        limits: Mapping[str, float] | None = None,
        first: str = "",
    ) -> None:
        """`limits` sets constants, as `bacnode.http_server.protocol.HEAD_SECONDS`, that are too large to be waited for.

        `first` is a line of Python that the command begins with.
        """
        self.store = store
        start = f"{first}\n" + "".join(
            f"import {name.rpartition('.')[0]}; {name} = {value}\n" for name, value in (limits or {}).items()
        )
        run = ["-c", f"{start}from bacpack.cli import main; main()"]
        line = [sys.executable, *run, "node", "serve", "--listen", listen, "--store", store, *arguments]
        environment = {**os.environ, "PYTHONWARNINGS": "error"}
        self.process = subprocess.Popen(
            list(map(str, line)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        ready = line_of(self.process.stdout, "the node is ready")
        if not ready:
            raise AssertionError(self.process.communicate(timeout=PATIENCE)[1])
        self.ready: dict[str, Any] = json.loads(ready)
        self.url: str = self.ready["url"]
        self.peer_id: str = self.ready["peer_id"]
        self.host, self.port = urlsplit(self.url).hostname or "", urlsplit(self.url).port or 0
        self.token = (store / "node-token").read_text().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            out, err = self.stop()
            assert (self.process.returncode, out, err) == (0, "", "") or error is not None, (out, err)

    def stop(self, number: int = signal.SIGTERM) -> tuple[str, str]:
        """Tell it to end; return what it printed after its first line."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=20)

    def connect(self, seconds: float = PATIENCE) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=seconds)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, body: object = None, *, method: str = "POST", token: str | None = None) -> Answer:
        """Send JSON with the token."""
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
        return self.ask(method, path, b"" if body is None else json.dumps(body).encode(), headers)

    def upload(self, root: Cid, blocks: Blocks) -> Answer:
        return self.upload_bytes(b"".join(car_chunks([root], blocks.items())))

    def upload_bytes(self, car: bytes | Iterable[bytes]) -> Answer:
        return self.ask("POST", "/api/v1/blocks", car, {**CAR, "Authorization": f"Bearer {self.token}"})


def keep(store: Path, blocks: Blocks) -> None:
    """Put blocks into a store, without forcing each to disk as the store itself does."""
    for cid, data in blocks.items():
        path = BlockStore(store).path(cid)
        path.parent.mkdir(parents=True, exist_ok=True)
        # A node may be reading the same block, from an earlier time.
        aside = path.with_name(f"{path.name}.{threading.get_ident()}")
        aside.write_bytes(data)
        aside.replace(path)
