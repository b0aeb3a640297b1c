"""Ending a program that does not end by itself."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from bacnode.runtime.engine_config import start_thread
from bacpack.errors import TimeLimitError

T = TypeVar("T")

#: How long a program that was told to stop may take: it stops at the next loop or call, unless it waits in the host.
_GRACE_SECONDS = 0.5
#: A signal that the program's thread gets is handled in this one, which it does not wake.
_LOOK_SECONDS = 0.2


class _Work(Generic[T]):
    """A function run in a thread of its own, with its result or what it raised."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._result: T | None = None
        self._error: BaseException | None = None
        self._ended = threading.Event()
        # A daemon, because a program that waits in the host (for input, say) cannot be interrupted there: when it must
        # end, this process ends without it.
        start_thread(self._run)

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()

    def wait(self, seconds: float | None) -> bool:
        until = math.inf if seconds is None else time.monotonic() + seconds
        while not self._ended.wait(max(min(_LOOK_SECONDS, until - time.monotonic()), 0)):
            if time.monotonic() >= until:
                return False
        return True

    def end(self, stop: Callable[[], None] | None) -> None:
        if stop is not None:
            stop()
            self._ended.wait(_GRACE_SECONDS)

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # set, since the function ended without raising


def supervise(function: Callable[[], T], stop: Callable[[], None] | None, seconds: float | None) -> T:
    """Return what `function` returns, run in a thread so that this one stays free to end it.

    `stop` makes the function end soon; without it, there is no waiting for that.

    Python handles signals in the main thread between two instructions, so a program that runs there cannot be
    interrupted. Raises `TimeLimitError` (`time-limit`) after `seconds`; what a signal raises goes on to the caller. The
    program may then still wait in the host: the caller must end the process, or have run this in a process of its own.
    """
    work = _Work(function)
    try:
        ended = work.wait(seconds)
    except BaseException:
        work.end(stop)
        raise
    if ended:
        return work.result()
    work.end(stop)
    raise TimeLimitError(
        "time-limit",
        f"the program was stopped: it ran longer than {seconds:g} s",
        hint="give it more time with --timeout",
        details={"seconds": seconds},
    )
