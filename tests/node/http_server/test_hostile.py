"""Clients that mean harm: slow ones, large ones, many, and bytes that are no HTTP. The node stays up for others."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from node.dags import Dag
from node.serving import CAR, Node, keep
from waiting import until


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that is quick to lose its patience, and soon has enough clients."""
    limits = {
        "bacnode.http_server.protocol.HEAD_SECONDS": 0.4,
        "bacnode.http_server.protocol.STALLED_SECONDS": 0.5,
        "bacnode.http_server.protocol.LINGER_SECONDS": 0.3,
        "bacnode.http_server.protocol.MAX_CONNECTIONS": 40,
        "bacnode.http_server.body.GRACE_SECONDS": 0.4,
    }
    with Node(tmp_path_factory.mktemp("hasty"), limits=limits) as node:
        yield node


@contextmanager
def connected(node: Node, data: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection((node.host, node.port), timeout=10) as connection:
        connection.sendall(data)
        yield connection


def rest(connection: socket.socket) -> bytes:
    """What still comes until the node closes."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def quick(node: Node) -> None:
    """The node answers others in a tenth of a second; the best of three, for the machine may be busy."""
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        assert node.get("/healthz").status == 200
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 0.1


@pytest.mark.parametrize(
    "data", [b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: aaa"]
)
def test_a_head_that_does_not_come_is_not_waited_for(hasty: Node, data: bytes) -> None:
    started = time.monotonic()
    with connected(hasty, data) as connection:
        answer = rest(connection)
    assert time.monotonic() - started < 5
    assert answer.startswith(b"HTTP/1.1 408") if data else answer == b""


def test_a_head_that_drips_is_not_waited_for(hasty: Node) -> None:
    with connected(hasty, b"GET /healthz HTTP/1.1\r\n") as connection:
        connection.settimeout(0.05)
        started = time.monotonic()
        answer = b""
        while time.monotonic() - started < 5 and not answer:
            try:
                connection.sendall(b"X-A: a\r\n")
                answer = connection.recv(100)
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
    assert time.monotonic() - started < 3
    quick(hasty)


def test_a_second_head_is_not_waited_for_either(hasty: Node) -> None:
    with connected(hasty, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /healthz HT")
        assert rest(connection).startswith(b"HTTP/1.1 408")


def test_a_head_that_is_too_large_is_refused(hasty: Node) -> None:
    for head in (
        b"GET /" + b"a" * 100_000,
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"X-Y: z\r\n" * 10_000,
    ):
        with connected(hasty) as connection:
            try:
                connection.sendall(head)
            except (BrokenPipeError, ConnectionResetError):
                continue
            answer = rest(connection)
            assert answer == b"" or answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")), answer
    quick(hasty)


def test_a_body_that_drips_is_not_waited_for(hasty: Node) -> None:
    head = f"POST /api/v1/blocks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {hasty.token}\r\n"
    head += f"Content-Type: {CAR['Content-Type']}\r\nContent-Length: 1000000\r\n\r\n"
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(hasty, head.encode() + b"\x3a")) for _ in range(4)]
        for connection in slow:
            assert connection.recv(65536).startswith(b"HTTP/1.1 408")
    assert hasty.post("/api/v1/blocks/missing", {"cids": []}).status == 200
    # All their places are free again.
    assert hasty.upload_bytes(b"").code == "car-bad-header"


def test_a_body_that_nobody_reads_is_read_past_for_a_while(hasty: Node) -> None:
    head = b"POST /api/v1/blocks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000000\r\n\r\n"
    with connected(hasty, head) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")
        connection.sendall(b"x" * 100_000)
        started = time.monotonic()
        # The body of the answer may come apart from its head.
        assert b"HTTP/1.1" not in rest(connection)
        assert time.monotonic() - started < 5
    # An answer comes through although much was sent first, and the connection goes on when the body is short.
    assert hasty.ask("POST", "/api/v1/blocks", bytes(3 << 20)).status == 401
    connection_ = hasty.connect()
    for _ in range(2):
        connection_.request("POST", "/api/v1/blocks", b"short")
        answer = connection_.getresponse()
        assert (answer.status, bool(answer.read())) == (401, True)
    connection_.close()


def test_a_client_that_does_not_read_is_given_up(hasty: Node, dag: Dag) -> None:
    root = dag.directory({str(n): dag.raw(os.urandom(1 << 20)) for n in range(16)})
    keep(hasty.store, dag.blocks)
    request = f"GET /ipfs/{root}?format=car HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with ExitStack() as stack:
        lazy = [stack.enter_context(connected(hasty, request)) for _ in range(10)]
        quick(hasty)
        until(lambda: len(open_connections(hasty)) <= 2, "the node closes connections that nobody reads from", 10)
        for connection in lazy:
            assert len(rest(connection)) < 16 << 20


def test_connections_beyond_the_limit_are_told_so(hasty: Node) -> None:
    with ExitStack() as stack:
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        held = [stack.enter_context(connected(hasty, request)) for _ in range(40)]
        assert all(connection.recv(65536).startswith(b"HTTP/1.1 200") for connection in held)
        with connected(hasty) as one_more:
            assert rest(one_more).startswith(b"HTTP/1.1 503")
    until(lambda: not open_connections(hasty), "the node closes its connections", 10)
    quick(hasty)


def test_bytes_that_are_no_http(hasty: Node) -> None:
    chance = random.Random(5)
    for _ in range(50):
        data = chance.randbytes(chance.randrange(1, 400))
        if chance.random() < 0.5:
            data = b"GET /ipfs/" + data + b" HTTP/1.1\r\n" + data + b"\r\n\r\n"
        with connected(hasty, data) as connection:
            connection.shutdown(socket.SHUT_WR)
            answer = rest(connection)
            assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), (data, answer)
            assert not answer.startswith(b"HTTP/1.1 500"), (data, answer)
    quick(hasty)


@pytest.mark.parametrize(
    "head",
    [
        b"POST /api/v1/blocks HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/v1/blocks HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/blocks HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX\x00Y: z\r\n\r\n",
        b"GET /ipfs/\x80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[/ HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_requests_with_two_meanings_are_refused(hasty: Node, head: bytes) -> None:
    with connected(hasty, head) as connection:
        answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 400"), answer


def test_many_clients_that_come_and_go_leave_nothing_behind(hasty: Node, dag: Dag) -> None:
    root = dag.directory({str(n): dag.raw(os.urandom(200_000)) for n in range(16)})
    keep(hasty.store, dag.blocks)
    request = f"GET /ipfs/{root}?format=car HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    def storm(count: int) -> None:
        for number in range(count):
            with connected(hasty, request) as connection:
                connection.recv(1 + number * 100)

    storm(20)
    before = descriptors(hasty)
    storm(60)
    until(lambda: len(descriptors(hasty)) <= len(before), "the node closes what it opened", 10)
    quick(hasty)


def descriptors(node: Node) -> list[str]:
    return [path.name for path in Path(f"/proc/{node.process.pid}/fd").iterdir()]


def open_connections(node: Node) -> list[str]:
    """Connections that the node has accepted and not closed."""
    port = f":{node.port:04X}"
    inodes = set()
    for name in descriptors(node):
        try:
            inodes.add(str(Path(f"/proc/{node.process.pid}/fd/{name}").readlink()))
        except FileNotFoundError:
            continue
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [f[9] for f in lines if f[1].endswith(port) and f[3] != "0A" and f"socket:[{f[9]}]" in inodes]
