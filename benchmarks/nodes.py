"""A node as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from measure import BACPACK


class Node:
    """A node that runs; `address` is its host and port."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        line = [BACPACK, "node", "serve", "--listen", "127.0.0.1:0", "--store", folder, *arguments]
        self._process = subprocess.Popen([*map(str, line)], stdout=subprocess.PIPE)
        assert self._process.stdout
        self.url: str = json.loads(self._process.stdout.readline())["url"]
        parts = urlsplit(self.url)
        self.address = (parts.hostname or "", parts.port or 0)

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """End it, which it must do without an error."""
        self._process.terminate()
        assert self._process.wait(30) == 0


@contextmanager
def running(folder: Path, *arguments: object) -> Iterator[Node]:
    """A node with its store in `folder`, and what else it is told."""
    node = Node(folder, *arguments)
    try:
        yield node
    finally:
        node.stop()


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
