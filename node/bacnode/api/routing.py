"""`/routing/v1`: who has a block, as far as this node knows, which is itself and the peers that it was told of.

Specification: https://specs.ipfs.tech/routing/http-routing-v1/.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bacnode.http_server.cross_origin import CROSS_ORIGIN, PREFLIGHT, Headers
from bacnode.http_server.errors import RequestError
from bacnode.node_state import NodeState, state_of
from bacnode.peers.routing_filters import Filters, PeerRecord
from bacpack.content.cid.cid import BadCidError, Cid
from bacpack.ipfs_clients.multiaddr import of_host
from bacpack.ipfs_clients.routing_client import RUNS_JOBS

#: Seconds for which an answer may be kept; one that names nobody may soon be wrong.
_FOUND_SECONDS, _NOT_FOUND_SECONDS = 300, 15


async def providers(request: Request) -> Response:
    """`GET /routing/v1/providers/{cid}`: who holds this block."""
    node = state_of(request)
    try:
        cid = Cid.parse(request.path_params["cid"])
    except BadCidError as error:
        raise RequestError(
            error.code,
            error.message,
            hint=error.hint or "",
            status=422,
            headers=_text(CROSS_ORIGIN),
            details=error.details,
        ) from None
    is_stored = await node.in_reader(lambda: node.store.has(cid))
    own = [_own_record(node, request)] if is_stored else []
    if str(cid.to_v1()) in node.jobs.proprietary.modules:
        # A mark for those who look where a job can run: no client takes content by this protocol.
        own = [dataclasses.replace(_own_record(node, request), protocols=(RUNS_JOBS,))]
    return _answer(request, "Providers", [*own, *await node.peers.holding(cid)])


async def peers(request: Request) -> Response:
    """`GET /routing/v1/peers/{peer-id}`: where this peer is reached."""
    node = state_of(request)
    wanted = request.path_params["peer_id"]
    known = [_own_record(node, request), *await node.peers.all()]
    return _answer(request, "Peers", [record for record in known if record.peer_id == wanted])


async def preflight(_request: Request) -> Response:
    """Any page in a browser may ask."""
    return Response(status_code=204, headers=_text(PREFLIGHT))


async def unsupported(request: Request) -> Response:
    """Say that there is nothing else: no names, and nothing may be published."""
    raise RequestError(
        "no-such-page",
        f"{request.method} `{request.url.path}` is not part of what this node knows of routing",
        hint="there are GET /routing/v1/providers/{cid} and GET /routing/v1/peers/{peer-id}",
        status=400 if request.method in ("GET", "HEAD") else 501,
        headers=_text(CROSS_ORIGIN),
    )


def _own_record(node: NodeState, request: Request) -> PeerRecord:
    # Where the client reached this node, which may listen on many addresses.
    host, port = request.scope["server"]
    return PeerRecord(node.identity.peer_id, (of_host(host, port),))


def _answer(request: Request, kind: str, records: Sequence[PeerRecord]) -> Response:
    query = request.query_params
    filters = Filters.parse(query.get("filter-addrs", ""), query.get("filter-protocols", ""))
    found = [record.as_json() for record in filters.apply(records)]
    seconds = _FOUND_SECONDS if found else _NOT_FOUND_SECONDS
    headers = {**_text(CROSS_ORIGIN), "Vary": "Accept", "Cache-Control": f"public, max-age={seconds}"}
    if "application/x-ndjson" in request.headers.get("Accept", ""):
        lines = b"".join(msgspec.json.encode(record) + b"\n" for record in found)
        return Response(lines, media_type="application/x-ndjson", headers=headers)
    return Response(msgspec.json.encode({kind: found}), media_type="application/json", headers=headers)


def _text(headers: Headers) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


ROUTES = [
    Route("/routing/v1/providers/{cid}", providers, methods=["GET"]),
    Route("/routing/v1/peers/{peer_id}", peers, methods=["GET"]),
    Route("/routing/v1/{rest:path}", preflight, methods=["OPTIONS"]),
    Route("/routing/v1/{rest:path}", unsupported, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
]
