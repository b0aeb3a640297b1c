"""The report of a job: what `bacpack run --report` writes, with what only a node knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from bacnode.jobs.plan import Plan, PlannedModule, Prepared, Ran
from bacnode.trace import Place
from bacpack.content.cid import Cid
from bacpack.content.unixfs import read_bytes
from bacpack.errors import BacpackError


class HasBlocks(Protocol):
    """What gives blocks by CID."""

    def get(self, cid: Cid) -> bytes:
        """Return a block; raises `BacpackError`."""


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


def places_in(store: HasBlocks, modules: Iterable[tuple[str, str]]) -> Iterator[Place]:
    """Yield the modules of a plan, given by CID and name, that are in a store; the program, which is last, first."""
    for cid, name in reversed(list(modules)):
        with suppress(BacpackError):
            yield Place(cid, name, read_bytes(store.get, Cid.parse(cid)))


def later(plan: Plan, folder: str) -> Plan:
    """Return a plan as it is for who uses it again: nothing was fetched or compiled for that."""
    modules = [
        msgspec.structs.replace(
            module,
            source="store" if module.url is None else module.source,
            fetched_from=folder if module.url is None else module.fetched_from,
            also_from=[] if module.url is None else module.also_from,
            fetch_ms=0.0,
            compile_ms=0.0,
            compiled_cached=True,
        )
        for module in plan.modules
    ]
    return msgspec.structs.replace(plan, modules=modules)


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
