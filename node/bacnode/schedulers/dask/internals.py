"""What is used of Dask beyond its documented interface, all of it: keys without values, and the time of a job.

Tested with `distributed` 2026.8.0.

A worker holds keys that it was never sent, leaves the pool of threads while modules come, and says of a job how long
its program runs, without the time in which modules come. Dask weighs the bytes that a job misses by themselves: if a
job's time held them as well, each worker that fetches would seem to be busy for long, and jobs would go to workers that
hold less.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dask.typing import Key
from distributed.threadpoolexecutor import secede
from distributed.worker_state_machine import RemoveReplicasEvent, SecedeEvent

if TYPE_CHECKING:
    from distributed.worker import Worker


#: Seconds after which a program that runs is reported. From one that runs twice as long as others did of late Dask
#: concludes that all will take long, and where they take milliseconds a moment without a processor is enough for that.
LONG_SECONDS = 2.0


async def keep_copies(worker: Worker) -> None:
    """Have the scheduler take copies of modules for what they are: it would drop all but one as waste."""
    await worker.scheduler.amm_handler(method="stop")


async def hold(worker: Worker, data: Mapping[Key, object], sizes: dict[str, int], client: str) -> None:
    """Have a worker hold keys, said to be so large, in the name of a client that is never gone."""
    worker.update_data(dict(data))
    who_has = {key: [worker.address] for key in data}
    await worker.scheduler.update_data(who_has=who_has, nbytes=sizes, client=client)


def let_go(worker: Worker, keys: Iterable[str]) -> None:
    """Have a worker hold keys no more; on the loop's thread."""
    worker.handle_stimulus(RemoveReplicasEvent(keys=list(keys), stimulus_id="bacpack-withdraw"))


def leave_pool(worker: Worker, key: Key) -> None:
    """Have the worker begin the next job while this one's modules come; in the thread of the job."""
    secede()
    # Dask's scheduler takes None, though the event does not say so: this is no time that a program takes.
    event = SecedeEvent(key=key, compute_duration=None, stimulus_id="bacpack-lack")  # type: ignore[arg-type]
    worker.loop.add_callback(worker.handle_stimulus, event)


def choose(task: Any, workers: Collection[Any], objective: Callable[[Any], Any]) -> Any:
    """Return the worker that Dask's scheduler would choose for a task."""
    from distributed.scheduler import decide_worker

    return decide_worker(task, workers, None, objective)  # type: ignore[arg-type]  # as far as it looks


def set_bandwidth(worker: Worker, bytes_a_second: float) -> None:
    """Have a worker say that modules come so fast."""
    worker.bandwidth = bytes_a_second


def threads_of(worker: Worker) -> int:
    """How many jobs a worker runs at once."""
    return int(worker.state.nthreads)


def memory_of(worker: Worker) -> int | None:
    """The limit of memory that a worker was given."""
    limit: int | None = worker.memory_manager.memory_limit
    return limit


def who_has(client: Any, keys: Collection[str]) -> dict[str, list[str]]:
    """Return the addresses of the workers that hold each key."""
    found: dict[str, list[str]] = client.sync(client.scheduler.who_has, keys=list(keys))
    return found


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
