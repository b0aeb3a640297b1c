"""Downloads: what arrives is sound and complete, or the next download asks for the rest."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from bacnode.download import Download, Downloaded, DownloadLimits
from bacnode.transport import Patience
from bacnode.web import Web
from bacpack.content.car import car_chunks
from bacpack.content.cid import Cid
from bacpack.content.filedag import FileDag
from bacpack.content.keep import survey
from bacpack.content.store import BlockStore
from bacpack.content.walk import read_dag
from bacpack.errors import BacpackError, InputError, UnreachableError
from node.gateway import Asked, Framing, Gateway, Kubo, Reply, Server, cut_at, first_only

#: Enough for a machine that is busy, and short where a test waits for it.
QUICK = Patience(idle=5, block=5, pause=0.01, search=1)


def made_dag(leaves: int = 6, modules: int = 6, size: int = 900) -> tuple[Cid, dict[Cid, bytes]]:
    """A directory of files, with a directory of more of them: as a release is."""
    source = random.Random(5)
    dag = FileDag()
    inner = dag.add_directory({f"{index}.wasm": dag.add_bytes(source.randbytes(size)) for index in range(modules)})
    apps = {f"app-{index}.wasm": dag.add_bytes(source.randbytes(size)) for index in range(leaves)}
    root = dag.add_directory({**apps, "modules": inner}).cid
    return root, dict(read_dag(dag.get, [root]))


ROOT, BLOCKS = made_dag()
#: For tests that go through every place where an answer may be broken off.
SMALL_ROOT, SMALL = made_dag(leaves=2, modules=2, size=300)


@pytest.fixture
def store(tmp_path: Path) -> BlockStore:
    return BlockStore(tmp_path / "store")


@pytest.fixture
def serve() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def gateway(serve: ExitStack, *, car: bool = True) -> Gateway:
    return serve.enter_context(Gateway(BLOCKS, car=car))


def small_gateway(serve: ExitStack, framing: Framing) -> tuple[Gateway, list[int]]:
    """A server of the small DAG, and where its stream may be broken off."""
    server = serve.enter_context(Gateway(SMALL, framing=framing))
    return server, response_cuts(server.reply(Asked("GET", f"/ipfs/{SMALL_ROOT}?format=car", {})))


def download(
    store: BlockStore,
    servers: Sequence[Server],
    root: Cid = ROOT,
    *,
    patience: Patience = QUICK,
    limits: DownloadLimits | None = None,
    kubo: Server | None = None,
) -> Downloaded:
    web = Web([server.url for server in servers], kubo=[kubo.url] if kubo else [], patience=patience)
    with store.batch() as batch:
        one = Download(store, batch, web.remotes, limits)
        try:
            one.fetch([root])
        finally:
            one.close()
    return one.done


def refused(store: BlockStore, servers: Sequence[Server], root: Cid = ROOT, **options: object) -> BacpackError:
    with pytest.raises(BacpackError) as raised:
        download(store, servers, root, **options)  # type: ignore[arg-type]
    assert raised.value.hint
    check_sound(store)
    return raised.value


def check_sound(store: BlockStore) -> None:
    for cid in store:
        assert cid.matches(store.get(cid))


def check_complete(store: BlockStore, root: Cid = ROOT) -> None:
    check_sound(store)
    assert survey(store, root).missing == []


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
    liar.get = lambda cid: liar.blocks[cid.to_v1()]  # type: ignore[method-assign]
    done = download(store, [liar, honest])
    check_complete(store)
    assert {remote.origin for remote in done.origins.values()} == {liar.url, honest.url}
    remote = next(remote for remote in done.origins.values() if remote.origin == liar.url)
    assert remote.aside is not None and str(victim) in remote.aside


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
    assert survey(store, ROOT).blocks == len(BLOCKS) - 1


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
    assert survey(store, ROOT).blocks == len(BLOCKS) - 1


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
    assert "asks to wait" in refused(store, [server], patience=replace(QUICK, busy=0.5)).message


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
    assert len(server.asked) <= QUICK.tries * (QUICK.strikes + 1)


@pytest.mark.parametrize("status", [403, 404, 410, 451])
def test_an_answer_that_means_no_leads_to_the_next(store: BlockStore, serve: ExitStack, status: int) -> None:
    first, second = gateway(serve), gateway(serve)
    first.mend = lambda asked, reply: Reply(status)
    download(store, [first, second])
    check_complete(store)
    # The stream, and the root on its own.
    assert (len(first.asked), len(second.asked)) == (2, 1)


def test_a_redirect_is_not_followed(store: BlockStore, serve: ExitStack) -> None:
    server, other = gateway(serve), gateway(serve)
    server.mend = lambda asked, reply: Reply(302, {"Location": other.url + asked.target})
    assert "redirects are not followed" in refused(store, [server]).message
    assert other.asked == []


def test_a_stream_that_stalls_is_left_for_single_blocks(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    stall = threading.Event()
    server.mend = lambda asked, reply: replace(reply, cut=2500, stall=stall) if asked.is_car else reply
    try:
        download(store, [server], patience=replace(QUICK, idle=0.3))
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
        error = refused(store, [server], patience=replace(QUICK, idle=0.3))
    finally:
        stall.set()
    assert "no answer came in 0.3 s" in error.message


def test_a_slow_drip_is_given_up(store: BlockStore, serve: ExitStack) -> None:
    drips, sound = gateway(serve), gateway(serve)
    drips.mend = lambda asked, reply: replace(reply, drip=0.002)
    patience = replace(QUICK, block=0.2)
    download(store, [drips, sound], patience=patience)
    check_complete(store)
    error = refused(BlockStore(store.folder / "other"), [drips], patience=patience)
    assert "it was not done after 0.2 s" in error.message


def test_a_slow_drip_of_headers_is_given_up(store: BlockStore, serve: ExitStack) -> None:
    drips = gateway(serve)
    drips.mend = lambda asked, reply: replace(reply, drip=0.1)
    started = time.monotonic()
    error = refused(store, [drips], patience=replace(QUICK, idle=0.3))
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


def test_a_stream_in_another_order_is_taken(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    car = b"".join(car_chunks([ROOT], reversed(list(read_dag(BLOCKS.__getitem__, [ROOT])))))
    server.mend = lambda asked, reply: replace(reply, body=car) if asked.is_car else reply
    download(store, [server])
    check_complete(store)
    assert len(server.asked) == 1


def test_a_stream_that_is_no_car_is_left_for_single_blocks(store: BlockStore, serve: ExitStack) -> None:
    server = gateway(serve)
    server.mend = lambda asked, reply: replace(reply, body=b"<html>") if asked.is_car else reply
    download(store, [server])
    check_complete(store)


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
