"""What a node grants a job that asks for nothing, and at most."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bacnode.execution.job import Granted, Limits, bad_job

MIB = 1 << 20

#: The option of a process that compiles or runs: programs may use what few need, see `bacnode.runtime.engine_config`.
ALL_FEATURES = "--all-features"

#: The largest file that any job may write; the system refuses more.
LARGEST_FILE = 4 << 30
#: Seconds after its limit, or after it was told to end, at which a job's worker is killed.
GRACE_SECONDS = 5.0
#: What a job takes beside its memory.
OVERHEAD_BYTES = 32 * MIB


@dataclass(frozen=True, slots=True)
class Grants:
    """Bounds on jobs: how many at once, and what one is given unless it asks, and may have at most."""

    workers: int
    jobs_per_worker: int
    #: Memory of all jobs that run at once.
    memory_bytes: int
    default_seconds: float = 600
    max_seconds: float = 24 * 3600
    default_memory_bytes: int = 512 * MIB
    default_output_bytes: int = 16 * MIB
    max_output_bytes: int = 1 << 30
    default_file_bytes: int = 1 << 30
    max_file_bytes: int = LARGEST_FILE
    default_files: int = 10_000
    max_files: int = 100_000
    #: Whether programs may use what few need; see `bacnode.runtime.engine_config`.
    all_features: bool = False

    def grant(self, asked: Limits) -> Granted:
        """Return the limits that hold; raises `InputError` (`bad-job`) for memory that is never available."""
        most = self.memory_bytes - OVERHEAD_BYTES
        memory = min(self.default_memory_bytes, most) if asked.memory_bytes is None else asked.memory_bytes
        if memory > most:
            raise bad_job(f"the job asks for {memory} bytes of memory; this node gives {most}", "ask for less")
        return Granted(
            seconds=min(asked.seconds or self.default_seconds, self.max_seconds),
            memory_bytes=memory,
            fuel=asked.fuel,
            output_bytes=_within(asked.output_bytes, self.default_output_bytes, self.max_output_bytes),
            file_bytes=_within(asked.file_bytes, self.default_file_bytes, self.max_file_bytes),
            files=_within(asked.files, self.default_files, self.max_files),
        )


def _within(asked: int | None, usual: int, most: int) -> int:
    return usual if asked is None else min(asked, most)


def local_grants(
    workers: int | None, jobs_per_worker: int, memory_bytes: int | None, *, all_features: bool = False
) -> Grants:
    """Return what this machine can give: a worker a core, and half of its memory, unless told otherwise."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = memory_bytes or max(total // 2, 2 * OVERHEAD_BYTES)
    return Grants(workers or cores, jobs_per_worker, memory, all_features=all_features)
