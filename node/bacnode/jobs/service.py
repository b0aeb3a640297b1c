"""What a node has for jobs, in one place for its endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bacnode.execution.executor import Executor
from bacnode.execution.grants import local_grants
from bacnode.http_server.concurrency_limit import ConcurrencyLimit
from bacnode.jobs.metrics import Metrics
from bacnode.jobs.queries import JobQueries
from bacnode.jobs.queue import JobQueue
from bacnode.stores.proprietary import Proprietary

#: Submissions that are read at once: each is in memory whole.
MAX_SUBMITTING = 8
#: Answers that follow a job at once.
MAX_FOLLOWING = 64
#: Bids and reports that are made at once.
MAX_ESTIMATING = 16


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a person wants jobs to be run."""

    workers: int | None = None
    jobs_per_worker: int = 1
    memory_bytes: int | None = None
    #: Where compiled modules are kept; None for the node's own folder.
    cache: Path | None = None
    #: Files and CIDs of what jobs may use and nobody may have.
    proprietary: tuple[str, ...] = ()
    #: Whether programs may use what few need; see `bacnode.runtime.engine_config`.
    all_features: bool = False


@dataclass(slots=True)
class JobService:
    """The queue, what it must keep to itself, and bounds on requests."""

    queue: JobQueue
    queries: JobQueries
    proprietary: Proprietary
    metrics: Metrics
    #: Where compiled modules are.
    cache: Path
    #: Submissions that are being read, answers that follow a job, and bids and reports that are being made.
    submitting: ConcurrencyLimit
    following: ConcurrencyLimit
    estimating: ConcurrencyLimit


def open_jobs(folder: Path, proprietary: Proprietary, options: JobOptions, name: str) -> JobService:
    """Return what a node needs for jobs; raises `InputError`."""
    cache = options.cache or folder / "cache"
    grants = local_grants(
        options.workers, options.jobs_per_worker, options.memory_bytes, all_features=options.all_features
    )
    queue = JobQueue(folder, Executor(folder, cache, grants, name))
    queries = JobQueries(queue)
    return JobService(
        queue,
        queries,
        proprietary,
        Metrics(queue, queries),
        cache,
        ConcurrencyLimit(MAX_SUBMITTING, "submissions"),
        ConcurrencyLimit(MAX_FOLLOWING, "followers of jobs"),
        ConcurrencyLimit(MAX_ESTIMATING, "reports and bids"),
    )
