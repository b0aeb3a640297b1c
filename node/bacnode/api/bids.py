"""`POST /api/v1/bids`: whether this node can run something, what it lacks, and how soon it could start."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bacnode.execution.job import Limits
from bacnode.execution.messages import MissingModules
from bacnode.http_server.body import read_json
from bacnode.http_server.errors import RequestError
from bacnode.jobs.service import JobService
from bacnode.node_state import state_of
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.reference import PathRef, parse_ref
from bacpack.errors import BacpackError

MAX_MODULES = 1024
#: Milliseconds until a program starts of which everything is here and a worker is free.
_READY_MS = 20.0
#: Milliseconds that a job ahead in the queue is taken to need, until one has ended here.
_JOB_MS = 1_000.0


class BidRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be run: a program, or some modules of one."""

    ref: str | None = None
    modules: Annotated[list[str], msgspec.Meta(max_length=MAX_MODULES)] = []
    limits: Limits = msgspec.field(default_factory=Limits)


async def bid(request: Request) -> JSONResponse:
    """Answer one question."""
    node = state_of(request)
    node.access.require_job(request)
    service = node.jobs
    with service.estimating:
        question = await read_json(request, BidRequest)
        if question.ref is None and not question.modules:
            raise RequestError(
                "bad-request", "neither `ref` nor `modules` says what is to be run", hint="give one of them"
            )
        if question.ref is not None and isinstance(parse_ref(question.ref), PathRef):
            raise RequestError("bad-request", "`ref` names a file of this machine", hint="name a CID or a URL")
        for module in question.modules:
            Cid.parse(module)
        refusal = _refusal(service, question.limits)
        found = await service.queue.executor.missing_modules(question.ref, question.modules)
    return JSONResponse(answer(service, found, refusal))


def answer(service: JobService, found: MissingModules, refusal: BacpackError | None) -> dict[str, Any]:
    """Say what follows from what was found."""
    reason = message = None
    if refusal is not None:
        reason, message = refusal.code, refusal.message
    elif found.error is not None:
        reason, message = found.error.code, found.error.message
    elif found.unobtainable:
        reason, message = "module-not-found", f"nobody who may be asked has {found.unobtainable[0]}"
    can_run = reason is None
    start_ms = None
    if can_run:
        queue = service.queue
        start_ms = _READY_MS + queue.speeds.start_ms(found.missing_bytes or 0, found.uncompiled_bytes)
        start_ms += queue.waiting_ms(_JOB_MS)
    return {
        "schema": 1,
        "can_run": can_run,
        "reason": reason,
        "message": message,
        "missing": found.missing,
        "missing_bytes": found.missing_bytes,
        "uncompiled_bytes": found.uncompiled_bytes,
        "start_ms": None if start_ms is None else round(start_ms, 1),
        # From 0 to 1; the more, the sooner.
        "score": 0.0 if start_ms is None else round(1000 / (1000 + start_ms), 6),
    }


def _refusal(service: JobService, limits: Limits) -> BacpackError | None:
    try:
        service.queue.executor.grants.grant(limits)
    except BacpackError as error:
        return error
    return service.queue.refusal


ROUTES = [Route("/api/v1/bids", bid, methods=["POST"])]
