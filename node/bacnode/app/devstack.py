"""Several nodes on this machine, each with a store of its own, that know each other as peers: for trying and for tests.

Each is a process of its own and ends when this one does, however that ends: it holds the reading end of a pipe, whose
writing end the system closes with this process. Addresses are taken here, before the nodes start, so that each can be
told of the others.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bacnode.http_server.auth import TOKEN_FILE
from bacpack.decode import decode_json
from bacpack.errors import CheckFailedError

#: Seconds in which every node must accept requests, and in which they must have ended once they are told to.
START_SECONDS, END_SECONDS = 60.0, 20.0


@dataclass(frozen=True, slots=True)
class Started:
    """A node that accepts requests."""

    number: int
    process: subprocess.Popen[bytes]
    url: str
    peer_id: str
    store: Path

    def as_json(self) -> dict[str, Any]:
        """Return what is printed of it."""
        return {
            "schema": 1,
            "url": self.url,
            "peer_id": self.peer_id,
            "token_file": str(self.store / TOKEN_FILE),
            "store": str(self.store),
            "pid": self.process.pid,
        }


def run_stack(
    count: int,
    folder: Path,
    arguments: Sequence[str],
    on_ready: Callable[[Started], None],
    on_end: Callable[[Started, int], None],
) -> None:
    """Run nodes until SIGINT, SIGTERM or SIGHUP, or until all have ended; `arguments` go to each `node serve`.

    `on_end` is told of a node that ends by itself; the others go on. Raises `CheckFailedError` (`devstack-failed`).
    """
    with _signals() as told, ExitStack() as stack:
        alive, keep = os.pipe()
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listening in sockets:
            listening.bind(("127.0.0.1", 0))
        urls = [f"http://127.0.0.1:{listening.getsockname()[1]}" for listening in sockets]
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for number, listening in enumerate(sockets):
                peers = [part for url in urls if url != urls[number] for part in ("--peer", url)]
                given = ["--store", str(folder / f"node-{number + 1}"), *peers, *arguments]
                processes.append(_start(listening.fileno(), alive, given))
                listening.close()
            os.close(alive)
            nodes = _wait_until_ready(processes, folder, told)
            for node in nodes:
                on_ready(node)
            _wait_until_ended(nodes, told, on_end)
        finally:
            # Tells all of them to end.
            os.close(keep)
            _end(processes)


def _start(listening: int, alive: int, arguments: list[str]) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "bacpack.cli", "node", "serve"]
    line += ["--listen-descriptor", str(listening), "--while-open", str(alive), *arguments]
    # A session of its own: Ctrl-C is for this process, which tells the nodes.
    return subprocess.Popen(
        line,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        pass_fds=(listening, alive),
        start_new_session=True,
    )


def _wait_until_ready(processes: list[subprocess.Popen[bytes]], folder: Path, told: int) -> list[Started]:
    until = time.monotonic() + START_SECONDS
    nodes = []
    for number, process in enumerate(processes, 1):
        assert process.stdout is not None
        line = _first_line(process.stdout, told, until)
        if line is None:
            return []
        try:
            said = decode_json(line)
            nodes.append(Started(number, process, said["url"], said["peer_id"], folder / f"node-{number}"))
        except (ValueError, KeyError):
            raise CheckFailedError(
                "devstack-failed",
                f"node {number} of {len(processes)} did not start",
                hint="its own message stands above",
                details={"node": number},
            ) from None
    return nodes


def _first_line(output: IO[bytes], told: int, until: float) -> bytes | None:
    """Return the first line, what there is of it when time is up, or None when this process is told to end."""
    read = b""
    while not read.endswith(b"\n"):
        ready, _, _ = select.select([output.fileno(), told], [], [], max(0.0, until - time.monotonic()))
        if told in ready:
            return None
        piece = os.read(output.fileno(), 4096) if ready else b""
        if not piece:
            break
        read += piece
    return read


def _wait_until_ended(nodes: list[Started], told: int, on_end: Callable[[Started, int], None]) -> None:
    """Return when all nodes have ended or this process is told to end. A node prints nothing more until it ends."""
    running = {node.process.stdout.fileno(): node for node in nodes if node.process.stdout is not None}
    while running:
        ready, _, _ = select.select([*running, told], [], [])
        if told in ready:
            return
        for output in ready:
            if not os.read(output, 4096):
                node = running.pop(output)
                on_end(node, node.process.wait())


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + END_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def _signals() -> Iterator[int]:
    """Yield a descriptor that can be read once this process was told to end."""
    told, tell = os.pipe()

    def note(_number: int, _frame: object) -> None:
        with contextlib.suppress(OSError):
            os.write(tell, b".")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(told)
        os.close(tell)
