"""Waiting for what other processes and threads do: never without a limit, and never without saying what for."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, AnyStr

#: Seconds that anything may take on a busy machine.
PATIENCE = 60


def until(
    condition: Callable[[], object], what: str | Callable[[], object], seconds: float = PATIENCE, pause: float = 0.02
) -> None:
    """Look again and again until something holds; `what` is said if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            raise AssertionError(f"waited {seconds} s for this: {what if isinstance(what, str) else what()}")
        time.sleep(pause)  # leaves the processor to what is waited for


def line_of(stream: IO[AnyStr] | None, what: str, seconds: float = PATIENCE) -> AnyStr:
    """Return the next line that a process prints, empty at its end."""
    assert stream is not None
    lines: list[AnyStr] = []
    reading = threading.Thread(target=lambda: lines.append(stream.readline()), daemon=True)
    reading.start()
    joined(reading, what, seconds)
    return lines[0]


def joined(thread: threading.Thread, what: str, seconds: float = PATIENCE) -> None:
    """Wait until a thread has ended."""
    thread.join(seconds)
    assert not thread.is_alive(), f"waited {seconds} s for this: {what}"


@contextmanager
def started(line: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Run a process beside the block; whatever is left of it afterwards is killed, so that nobody waits for it."""
    process = subprocess.Popen(line, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
