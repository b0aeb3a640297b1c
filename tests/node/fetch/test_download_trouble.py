"""Downloads from sources that break off, lie, stall or flood: what arrives is sound, and the rest is asked for."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from bacnode.fetch.download import DownloadLimits
from bacnode.fetch.source_health import OF_A_RUN
from bacpack.content.car import car_chunks
from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.links import read_dag
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.collection import check_blocks
from node.fetch.downloads import BLOCKS, QUICK, ROOT, check_complete, download, gateway, made_dag, refused
from node.gateway_stand import Asked, Framing, Gateway, Reply, cut_at, first_only

#: For tests that go through every place where an answer may be broken off.
SMALL_ROOT, SMALL = made_dag(leaves=2, modules=2, size=300)


def small_gateway(serve: ExitStack, framing: Framing) -> tuple[Gateway, list[int]]:
    """A server of the small DAG, and where its stream may be broken off."""
    server = serve.enter_context(Gateway(SMALL, framing=framing))
    return server, response_cuts(server.reply(Asked("GET", f"/ipfs/{SMALL_ROOT}?format=car", {})))


def response_cuts(reply: Reply) -> list[int]:
    """Where an answer may be broken off: before it, in its headers, at each block boundary and within each block."""
    data = reply.encode()
    body = data.index(reply.body)
    cuts = [0, 5, data.index(b"\r\n") + 4, body - 1, body]
    at = body
    for chunk in list(car_chunks([SMALL_ROOT], read_dag(SMALL.__getitem__, [SMALL_ROOT]))):
        cuts += [at + 1, at + len(chunk) // 2, at + len(chunk)]
        at += len(chunk)
    assert at == body + len(reply.body)
    return sorted({cut for cut in cuts if cut < len(data)})


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_stream_that_breaks_off_anywhere_is_completed_by_the_rest_alone(
    tmp_path: Path, serve: ExitStack, framing: Framing
) -> None:
    server, cuts = small_gateway(serve, framing)
    assert len(cuts) > 3 * len(SMALL)
    for cut in cuts:
        server.asked.clear()
        server.mend = first_only(cut_at(cut))
        store = BlockStore(tmp_path / f"{framing}-{cut}")
        done = download(store, [server], SMALL_ROOT)
        check_complete(store, SMALL_ROOT)
        # Nothing that came is asked for again.
        assert done.new_bytes == sum(map(len, SMALL.values()))
        assert len(server.raws) <= len(SMALL)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_what_came_before_the_source_went_away_is_kept_for_the_next_run(
    tmp_path: Path, serve: ExitStack, framing: Framing
) -> None:
    server, cuts = small_gateway(serve, framing)
    kept: list[int] = []
    for cut in cuts[::3]:
        store = BlockStore(tmp_path / f"{framing}-{cut}")
        stream = cut_at(cut)
        server.mend = lambda asked, reply, stream=stream: stream(asked, reply) if asked.is_car else Reply(410)
        error = refused(store, [server], SMALL_ROOT)
        assert (error.code, error.exit_status) == ("incomplete", 3)
        here = set(store)
        kept.append(len(here))
        assert set(error.details["missing"]).isdisjoint({str(cid) for cid in here})
        assert server.url in error.message
        server.mend = lambda asked, reply: reply
        server.asked.clear()
        done = download(store, [server], SMALL_ROOT)
        check_complete(store, SMALL_ROOT)
        assert done.new_bytes == sum(len(block) for cid, block in SMALL.items() if cid not in here)
        assert here.isdisjoint(asked.cid for asked in server.raws)
    assert kept == sorted(kept) and kept[0] == 0 and kept[-1] >= len(SMALL) - 1


@pytest.mark.parametrize("cut", [0, 5, 30, 60, 100, 400])
def test_a_block_that_breaks_off_is_asked_for_again(store: BlockStore, serve: ExitStack, cut: int) -> None:
    server = gateway(serve, car=False)
    victim = next(cid for cid in BLOCKS if cid.codec == 0x55)
    left = [cut_at(cut), cut_at(cut)]
    server.mend = lambda asked, reply: (
        left.pop()(asked, reply) if asked.cid == victim and not asked.is_car and left else reply
    )
    download(store, [server])
    check_complete(store)
    assert len([asked for asked in server.raws if asked.cid == victim]) == 3


def test_a_source_that_always_breaks_off_is_given_up(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    server.mend = cut_at(20)
    error = refused(store, [server])
    assert (error.code, error.exit_status) == ("incomplete", 3)
    assert "broke off" in error.message and str(ROOT) in error.message
    assert len(server.asked) <= 10


def flipped(block: bytes) -> bytes:
    return block[:-1] + bytes([block[-1] ^ 1])


@pytest.mark.parametrize("car", [False, True])
def test_a_wrong_block_puts_its_source_aside_and_another_is_asked(
    store: BlockStore, serve: ExitStack, car: bool
) -> None:
    liar, honest = gateway(serve, car=car), gateway(serve, car=car)
    victim = list(BLOCKS)[len(BLOCKS) // 2]
    liar.blocks[victim] = flipped(BLOCKS[victim])
    liar.get = lambda cid: liar.blocks[cid.to_v1()]  # type: ignore[method-assign]  # lets the wrong one pass
    done = download(store, [liar, honest])
    check_complete(store)
    assert {remote.origin for remote in done.origins.values()} == {liar.url, honest.url}
    remote = next(remote for remote in done.origins.values() if remote.origin == liar.url)
    assert remote.suspended is not None and str(victim) in remote.suspended


def test_a_wrong_block_from_the_only_source_is_said(store: BlockStore, serve: ExitStack) -> None:
    liar = gateway(serve)
    victim = list(BLOCKS)[-1]
    liar.blocks[victim] = flipped(BLOCKS[victim])
    error = refused(store, [liar])
    assert (error.code, error.exit_status) == ("incomplete", 3)
    assert "does not match its CID" in error.message
    assert error.details["missing"] == [str(victim)]
    (asked,) = error.details["asked"]
    assert (asked["source"], asked["url"]) == ("peer", liar.url)
    assert len([one for one in liar.asked if one.cid == victim]) == 0
    assert check_blocks(store, ROOT).blocks == len(BLOCKS) - 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_source_that_is_busy_is_waited_for(store: BlockStore, serve: ExitStack, status: int) -> None:
    server = gateway(serve)
    busy = [Reply(status, {"Retry-After": "0"}), Reply(status, {"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"})]
    server.mend = lambda asked, reply: busy.pop() if busy else reply
    download(store, [server])
    check_complete(store)
    assert len(server.asked) == 3


def test_a_source_that_is_busy_too_long_is_given_up(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    server.mend = lambda asked, reply: Reply(429, {"Retry-After": "3600"})
    error = refused(store, [server])
    assert "asks to wait" in error.message
    assert len(server.asked) == 1


def test_a_source_that_is_busy_for_ever_is_given_up(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    server.mend = lambda asked, reply: Reply(503, {"Retry-After": "0"})
    assert "asks to wait" in refused(store, [server], policy=replace(QUICK, busy=0.5)).message


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_source_in_trouble_is_asked_a_few_times(store: BlockStore, serve: ExitStack, status: int) -> None:
    server = gateway(serve)
    trouble = [Reply(status)] * 2
    server.mend = lambda asked, reply: trouble.pop() if trouble else reply
    download(store, [server])
    check_complete(store)
    assert len(server.asked) == 3
    server.mend = lambda asked, reply: Reply(status)
    server.asked.clear()
    assert str(status) in refused(BlockStore(store.folder / "other"), [server]).message
    assert len(server.asked) <= QUICK.tries * (OF_A_RUN.failures + 1)


@pytest.mark.parametrize("status", [403, 404, 410, 451])
def test_an_answer_that_means_no_leads_to_the_next(store: BlockStore, serve: ExitStack, status: int) -> None:
    first, second = gateway(serve), gateway(serve)
    first.mend = lambda asked, reply: Reply(status)
    download(store, [first, second])
    check_complete(store)
    # The stream, and the root on its own.
    assert (len(first.asked), len(second.asked)) == (2, 1)


def test_what_comes_may_come_from_elsewhere(store: BlockStore, serve: ExitStack) -> None:
    server, other = gateway(serve), gateway(serve)
    server.mend = lambda asked, reply: Reply(302, {"Location": other.url + asked.target})
    download(store, [server])
    check_complete(store)


def test_a_stream_that_stalls_is_left_for_single_blocks(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    stall = threading.Event()
    server.mend = lambda asked, reply: replace(reply, cut=2500, stall=stall) if asked.is_car else reply
    try:
        download(store, [server], policy=replace(QUICK, idle=0.3))
        check_complete(store)
    finally:
        stall.set()
    assert len(server.cars) == 1
    assert 0 < len(server.raws) < len(BLOCKS)


def test_a_source_that_is_silent_is_given_up(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    stall = threading.Event()
    server.mend = lambda asked, reply: replace(reply, cut=0, stall=stall)
    try:
        error = refused(store, [server], policy=replace(QUICK, idle=0.3))
    finally:
        stall.set()
    assert "no answer came in 0.3 s" in error.message


def test_a_slow_drip_is_given_up(store: BlockStore, serve: ExitStack) -> None:
    drips, sound = gateway(serve), gateway(serve)
    drips.mend = lambda asked, reply: replace(reply, drip=0.002)
    policy = replace(QUICK, block=0.2)
    download(store, [drips, sound], policy=policy)
    check_complete(store)
    error = refused(BlockStore(store.folder / "other"), [drips], policy=policy)
    assert "it was not done after 0.2 s" in error.message


def test_a_slow_drip_of_headers_is_given_up(store: BlockStore, serve: ExitStack) -> None:
    drips = gateway(serve)
    drips.mend = lambda asked, reply: replace(reply, drip=0.1)
    started = time.monotonic()
    error = refused(store, [drips], policy=replace(QUICK, idle=0.3))
    assert "no answer came in 0.3 s" in error.message
    assert time.monotonic() - started < 5


def test_blocks_that_nobody_asked_for_are_not_kept(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    strangers = {Cid.of_raw(bytes([number]) * 5000): bytes([number]) * 5000 for number in range(20)}
    car = b"".join(car_chunks([ROOT], [*strangers.items(), *read_dag(BLOCKS.__getitem__, [ROOT])]))
    server.mend = lambda asked, reply: replace(reply, body=car) if asked.is_car else reply
    download(store, [server])
    check_complete(store)
    assert set(store) == set(BLOCKS)
    assert len(server.asked) == 1


def test_a_flood_of_blocks_that_nobody_asked_for_is_cut_off(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    strangers = {Cid.of_raw(bytes([number]) * 5000): bytes([number]) * 5000 for number in range(20)}
    car = b"".join(car_chunks([ROOT], [*strangers.items(), *read_dag(BLOCKS.__getitem__, [ROOT])]))
    server.mend = lambda asked, reply: replace(reply, body=car) if asked.is_car else reply
    download(store, [server], limits=DownloadLimits(unexpected_bytes=50_000))
    check_complete(store)
    assert set(store) == set(BLOCKS)
    assert (len(server.cars), len(server.raws)) == (1, len(BLOCKS))


def test_a_stream_that_is_no_car_is_left_for_single_blocks(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    server.mend = lambda asked, reply: replace(reply, body=b"<html>") if asked.is_car else reply
    download(store, [server])
    check_complete(store)


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20),
        b"HTTP/1.1 429 Busy\r\nRetry-After: " + b"9" * 500 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5000,
    ],
)
def test_answers_that_make_no_sense_lead_to_the_next(store: BlockStore, serve: ExitStack, answer: bytes) -> None:
    class Nonsense(Reply):
        def encode(self) -> bytes:
            return answer

    strange, sound = gateway(serve), gateway(serve)
    strange.mend = lambda asked, reply: Nonsense()
    download(store, [strange, sound])
    check_complete(store)
    assert len(strange.asked) <= 2 * QUICK.tries
    assert refused(BlockStore(store.folder / "other"), [strange]).code == "incomplete"
