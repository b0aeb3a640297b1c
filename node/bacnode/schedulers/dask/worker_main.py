"""A worker of Dask that runs jobs, as a process: what `bacpack node serve --scheduler` starts beside the node.

Run as `python -m bacnode.schedulers.dask.worker_main SCHEDULER OPTIONS`; OPTIONS is JSON, see `WorkerOptions`. Once the
worker has announced its modules it prints its address. It ends when its parent does, or closes its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile

import dask
import msgspec
import psutil
from distributed import Worker

from bacnode.schedulers.dask.worker_plugin import BANDWIDTH, NAME, ModulesPlugin

#: Seconds between two looks at what came into the store by another way, or was evicted from it.
REFRESH_SECONDS = 5.0
SETTINGS = {
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.pause": False,
}


class WorkerOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How a worker is to be; see `ModulesPlugin`."""

    folder: str
    cache: str | None = None
    name: str | None = None
    threads: int = 1
    host: str | None = None
    url: str | None = None
    peers: list[str] = []
    memory_bytes: int | None = None
    announce: bool = True
    bandwidth: float | None = None
    all_features: bool = True


async def serve(scheduler: str, options: WorkerOptions) -> None:
    """Run a worker until it is told to end."""
    plugin = ModulesPlugin(
        options.folder, cache=options.cache, peers=options.peers, url=options.url, memory_bytes=options.memory_bytes,
        announce=options.announce, bandwidth=options.bandwidth, all_features=options.all_features,
    )  # fmt: skip
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    # Said from the start: Dask looks only at a worker that joins whether jobs have waited for it.
    resources = plugin.resources(options.memory_bytes or psutil.virtual_memory().total)
    with tempfile.TemporaryDirectory(prefix="bacpack-worker-") as scratch:
        async with Worker(
            scheduler, nthreads=options.threads, name=options.name, host=options.host, local_directory=scratch,
            memory_limit=0, dashboard=False, resources=resources,
        ) as worker:  # fmt: skip
            await worker.plugin_add(plugin, name=NAME)
            print(worker.address, flush=True)  # noqa: T201 - to who started it
            loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 1) else ended.set())
            tasks = [asyncio.ensure_future(ended.wait()), asyncio.ensure_future(worker.finished())]
            while not (await asyncio.wait(tasks, timeout=REFRESH_SECONDS, return_when=asyncio.FIRST_COMPLETED))[0]:
                with contextlib.suppress(OSError):
                    await plugin.refresh()
            for task in tasks:
                task.cancel()


def main() -> None:
    """Read the command line and run."""
    options = msgspec.json.decode(sys.argv[2], type=WorkerOptions)
    # What a worker says when it joins is what the scheduler goes by.
    bandwidth = {"distributed.scheduler.bandwidth": options.bandwidth or BANDWIDTH}
    with dask.config.set({**SETTINGS, **bandwidth}):
        asyncio.run(serve(sys.argv[1], options))


if __name__ == "__main__":
    main()
