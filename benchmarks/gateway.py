"""How fast a node serves blocks and CARs on one core, from a store that is in memory.

Run `python benchmarks/gateway.py`. The node has one core and the client another. What else the machine does takes wall
clock from the node, so processor time is given too; the best round of each counts.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.dag_pb import Link, encode_node
from bacpack.content.store.block_store import BlockStore
from measure import table
from nodes import Node, cpu_seconds, running

ROUNDS = 5
CONNECTIONS = 8
SMALL_BLOCKS = 2000
SMALL_BYTES = 4 << 10
CAR_BLOCK_BYTES = 1 << 20
#: What the project asks for, on one core.
REQUIRED_BLOCKS = 5000
REQUIRED_MEBIBYTES = 400


@dataclass(frozen=True)
class Rate:
    """Work a second, by the clock and by the processor time of the node."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Result:
    """Blocks a second; MiB/s of a CAR, and of hashing the same bytes; megabytes of the node at rest."""

    blocks: Rate
    car: Rate
    hashing: float
    idle_megabytes: float


@contextmanager
def on_one_core(folder: Path) -> Iterator[Node]:
    """A node on one core, with this process on another. Where there is none, the figures are those of a shared one."""
    cores = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, cores[:1])  # the node inherits it
        with running(folder) as node:
            os.sched_setaffinity(0, cores[1:2] or cores)
            yield node
    finally:
        os.sched_setaffinity(0, cores)


def megabytes(pid: int) -> float:
    """Memory that a process has in use, with what is shared with others."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1000


def measure(small_blocks: int = SMALL_BLOCKS, car_bytes: int = 64 << 20, rounds: int = ROUNDS) -> Result:
    """Serve random blocks, then one CAR of larger ones; return the best of the rounds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blocks = [os.urandom(SMALL_BYTES) for _ in range(small_blocks)]
        leaves = [os.urandom(CAR_BLOCK_BYTES) for _ in range(car_bytes // CAR_BLOCK_BYTES)]
        # A node that only links: without data it is no UnixFS, which makes no difference to a whole DAG.
        root_block = encode_node(b"", [Link(Cid.of_raw(leaf), "", len(leaf)) for leaf in leaves])
        root = Cid.of_block(0x70, root_block)
        with BlockStore(folder).batch() as batch:
            for block in [*blocks, *leaves]:
                batch.put(Cid.of_raw(block), block, verified=True)
            batch.put(root, root_block)
        with on_one_core(folder) as node:
            idle = megabytes(node.pid)
            requests = [_request(str(Cid.of_raw(block)), "raw") for block in blocks]
            small = _rounds(node, rounds, lambda: get_all(node.address, requests))
            whole = _rounds(node, rounds, lambda: get_car(node.address, _request(str(root), "car")))
            hashing = []
            for _ in range(rounds):
                started = time.perf_counter()
                for leaf in leaves:
                    hashlib.sha256(leaf).digest()
                hashing.append(time.perf_counter() - started)
    mebibytes = car_bytes / 2**20
    return Result(
        Rate(small_blocks / min(wall for wall, _ in small), small_blocks * rounds / sum(cpu for _, cpu in small)),
        Rate(mebibytes / min(wall for wall, _ in whole), mebibytes * rounds / sum(cpu for _, cpu in whole)),
        mebibytes / min(hashing),
        idle,
    )


def _rounds(node: Node, rounds: int, work: Callable[[], object]) -> list[tuple[float, float]]:
    # The first does not count: it starts threads, and gives the node its memory.
    work()
    return [_timed(node, work) for _ in range(rounds)]


def _timed(node: Node, work: Callable[[], object]) -> tuple[float, float]:
    cpu, started = cpu_seconds(node.pid), time.perf_counter()
    work()
    return time.perf_counter() - started, max(cpu_seconds(node.pid) - cpu, 1e-9)


def _request(cid: str, kind: str) -> bytes:
    return f"GET /ipfs/{cid}?format={kind} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def get_all(address: tuple[str, int], requests: list[bytes]) -> None:
    """Fetch blocks of one size over some connections that are kept open: one request is under way on each."""
    sockets = [socket.create_connection(address) for _ in range(CONNECTIONS)]
    try:
        for connection in sockets:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[0].sendall(requests[0])
        # All answers are of one length, so that the client spends no time on taking them apart.
        length = _answer_bytes(sockets[0])
        buffer = bytearray(length)
        for start in range(0, len(requests), CONNECTIONS):
            group = requests[start : start + CONNECTIONS]
            for connection, request in zip(sockets, group, strict=False):
                connection.sendall(request)
            for connection, _ in zip(sockets, group, strict=False):
                count = connection.recv_into(buffer, length, socket.MSG_WAITALL)
                assert count == length and buffer.startswith(b"HTTP/1.1 200 ")
    finally:
        for connection in sockets:
            connection.close()


def _answer_bytes(connection: socket.socket) -> int:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    while len(body) < SMALL_BYTES:
        body += connection.recv(65536)
    return len(head) + 4 + len(body)


def get_car(address: tuple[str, int], request: bytes) -> None:
    """Fetch one CAR to its end, and throw it away."""
    with socket.create_connection(address) as connection:
        connection.sendall(request)
        buffer = bytearray(1 << 20)
        tail = b""
        while not tail.endswith(b"0\r\n\r\n"):
            count = connection.recv_into(buffer)
            assert count
            tail = (tail + buffer[max(0, count - 8) : count])[-8:]


def report() -> str:
    """Measure, and describe the result in Markdown."""
    result = measure()
    rows = [
        ["4 KiB blocks a second", f"{result.blocks.wall:.0f}", f"{result.blocks.cpu:.0f}", f"{REQUIRED_BLOCKS}",
         f"{result.blocks.cpu / REQUIRED_BLOCKS:.2f}"],
        ["64 MiB CAR, MiB/s", f"{result.car.wall:.0f}", f"{result.car.cpu:.0f}", f"{REQUIRED_MEBIBYTES}",
         f"{result.car.cpu / REQUIRED_MEBIBYTES:.2f}"],
    ]  # fmt: skip
    heading = ["served from memory", "by the clock", "by processor time", "required", "ratio"]
    return "\n\n".join([
        "## Serving blocks and CARs",
        "One node on one core; every block is checked against its CID when it is read.",
        table(heading, rows),
        f"Hashing alone does {result.hashing:.0f} MiB/s here; the CAR is served at "
        f"{result.car.cpu / result.hashing:.2f} of that. A node at rest takes {result.idle_megabytes:.0f} MB (80).",
    ])  # fmt: skip


if __name__ == "__main__":
    print(report())
