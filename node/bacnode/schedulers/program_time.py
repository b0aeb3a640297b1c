"""What Dask takes for the time that a job needs: how long its program runs, without the time in which modules come.

Dask weighs the bytes that a job misses by themselves. If a job's time held them as well, each worker that fetches would
seem to be busy for long, and jobs would go to workers that hold less.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from dask.typing import Key

if TYPE_CHECKING:
    from distributed.worker import Worker


#: Seconds after which a program that runs is reported. From one that runs twice as long as others did of late Dask
#: concludes that all will take long, and where they take milliseconds a moment without a processor is enough for that.
LONG_SECONDS = 2.0


class ProgramTime:
    """Tells Dask of one worker when the program of each job begins; used on the loop's thread."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._began: dict[Key, float] = {}
        self._only_fetching: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def fetching(self, key: Key) -> None:
        """Say that a job does not run yet."""
        self._worker.active_keys.discard(key)

    def only_fetching(self, key: Key) -> None:
        """Say that a job is not going to run this time."""
        self._only_fetching.add(key)

    def over(self, key: Key) -> None:
        """Say that it runs no more."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def running(self, key: Key) -> None:
        """Say that it does now."""
        task = self._worker.state.tasks.get(key)
        if task is not None:
            task.start_time = self._began[key] = time.time()
            self.over(key)
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(LONG_SECONDS, self._worker.active_keys.add, key)

    def ended(self, key: Key) -> None:
        """Have the time of the program stand in what the scheduler is about to be told."""
        began = self._began.pop(key, None)
        fetched = key in self._only_fetching
        self._only_fetching.discard(key)
        task = self._worker.state.tasks.get(key)
        for span in task.startstops if task is not None else ():
            if span["action"] == "compute" and fetched:
                span["action"] = "transfer"
            elif span["action"] == "compute" and began is not None:
                span["start"] = min(began, span["stop"])
