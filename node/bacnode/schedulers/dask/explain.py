"""Why a job runs where it runs: what a scheduler of Dask knows of each worker, held against the objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dask
from dask.utils import parse_bytes

from bacnode.schedulers.dask.internals import who_has
from bacnode.schedulers.dask.keys import JOB_PREFIX, MEMORY, RESOURCE_PREFIX, module_key
from bacnode.schedulers.placement import Need, NodeView, Verdict, place

if TYPE_CHECKING:
    from bacnode.schedulers.submitted_jobs import SubmittedJob

#: Seconds that a job is taken to need until one has ended; what Dask takes.
UNKNOWN_SECONDS = 0.5


def need_of(job: SubmittedJob) -> Need:
    """What placement is told of a job."""
    closure = job.closure
    return Need(closure.sizes, frozenset(closure.missing), job.spec.memory_bytes)


def views(client: Any, cids: Sequence[str], *, one_store: bool = False) -> list[NodeView]:
    """What the scheduler knows of each worker, as far as it matters to a job that needs these modules.

    `one_store` says that all workers use the store of this machine, and so announce nothing.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"]
    holders = who_has(client, [module_key(cid) for cid in cids])
    ahead = client.processing()
    found = []
    for address, worker in workers.items():
        resources = worker["resources"]
        jobs = sum(str(key).startswith(JOB_PREFIX) for key in ahead.get(address, ()))
        found.append(
            NodeView(
                name=node_name(address, worker["name"]),
                threads=worker["nthreads"],
                backlog_seconds=jobs * UNKNOWN_SECONDS,
                jobs=jobs,
                holds=frozenset(cid for cid in cids if one_store or address in holders.get(module_key(cid), ())),
                offers=frozenset(
                    name.removeprefix(RESOURCE_PREFIX) for name in resources if name.startswith(RESOURCE_PREFIX)
                ),
                memory_bytes=int(resources[MEMORY]) if MEMORY in resources else None,
            )
        )
    return found


def explain(client: Any, job: SubmittedJob, *, one_store: bool = False) -> list[Verdict]:
    """Say of each worker whether a job that is sent now is expected to run there, and why not."""
    need = need_of(job)
    bandwidth = parse_bytes(dask.config.get("distributed.scheduler.bandwidth"))
    return place(need, views(client, list(need.sizes), one_store=one_store), bandwidth)


def node_name(address: str, name: Any) -> str:
    """How people call a worker: by its name if it was given one, otherwise by its address."""
    return name if isinstance(name, str) and name else address


def as_json(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Verdicts as `--json` prints them."""
    return [{**asdict(one), "missing": list(one.missing)} for one in verdicts]
