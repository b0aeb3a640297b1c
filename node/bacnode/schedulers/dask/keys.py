"""Keys, resources and topics by which modules and jobs are known in Dask."""

from __future__ import annotations

#: Keys of modules and of jobs begin so, and all workers that run jobs hold the key `PRESENT`.
MODULE_PREFIX, JOB_PREFIX = "bacpack-module-", "bacpack-job-"
PRESENT = "bacpack-present-2"
#: The resource that a worker offers for a module which it may use and not give away.
RESOURCE_PREFIX = "bacpack-only-here-"
#: The resource that stands for memory: a job that says how much it may use takes as much.
MEMORY = "bacpack-memory"
#: The resource of every worker that runs jobs. Each job takes one: Dask places tasks that are free to run anywhere
#: without a look at what they depend on, once there are many of them ("root-ish").
RUNS = "bacpack-runs"
#: The client in whose name the keys of modules are kept: they outlast those that submit jobs.
MODULES_CLIENT = "bacpack-modules"
#: The topic of Dask's events about jobs.
TOPIC = "bacpack-jobs"


def module_key(cid: str) -> str:
    """The key of a module."""
    return f"{MODULE_PREFIX}{cid}"


def resource_of(cid: str) -> str:
    """The resource that stands for a proprietary module."""
    return f"{RESOURCE_PREFIX}{cid}"
