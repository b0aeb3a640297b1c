"""`/api/v1/modules`: which modules the node holds, where they came from, and how much they are used."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bacnode.api.node import node_view
from bacnode.jobs.inventory import Holdings
from bacnode.node_state import NodeState, state_of
from bacnode.runtime.code_cache import CompileCache, Configuration


async def modules(request: Request) -> Response:
    """`GET /api/v1/modules`: the provenance report."""
    node = state_of(request)
    node.access.require_job(request)
    service = node.jobs
    with service.estimating:
        uses = await service.queries.uses()
        found = await node.in_reader(lambda: holdings_of(node).report(uses))
    body = {
        "schema": 1,
        "node": node_view(node),
        "modules": found,
        "totals": {
            "modules": len(found),
            "bytes": sum(module.bytes for module in found),
            "pinned_bytes": sum(module.bytes for module in found if module.pinned),
            "proprietary": sum(module.proprietary for module in found),
            "compiled": sum(module.compiled for module in found),
            "uses": sum(module.uses for module in found),
            # Had each use brought a copy of its own.
            "used_bytes": sum(module.bytes * module.uses for module in found),
        },
    }
    return Response(msgspec.json.encode(body), media_type="application/json")


def holdings_of(node: NodeState) -> Holdings:
    """What the report of a node is made of."""
    return Holdings(
        node.store,
        node.pins,
        node.provenance,
        node.jobs.proprietary,
        CompileCache(node.jobs.cache),
        Configuration(interruptible=True, fueled=False, all_features=node.jobs.queue.executor.grants.all_features),
        frozenset(peer.url for peer in node.book.all()),
    )


ROUTES = [Route("/api/v1/modules", modules, methods=["GET"])]
