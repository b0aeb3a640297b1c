"""Doing several things at once, on as many processors as there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from bacpack.errors import BacpackError

T = TypeVar("T")

_SHOW_SECONDS = 1.0

# What forked workers find in their memory: so neither the function nor what it works on has to travel.
_function: Callable[[int], Any] | None = None


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_workers(function: Callable[[int], T], costs: Sequence[int], show: Callable[[str], None], doing: str) -> list[T]:
    """Return `function(0)`, `function(1)`, … for as many as there are `costs`, done in processes where that helps.

    The most costly are begun first. Only results travel, so they must pickle; `show` is told how many are done, also
    while none is for long. Raises `BacpackError` (`out-of-memory`) if a process is killed.
    """
    global _function  # noqa: PLW0603 - inherited by the workers, see above
    import multiprocessing

    count = min(processors(), len(costs))
    if count < 2 or "fork" not in multiprocessing.get_all_start_methods():
        return [function(position) for position in range(len(costs))]
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool

    _function = function
    try:
        with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("fork")) as pool:
            order = sorted(range(len(costs)), key=lambda position: -costs[position])
            futures = {position: pool.submit(_run, position) for position in order}
            pending = set(futures.values())
            while pending:
                _, pending = wait(pending, timeout=_SHOW_SECONDS, return_when=FIRST_COMPLETED)
                show(f"{len(costs) - len(pending)} of {len(costs)} {doing}")
            return [futures[position].result() for position in range(len(costs))]
    except BrokenProcessPool as error:
        raise BacpackError(
            "out-of-memory",
            "a process that did part of the work was killed, as the system does when there is not enough memory",
            hint="split fewer programs at a time",
        ) from error
    finally:
        _function = None


def _run(position: int) -> Any:
    assert _function is not None
    return _function(position)
