"""The value of a module's key in Dask: not the module, but who has it.

Dask moves values between workers as pickles. What it moves here is a few URLs; the module itself comes from one of them
as any module does, block by block, each compared with its CID.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
KEEPER = "bacpack-modules"
#: The topic of Dask's events about jobs.
TOPIC = "bacpack-jobs"
#: How many holders are remembered of one module.
_MAX_URLS = 4


def module_key(cid: str) -> str:
    """The key of a module."""
    return f"{MODULE_PREFIX}{cid}"


def resource_of(cid: str) -> str:
    """The resource that stands for a proprietary module."""
    return f"{RESOURCE_PREFIX}{cid}"


#: Says at which URL this process gives a module, None if it does not; set by the worker's plugin.
here: Callable[[str], str | None] = lambda cid: None  # noqa: E731 - replaced as a whole


class Held:
    """Who has a module. When it leaves a worker that holds the module, it says so."""

    __slots__ = ("cid", "urls")

    def __init__(self, cid: str, urls: Sequence[str] = ()) -> None:
        self.cid = cid
        self.urls = tuple(urls)

    def __reduce__(self) -> tuple[type[Held], tuple[str, tuple[str, ...]]]:
        own = here(self.cid)
        urls = [url for url in self.urls if url != own]
        return Held, (self.cid, tuple([own, *urls] if own else urls)[:_MAX_URLS])
