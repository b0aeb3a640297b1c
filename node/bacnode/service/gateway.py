"""The content that the node holds, a block at a time."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bacnode.service.state import NodeState
from bacpack.content.blocks import MissingBlockError
from bacpack.content.cid import Cid


class Gateway:
    """Serves `/ipfs/{cid}`."""

    def __init__(self, node: NodeState) -> None:
        self._node = node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        cid = Cid.parse(scope["path"][6:])
        try:
            data = self._node.store.get(cid)
        except MissingBlockError:
            await Response("not here", 404)(scope, receive, send)
            return
        await Response(data, media_type="application/vnd.ipld.raw")(scope, receive, send)
