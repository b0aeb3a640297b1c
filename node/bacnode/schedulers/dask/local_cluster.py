"""Jobs on this machine: a scheduler of Dask and its workers in processes, which share the machine's store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dask
import psutil
from distributed import Client, LocalCluster

from bacnode.schedulers.dask.client import MAX_ATTEMPTS, DaskEngine

#: What Dask is told for jobs: no page for people, no limit of memory that would pause a worker, few attempts.
SETTINGS = {
    "distributed.scheduler.allowed-failures": MAX_ATTEMPTS - 1,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.admin.log-format": "%(message)s",
    "distributed.comm.timeouts.connect": "30s",
}


@contextmanager
def local_engine(
    folder: Path, cache: Path, *, workers: int | None = None, peers: Sequence[str] = (), offline: bool = False,
    allow_private: bool = False,
) -> Iterator[DaskEngine]:  # fmt: skip
    """Yield an engine whose workers are processes of this machine, with `folder` as their store."""
    count = workers or os.cpu_count() or 1
    ensure = {
        "folder": str(folder), "cache": str(cache), "peers": tuple(peers), "announce": False, "offline": offline,
        "allow_private": allow_private, "memory_bytes": psutil.virtual_memory().total // count,
    }  # fmt: skip
    with (
        dask.config.set(SETTINGS),
        tempfile.TemporaryDirectory(prefix="bacpack-dask-") as scratch,
        LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1",
            memory_limit=0, local_directory=scratch, scheduler_kwargs={"local_directory": scratch}, silence_logs=50,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        yield DaskEngine(client, ensure=ensure, one_store=True)
