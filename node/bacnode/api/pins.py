"""Pinning by those who may: what was uploaded stays from then on."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bacnode.http_server.body import read_json
from bacnode.http_server.errors import RequestError
from bacnode.node_state import NodeState, state_of
from bacpack.content.cid.cid import Cid
from bacpack.content.store.car_import import named_files
from bacpack.content.store.collection import pin_recursively
from bacpack.content.store.pins import Pin

MAX_NAME_CHARACTERS = 255


class PinName(msgspec.Struct, forbid_unknown_fields=True):
    """What to call a pin."""

    name: str = ""


async def list_pins(request: Request) -> JSONResponse:
    """`GET /api/v1/pins`: all pins, oldest first."""
    node = state_of(request)
    node.access.require(request)
    pins = await node.in_reader(node.pins.all)
    return JSONResponse({"schema": 1, "pins": [_described(pin) for pin in pins]})


async def get_pin(request: Request) -> JSONResponse:
    """`GET /api/v1/pins/{cid}`."""
    node = state_of(request)
    node.access.require(request)
    cid = Cid.parse(request.path_params["cid"])
    pin = await node.in_reader(lambda: node.pins.get(cid))
    if pin is None:
        raise _not_pinned(cid)
    return JSONResponse({"schema": 1, **_described(pin)})


async def put_pin(request: Request) -> JSONResponse:
    """`PUT /api/v1/pins/{cid}`: pin it with all that it links to, or say what of that is missing."""
    node = state_of(request)
    node.access.require(request)
    cid = Cid.parse(request.path_params["cid"])
    name = (await read_json(request, PinName)).name
    if len(name) > MAX_NAME_CHARACTERS:
        raise RequestError(
            "bad-request", f"the name is longer than {MAX_NAME_CHARACTERS} characters", hint="choose a shorter one"
        )
    with node.uploads:
        async with node.upload_lock.locked():
            await node.in_writer(lambda: pin(node, cid, name))
    return JSONResponse({"schema": 1, "status": "pinned"})


def pin(node: NodeState, cid: Cid, name: str) -> None:
    """Pin what was uploaded; raises `UnreachableError` (`incomplete`)."""
    pin_recursively(node.store, node.pins, cid, name)
    node.provenance.record(named_files(node.store, [cid]), "upload")


async def delete_pin(request: Request) -> Response:
    """`DELETE /api/v1/pins/{cid}`: let the next collection free it."""
    node = state_of(request)
    node.access.require(request)
    cid = Cid.parse(request.path_params["cid"])
    if not await node.in_writer(lambda: node.pins.remove(cid)):
        raise _not_pinned(cid)
    return JSONResponse({"schema": 1, "status": "unpinned"})


def _described(pin: Pin) -> dict[str, Any]:
    return {"cid": str(pin.cid), "name": pin.name, "mode": pin.mode, "created": pin.created}


def _not_pinned(cid: Cid) -> RequestError:
    return RequestError(
        "not-pinned",
        f"{cid} is not pinned",
        hint="`GET /api/v1/pins` lists what is",
        status=404,
        details={"cid": str(cid)},
    )


ROUTES = [
    Route("/api/v1/pins", list_pins, methods=["GET"]),
    Route("/api/v1/pins/{cid}", get_pin, methods=["GET"]),
    Route("/api/v1/pins/{cid}", put_pin, methods=["PUT"]),
    Route("/api/v1/pins/{cid}", delete_pin, methods=["DELETE"]),
]
