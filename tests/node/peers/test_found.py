"""Peers that nobody named: those that a router knows, and those on the local network."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from bacnode.peers.block_exchange import BlockExchange
from bacnode.peers.directory import Peers
from bacnode.peers.peer_book import PeerBook, PeerOptions
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from node.jobs import programs
from node.jobs.harness import JobNode
from node.peers.harness import peers, sources
from node.server import Answer, FileServer
from waiting import until


def test_a_router_says_who_has_it(tmp_path: Path) -> None:
    # A node answers as a router does, for its own peers.
    with (
        JobNode(tmp_path / "a") as a,
        JobNode(tmp_path / "r", "--peer", a.url) as router,
        JobNode(tmp_path / "b", "--router", router.url, "--allow-private") as b,
    ):
        library = a.add(programs.library(5))
        program = a.add(programs.user_of(library))
        job = b.run(program)
        assert (job["exit_code"], sources(job)) == (5, {("peer", a.url)})
        said = peers(b)[a.url]
        assert (said["told"], said["present"], said["peer_id"], said["blocks"]) == ("routing", True, a.peer_id, 2)
        # What nobody has is not had, and says who was asked.
        failed = b.run(str(absent()))
        assert failed["state"] == "failed" and a.url in failed["error"]["message"]


def test_a_router_may_not_lead_to_private_addresses(tmp_path: Path) -> None:
    with (
        JobNode(tmp_path / "a") as a,
        JobNode(tmp_path / "r", "--peer", a.url) as router,
        JobNode(tmp_path / "b", "--router", router.url) as b,
    ):
        job = b.run(a.add(programs.library(6)), invoke="number")
        assert job["state"] == "failed" and "not a public address" in job["error"]["message"]


@pytest.mark.parametrize("allow_private", [False, True])
def test_whom_a_router_named_is_asked_nothing_at_a_private_address(tmp_path: Path, allow_private: bool) -> None:
    """Neither who holds a block, nor how large it is, nor who runs jobs with it."""
    cid = Cid.of_raw(b"somewhere")
    options = PeerOptions(allow_private=allow_private)
    with FileServer() as stranger:
        book = PeerBook(tmp_path)
        book.begin(options)
        book.routed([(stranger.url, None)])
        directory = Peers(book, "12D3KooWown", options)

        async def ask() -> None:
            assert await directory.holding(cid) == []
            await directory.answering()
            await directory.close()

        asyncio.run(ask())
        exchange = BlockExchange(tmp_path, BlockStore(tmp_path))
        end = time.monotonic() + 20
        assert (exchange.size(cid, end), exchange.runner(cid, end)) == (None, None)
        asked = {path.partition("?")[0] for path, _ in stranger.requests}
    assert asked == ({"/api/v1/node", f"/routing/v1/providers/{cid}"} if allow_private else set())


def test_what_a_router_says_is_read_with_care(tmp_path: Path) -> None:
    with FileServer() as router, JobNode(tmp_path / "a") as a:
        cid = a.add(programs.library(7))
        record = {"Schema": "peer", "ID": a.peer_id, "Protocols": ["transport-ipfs-gateway-http"]}
        nonsense = [
            None, 5, "x", {"Schema": "peer"}, {**record, "Addrs": "/ip4/1.2.3.4"}, {**record, "Addrs": [None, 3]},
            {**record, "Addrs": ["/ip4/127.0.0.1/tcp/80/ws", "/unix/x", "/ip4/999.1.1.1/tcp/1/http", "//////"]},
            {**record, "Schema": "other", "Addrs": ["/ip4/127.0.0.1/tcp/1/http"]},
            {**record, "Protocols": ["transport-bitswap"], "Addrs": ["/ip4/127.0.0.1/tcp/1/http"]},
        ]  # fmt: skip
        good = {**record, "Addrs": [f"/ip4/127.0.0.1/tcp/{a.port}/http"]}
        path = f"/routing/v1/providers/{cid}?filter-protocols=transport-ipfs-gateway-http"
        with JobNode(tmp_path / "b", "--router", router.url, "--allow-private") as b:
            for number, body in enumerate((b"", b"{", b"[]", b"{}", b'{"Providers": 3}', b"[" * 100_000, b"\xff")):
                other = str(Cid.of_raw(programs.library(100 + number)))
                router.answers[path.replace(cid, other)] = Answer(body)
                assert b.run(other)["error"]["code"] == "module-not-found"
            router.answers[path] = Answer(json.dumps({"Providers": [*nonsense, good]}).encode())
            job = b.run(cid, invoke="number")
            assert sources(job) == {("peer", a.url)}
            assert list(peers(b)) == [a.url]


def test_a_node_that_is_still_starting_is_asked_again(tmp_path: Path) -> None:
    peer_id = f"12D3KooW{'x' * 44}"
    book = PeerBook(tmp_path)
    book.begin(PeerOptions())
    with FileServer() as starting:
        starting.answers["/api/v1/node"] = Answer(status=503)

        async def find() -> None:
            directory = Peers(book, "12D3KooWown", PeerOptions())
            finding = asyncio.create_task(directory._found(starting.url, peer_id))
            await asyncio.to_thread(until, lambda: starting.requests, "it is asked")
            starting.answers["/api/v1/node"] = Answer(json.dumps({"peer_id": peer_id}).encode())
            await finding
            await directory.close()

        asyncio.run(find())
    assert [(peer.url, peer.told, peer.peer_id) for peer in book.all()] == [(starting.url, "mdns", peer_id)]


def test_nodes_on_one_network_find_each_other_and_leave(tmp_path: Path) -> None:
    # All on loopback: the multicast goes no further.
    with JobNode(tmp_path / "b", "--mdns") as b:
        assert peers(b) == {}
        with JobNode(tmp_path / "a", "--mdns") as a:
            until(lambda: a.url in peers(b) and b.url in peers(a), "they find each other")
            said = peers(b)[a.url]
            assert (said["told"], said["present"], said["peer_id"]) == ("mdns", True, a.peer_id)
            job = b.run(a.add(programs.library(8)), invoke="number")
            assert sources(job) == {("peer", a.url)}
            # Others are told.
            found = b.get(f"/routing/v1/providers/{a.add(programs.library(9))}").json["Providers"]
            assert [record["ID"] for record in found] == [a.peer_id]
        until(lambda: not peers(b)[a.url]["present"], "the one that left is missed")
        # Each knows itself from the others.
        assert b.url not in peers(b)


def test_without_being_asked_to_a_node_looks_for_nobody(tmp_path: Path) -> None:
    with JobNode(tmp_path / "b", "--mdns") as b, JobNode(tmp_path / "a") as a:
        with JobNode(tmp_path / "c", "--mdns") as c:
            until(lambda: c.url in peers(b), "the third is found")
        assert a.url not in peers(b) and peers(a) == {}


def absent() -> str:
    return str(Cid.of_raw(programs.library(12345)))
