"""Taking blocks in: what is missing, what comes, what is pinned; who may, within which limits, safe from collection."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bacpack.content.car import car_chunks
from bacpack.content.car.header import MAX_SECTION_BYTES, V2_PRAGMA
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.varint import encode_varint
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.origins import Provenance
from bacpack.content.store.pins import Pins
from content.harness import Bacpack
from node.dags import MULTIBLOCK, Dag
from node.serving import CAR, Node, keep
from waiting import PATIENCE, joined, line_of, started


def release(dag: Dag) -> Cid:
    return dag.directory({"app.wasm": dag.file(MULTIBLOCK)[0], "other": dag.raw(b"other")})


def missing(node: Node, *cids: Cid) -> list[str]:
    answer = node.post("/api/v1/blocks/missing", {"cids": [str(cid) for cid in cids]})
    assert answer.status == 200, answer.body
    found: list[str] = answer.json["missing"]
    return found


# The whole way


def test_a_release_is_uploaded_pinned_and_served(node: Node, dag: Dag) -> None:
    root = release(dag)
    cids = list(dag.blocks)
    assert missing(node, *cids) == [str(cid) for cid in cids]
    answer = node.upload(root, dag.blocks)
    size = sum(map(len, dag.blocks.values()))
    assert (answer.status, answer.json) == (200, {"schema": 1, "blocks": len(cids), "new_bytes": size})
    assert missing(node, *cids) == []
    # Again: nothing is new.
    assert node.upload(root, dag.blocks).json == {"schema": 1, "blocks": len(cids), "new_bytes": 0}
    pinned = node.post(f"/api/v1/pins/{root}", {"name": "the release"}, method="PUT")
    assert (pinned.status, pinned.json) == (200, {"schema": 1, "status": "pinned"})
    pin = node.post(f"/api/v1/pins/{root}", method="GET").json
    assert pin.pop("created").endswith("Z")
    assert pin == {"schema": 1, "cid": str(root), "name": "the release", "mode": "recursive"}
    assert [p.cid for p in Pins(node.store).all()] == [root]
    origin = Provenance(node.store).get(dag.file(MULTIBLOCK)[0])
    assert origin is not None and (origin.names, origin.obtained_from) == (("app.wasm",), "upload")
    assert node.get(f"/ipfs/{root}?format=car").status == 200
    listed = node.post("/api/v1/pins", method="GET").json["pins"]
    assert [p["cid"] for p in listed] == [str(root)]
    gone = node.post(f"/api/v1/pins/{root}", method="DELETE")
    assert (gone.status, gone.json) == (200, {"schema": 1, "status": "unpinned"})
    for method in ("GET", "DELETE"):
        answer = node.post(f"/api/v1/pins/{root}", method=method)
        assert (answer.status, answer.code) == (404, "not-pinned")


def test_only_what_is_missing_needs_to_come(node: Node, dag: Dag) -> None:
    root = release(dag)
    held = dict(list(dag.blocks.items())[:3])
    keep(node.store, held)
    lacking = missing(node, *dag.blocks)
    assert lacking == [str(cid) for cid in dag.blocks if cid not in held]
    answer = node.post(f"/api/v1/pins/{root}", {"name": "x"}, method="PUT")
    assert (answer.status, answer.code) == (409, "incomplete")
    assert answer.json["error"]["details"]["missing"] == [str(root)]
    node.upload(root, {cid: data for cid, data in dag.blocks.items() if str(cid) in lacking})
    assert node.post(f"/api/v1/pins/{root}", {"name": "x"}, method="PUT").status == 200


def test_an_incomplete_dag_is_not_pinned_and_what_it_lacks_is_named(node: Node, dag: Dag) -> None:
    root = release(dag)
    lost = list(dag.blocks)[1]
    node.upload(root, {cid: data for cid, data in dag.blocks.items() if cid != lost})
    answer = node.post(f"/api/v1/pins/{root}", {"name": "x"}, method="PUT")
    assert (answer.status, answer.code) == (409, "incomplete")
    assert answer.json["error"]["details"]["missing"] == [str(lost)]
    assert node.post(f"/api/v1/pins/{root}", method="GET").status == 404


def test_a_damaged_block_is_named_as_missing_and_mended(node: Node, dag: Dag) -> None:
    root = release(dag)
    node.upload(root, dag.blocks)
    damaged = next(iter(dag.blocks))
    BlockStore(node.store).path(damaged).write_bytes(b"?")
    answer = node.post(f"/api/v1/pins/{root}", {}, method="PUT")
    assert answer.json["error"]["details"]["missing"] == [str(damaged)]
    assert node.upload(root, {damaged: dag.blocks[damaged]}).json["new_bytes"] == len(dag.blocks[damaged])
    assert node.post(f"/api/v1/pins/{root}", {}, method="PUT").status == 200


def test_both_versions_of_a_cid_are_one(node: Node, dag: Dag) -> None:
    root = release(dag)
    node.upload(root, dag.blocks)
    old = Cid(0, 0x70, root.multihash)
    assert missing(node, old) == []
    assert node.post(f"/api/v1/pins/{old}", {"name": "old"}, method="PUT").status == 200
    assert node.post(f"/api/v1/pins/{root}", method="GET").json["cid"] == str(root)


# Who may


REQUESTS = [
    ("POST", "/api/v1/blocks/missing"),
    ("POST", "/api/v1/blocks"),
    ("GET", "/api/v1/pins"),
    *((method, f"/api/v1/pins/{Cid.of_raw(b'')}") for method in ("GET", "PUT", "DELETE")),
]


@pytest.mark.parametrize(("method", "path"), REQUESTS, ids=[" ".join(request)[:30] for request in REQUESTS])
def test_the_token_is_needed(served: Node, method: str, path: str) -> None:
    almost = served.token[:-1] + ("A" if served.token[-1] != "A" else "B")
    for given in ("", "Bearer", "Bearer ", f"Bearer {almost}", f"Basic {served.token}", served.token, "Bearer ü"):
        headers = {"Authorization": given.encode().decode("latin-1")} if given else {}
        answer = served.ask(method, path, b"{}", {**headers, "Content-Type": "application/json"})
        assert (answer.status, answer.code) == (401, "unauthorized"), (given, answer.body)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert served.ask(method, path, b"{}", {"Authorization": f"bearer {served.token}"}).status != 401


def test_secrets_are_for_their_owner_alone(served: Node) -> None:
    for name in ("node-token", "node-key"):
        mode = (served.store / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    assert len(served.token) >= 43


# What is refused


def test_a_block_that_is_not_what_its_cid_says_is_refused(node: Node, dag: Dag) -> None:
    good, bad = dag.raw(b"good"), Cid.of_raw(b"promised")
    answer = node.upload_bytes(b"".join(car_chunks([good], [(bad, b"given")])))
    assert (answer.status, answer.code) == (400, "block-mismatch")
    assert missing(node, bad) == [str(bad)]
    assert not list(BlockStore(node.store))


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "car-bad-header"),
        (b"hello world, this is no CAR", 400, "car-truncated"),
        (b"".join(car_chunks([Cid.of_raw(b"a")], [(Cid.of_raw(b"a" * 99), b"a" * 99)]))[:-1], 400, "car-truncated"),
        (b"".join(car_chunks([Cid.of_raw(b"a")], [])) + encode_varint(MAX_SECTION_BYTES + 1), 413, "car-too-large"),
        (V2_PRAGMA + bytes(40), 400, "car-bad-header"),
    ],
)
def test_bodies_that_are_no_car(served: Node, body: bytes, status: int, code: str) -> None:
    answer = served.upload_bytes(body)
    assert (answer.status, answer.code) == (status, code)


def test_other_kinds_of_bodies_are_refused(served: Node) -> None:
    headers = {"Authorization": f"Bearer {served.token}", "Content-Type": "application/octet-stream"}
    answer = served.ask("POST", "/api/v1/blocks", b"x", headers)
    assert (answer.status, answer.code) == (415, "wrong-content-type")


def test_a_body_beyond_the_limit_is_refused(tmp_path: Path, dag: Dag) -> None:
    root = dag.raw(bytes(1 << 20))
    with Node(tmp_path, limits={"bacnode.api.blocks.MAX_CAR_BYTES": 1 << 19}) as node:
        answer = node.upload(root, dag.blocks)
        assert (answer.status, answer.code) == (413, "too-large")
        # Without a length said before, it shows only when it comes.
        answer = node.upload_bytes(iter([bytes(part) for part in car_chunks([root], dag.blocks.items())]))
        assert (answer.status, answer.code) == (413, "too-large")
        assert missing(node, root) == [str(root)]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"cids": 1}', b'{"cids": [1]}', b'{"cids": ["x"]}', b'{"cids": [], "more": 1}', b"\xff",
     json.dumps({"cids": ["x"] * 4097}).encode(), b'{"cids": ["' + b"x" * 1000 + b'"]}'],
)  # fmt: skip
def test_questions_that_cannot_be_read(served: Node, body: bytes) -> None:
    answer = served.ask("POST", "/api/v1/blocks/missing", body, {"Authorization": f"Bearer {served.token}"})
    assert (answer.status, answer.code) in ((400, "bad-request"), (400, "bad-cid"))


def test_too_many_questions_at_once(served: Node) -> None:
    cids = [str(Cid.of_raw(b"%d" % n)) for n in range(4096)]
    answer = served.post("/api/v1/blocks/missing", {"cids": cids})
    assert (answer.status, answer.json["missing"]) == (200, cids)
    answer = served.ask("POST", "/api/v1/blocks/missing", b" " * (2 << 20), {"Authorization": f"Bearer {served.token}"})
    assert (answer.status, answer.code) == (413, "too-large")


@pytest.mark.parametrize("body", [{"name": 1}, {"name": "x" * 300}, {"nam": "x"}, []])
def test_names_of_pins_that_are_none(served: Node, body: object) -> None:
    answer = served.post(f"/api/v1/pins/{Cid.of_raw(b'')}", body, method="PUT")
    assert (answer.status, answer.code) == (400, "bad-request")


def test_what_is_no_cid_is_not_pinned(served: Node) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = served.post("/api/v1/pins/..%2F..", {"name": ""}, method=method)
        assert answer.status in (400, 404)


def test_uploads_beyond_the_limit_are_told_to_come_again(node: Node, dag: Dag) -> None:
    data = b"".join(car_chunks([dag.raw(b"x" * 1000)], dag.blocks.items()))
    head = f"POST /api/v1/blocks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {node.token}\r\n"
    head += f"Content-Type: {CAR['Content-Type']}\r\nContent-Length: {len(data)}\r\nExpect: 100-continue\r\n\r\n"
    slow = []
    for _ in range(4):
        connection = socket.create_connection((node.host, node.port), timeout=20)
        connection.sendall(head.encode())
        # It wants the body, so it has begun.
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        slow.append(connection)
    answer = node.upload(next(iter(dag.blocks)), dag.blocks)
    assert (answer.status, answer.code) == (429, "too-busy")
    assert int(answer.headers["retry-after"]) >= 1
    assert node.get("/healthz").status == 200
    for connection in slow:
        connection.sendall(data)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        connection.close()
    assert node.upload(next(iter(dag.blocks)), dag.blocks).status == 200


# Collection in another process


def test_collection_waits_for_an_upload_until_it_is_pinned(tmp_path: Path, serve: ExitStack, dag: Dag) -> None:
    root = release(dag)
    parts = [{cid: data} for cid, data in dag.blocks.items()]
    with Node(tmp_path / "home", limits={"bacnode.stores.upload_lock.GRACE_SECONDS": 1.5}) as node:
        node.upload(root, parts[0])
        bacpack = Bacpack(tmp_path / "home")
        line = [sys.executable, "-m", "bacpack.cli", "gc", "--json"]
        options = {"env": bacpack.environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        collecting = serve.enter_context(started(line, **options))
        assert "waiting" in line_of(collecting.stderr, "it says what it waits for")
        for part in parts[1:]:
            assert node.upload(root, part).status == 200
        assert collecting.poll() is None
        assert node.post(f"/api/v1/pins/{root}", {"name": "x"}, method="PUT").status == 200
        out, err = collecting.communicate(timeout=20)
        assert collecting.returncode == 0, err
        assert json.loads(out)["deleted_blocks"] == 0
        assert node.get(f"/ipfs/{root}?format=car").status == 200


def test_what_was_called_present_stays_until_it_is_pinned(tmp_path: Path, dag: Dag) -> None:
    """The client does not send it, so nothing else would bring it back."""
    root = release(dag)
    with Node(tmp_path / "home", limits={"bacnode.stores.upload_lock.GRACE_SECONDS": 1.0}) as node:
        keep(node.store, dag.blocks)
        assert missing(node, *dag.blocks) == []
        bacpack = Bacpack(tmp_path / "home")
        started = time.monotonic()
        collected = threading.Thread(target=bacpack.run, args=("gc",))
        collected.start()
        assert node.post(f"/api/v1/pins/{root}", {}, method="PUT").status == 200
        joined(collected, "garbage is collected")
        assert time.monotonic() - started >= 1.0
        assert missing(node, *dag.blocks) == []
        # Without a pin, what nobody came back for is freed.
        node.post(f"/api/v1/pins/{root}", method="DELETE")
        assert bacpack.ok("gc")["deleted_blocks"] == len(dag.blocks)


def test_a_killed_node_holds_nothing_back(tmp_path: Path, dag: Dag) -> None:
    root = release(dag)
    with Node(tmp_path / "home") as node:
        node.upload(root, dag.blocks)
        node.process.kill()
        node.process.communicate(timeout=PATIENCE)
    assert Bacpack(tmp_path / "home").ok("gc")["deleted_blocks"] == len(dag.blocks)
    with Node(tmp_path / "home") as again:
        assert (again.peer_id, again.token) == (node.peer_id, node.token)


# Large ones


def test_an_upload_is_not_held_in_memory(node: Node) -> None:
    block = os.urandom(1 << 20)
    blocks = [block[n:] + block[:n] for n in range(96)]
    named = [(Cid.of_raw(data), data) for data in blocks]

    def body() -> Iterator[bytes]:
        yield from car_chunks([named[0][0]], named)

    before = peak_kilobytes(node)
    answer = node.upload_bytes(body())
    assert answer.json == {"schema": 1, "blocks": 96, "new_bytes": 96 << 20}
    assert peak_kilobytes(node) - before < 48 << 10
    cid, data = named[50]
    served = node.get(f"/ipfs/{cid}?format=raw").body
    assert hashlib.sha256(served).digest() == hashlib.sha256(data).digest()


def peak_kilobytes(node: Node) -> int:
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
