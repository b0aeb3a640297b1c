"""Asking a node all the while whether it is well, on a machine that may have other work."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from node.serving import Node
from waiting import joined

#: What a node must answer in.
MOST_SECONDS = 0.1
#: Of the slowest answer on a machine that is shared: what waits for a disk is held up by others too.
MOST_OF_SLOWEST = 0.5


@dataclass
class Health:
    """Seconds of each answer, less those in which a thread was ready to run and the machine ran others."""

    seconds: list[float] = field(default_factory=list)
    #: The same by the clock, and by the processor time of what answers.
    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def ask(self, node: Node) -> None:
        """Ask once."""
        pid = node.process.pid
        started, before, own = time.monotonic(), _used(pid), _used_by_thread()
        assert node.get("/healthz").status == 200
        clock = time.monotonic() - started
        after, own_after = _used(pid), _used_by_thread()
        used, waited = after[0] - before[0], after[1] - before[1] + own_after - own
        self.clock.append(clock)
        self.processor.append(used)
        # What the node itself did is never taken off.
        self.seconds.append(max(min(used, clock), clock - waited))

    def check(self) -> None:
        """Answers came in time, all of them."""
        assert self.seconds
        assert statistics.median(self.seconds) < MOST_SECONDS, self
        assert max(self.processor) < MOST_SECONDS, self
        assert max(self.seconds) < MOST_OF_SLOWEST, self

    def __str__(self) -> str:
        def both(values: list[float]) -> str:
            return f"{statistics.median(values) * 1000:.1f} and {max(values) * 1000:.1f} ms"

        return (
            f"{len(self.seconds)} answers, median and slowest: {both(self.seconds)}; "
            f"by the clock {both(self.clock)}; processor time {both(self.processor)}"
        )


@contextmanager
def healthy(node: Node) -> Iterator[Health]:
    """Ask the node until the block ends; fail if it did not answer in time throughout."""
    health = Health()
    failed: list[BaseException] = []
    over = threading.Event()

    def ask() -> None:
        try:
            while not over.is_set():
                health.ask(node)
                over.wait(0.02)
        except BaseException as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield health
    finally:
        over.set()
        joined(asking, "the last answer comes")
    print(health)
    assert not failed, failed
    health.check()


def _used(pid: int) -> tuple[float, float]:
    """Seconds that the first thread of a process ran, and that any of its threads was ready to run and did not.

    The first is the one that answers; others hold it up where they hold Python's lock and the machine runs others.
    """
    ran = waited = 0.0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):
            fields = task.read_text().split()
            waited += int(fields[1]) / 1e9
            if task.parent.name == str(pid):
                ran = int(fields[0]) / 1e9
    return ran, waited


def _used_by_thread() -> float:
    with suppress(OSError):
        return int(Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/schedstat").read_text().split()[1]) / 1e9
    return 0.0
