"""Ending cleanly when told to by a signal, as on an interrupt from the keyboard."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

#: What `kill`, a time limit of others, or a terminal that closes sends.
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class EndedError(KeyboardInterrupt):
    """A signal says to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        #: As a shell has it for a process that the signal ended.
        self.exit_status = 128 + number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have what is done meanwhile clean up when a signal says to end; by the next signal it ends at once.

    A signal that is ignored, as under `nohup`, stays so.
    """
    taken = [number for number in _SIGNALS if signal.getsignal(number) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _raise(number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    raise EndedError(number)
