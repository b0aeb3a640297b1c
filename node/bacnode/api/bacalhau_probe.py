"""`POST /api/v1/bacalhau/probe`: whether a Bacalhau node beside this one should bid for a job.

Bacalhau asks it where its compute node is set up with `-c JobAdmissionControl.ProbeHTTP=URL`: it sends the job, and
takes an answer only with a length and with exactly the content type that this has.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bacnode.api.bids import MAX_MODULES
from bacnode.execution.messages import MissingModules
from bacnode.http_server.body import read_json
from bacnode.http_server.errors import RequestError
from bacnode.node_state import state_of
from bacpack.content.cid.cid import BadCidError, Cid

#: As large as Bacalhau sends.
MAX_BYTES = 10 << 20
PATH = "/api/v1/bacalhau/probe"


class _Source(msgspec.Struct, rename="pascal"):
    type: str = ""
    params: dict[str, Any] | None = None


class _Input(msgspec.Struct, rename="pascal"):
    source: _Source | None = None


class _Engine(msgspec.Struct, rename="pascal"):
    type: str = ""


class _Task(msgspec.Struct, rename="pascal"):
    engine: _Engine | None = None
    input_sources: Annotated[list[_Input], msgspec.Meta(max_length=MAX_MODULES)] | None = None


class _Job(msgspec.Struct, rename="pascal"):
    tasks: Annotated[list[_Task], msgspec.Meta(max_length=64)] | None = None


class Probe(msgspec.Struct, rename="pascal"):
    """What Bacalhau asks; the parts of a job that say which modules it needs."""

    job: _Job


async def probe(request: Request) -> JSONResponse:
    """Bid if the modules are here, or no more than `?max-missing-bytes=` of them have to be fetched."""
    node = state_of(request)
    node.access.require_job(request)
    service = node.jobs
    most = request.query_params.get("max-missing-bytes", "0")
    if not (most.isascii() and most.isdecimal()) or len(most) > 18:
        raise RequestError("bad-request", "`max-missing-bytes` is no number", hint="write digits")
    with service.estimating:
        question = await read_json(request, Probe, MAX_BYTES)
        modules = modules_of(question)
        if not modules:
            return _answer(True, "the job names no module by CID")
        found = await service.queue.executor.missing_modules(None, modules)
    return _answer(*decide(found, int(most)))


def modules_of(question: Probe) -> list[str]:
    """The CIDs of what a job for WebAssembly is given from IPFS."""
    found: dict[str, None] = {}
    for task in question.job.tasks or ():
        if task.engine is None or task.engine.type.strip().lower() != "wasm":
            continue
        for entry in task.input_sources or ():
            source = entry.source
            cid = (source.params or {}).get("CID") if source and source.type.strip().lower() == "ipfs" else None
            if isinstance(cid, str):
                try:
                    found[str(Cid.parse(cid).to_v1())] = None
                except BadCidError:
                    raise RequestError("bad-request", f"`{cid[:100]}` is no CID", hint="check the job") from None
    return list(found)


def decide(found: MissingModules, most: int) -> tuple[bool, str]:
    """Whether to bid, and the reason."""
    if found.error is not None:
        return False, found.error.message
    if not found.missing:
        return True, "every module is here"
    count = len(found.missing)
    if found.unobtainable:
        return False, f"{found.unobtainable[0]} is not available here"
    size = found.missing_bytes or 0
    return size <= most, f"{count} modules are missing, {size} bytes; up to {most} may be"


def _answer(should_bid: bool, reason: str) -> JSONResponse:
    return JSONResponse({"ShouldBid": should_bid, "Reason": reason})


ROUTES = [Route(PATH, probe, methods=["POST"])]
