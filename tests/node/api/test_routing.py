"""Delegated Routing: who has a block, told of this node and of the peers that say that they have it."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from bacnode.peers.routing_filters import Filters, PeerRecord
from bacpack.content.cid.cid import Cid
from bacpack.ipfs_clients import multiaddr
from node.dags import Dag
from node.serving import Node, keep
from serving import Quiet, Serving

NOWHERE = Cid.of_raw(b"nobody has this")


def record(node: Node) -> dict[str, Any]:
    address = f"/ip4/127.0.0.1/tcp/{node.port}/http"
    return {
        "Schema": "peer", "ID": node.peer_id, "Addrs": [address], "Protocols": ["transport-ipfs-gateway-http"],
    }  # fmt: skip


def test_a_node_names_itself_for_what_it_holds(served: Node, dag: Dag) -> None:
    cid = dag.raw(b"held")
    keep(served.store, dag.blocks)
    answer = served.get(f"/routing/v1/providers/{cid}")
    assert (answer.status, answer.json) == (200, {"Providers": [record(served)]})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["vary"] == "Accept"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "public, max-age=300"
    old = Cid(0, 0x70, dag.node(b"\x08\x01", []).multihash)
    keep(served.store, dag.blocks)
    assert served.get(f"/routing/v1/providers/{old}").json == {"Providers": [record(served)]}


def test_nobody_is_an_empty_list(served: Node) -> None:
    answer = served.get(f"/routing/v1/providers/{NOWHERE}")
    assert (answer.status, answer.json) == (200, {"Providers": []})
    assert answer.headers["cache-control"] == "public, max-age=15"
    answer = served.get(f"/routing/v1/providers/{NOWHERE}", Accept="application/x-ndjson")
    assert (answer.status, answer.body) == (200, b"")


def test_one_record_a_line_for_those_who_ask(served: Node, dag: Dag) -> None:
    cid = dag.raw(b"streamed")
    keep(served.store, dag.blocks)
    answer = served.get(f"/routing/v1/providers/{cid}", Accept="application/x-ndjson, application/json")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.body.splitlines()] == [record(served)]


def test_filters_as_helia_sends_them(served: Node, dag: Dag) -> None:
    cid = dag.raw(b"filtered")
    keep(served.store, dag.blocks)
    path = f"/routing/v1/providers/{cid}"
    helia = "?filter-addrs=https,tcp,webrtc,webrtc-direct,wss,tls"
    helia += "&filter-protocols=unknown,transport-bitswap,transport-ipfs-gateway-http"
    assert served.get(path + helia).json["Providers"] == [record(served)]
    for query in ("?filter-addrs=webrtc", "?filter-addrs=!ip4", "?filter-protocols=transport-bitswap"):
        assert served.get(path + query).json["Providers"] == []


def test_peers_by_their_id(served: Node) -> None:
    assert served.get(f"/routing/v1/peers/{served.peer_id}").json == {"Peers": [record(served)]}
    assert served.get("/routing/v1/peers/12D3KooWother").json == {"Peers": []}


def test_what_is_refused(served: Node) -> None:
    answer = served.get("/routing/v1/providers/not-a-cid")
    assert (answer.status, answer.code) == (422, "bad-cid")
    assert served.get("/routing/v1/nothing").status == 400
    assert served.get("/routing/v1/ipns/x").status == 400
    assert served.ask("PUT", f"/routing/v1/providers/{NOWHERE}", b"{}").status == 501
    assert served.ask("OPTIONS", f"/routing/v1/providers/{NOWHERE}").status == 204


# Peers


class Other(Serving):
    """A gateway that is no bacpack node: has some blocks, says nothing of itself, may be slow."""

    def __init__(self, having: set[str], seconds: float = 0) -> None:
        self.asked: list[tuple[str, str]] = []
        other = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                other.asked.append((self.path, self.headers.get("Cache-Control", "")))
                time.sleep(seconds)
                self._answer(200 if self.path.removeprefix("/ipfs/").partition("?")[0] in having else 404)

            def do_GET(self) -> None:
                self._answer(404)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        super().__init__(Handler)


def test_peers_that_hold_a_block_are_named(tmp_path: Path, dag: Dag) -> None:
    cid = dag.raw(b"only there")
    with Node(tmp_path / "there") as there, Node(tmp_path / "empty") as empty, Other({str(cid)}) as other:
        keep(there.store, dag.blocks)
        peers = ["--peer", there.url + "/", "--peer", empty.url, "--peer", other.url, "--peer", "http://127.0.0.1:1"]
        with Node(tmp_path / "here", *peers) as here:
            found = here.get(f"/routing/v1/providers/{cid}").json["Providers"]
            assert found[0] == record(there)
            ((unnamed),) = found[1:]
            assert unnamed["Addrs"] == [f"/ip4/127.0.0.1/tcp/{other.port}/http"]
            assert unnamed["ID"].startswith("Qm") and len(unnamed["ID"]) == 46
            # They are asked for what they hold themselves, and once for all who want to know.
            assert other.asked == [(f"/ipfs/{cid}?format=raw", "only-if-cached")]
            assert here.get(f"/routing/v1/providers/{cid}").json["Providers"] == found
            assert len(other.asked) == 1
            assert here.get(f"/routing/v1/peers/{there.peer_id}").json == {"Peers": [record(there)]}
            # Nothing is passed on through this node.
            assert here.get(f"/ipfs/{cid}?format=raw").status == 404


def test_a_slow_peer_holds_nobody_up(tmp_path: Path, dag: Dag) -> None:
    cid = dag.raw(b"here")
    slow = Other({str(cid)}, seconds=3)
    limits = {"bacnode.peers.directory.ASK_SECONDS": 0.2}
    with slow, Node(tmp_path / "here", "--peer", slow.url, limits=limits) as here:
        keep(here.store, dag.blocks)
        started = time.monotonic()
        assert here.get(f"/routing/v1/providers/{cid}").json == {"Providers": [record(here)]}
        assert time.monotonic() - started < 2


# Addresses and filters on their own


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8301", "/ip4/127.0.0.1/tcp/8301/http"),
        ("http://[::1]:8301/", "/ip6/::1/tcp/8301/http"),
        ("https://node.example", "/dns/node.example/tcp/443/tls/http"),
        ("http://node.example", "/dns/node.example/tcp/80/http"),
        ("https://node.example/below/a/path", None),
        ("ftp://node.example", None),
        ("http://node.example:notaport", None),
        ("nonsense", None),
    ],
)
def test_addresses_of_urls(url: str, address: str | None) -> None:
    assert multiaddr.of_url(url) == address


HTTP, TLS, SIX = "/ip4/10.0.0.1/tcp/80/http", "/dns/x.example/tcp/443/tls/http", "/ip6/::1/tcp/80/http"


@pytest.mark.parametrize(
    ("addresses", "protocols", "left"),
    [
        ("", "", [HTTP, TLS, SIX]),
        ("tls", "", [TLS]),
        ("TLS,ip6", "", [TLS, SIX]),
        ("!ip6", "", [HTTP, TLS]),
        ("!ip6,http", "", [HTTP, TLS]),
        ("!http", "", None),
        ("x.example", "", [TLS]),
        ("unknown", "", None),
        ("", "unknown", None),
        ("", "Transport-IPFS-Gateway-HTTP,unknown", [HTTP, TLS, SIX]),
        (" tcp , ", " , ", [HTTP, TLS, SIX]),
    ],
)
def test_filters(addresses: str, protocols: str, left: list[str] | None) -> None:
    records = [PeerRecord("id", (HTTP, TLS, SIX))]
    found = Filters.parse(addresses, protocols).apply(records)
    assert [list(r.addresses) for r in found] == ([] if left is None else [left])


def test_records_without_addresses() -> None:
    silent = PeerRecord("id", ())
    assert Filters.parse("", "").apply([silent]) == [silent]
    assert Filters.parse("unknown,tls", "").apply([silent]) == [silent]
    assert Filters.parse("tls", "").apply([silent]) == []
