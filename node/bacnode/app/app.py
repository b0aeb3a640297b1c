"""The application: every path that the node answers, in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp

from bacnode.api import bacalhau_probe, bids, blocks, jobs, modules, peers, pins, routing
from bacnode.api.node import describe, health
from bacnode.gateway import handler
from bacnode.http_server.errors import on_bacpack_error, on_disconnect, on_http_error
from bacnode.http_server.middleware import Middleware, MiddlewareOptions
from bacnode.node_state import NodeState
from bacnode.pages import routes as pages
from bacpack.errors import BacpackError


def create_app(node: NodeState, options: MiddlewareOptions | None = None) -> ASGIApp:
    """Return the application that serves `node`."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await node.jobs.queue.open()
        await node.peers.open(node.url)
        yield
        await node.jobs.queue.close()
        await node.peers.close()

    app = Starlette(
        routes=[
            Route("/healthz", health, methods=["GET"]),
            Route("/api/v1/node", describe, methods=["GET"]),
            *blocks.ROUTES,
            *pins.ROUTES,
            *routing.ROUTES,
            *jobs.ROUTES,
            *modules.ROUTES,
            *bids.ROUTES,
            *bacalhau_probe.ROUTES,
            *peers.ROUTES,
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
    return Middleware(app, handler.Gateway(node), options or MiddlewareOptions())
