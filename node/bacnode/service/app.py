"""The application: every path that the node answers, in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from bacnode.jobs import api, bids, holdings
from bacnode.pages import routes as pages
from bacnode.schedulers import probe
from bacnode.service import gateway, peer_list, pins, routing, uploads
from bacnode.service.errors import on_bacpack_error, on_disconnect, on_http_error
from bacnode.service.front import Front, FrontOptions
from bacnode.service.state import NodeState, state_of
from bacpack import __version__
from bacpack.errors import BacpackError


async def health(request: Request) -> JSONResponse:
    """`GET /healthz`: the node answers; with the advisories about its engine, if there are any."""
    holes = state_of(request).known_holes
    return JSONResponse({"schema": 1, "status": "ok", **({"known_holes": holes} if holes else {})})


async def describe(request: Request) -> JSONResponse:
    """`GET /api/v1/node`: who this is. Other nodes ask it, so it is open to all."""
    node = state_of(request)
    return JSONResponse({"schema": 1, "peer_id": node.identity.peer_id, "version": __version__})


def create_app(node: NodeState, options: FrontOptions | None = None) -> ASGIApp:
    """Return the application that serves `node`."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await node.jobs.open()
        await node.peers.open(node.url)
        yield
        await node.jobs.close()
        await node.peers.close()

    app = Starlette(
        routes=[
            Route("/healthz", health, methods=["GET"]),
            Route("/api/v1/node", describe, methods=["GET"]),
            *uploads.ROUTES,
            *pins.ROUTES,
            *routing.ROUTES,
            *api.ROUTES,
            *holdings.ROUTES,
            *bids.ROUTES,
            *probe.ROUTES,
            *peer_list.ROUTES,
            *pages.ROUTES,
        ],
        exception_handlers={
            BacpackError: on_bacpack_error,
            HTTPException: on_http_error,
            ClientDisconnect: on_disconnect,
        },
        lifespan=lifespan,
    )
    app.state.node = node
    app.state.pages = pages.PagesState(node)
    return Front(app, gateway.Gateway(node), options or FrontOptions())
