"""Asking several for one thing: one after the other, and side by side where one is slow. The first to give it wins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from bacnode.fetch.source_health import HEDGE_SECONDS
from bacpack.errors import BacpackError
from bacpack.http_client import Cancel

#: Who is asked at once for one thing.
MOST_RUNNING = 4

C = TypeVar("C")
T = TypeVar("T")


class Attempt:
    """One of those who are asked. Whoever runs it moves `hedge_at` on as it gets further."""

    def __init__(self) -> None:
        self.cancel = Cancel()
        #: When another is asked too, a time of `time.monotonic`.
        self.hedge_at = time.monotonic() + HEDGE_SECONDS
        self.is_hedged = False


@dataclass(slots=True)
class Outcome(Generic[C, T]):
    """Who gave it, if anybody did, and why the others did not."""

    winner: C | None = None
    value: T | None = None
    failures: list[tuple[C, BacpackError]] = field(default_factory=list)


def race(
    order: Iterator[C],
    ask: Callable[[C, Attempt], T],
    pool: Executor,
    deadline: float,
    out_of_time: Callable[[], BacpackError],
) -> Outcome[C, T]:
    """Ask those in `order`, each in a thread of `pool`, until one gives it; the others are then cancelled.

    Raises what `out_of_time` makes when nobody has given it by `deadline`, a time of `time.monotonic`, and what `ask`
    raises that is no `BacpackError`.
    """
    return _Race(order, ask, pool).run(deadline, out_of_time)


class _Race(Generic[C, T]):
    def __init__(self, order: Iterator[C], ask: Callable[[C, Attempt], T], pool: Executor) -> None:
        self._order = order
        self._ask = ask
        self._pool = pool
        self._running: dict[Attempt, C] = {}
        self._results: SimpleQueue[tuple[Attempt, T | None, BaseException | None]] = SimpleQueue()
        self._is_exhausted = False

    def run(self, deadline: float, out_of_time: Callable[[], BacpackError]) -> Outcome[C, T]:
        outcome: Outcome[C, T] = Outcome()
        self._start()
        try:
            while self._running:
                slow = self._next_hedge()
                until = deadline if slow is None else min(slow.hedge_at, deadline)
                try:
                    attempt, value, error = self._results.get(timeout=max(until - time.monotonic(), 0))
                except Empty:
                    if time.monotonic() >= deadline:
                        raise out_of_time() from None
                    # It may have got further meanwhile.
                    if slow is not None and time.monotonic() >= slow.hedge_at:
                        slow.is_hedged = True
                        self._start()
                    continue
                contender = self._running.pop(attempt)
                if error is None:
                    outcome.winner, outcome.value = contender, value
                    break
                if not isinstance(error, BacpackError):
                    raise error
                outcome.failures.append((contender, error))
                self._start()
        finally:
            for attempt in self._running:
                attempt.cancel.cancel()
        return outcome

    def _start(self) -> None:
        contender = next(self._order, None)
        if contender is None:
            self._is_exhausted = True
            return
        attempt = Attempt()
        self._running[attempt] = contender
        self._pool.submit(self._run, contender, attempt)

    def _run(self, contender: C, attempt: Attempt) -> None:
        try:
            self._results.put((attempt, self._ask(contender, attempt), None))
        except BaseException as error:
            self._results.put((attempt, None, error))

    def _next_hedge(self) -> Attempt | None:
        """Return who is the first to be too slow, if there is anybody else to ask."""
        if self._is_exhausted or len(self._running) >= MOST_RUNNING:
            return None
        waiting = [attempt for attempt in self._running if not attempt.is_hedged]
        return min(waiting, key=lambda attempt: attempt.hedge_at, default=None)
