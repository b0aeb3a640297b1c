"""The report of a job: what `bacpack run --report` writes, with what only a node knows."""

from __future__ import annotations

from typing import Any

from bacnode.execution.messages import Prepared, Ran
from bacnode.runtime.plan import PlannedModule


def job_report(ref: str, attempts: int, prepared: Prepared, ran: Ran, node: str) -> dict[str, Any]:
    """Return what ran, every module in it, and where each came from."""
    assert prepared.plan is not None
    return {
        "schema": 1,
        "ref": ref,
        "exit_code": ran.exit_code,
        "modules": [_module(module) for module in prepared.plan.modules],
        "load_ms": round(prepared.load_ms, 3),
        "run_ms": round(ran.run_ms, 3),
        "trap": ran.trap,
        "node": node,
        "attempts": attempts,
    }


def _module(module: PlannedModule) -> dict[str, Any]:
    identity = {"cid": module.cid} if module.url is None else {"url": module.url}
    return {
        **identity,
        "name": module.name,
        "bytes": module.bytes,
        "source": module.source,
        "fetched_from": module.fetched_from,
        "also_from": module.also_from,
        "fetch_ms": module.fetch_ms,
        "verified": module.verified,
        "compile_ms": module.compile_ms,
        "compiled_cached": module.compiled_cached,
    }
