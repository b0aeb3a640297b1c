"""CARs and DAGs that mean harm: small to send, large to take. Each is refused or stopped, others are served."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bacpack.content.car import car_chunks
from bacpack.content.cid.cid import RAW, Cid
from bacpack.content.cid.multihash import IDENTITY
from bacpack.content.cid.varint import encode_varint
from bacpack.content.ipld.dag_pb import Link
from bacpack.content.store.block_store import BlockStore
from node.dags import Dag
from node.health import healthy
from node.serving import CAR, Node, keep
from waiting import until

MIB = 1 << 20
HEADER = b"".join(car_chunks([Cid.of_raw(b"a")], []))


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Node]:
    """A node that takes little at once, so that a test need not send much."""
    limits = {"bacnode.api.blocks.MAX_CAR_BYTES": 8 * MIB, "bacnode.api.blocks.MAX_CAR_BLOCKS": 2000}
    with Node(tmp_path / "store", limits=limits) as node:
        yield node


def sent_until_answered(node: Node, head: str, body: Iterable[bytes]) -> tuple[bytes, int]:
    """Send a body until the node answers; return the beginning of the answer, and how much was sent."""
    count = 0
    with socket.create_connection((node.host, node.port), timeout=20) as connection:
        lines = f"POST /api/v1/blocks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {node.token}\r\n"
        connection.sendall(f"{lines}Content-Type: {CAR['Content-Type']}\r\n{head}\r\n\r\n".encode())
        try:
            for part in body:
                connection.sendall(part)
                count += len(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return connection.recv(100), count


def test_a_car_that_claims_to_be_huge_is_refused_at_once(strict: Node) -> None:
    with healthy(strict):
        answer, sent = sent_until_answered(strict, f"Content-Length: {1 << 40}", [])
        assert answer.startswith(b"HTTP/1.1 413") and sent == 0
        for claim in (encode_varint(1 << 62), HEADER + encode_varint(1 << 62), HEADER + encode_varint(3 * MIB)):
            refused = strict.upload_bytes(claim)
            assert (refused.status, refused.code) == (413, "car-too-large")


def test_a_car_without_end_is_cut_off(strict: Node) -> None:
    block = bytes(MIB)
    again = section(Cid.of_raw(block), block)

    def chunks() -> Iterator[bytes]:
        yield b"%x\r\n%s\r\n" % (len(HEADER), HEADER)
        while True:
            yield b"%x\r\n%s\r\n" % (len(again), again)

    before = peak_bytes(strict)
    with healthy(strict):
        answer, sent = sent_until_answered(strict, "Transfer-Encoding: chunked", chunks())
    assert answer.startswith(b"HTTP/1.1 413") or answer == b""
    # Some of what follows its answer is read past, and some is with the system.
    assert sent < 128 * MIB
    assert peak_bytes(strict) - before < 32 * MIB
    assert strict.get("/healthz").status == 200


@pytest.mark.parametrize("kind", ["raw", "identity"])
def test_a_car_of_very_many_blocks_is_refused(strict: Node, kind: str) -> None:
    blocks = [b"%d" % number for number in range(3000)]
    sections = (section(Cid.of_raw(data) if kind == "raw" else identity(data), data) for data in blocks)
    with healthy(strict):
        answer = strict.upload_bytes(HEADER + b"".join(sections))
    assert (answer.status, answer.code) == (413, "too-large")
    assert len(list(BlockStore(strict.store))) <= 2000


def test_very_many_blocks_take_no_memory(node: Node) -> None:
    """As many as are taken at once, of which none is kept, so that it is quick."""
    count = 60_000
    car = HEADER + b"".join(section(identity(b"%d" % number), b"%d" % number) for number in range(count))
    before = peak_bytes(node)
    with healthy(node):
        assert node.upload_bytes(car).json == {"schema": 1, "blocks": count, "new_bytes": 0}
    assert peak_bytes(node) - before < 32 * MIB


def test_a_dag_that_is_too_deep_is_not_followed(node: Node, dag: Dag) -> None:
    root = dag.chain(3000)
    keep(node.store, dag.blocks)
    with healthy(node):
        answer = node.post(f"/api/v1/pins/{root}", {"name": "deep"}, method="PUT")
        assert (answer.status, answer.code) == (400, "too-deep")
        assert node.post("/api/v1/pins").status == 405
        assert cut_short(node, root)
        names = "/".join("x" for _ in range(300))
        assert (deep := node.get(f"/ipfs/{root}/{names}?format=car")).status == 400, deep.body


def test_a_dag_that_unfolds_without_end_is_cut_off(tmp_path: Path, dag: Dag) -> None:
    """Forty nodes that each link the next one twice are a million million on the way through."""
    root = dag.raw(b"the end")
    for _ in range(40):
        root = dag.node(b"", [Link(root, "", 1), Link(root, "", 1)])
    with Node(tmp_path, first="import bacpack.content.car.selection as scope; scope.MAX_REPEATS = 20_000") as node:
        keep(node.store, dag.blocks)
        with healthy(node):
            assert cut_short(node, root, "&car-dups=y")
            # Each once, it is small.
            assert node.get(f"/ipfs/{root}?format=car&car-dups=n").status == 200
            assert node.post(f"/api/v1/pins/{root}", {"name": "wide"}, method="PUT").status == 200


def test_cars_that_begin_together_hold_nobody_up(node: Node, dag: Dag) -> None:
    root = dag.directory({str(n): dag.raw(bytes([n]) * MIB) for n in range(8)})
    keep(node.store, dag.blocks)
    request = f"GET /ipfs/{root}?format=car HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with ExitStack() as stack, healthy(node) as health:
        clients = [stack.enter_context(socket.create_connection((node.host, node.port))) for _ in range(60)]
        asked = len(health.seconds)
        for client in clients:
            client.sendall(request)
        # None of them reads: the node sends what the system takes, and answers others meanwhile.
        until(lambda: len(health.seconds) >= asked + 10, "the node answers others", pause=0.01)


def test_slow_clients_of_every_kind_hold_nobody_up(tmp_path: Path, dag: Dag) -> None:
    root = dag.directory({str(n): dag.raw(bytes([n]) * MIB) for n in range(8)})
    upload = "POST /api/v1/blocks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: {}\r\n{}\r\n\r\n"
    limits = {
        "bacnode.http_server.protocol.HEAD_SECONDS": 1.5,
        "bacnode.http_server.protocol.STALLED_SECONDS": 1.5,
        "bacnode.http_server.body.GRACE_SECONDS": 1.5,
    }
    with Node(tmp_path, limits=limits) as node, ExitStack() as stack:
        keep(node.store, dag.blocks)
        beginnings = [
            b"",
            b"GET /ipfs/",
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ",
            upload.format(node.token, CAR["Content-Type"], "Content-Length: 1000000").encode() + HEADER[:5],
            upload.format(node.token, CAR["Content-Type"], "Transfer-Encoding: chunked").encode() + b"5\r\n",
            f"GET /ipfs/{root}?format=car HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        ]
        with healthy(node) as health:
            for number in range(240):
                connection = stack.enter_context(socket.create_connection((node.host, node.port), timeout=20))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.sendall(beginnings[number % len(beginnings)])
                # They come one after the other: many at once would be a queue, slow or not.
                time.sleep(0.005)
            until(lambda: still_open(node) <= 1, "the node gives slow clients up", 30, pause=0.05)
        assert len(health.seconds) > 10
        # Whoever is quick is served again.
        assert node.upload(root, dag.blocks).status == 200


def cut_short(node: Node, root: Cid, query: str = "") -> bool:
    """Whether a CAR ends without the mark that says that it is whole."""
    with socket.create_connection((node.host, node.port), timeout=60) as connection:
        connection.sendall(f"GET /ipfs/{root}?format=car{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        tail = head = b""
        try:
            while part := connection.recv(65536):
                head = head or part[:12]
                tail = (tail + part)[-7:]
        except ConnectionResetError:
            pass
        return head == b"HTTP/1.1 200" and tail != b"\r\n0\r\n\r\n"


def still_open(node: Node) -> int:
    """How many of the connections to a node it has not closed."""
    port = f":{node.port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established, closing = "01", "08"
    return sum(fields[1].endswith(port) and fields[3] in (established, closing) for fields in lines)


def identity(data: bytes) -> Cid:
    """A CID that holds the block itself."""
    return Cid.from_bytes(bytes([1, RAW, IDENTITY, len(data)]) + data)


def section(cid: Cid, data: bytes) -> bytes:
    """A block as it stands in a CAR."""
    named = bytes(cid) + data
    return encode_varint(len(named)) + named


def peak_bytes(node: Node) -> int:
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))
