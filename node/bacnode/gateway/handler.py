"""`/ipfs/{cid}[/path]`: blocks and CARs of what the node holds, to the IPFS Trustless Gateway specification.

https://specs.ipfs.tech/http-gateways/trustless-gateway/. Nothing is looked for elsewhere: what is not here is answered
with 404 at once. The application is written to ASGI itself, for a block is sent in less time than a router takes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from starlette.types import Receive, Scope, Send

from bacnode.gateway.car_response import ahead, parts
from bacnode.gateway.headers import content_headers, etag_of, is_known
from bacnode.gateway.request import ContentRequest, parse_content_request
from bacnode.http_server.body import wait_for_end
from bacnode.http_server.cross_origin import CROSS_ORIGIN, PREFLIGHT, Headers
from bacnode.http_server.errors import RequestError, error_body, status_of
from bacnode.http_server.logs import CutShortError
from bacnode.node_state import NodeState
from bacnode.stores.cached_read import get_from_memory
from bacpack.content.car.selection import file_bytes, select
from bacpack.content.cid.block import MissingBlockError
from bacpack.content.unixfs.path import Trace, trace
from bacpack.errors import BacpackError

_PREFIX = len(b"/ipfs/")
#: What a request is answered with when the path does not lead to content that is here.
_NOT_FOUND = frozenset(("no-such-entry", "not-a-directory", "bad-block"))


class Gateway:
    """Serves the store of one node."""

    def __init__(self, node: NodeState) -> None:
        self._node = node
        #: Held for one turn of the loop before a part of a CAR is sent.
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._answer(scope, receive, send)
        except BacpackError as error:
            status = 404 if error.code in _NOT_FOUND else status_of(error)
            extra = [(n.lower().encode(), v.encode()) for n, v in getattr(error, "headers", {}).items()]
            await _send(scope, send, status, [_JSON, *extra, *CROSS_ORIGIN], error_body(error))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method == "OPTIONS":
            await _send(scope, send, 204, PREFLIGHT, b"")
            return
        if method not in ("GET", "HEAD"):
            raise RequestError(
                "wrong-method",
                f"content does not take {method}",
                hint="it takes GET and HEAD",
                status=405,
                headers={"Allow": "GET, HEAD, OPTIONS"},
            )
        headers: dict[bytes, bytes] = dict(scope["headers"])
        path = scope["raw_path"][_PREFIX:].decode("latin-1")
        if headers.get(b"service-worker") == b"script" and "/" not in path:
            raise RequestError(
                "bad-request", "a service worker may not control the whole gateway", hint="none is served here"
            )
        accept = headers.get(b"accept", b"").decode("latin-1")
        request = parse_content_request(path, scope["query_string"].decode("latin-1"), accept)
        cached_only = headers.get(b"cache-control", b"").strip() == b"only-if-cached"
        etag = etag_of(request)
        try:
            if b"if-none-match" in headers:
                exists = self._node.store.has(request.cid)
                if is_known(headers[b"if-none-match"].decode("latin-1"), etag, exists=exists):
                    await _send(scope, send, 304, [(b"etag", etag.encode()), *CROSS_ORIGIN], b"")
                    return
            if request.format == "raw":
                await self._send_block(scope, send, request, content_headers(request, path, etag, ()))
                return
            with self._node.streams:
                found = await self._node.in_reader(lambda: self._find(request))
                head = content_headers(request, path, etag, found.roots)
                await self._send_car(scope, receive, send, found, request, head)
        except MissingBlockError as error:
            raise RequestError(
                "not-here",
                f"{error.cid} is not on this node",
                hint="ask another; `/routing/v1/providers/{cid}` names those that this one knows of",
                status=412 if cached_only and error.cid == request.cid else 404,
                details={"cid": str(error.cid)},
            ) from None

    async def _send_block(self, scope: Scope, send: Send, request: ContentRequest, headers: Headers) -> None:
        store = self._node.store
        if scope["method"] == "HEAD":
            size = store.size(request.cid)
            if size is None:
                raise MissingBlockError(request.cid)
            headers.append((b"content-length", b"%d" % size))
            await _send(scope, send, 200, headers, b"")
            return
        block = get_from_memory(store, request.cid, request.name)
        if block is None:
            block = await self._node.in_reader(lambda: store.get(request.cid))
        headers.append((b"content-length", b"%d" % len(block)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": block})

    def _find(self, request: ContentRequest) -> Trace:
        """Follow the path, and look at what it ends at: later is too late to answer with an error."""
        found = trace(self._node.store.get, request.cid, request.names)
        block = self._node.store.get(found.end)
        wanted = request.selection.bytes
        if wanted is not None and not found.inside:
            size = file_bytes(block, found.end)
            if size and wanted.first >= size:
                raise RequestError(
                    "bad-request",
                    f"`entity-bytes` begins at byte {wanted.first} of a file of {size}",
                    hint="ask for bytes that it has",
                    details={"bytes": size},
                )
        return found

    async def _send_car(
        self, scope: Scope, receive: Receive, send: Send, found: Trace, request: ContentRequest, headers: Headers
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        blocks = select(self._node.store.get, found, request.selection)
        gone = asyncio.create_task(wait_for_end(receive))
        try:
            async with contextlib.aclosing(ahead(self._node.readers, _cut(parts(request.cid, blocks)))) as coming:
                async for part in coming:
                    if gone.done():
                        return
                    # One part a turn: many that begin together would hold up every other request.
                    async with self._turn:
                        await asyncio.sleep(0)
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()


def _cut(source: Iterator[bytes]) -> Iterator[bytes]:
    """Turn errors of content into one that says that the answer was cut short, which is no fault of the node."""
    try:
        yield from source
    except BacpackError as error:
        raise CutShortError(error.message) from error


_JSON = (b"content-type", b"application/json")


async def _send(scope: Scope, send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send an answer that is all there; to HEAD without its body."""
    if scope["method"] == "HEAD" and body:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        body = b""
    elif status not in (204, 304) and not any(name == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
