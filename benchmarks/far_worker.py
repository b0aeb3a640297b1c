"""A worker of Dask far from all others: run as `python benchmarks/far_worker.py RATE LATENCY SCHEDULER OPTIONS`.

What it fetches comes at RATE bytes a second, all requests together, and each answer begins LATENCY seconds late. That
is done where bytes come in, since the right to set up networks is seldom given. Otherwise it is
`bacnode.schedulers.dask.worker_main`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bacnode.schedulers.dask import worker_main
from bacpack.http_client import HttpClient, Response


class Link:
    """What all requests of a process share."""

    def __init__(self, rate: float, latency: float) -> None:
        self._rate, self._latency = rate, latency
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self) -> None:
        """Wait for an answer to begin."""
        time.sleep(self._latency)

    def take(self, size: int) -> None:
        """Wait until so many bytes have come."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self._rate
            pause = self._free_at - now
        time.sleep(pause)


def slow_down(link: Link) -> None:
    """Have all that this process fetches come over a link."""
    at_once, chunks_at_once = HttpClient.open, Response.chunks

    @contextmanager
    def late(self: HttpClient, *arguments: Any, **options: Any) -> Iterator[Response]:
        link.wait()
        with at_once(self, *arguments, **options) as answer:
            yield answer

    def slowly(self: Response) -> Iterator[bytes]:
        for chunk in chunks_at_once(self):
            link.take(len(chunk))
            yield chunk

    # For all of this process, so that nothing which it fetches comes faster.
    HttpClient.open, Response.chunks = late, slowly  # type: ignore[method-assign]


if __name__ == "__main__":
    slow_down(Link(float(sys.argv.pop(1)), float(sys.argv.pop(1))))
    worker_main.main()
