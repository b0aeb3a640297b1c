"""Who is next where few can be served at once: whoever takes least, so that most wait least."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ShortestFirst:
    """So many turns at once, between threads."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._lock = threading.Lock()
        #: What each that waits would take, in the order in which they came.
        self._waiting: dict[threading.Event, Callable[[], float]] = {}

    @contextmanager
    def turn(self, cost: Callable[[], float]) -> Iterator[None]:
        """Have a turn while the block runs. Of those that wait, the one whose `cost` is least by then is next."""
        come = threading.Event()
        with self._lock:
            self._waiting[come] = cost
            self._next()
        come.wait()
        try:
            yield
        finally:
            with self._lock:
                self._free += 1
                self._next()

    def _next(self) -> None:
        if self._free and self._waiting:
            come = min(self._waiting, key=lambda waiting: self._waiting[waiting]())
            del self._waiting[come]
            self._free -= 1
            come.set()
