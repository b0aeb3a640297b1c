"""Downloads: what is asked for, and of whom."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from bacnode.fetch.download import Download, DownloadLimits
from bacnode.fetch.session import Web
from bacpack.content.car import car_chunks
from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.links import read_dag
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.collection import check_blocks
from bacpack.errors import InputError, UnreachableError
from node.fetch.downloads import BLOCKS, ROOT, check_complete, download, gateway, made_dag, refused
from node.gateway_stand import Asked, Gateway, Kubo, Reply


def test_a_whole_dag_is_one_request_into_an_empty_store(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    done = download(store, [server])
    check_complete(store)
    assert [asked.target for asked in server.asked] == [f"/ipfs/{ROOT}?format=car&dag-scope=all"]
    assert server.asked[0].headers["Accept"].startswith("application/vnd.ipld.car")
    assert (done.blocks, done.bytes) == (len(BLOCKS), sum(map(len, BLOCKS.values())))
    assert done.new_bytes == done.bytes


def test_what_is_here_is_not_asked_for(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    download(store, [server])
    server.asked.clear()
    assert download(store, [server]).new_bytes == 0
    assert server.asked == []


def test_a_store_with_other_content_takes_few_blocks_and_one_stream(store: BlockStore, serve: ExitStack) -> None:
    store.put(Cid.of_raw(b"other"), b"other")
    server = gateway(serve)
    download(store, [server])
    check_complete(store)
    # The two directories tell that nothing is here.
    assert (len(server.raws), len(server.cars)) == (2, 1)


def test_only_what_is_missing_is_asked_for(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    here = [cid for cid in BLOCKS if cid.codec == 0x55][:7]
    for cid in here:
        store.put(cid, BLOCKS[cid])
    done = download(store, [server])
    check_complete(store)
    assert server.cars == []
    assert len(server.raws) == len(BLOCKS) - len(here)
    assert done.new_bytes == sum(len(block) for cid, block in BLOCKS.items() if cid not in here)


def test_a_damaged_block_is_fetched_again(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    download(store, [server])
    damaged = next(cid for cid in BLOCKS if cid.codec == 0x55)
    store.path(damaged).write_bytes(b"damaged")
    server.asked.clear()
    download(store, [server])
    check_complete(store)
    assert [asked.cid for asked in server.asked] == [damaged]


@pytest.mark.parametrize("status", [400, 404, 405, 406, 415, 501])
def test_a_source_without_streams_gives_blocks(store: BlockStore, serve: ExitStack, status: int) -> None:
    server = gateway(serve)
    server.mend = lambda asked, reply: Reply(status) if asked.is_car else reply
    download(store, [server])
    check_complete(store)
    assert len(server.cars) <= 2 and len(server.raws) == len(BLOCKS)


def test_an_answer_that_is_no_car_is_not_taken_for_one(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    server.mend = lambda asked, reply: replace(reply, headers={"Content-Type": "text/html"}) if asked.is_car else reply
    download(store, [server])
    check_complete(store)


def test_a_block_that_one_source_lacks_comes_from_another(store: BlockStore, serve: ExitStack) -> None:
    first, second = gateway(serve), gateway(serve)
    lacking = list(BLOCKS)[5]
    del first.blocks[lacking]
    done = download(store, [first, second])
    check_complete(store)
    assert done.origins[lacking].origin == second.url
    assert [asked.cid for asked in second.asked] == [lacking]


def test_a_block_that_nobody_has_is_named(store: BlockStore, serve: ExitStack) -> None:
    first, second = gateway(serve), gateway(serve, car=False)
    lacking = list(BLOCKS)[5]
    del first.blocks[lacking], second.blocks[lacking]
    error = refused(store, [first, second])
    assert error.details["missing"] == [str(lacking)]
    assert f"the peer {first.url}: it does not have them; the peer {second.url}: it does not have them" in error.message
    assert check_blocks(store, ROOT).blocks == len(BLOCKS) - 1


def test_a_source_that_is_not_there_is_left_out(store: BlockStore, serve: ExitStack) -> None:
    gone = Gateway(BLOCKS)
    with gone:
        pass
    server = gateway(serve)
    done = download(store, [gone, server])
    check_complete(store)
    assert {remote.origin for remote in done.origins.values()} == {server.url}
    error = refused(BlockStore(store.folder / "other"), [gone])
    assert "cannot be connected to" in error.message


def test_a_stream_in_another_order_is_taken(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    car = b"".join(car_chunks([ROOT], reversed(list(read_dag(BLOCKS.__getitem__, [ROOT])))))
    server.mend = lambda asked, reply: replace(reply, body=car) if asked.is_car else reply
    download(store, [server])
    check_complete(store)
    assert len(server.asked) == 1


def test_more_than_the_limit_is_refused(store: BlockStore, serve: ExitStack) -> None:
    for car in (True, False):
        other = BlockStore(store.folder / f"{car}")
        error = refused(other, [gateway(serve, car=car)], limits=DownloadLimits(total_bytes=3000))
        assert isinstance(error, InputError) and error.code == "too-large"


def test_a_kubo_gives_a_stream(store: BlockStore, serve: ExitStack) -> None:
    kubo = serve.enter_context(Kubo(BLOCKS))
    download(store, [], kubo=kubo)
    check_complete(store)
    assert [asked.method for asked in kubo.asked] == ["POST"]


def test_a_kubo_whose_export_ends_in_an_error_gives_the_rest_and_says_why(store: BlockStore, serve: ExitStack) -> None:
    kubo = serve.enter_context(Kubo(BLOCKS))
    lacking = list(BLOCKS)[5]
    del kubo.blocks[lacking]
    error = refused(store, [], kubo=kubo)
    assert error.details["missing"] == [str(lacking)]
    assert error.details["asked"] == [{"source": "kubo", "url": kubo.url, "answer": "it does not have them"}]
    kubo.mend = lambda asked, reply: kubo.error("context deadline exceeded")
    assert "in vain: context deadline exceeded" in refused(store, [], kubo=kubo).message
    kubo.mend = lambda asked, reply: Reply(403)
    assert "authorised" in refused(store, [], kubo=kubo).message
    kubo.mend = lambda asked, reply: Reply(404)
    assert "no RPC" in refused(store, [], kubo=kubo).message


def test_sources_are_asked_in_the_order_given(store: BlockStore, serve: ExitStack) -> None:
    servers = [gateway(serve), gateway(serve), serve.enter_context(Kubo(BLOCKS))]
    peer, public, kubo = servers
    web = Web([peer.url], gateways=[public.url], kubo=[kubo.url], order=["kubo", "gateways"])
    assert [remote.kind for remote in web.remotes] == ["kubo", "gateway", "peer"]
    assert [remote.kind for remote in Web([peer.url], gateways=[public.url], kubo=[kubo.url]).remotes] == [
        "peer", "gateway", "kubo",
    ]  # fmt: skip
    assert Web([peer.url], gateways=[public.url], kubo=[kubo.url], offline=True).remotes == []


def test_the_time_for_all_of_it_ends_a_download(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve, car=False)
    server.mend = lambda asked, reply: Reply(503, {"Retry-After": "5"})
    web = Web([server.url], deadline=time.monotonic() + 0.5)
    with store.batch() as batch:
        one = Download(store, batch, web.remotes)
        with pytest.raises(UnreachableError) as raised:
            one.fetch([ROOT])
        one.close()
    assert "the time for all of the work is over" in raised.value.message


def test_blocks_are_fetched_several_at_a_time_and_no_more(store: BlockStore, serve: ExitStack) -> None:
    root, blocks = made_dag(leaves=40, modules=0, size=50)
    server = serve.enter_context(Gateway(blocks, car=False))
    together: list[int] = []
    under_way = threading.Semaphore(0)
    lock = threading.Lock()
    now = 0

    def mend(asked: Asked, reply: Reply) -> Reply:
        nonlocal now
        with lock:
            now += 1
            together.append(now)
        under_way.acquire(timeout=0.02)
        with lock:
            now -= 1
        return reply

    server.mend = mend
    download(store, [server], root)
    check_complete(store, root)
    assert 4 <= max(together) <= 8
