"""What each client asks for, and that nothing which comes is believed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.errors import CheckFailedError
from bacpack.http_client import HttpClient, RequestError
from bacpack.ipfs_clients import GatewayClient, KuboRpc, NoCarError
from bacpack.ipfs_clients.routing_client import GATEWAY_PROTOCOL, RUNS_JOBS, Provider, RoutingClient
from publish.stand import Reply, Request, Stand

BLOCK = b"a block"
CID = Cid.of_raw(BLOCK)


class Answering(Stand):
    """Gives the next of the replies that a test set, and 404 when there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[Reply] = []

    def reply(self, request: Request) -> Reply:
        return self.replies.pop(0) if self.replies else Reply(404)


@pytest.fixture
def server() -> Iterator[Answering]:
    with Answering() as stand:
        yield stand


@pytest.fixture
def http() -> Iterator[HttpClient]:
    with closing(HttpClient()) as client:
        yield client


def test_a_gateway_is_asked_for_a_block_and_it_is_checked(server: Answering, http: HttpClient) -> None:
    client, sizes = GatewayClient(http, server.url, "gateway"), list[int | None]()
    server.replies = [Reply(200, BLOCK), Reply(200, b"other"), Reply(412), Reply(412), Reply(500)]
    assert client.block(CID, only_local=True, on_head=sizes.append) == BLOCK
    assert sizes == [len(BLOCK)]
    assert server.requests[0].headers["cache-control"] == "only-if-cached"
    with pytest.raises(CheckFailedError, match=f"from the gateway {server.url}"):
        client.block(CID)
    with pytest.raises(MissingBlockError):
        client.block(CID, only_local=True)
    # Who may look elsewhere has no reason to say so.
    for status in (412, 500):
        with pytest.raises(RequestError, match=str(status)):
            client.block(CID)


def test_a_gateway_that_speaks_no_car_is_told_from_one_that_has_none(server: Answering, http: HttpClient) -> None:
    client = GatewayClient(http, server.url, "gateway")
    for reply, error in (
        (Reply(406), NoCarError), (Reply(200, b"<html>"), NoCarError), (Reply(404), MissingBlockError),
        (Reply(502), RequestError),
    ):  # fmt: skip
        server.replies = [reply]
        with pytest.raises(error) as caught, client.car(CID):
            pass
        assert isinstance(caught.value, NoCarError) == (error is NoCarError)


def test_what_a_kubo_says_of_a_block_is_understood(server: Answering, http: HttpClient) -> None:
    client = KuboRpc(http, server.url, "Bearer secret")

    def says(message: str) -> Reply:
        return Reply(500, json.dumps({"Message": message}).encode())

    server.replies = [Reply(200, BLOCK), says("block was not found locally"), says("context deadline exceeded")]
    server.replies += [Reply(403), Reply(405)]
    assert client.block(CID) == BLOCK
    assert server.requests[0].headers["authorization"] == "Bearer secret"
    with pytest.raises(MissingBlockError):
        client.block(CID)
    for said, final in (("in vain", False), ("wants to be authorised", True), ("no RPC of a Kubo", True)):
        with pytest.raises(RequestError, match=said) as caught:
            client.block(CID)
        assert (caught.value.final, caught.value.again) == (final, False)


ID = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
NODE: dict[str, Any] = {
    "Schema": "peer", "ID": ID, "Addrs": ["/ip4/10.0.0.1/tcp/80/http"], "Protocols": [GATEWAY_PROTOCOL],
}  # fmt: skip
FOUND = Provider(ID, ("http://10.0.0.1:80",), (GATEWAY_PROTOCOL,))


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ([NODE], [FOUND]),
        ([{**NODE, "Protocols": None}], [Provider(ID, FOUND.urls, ())]),
        ([{**NODE, "Protocols": [RUNS_JOBS]}, {**NODE, "Schema": "bitswap"}, None, 5], []),
        ([{**NODE, "ID": "../../x"}], [Provider(None, FOUND.urls, FOUND.protocols)]),
        ([{**NODE, "Addrs": [3, "/unix/x", *NODE["Addrs"] * 3]}], [Provider(ID, FOUND.urls * 2, FOUND.protocols)]),
        ("none", []),
    ],
)
def test_a_router_is_read_with_care(server: Answering, http: HttpClient, records: Any, found: list[Provider]) -> None:
    server.replies = [Reply(200, json.dumps({"Providers": records}).encode())]
    assert RoutingClient(http, server.url).providers(CID, GATEWAY_PROTOCOL) == found
    [asked] = server.requests
    assert (asked.path, asked.query) == (f"/routing/v1/providers/{CID}", [("filter-protocols", GATEWAY_PROTOCOL)])


@pytest.mark.parametrize("reply", [Reply(500), Reply(200, b"["), Reply(200, b" " * (1 << 20)), Reply(302)])
def test_a_router_that_answers_otherwise_knows_nobody(server: Answering, http: HttpClient, reply: Reply) -> None:
    server.replies = [reply]
    assert RoutingClient(http, server.url).providers(CID, GATEWAY_PROTOCOL) == []
    assert RoutingClient(http, server.url).providers(CID, GATEWAY_PROTOCOL, until=time.monotonic() - 1) == []
    assert len(server.requests) == 1
