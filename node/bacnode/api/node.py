"""`/healthz` and `/api/v1/node`: who this is."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from bacnode.node_state import NodeState, state_of
from bacpack import __version__


def node_view(node: NodeState) -> dict[str, Any]:
    """Who this is."""
    return {"url": node.url, "peer_id": node.identity.peer_id}


async def health(request: Request) -> JSONResponse:
    """`GET /healthz`: the node answers; with the advisories about its engine, if there are any."""
    holes = state_of(request).known_holes
    return JSONResponse({"schema": 1, "status": "ok", **({"known_holes": holes} if holes else {})})


async def describe(request: Request) -> JSONResponse:
    """`GET /api/v1/node`: who this is. Other nodes ask it, so it is open to all."""
    node = state_of(request)
    return JSONResponse({"schema": 1, "peer_id": node.identity.peer_id, "version": __version__})
