"""Taking blocks in: which are missing, then a CAR of them. Blocks stay when they are pinned; see `pins`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, BinaryIO, cast

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bacnode.http_server.body import Body, BodyFile, read_json
from bacnode.http_server.errors import RequestError
from bacnode.node_state import state_of
from bacpack.content.car import CarReader
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore

MAX_CIDS = 4096
MAX_CAR_BYTES = 256 << 20
#: Each block is a file: a CAR of empty ones would be millions.
MAX_CAR_BLOCKS = 1 << 16

#: Blocks are written in groups of at least so many bytes, each forced to disk together.
_GROUP_BYTES = 8 << 20
#: What is kept of a block beside its bytes.
_ENTRY_BYTES = 1 << 10


class WhichMissing(msgspec.Struct, forbid_unknown_fields=True):
    """The question which of these the node lacks."""

    cids: Annotated[list[str], msgspec.Meta(max_length=MAX_CIDS)]


async def missing_blocks(request: Request) -> JSONResponse:
    """`POST /api/v1/blocks/missing`: those of some CIDs that the node does not hold."""
    node = state_of(request)
    node.access.require(request)
    question = await read_json(request, WhichMissing)
    cids = [Cid.parse(text) for text in question.cids]
    async with node.upload_lock.locked():
        missing = await node.in_reader(lambda: [str(cid) for cid in cids if not node.store.has(cid)])
    return JSONResponse({"schema": 1, "missing": missing})


async def put_blocks(request: Request) -> JSONResponse:
    """`POST /api/v1/blocks`: take in a CAR, version 1."""
    node = state_of(request)
    node.access.require(request)
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/vnd.ipld.car":
        raise RequestError(
            "wrong-content-type",
            f"the body is called `{kind}`",
            hint="send a CAR as `application/vnd.ipld.car; version=1`",
            status=415,
        )
    with node.uploads:
        body = BodyFile(Body(request, MAX_CAR_BYTES), asyncio.get_running_loop())
        async with node.upload_lock.locked():
            blocks, new_bytes = await node.in_writer(lambda: store_car(node.store, cast(BinaryIO, body)))
    return JSONResponse({"schema": 1, "blocks": blocks, "new_bytes": new_bytes})


def store_car(store: BlockStore, file: BinaryIO) -> tuple[int, int]:
    """Put the blocks of a CAR into `store`, each checked before; return their count and the bytes that were new.

    Where it ends in an error, the groups before that stay: they are what they say. Raises as `CarReader` does.
    """
    reader = CarReader(file, "the body")
    if reader.version != 1:
        raise RequestError("wrong-content-type", "the body is a CAR of version 2", hint="send version 1", status=415)
    blocks = new_bytes = 0
    named = iter(reader)
    # Taken before the store's lock is, which a slow client must not hold.
    while group := list(_group(named)):
        with store.batch() as batch:
            for cid, block in group:
                blocks += 1
                if blocks > MAX_CAR_BLOCKS:
                    raise RequestError(
                        "too-large",
                        f"the CAR is of more than {MAX_CAR_BLOCKS} blocks",
                        hint="send it in several requests",
                        status=413,
                        details={"max_blocks": MAX_CAR_BLOCKS},
                    )
                if batch.put(cid, block, verified=True):
                    new_bytes += len(block)
    return blocks, new_bytes


def _group(named: Iterator[tuple[Cid, bytes]]) -> Iterator[tuple[Cid, bytes]]:
    size = 0
    for cid, block in named:
        yield cid, block
        size += len(block) + _ENTRY_BYTES
        if size >= _GROUP_BYTES:
            return


ROUTES = [
    Route("/api/v1/blocks/missing", missing_blocks, methods=["POST"]),
    Route("/api/v1/blocks", put_blocks, methods=["POST"]),
]
