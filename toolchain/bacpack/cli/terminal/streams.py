"""The edge of the command: text that does nothing to a terminal, and standard streams that are there and may fail.

A service or a cron job may start us with streams closed, a disk may be full, a reader gone. What is written to stderr
is for people only, so that it cannot be written stops nothing; that a result could not be written is an error.
"""

from __future__ import annotations

import io
import math
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

from bacpack.errors import EXIT_FAILED, BacpackError, InputError
from bacpack.files import explain_os_error

#: How long a program may take to heed that nobody reads what it writes.
_HEED_SECONDS = 0.5


class StdoutError(InputError):
    """A result cannot be written to stdout, which takes nothing any more; the code is that of the system's error."""


class ReaderGoneError(Exception):
    """Whoever read our output has gone, as in `bacpack … | head`: nobody misses the rest."""

    def __init__(self, exit_status: int = EXIT_FAILED) -> None:
        super().__init__(exit_status)
        self.exit_status = exit_status


def printable(text: str) -> str:
    """`text` as one line that does nothing to a terminal: names in it come from files of strangers."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def joined(lines: Iterable[str]) -> str:
    """Lines as text, where what stands in one of them begins no other."""
    return "\n".join(map(printable, lines))


def told(error: BacpackError, start: str = "") -> str:
    """An error as people read it: what failed and why, after `start`, and what mends it."""
    hint = [f"hint: {error.hint}"] if error.hint else []
    return joined([f"{start}{error.lines[0]}", *error.lines[1:], *hint])


def say(text: str, *, err: bool = False) -> None:
    """Write lines to stdout, or to stderr: nothing else of ours writes text there."""
    click.echo("\n".join(map(printable, text.split("\n"))), err=err)


def open_streams() -> None:
    """Open the standard streams that are closed, and have the others fail as the module says. Once, at the start."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The next file that is opened would take the number, and a program write its output into it.
            _point_at_nothing(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - it is open as long as we run
    sys.stdout = _stream(_Stdout(1, "w", closefd=False), sys.stdout)
    sys.stderr = _stream(_Stderr(2, "w", closefd=False), sys.stderr)


@contextmanager
def ended_by_broken_pipe() -> Iterator[None]:
    """End what runs inside when it goes on writing to a pipe that nobody reads, by raising `ReaderGoneError`.

    The system ends a native program at once. One that heeds that its output cannot be written ends by itself; one that
    ignores it would run for ever.
    """
    first = math.inf

    def end(_number: int, _frame: object) -> None:
        nonlocal first
        now = time.monotonic()
        first = min(first, now)
        if now - first > _HEED_SECONDS:
            first = now  # what is cleaned up now is not interrupted; what caught the error is ended yet
            raise ReaderGoneError(128 + signal.SIGPIPE)  # what a shell makes of a program that the signal ended

    before = signal.signal(signal.SIGPIPE, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


def _stream(raw: io.FileIO, before: TextIO | None) -> io.TextIOWrapper:
    encoding = before.encoding if before else "utf-8"
    # What has no place in the encoding of a terminal is written as an escape.
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=True)


class _Stdout(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            # What is left in buffers would fail again when they are closed.
            _point_at_nothing(self.fileno())
            if isinstance(error, BrokenPipeError):
                raise ReaderGoneError from error
            explained = explain_os_error(error, "write the result to stdout")
            raise StdoutError(
                explained.code, explained.message, hint="what was done stays done; write the result elsewhere"
            ) from error


class _Stderr(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _point_at_nothing(number: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != number:
        os.dup2(nothing, number)
        os.close(nothing)
    os.set_inheritable(number, True)
