"""`GET /api/v1/peers`: whom the node asks, how near they are, and who is suspended and why."""

from __future__ import annotations

import datetime
import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bacnode.node_state import NodeState, state_of
from bacnode.peers.peer_book import KnownPeer


class ListedPeer(msgspec.Struct, kw_only=True):
    """One peer. Times are in UTC, ISO 8601."""

    url: str
    #: `configured`, `mdns` or `routing`: who told of it.
    told: str
    #: Whether it is asked: one that left the network, or that a router named long ago, is not.
    present: bool
    peer_id: str | None
    #: Milliseconds to the first byte of an answer, and bytes a second from there, of late.
    latency_ms: float | None
    bytes_per_second: int | None
    #: Blocks and bytes that it gave, and how often it had none, failed, and sent a wrong one.
    blocks: int
    bytes: int
    missing: int
    failures: int
    wrong: int
    last_error: str | None
    #: Until when it is not asked, and why.
    aside_until: str | None
    aside_reason: str | None


async def peers(request: Request) -> Response:
    """Every peer that the node knows, the nearest of those that are there first."""
    node = state_of(request)
    node.access.require_job(request)
    body = {"schema": 1, "peers": await list_peers(node)}
    return Response(msgspec.json.encode(body), media_type="application/json")


async def list_peers(node: NodeState) -> list[ListedPeer]:
    """Return what is known of every peer."""
    now = time.time()
    known = await node.in_reader(node.book.all)
    known.sort(key=lambda peer: (not peer.is_present, peer.health.is_suspended(now), peer.health.expected(now)))
    return [_listed(peer, now) for peer in known]


def _listed(peer: KnownPeer, now: float) -> ListedPeer:
    health = peer.health
    first_byte = peer.ping if health.first_byte is None else health.first_byte
    is_suspended = health.is_suspended(now)
    until = datetime.datetime.fromtimestamp(health.aside_until, datetime.UTC) if is_suspended else None
    return ListedPeer(
        url=peer.url,
        told=peer.told,
        present=peer.is_present,
        peer_id=peer.peer_id,
        latency_ms=None if first_byte is None else round(first_byte * 1000, 3),
        bytes_per_second=None if health.rate is None else round(health.rate),
        blocks=health.blocks,
        bytes=health.bytes,
        missing=health.missing,
        failures=health.failures,
        wrong=health.wrong,
        last_error=health.last_error,
        aside_until=until.isoformat(timespec="seconds") if until else None,
        aside_reason=health.aside_reason if is_suspended else None,
    )


ROUTES = [Route("/api/v1/peers", peers, methods=["GET"])]
