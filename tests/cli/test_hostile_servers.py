"""Servers of every kind that answer nonsense: an error of ours with a code."""

from __future__ import annotations

import random
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

import soak
from bacpack.content.cid.cid import Cid
from cli.running import ECHO_ARGUMENTS, write
from cli.test_corrupted import check
from inprocess import call
from publish.releases import write_release
from serving import Quiet, Serving

#: Rounds of a normal run.
SAMPLES = 2

CID = str(Cid.of_raw(b"asked for"))
#: Of each a body, as a line.
_TEXT = r"""
    x; null; []; {}; 0; "x"; {"Keys": 1}; {"Keys": {"x": {}}}; {"Message": {}}; {"error": []}; {"Pins": {}}
    {"missing": 1}; {"Items": 5}; {"Job": {"State": {"StateType": "failed"}}}
    {"error": {"code": 1, "message": []}}; {"Providers": [{"ID": 1}]}; {"Root": {"Cid": {"/": 1}}}; {"missing": ["x"]}
    {"Root": {"Cid": {"/": "x"}}}; {"Root": {"Cid": []}}; {"Stats": 1}; {"results": [{}], "count": "x"}; {"JobID": 1}
    {"results": {}, "count": 1}; {"requestid": 1, "status": []}; {"Version": []}; {"blocks": "x"}; {"Items": [1, null]}
    {"Job": {"State": []}}; {"Job": {"State": {"StateType": 5}}}; {"Warnings": 1, "JobID": "x"}; {"mode": []}; asked for
    {"Warnings": [1], "JobID": {}}; {"status": "pinned", "pin": []}; {"Job": {"State": {"StateType": "completed"}}}
"""
BODIES = [text.strip().encode() for text in _TEXT.replace("\n", ";").split(";")]
BODIES += [b"\xff", b"\0" * 100, b"[" * 50_000, b'{"a":' * 50_000, b"\x3a\xa2eroots"]
#: What makes a client ask further, by what is in the path.
GOOD = {
    "/version": (200, b'{"Version": "0.30.0"}'), "/pin/ls": (500, b"not pinned"), "/block/stat": (500, b"{}"),
    "/blocks/missing": (200, b'{"missing": []}'), "/api/v1/pins": (404, b"{}"), "/jobs": (200, b'{"JobID": "x"}'),
    "/pins": (200, b'{"results": [], "count": 0}'), "/api/v0/id": (200, b'{"ID": "x", "Addresses": []}'),
}  # fmt: skip
STATUSES = [200, 200, 200, 200, 201, 202, 204, 206, 301, 307, 400, 401, 403, 404, 409, 416, 429, 500, 503]
TYPES = ["application/json", "application/vnd.ipld.car", "application/vnd.ipld.raw", "text/html", "", "\xff"]
HEADERS = [
    *(
        ("Retry-After", "0"),
        ("Retry-After", "x"),
        ("Location", "/"),
        ("Location", "http://["),
        ("Content-Encoding", "x"),
    ),
    *(("Content-Range", "bytes x"), ("X-Stream-Error", "x"), ("ETag", "x")),
]


class Nonsense(Serving):
    """Answers everything with what comes by chance."""

    def __init__(self, chance: random.Random) -> None:
        class Own(Quiet, BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                good = next((answer for part, answer in GOOD.items() if part in self.path), None)
                if good is None or chance.random() < 0.4:
                    good = chance.choice(STATUSES), chance.choice(BODIES)
                status, body = good
                self.send_response(status)
                for name, value in [("Content-Type", chance.choice(TYPES)), chance.choice(HEADERS)]:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body) + chance.choice([0, 0, 0, 0, 5])))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)
                self.close_connection = True

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815 - the library's names

        super().__init__(Own)


@pytest.fixture
def nonsense() -> Iterator[Nonsense]:
    with Nonsense(random.Random(soak.TIMES)) as server:
        yield server


def test_nonsense_from_servers_is_an_error_of_ours(
    nonsense: Nonsense, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACPACK_PINNING_TOKEN", "x")
    monkeypatch.setenv("BACPACK_NODE_TOKEN", "x")
    write_release(tmp_path / "out")
    app = write(tmp_path / "app.wasm", ECHO_ARGUMENTS)
    url = nonsense.url
    lines = [
        *(("publish", tmp_path / "out", "--to", f"{kind}:{url}", "--timeout", 2) for kind in ("kubo", "node")),
        ("publish", tmp_path / "out", "--to", f"pinning-service:{url}", "--timeout", 2),
        *(("fetch", CID, option, url, "--timeout", 2) for option in ("--peer", "--gateway", "--kubo")),
        ("fetch", f"{url}/x.car", "--timeout", 2), ("run", f"{url}/app.wasm"), ("inspect", f"{url}/app.wasm"),
        ("run", CID, "--peer", url), ("submit", app, "--engine", "bacalhau", "--scheduler", url),
    ]  # fmt: skip
    for _ in range(SAMPLES * soak.TIMES):
        for line in lines:
            check(call(tmp_path / "home", *line), line, as_json=False)
