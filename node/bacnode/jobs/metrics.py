"""`/metrics`: counts and times for Prometheus."""

from __future__ import annotations

import datetime
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bacnode.jobs.database import Record
from bacnode.jobs.queries import JobQueries
from bacnode.jobs.queue import JobQueue

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)


class Metrics:
    """What one node counts."""

    def __init__(self, queue: JobQueue, queries: JobQueries) -> None:
        self.registry = CollectorRegistry()
        self._ended = Counter("bacpack_jobs_ended", "Jobs that ended, by how", ["state"], registry=self.registry)
        self._lost = Counter(
            "bacpack_processes_lost", "Processes of the node that ended under a job", registry=self.registry
        )
        self._seconds = Histogram(
            "bacpack_job_seconds", "From submitting a job to its end", buckets=_SECONDS, registry=self.registry
        )
        self._modules = Counter(
            "bacpack_modules_used", "Modules that jobs used, by where they came from", ["source"],
            registry=self.registry,
        )  # fmt: skip
        live = Gauge("bacpack_jobs", "Jobs that have not ended, by state", ["state"], registry=self.registry)
        for state in ("queued", "fetching", "running"):
            live.labels(state).set_function(partial(_count, queries, state))
        processes = Gauge("bacpack_processes", "Processes that prepare and run jobs", registry=self.registry)
        processes.set_function(lambda: len(queue.executor.processes()))
        queue.on_end = self._note_end
        queue.on_lost = lambda why: self._lost.inc()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)

    def _note_end(self, record: Record) -> None:
        self._ended.labels(record.state).inc()
        created, finished = (
            datetime.datetime.fromisoformat(text) for text in (record.created, record.finished or record.created)
        )
        self._seconds.observe((finished - created).total_seconds())
        for module in (record.ending.report or {}).get("modules", ()):
            self._modules.labels(module["source"]).inc()


def _count(queries: JobQueries, state: str) -> int:
    return queries.unfinished().get(state, 0)
