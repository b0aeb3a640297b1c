"""Helia, IPFS's own client in JavaScript, fetches what was published from a node, and refuses what was changed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from content.harness import Bacpack
from node.serving import Node
from packages import NODE
from serving import Quiet, Serving
from wanting import npm

#: Large enough for several blocks.
APP = b"\0asm\1\0\0\0\0\xe0\xa7\x12\x04data" + os.urandom(300_000) * 8


@pytest.fixture(scope="session")
def helia() -> tuple[str, Path]:
    """A node to run it with, and its folder."""
    return NODE, npm("helia") / "fetch.mjs"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, str]]:
    """A node that serves a release of one app, and the release's root."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "out").mkdir()
    (folder / "out" / "app.wasm").write_bytes(APP)
    (folder / "out" / "small.wasm").write_bytes(APP[:8])
    root = Bacpack(folder / "home").ok("publish", folder / "out")["root"]
    with Node(folder / "home") as node:
        yield node, root


def fetch(helia: tuple[str, Path], how: str, url: str, wanted: str) -> dict[str, Any]:
    done = subprocess.run([*helia, how, url, wanted], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("how", ["gateway", "routing"])
def test_a_published_app_is_fetched_by_its_path(helia: tuple[str, Path], published: tuple[Node, str], how: str) -> None:
    node, root = published
    result = fetch(helia, how, node.url, f"ipfs://{root}/app.wasm")
    assert result == {
        "status": 200, "type": "application/wasm", "bytes": len(APP), "sha256": hashlib.sha256(APP).hexdigest(),
    }  # fmt: skip


def test_what_is_not_in_the_release_is_not_found(helia: tuple[str, Path], published: tuple[Node, str]) -> None:
    node, root = published
    assert fetch(helia, "gateway", node.url, f"ipfs://{root}/other.wasm")["status"] == 404


@contextmanager
def between(url: str, flip: bool) -> Iterator[tuple[str, list[int]]]:
    """Yield the URL of a proxy that may flip the last bit of blocks of files, and the sizes of those that it passed."""
    passed: list[int] = []

    class Proxy(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            request = urllib.request.Request(url + self.path, headers={"Accept": self.headers["Accept"]})
            with urllib.request.urlopen(request, timeout=20) as answer:
                body = bytearray(answer.read())
                kind = answer.headers["Content-Type"]
            if len(body) > 1000:
                passed.append(len(body))
                body[-1] ^= flip
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with Serving(Proxy) as proxy:
        yield proxy.url, passed


@pytest.mark.parametrize("flip", [False, True])
def test_one_flipped_bit_is_refused(helia: tuple[str, Path], published: tuple[Node, str], flip: bool) -> None:
    node, root = published
    with between(node.url, flip) as (url, passed):
        result = fetch(helia, "gateway", url, f"ipfs://{root}/app.wasm")
    assert passed
    if flip:
        assert result["status"] in (502, 504)
        assert result["sha256"] != hashlib.sha256(APP).hexdigest()
    else:
        assert result["sha256"] == hashlib.sha256(APP).hexdigest()
