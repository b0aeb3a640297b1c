"""`bacpack fetch` from servers: the real command, interrupted, starved and lied to."""

from __future__ import annotations

import json
import random
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from bacpack.content.car import car_chunks
from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.links import read_dag
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.collection import check_blocks
from bacpack.content.store.file_dag import FileDag
from bacpack.content.store.origins import Provenance
from bacpack.text import human_bytes
from commands import command
from content.harness import Bacpack
from node.fetch.downloads import BLOCKS, ROOT, made_dag
from node.gateway_stand import Asked, Gateway, Kubo, Reply, Server, cut_at
from node.harness import assemble
from smalldisk import CANNOT_MOUNT, run_on_small_disk
from waiting import line_of, started, until

LEAF = next(cid for cid in BLOCKS if cid.codec == 0x55)


@pytest.fixture
def peer(serve: ExitStack) -> Gateway:
    return serve.enter_context(Gateway(BLOCKS))


class Files(Server):
    """Files by path."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}

    def reply(self, asked: Asked) -> Reply:
        body = self.files.get(asked.target)
        return Reply(404) if body is None else Reply(200, body=body)


@pytest.fixture
def files(serve: ExitStack) -> Files:
    return serve.enter_context(Files())


def whole_car(root: Cid = ROOT) -> bytes:
    return b"".join(car_chunks([root], read_dag(BLOCKS.__getitem__, [root])))


def check_kept(bacpack: Bacpack, root: Cid = ROOT) -> None:
    """All is here, sound and pinned, and garbage collection agrees."""
    assert [pin["cid"] for pin in bacpack.ok("pin", "ls")["pins"]] == [str(root)]
    collected = bacpack.ok("gc")
    assert (collected["missing"], collected["deleted_blocks"]) == ([], 0)
    assert check_blocks(BlockStore(bacpack.home), root).missing == []


def test_a_release_is_fetched_pinned_and_its_origin_noted(bacpack: Bacpack, peer: Gateway) -> None:
    size = sum(map(len, BLOCKS.values()))
    assert bacpack.ok("fetch", ROOT, "--peer", peer.url) == {
        "ref": str(ROOT),
        "roots": [str(ROOT)],
        "blocks": len(BLOCKS),
        "bytes": size,
        "new_bytes": size,
        "pinned": True,
        "sources": [{"source": "peer", "url": peer.url, "blocks": len(BLOCKS)}],
    }
    assert len(peer.asked) == 1
    check_kept(bacpack)
    origin = Provenance(bacpack.home).get(LEAF)
    assert origin is not None and origin.obtained_from == peer.url
    again = bacpack.ok("fetch", f"ipfs://{ROOT}", "--peer", peer.url)
    assert (again["new_bytes"], again["sources"]) == (0, [])
    assert len(peer.asked) == 1


def test_text_says_what_came_from_whom(bacpack: Bacpack, peer: Gateway) -> None:
    done = bacpack.run("fetch", ROOT, "--peer", peer.url, "--no-pin")
    size = human_bytes(sum(map(len, BLOCKS.values())))
    assert done.stdout.splitlines() == [
        str(ROOT),
        f"{len(BLOCKS)} blocks, {size}, {size} new; not pinned: the next `bacpack gc` frees it",
        f"{len(BLOCKS)} blocks from {peer.url}",
    ]
    assert bacpack.ok("gc")["kept_blocks"] == 0


def test_a_path_below_a_cid(bacpack: Bacpack, peer: Gateway) -> None:
    result = bacpack.ok("fetch", f"{ROOT}/app-0.wasm", "--gateway", peer.url)
    assert (result["blocks"], result["sources"][0]["source"]) == (1, "gateway")
    assert result["roots"] == [str(next(cid for cid in BLOCKS if f"{cid}" == result["roots"][0]))]
    assert [pin["cid"] for pin in bacpack.ok("pin", "ls")["pins"]] == result["roots"]
    bacpack.fails(2, "no-such-entry", "fetch", f"{ROOT}/nothing", "--peer", peer.url)


def test_all_kinds_of_sources_are_asked_in_turn(bacpack: Bacpack, serve: ExitStack) -> None:
    peer, gateway = serve.enter_context(Gateway({})), serve.enter_context(Gateway({}))
    kubo = serve.enter_context(Kubo(BLOCKS))
    result = bacpack.ok("fetch", ROOT, "--kubo", kubo.url, "--gateway", gateway.url, "--peer", peer.url)
    assert result["sources"] == [{"source": "kubo", "url": kubo.url, "blocks": len(BLOCKS)}]
    assert len(peer.asked) == len(gateway.asked) == 2


def test_what_is_missing_and_who_was_asked_is_said(bacpack: Bacpack, serve: ExitStack) -> None:
    peer, kubo = serve.enter_context(Gateway({})), serve.enter_context(Kubo({}))
    error = bacpack.fails(3, "incomplete", "fetch", ROOT, "--peer", peer.url, "--kubo", kubo.url)
    assert error["details"]["missing"] == [str(ROOT)]
    assert error["details"]["asked"] == [
        {"source": "peer", "url": peer.url, "answer": "it does not have them"},
        {"source": "kubo", "url": kubo.url, "answer": "it does not have them"},
    ]
    for text in (str(ROOT), f"the peer {peer.url}: it does not have them", f"the Kubo {kubo.url}: it does not"):
        assert text in error["message"]
    assert bacpack.ok("pin", "ls") == {"pins": []}
    assert "--peer" in bacpack.fails(3, "incomplete", "fetch", ROOT)["hint"]


def test_sources_may_be_configured_and_what_is_typed_goes_before(
    bacpack: Bacpack, serve: ExitStack, tmp_path: Path
) -> None:
    peer, kubo, typed = (serve.enter_context(one) for one in (Gateway({}), Kubo(BLOCKS), Gateway(BLOCKS)))
    below = tmp_path / "project" / "below"
    below.mkdir(parents=True)
    (below.parent / "bacpack.toml").write_text(
        f'[fetch]\npeers = ["{peer.url}"]\nkubo = "{kubo.url}"\norder = ["kubo", "peers"]\n'
    )
    done = bacpack.run("fetch", ROOT, "--json", cwd=below)
    assert json.loads(done.stdout)["sources"][0]["source"] == "kubo", done
    assert peer.asked == []
    shutil.rmtree(bacpack.home)
    kubo.asked.clear()
    kubo.blocks.clear()
    done = bacpack.run("fetch", ROOT, "--peer", typed.url, "--json", cwd=below)
    assert json.loads(done.stdout)["sources"] == [{"source": "peer", "url": typed.url, "blocks": len(BLOCKS)}]
    assert peer.asked == []


def test_a_kubo_is_authorised_by_a_token_from_the_environment(bacpack: Bacpack, serve: ExitStack) -> None:
    kubo = serve.enter_context(Kubo(BLOCKS))
    kubo.mend = lambda asked, reply: reply if asked.headers.get("Authorization") == "Bearer secret" else Reply(403)
    assert "authorised" in bacpack.fails(3, "incomplete", "fetch", ROOT, "--kubo", kubo.url)["message"]
    bacpack.environment["BACPACK_KUBO_TOKEN"] = "secret"
    assert bacpack.ok("fetch", ROOT, "--kubo", kubo.url)["blocks"] == len(BLOCKS)


def test_a_url_with_a_password_is_refused_without_repeating_it(bacpack: Bacpack, peer: Gateway) -> None:
    url = peer.url.replace("http://", "http://me:hunter2@")
    for option in ("--peer", "--gateway", "--kubo"):
        assert "hunter2" not in bacpack.fails(2, "secret-in-url", "fetch", ROOT, option, url)["message"]
    assert peer.asked == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_fetch_goes_on_where_it_stopped(bacpack: Bacpack, peer: Gateway, how: signal.Signals) -> None:
    store = BlockStore(bacpack.home)
    stall = threading.Event()
    peer.mend = lambda asked, reply: replace(reply, cut=6000, stall=stall)
    with started(
        command("fetch", ROOT, "--peer", peer.url),
        env=bacpack.environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: len(list(store)) >= 5, process)
        process.send_signal(how)
        _, stderr = process.communicate(timeout=30)
    stall.set()
    assert process.returncode == (130 if how == signal.SIGINT else -how), stderr
    if how == signal.SIGINT:
        assert stderr.strip() == "interrupted"
    here = set(store)
    assert 5 <= len(here) < len(BLOCKS)
    assert bacpack.ok("pin", "ls") == {"pins": []}
    peer.mend = lambda asked, reply: reply
    peer.asked.clear()
    result = bacpack.ok("fetch", ROOT, "--peer", peer.url)
    assert result["new_bytes"] == sum(len(block) for cid, block in BLOCKS.items() if cid not in here)
    assert peer.cars == [] and here.isdisjoint(asked.cid for asked in peer.raws)
    check_kept(bacpack)


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until `true()`, while `process` runs."""

    def is_true() -> bool:
        assert process.poll() is None, "it ended before"
        return true()

    until(is_true, "the fetch has come that far", pause=0.005)


def test_garbage_is_not_collected_under_a_fetch(bacpack: Bacpack, peer: Gateway) -> None:
    store = BlockStore(bacpack.home)
    stall = threading.Event()
    data = peer.reply(Asked("GET", f"/ipfs/{ROOT}?format=car", {})).encode()

    def mend(asked: Asked, reply: Reply) -> Reply:
        # All but the end of the stream, and the end when the test says so.
        return replace(reply, framing="close", body=reply.body, cut=len(data) // 2, stall=stall)

    peer.mend = lambda asked, reply: mend(asked, reply) if asked.is_car else reply
    with started(
        command("fetch", ROOT, "--peer", peer.url), env=bacpack.environment, stdout=subprocess.PIPE, text=True
    ) as fetching:
        wait_until(lambda: len(list(store)) >= 5, fetching)
        with started(
            command("gc"), env=bacpack.environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as collecting:
            said = line_of(collecting.stderr, "it says what it waits for")
            assert said == "waiting for a publish or fetch to end\n"
            stall.set()
            assert fetching.wait(30) == 0
            assert collecting.wait(30) == 0
    check_kept(bacpack)


#: Ends the process at the first use of a socket, whoever makes it.
NO_SOCKETS = """
import os, sys
def refuse(event, arguments):
    if event.startswith("socket."):
        os.write(2, f"{event} {arguments}\\n".encode())
        os._exit(77)
sys.addaudithook(refuse)
"""


def test_offline_opens_no_socket(bacpack: Bacpack, peer: Gateway, tmp_path: Path) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(NO_SOCKETS)
    (tmp_path / "bacpack.toml").write_text(f'[fetch]\npeers = ["{peer.url}"]\n')
    bacpack.environment["PYTHONPATH"] = str(tmp_path / "hook")
    sources = ("--peer", peer.url, "--gateway", peer.url, "--kubo", peer.url)
    assert bacpack.run("fetch", ROOT, *sources).returncode == 77
    for arguments in (
        ("fetch", ROOT, *sources),
        ("fetch", ROOT),
        ("fetch", f"{peer.url}/release.car"),
        ("run", ROOT, *sources),
        ("inspect", ROOT, *sources),
        ("split", peer.url, "--catalog", ROOT, "-o", tmp_path / "out", *sources),
    ):
        done = bacpack.run(*arguments, "--offline", cwd=tmp_path)
        assert done.returncode in (2, 3), (arguments, done)
        assert "socket." not in done.stderr
    assert peer.asked == []


def test_a_url_of_a_car(bacpack: Bacpack, files: Files) -> None:
    files.files["/release.car"] = whole_car()
    result = bacpack.ok("fetch", f"{files.url}/release.car")
    assert (result["roots"], result["blocks"]) == ([str(ROOT)], len(BLOCKS))
    assert result["sources"] == [{"source": "url", "url": f"{files.url}/release.car", "blocks": len(BLOCKS)}]
    assert [pin["name"] for pin in bacpack.ok("pin", "ls")["pins"]] == ["release"]
    check_kept(bacpack)
    again = bacpack.ok("fetch", f"{files.url}/release.car")
    assert (again["new_bytes"], again["sources"]) == (0, [])


def test_a_url_of_a_car_whose_root_is_last(bacpack: Bacpack, files: Files) -> None:
    blocks = list(read_dag(BLOCKS.__getitem__, [ROOT]))
    files.files["/release.car"] = b"".join(car_chunks([ROOT], reversed(blocks)))
    assert bacpack.ok("fetch", f"{files.url}/release.car")["blocks"] == len(BLOCKS)


def test_a_car_at_a_url_that_lacks_blocks_is_completed_by_others(bacpack: Bacpack, files: Files, peer: Gateway) -> None:
    blocks = list(read_dag(BLOCKS.__getitem__, [ROOT]))
    files.files["/release.car"] = b"".join(car_chunks([ROOT], blocks[:-3]))
    url = f"{files.url}/release.car"
    error = bacpack.fails(3, "incomplete", "fetch", url)
    assert error["details"]["missing"] == [str(cid) for cid, _ in blocks[-3:]]
    assert error["details"]["asked"] == [{"source": "url", "url": url, "answer": "it does not have them"}]
    # What came is kept.
    assert len(list(BlockStore(bacpack.home))) == len(BLOCKS) - 3
    assert bacpack.ok("fetch", url, "--peer", peer.url)["new_bytes"] == sum(len(block) for _, block in blocks[-3:])
    check_kept(bacpack)


def test_a_car_at_a_url_that_breaks_off_keeps_what_came(bacpack: Bacpack, files: Files) -> None:
    files.files["/release.car"] = whole_car()
    files.mend = cut_at(6000)
    error = bacpack.fails(3, "incomplete", "fetch", f"{files.url}/release.car")
    assert "broke off" in error["message"]
    here = len(list(BlockStore(bacpack.home)))
    assert 0 < here < len(BLOCKS)
    files.mend = lambda asked, reply: reply
    assert bacpack.ok("fetch", f"{files.url}/release.car")["blocks"] == len(BLOCKS)
    check_kept(bacpack)


def test_a_url_that_is_no_car_is_refused(bacpack: Bacpack, files: Files) -> None:
    files.files["/x.car"] = b"<html>" * 20
    bacpack.fails(2, "car-bad-header", "fetch", f"{files.url}/x.car")
    files.files["/x.car"] = b"".join(car_chunks([], []))
    bacpack.fails(2, "car-no-roots", "fetch", f"{files.url}/x.car")
    bacpack.fails(3, "url-failed", "fetch", f"{files.url}/y.car")
    damaged = bytearray(whole_car())
    damaged[-1] ^= 1
    files.files["/x.car"] = bytes(damaged)
    error = bacpack.fails(3, "incomplete", "fetch", f"{files.url}/x.car")
    assert "does not match its CID" in error["message"]
    assert bacpack.ok("pin", "ls") == {"pins": []}


def test_limits_of_size_and_time(bacpack: Bacpack, peer: Gateway) -> None:
    bacpack.fails(2, "too-large", "fetch", ROOT, "--peer", peer.url, "--max-bytes", "3kB")
    bacpack.fails(2, "usage", "fetch", ROOT, "--timeout", "0")
    bacpack.fails(2, "usage", "fetch", ROOT, "--peer", "ftp://example.org")
    stall = threading.Event()
    peer.mend = lambda asked, reply: replace(reply, cut=0, stall=stall)
    started = time.monotonic()
    error = bacpack.fails(3, "incomplete", "fetch", ROOT, "--peer", peer.url, "--timeout", "1.5")
    stall.set()
    assert "the time for all of the work is over" in error["message"]
    assert time.monotonic() - started < 10


def test_a_write_that_fails_midway_leaves_nothing_corrupt(bacpack: Bacpack, serve: ExitStack) -> None:
    root, blocks = made_dag(leaves=3, modules=3, size=400_000)
    for car in (True, False):
        server = serve.enter_context(Gateway(blocks, car=car))
        done = subprocess.run(
            command("fetch", root, "--peer", server.url, "--json"),
            env=bacpack.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
        )
        assert (done.returncode, done.stderr) == (2, ""), done
        assert json.loads(done.stdout)["error"]["code"] == "io-error"
        assert [name for name in bacpack.files() if "/tmp/" in name] == []
        assert bacpack.ok("pin", "ls") == {"pins": []}
    assert bacpack.ok("fetch", root, "--peer", server.url)["blocks"] == len(blocks)
    check_kept(bacpack, root)


def test_a_full_disk(tmp_path: Path, serve: ExitStack) -> None:
    """It holds part of the release."""
    root, blocks = made_dag(leaves=5, modules=5, size=400_000)
    server = serve.enter_context(Gateway(blocks))
    disk = tmp_path / "disk"
    script = (
        f"\"$@\"; first=$?; find {disk} -path '*/blocks/tmp/*'; find {disk} -path '*/blocks/??/*' | wc -l\n"
        f'mount -t tmpfs -o remount,size=9m tmpfs {disk} || exit {CANNOT_MOUNT}\n"$@" || exit 98; exit $first'
    )
    done = run_on_small_disk(disk, script, command("fetch", root, "--peer", server.url, "--json"))
    failed, kept, fetched = done.stdout.splitlines()
    assert done.returncode == 2, done
    assert json.loads(failed)["error"]["code"] == "disk-full"
    assert 0 < int(kept) < len(blocks)
    assert json.loads(fetched)["blocks"] == len(blocks)
    assert done.stderr == ""


def program_of(count: int) -> tuple[Cid, dict[Cid, bytes]]:
    """A program that imports a function of each of so many modules, one of which is larger than a block."""
    pad = random.Random(3).randbytes(3 << 19).hex()
    texts = [f'(module (func (export "f") (result i32) (i32.const {index})))' for index in range(count)]
    texts.append(f'(module (memory 64) (data (i32.const 0) "{pad}") (func (export "f") (result i32) (i32.const 9)))')
    dag = FileDag()
    cids = [dag.add_bytes(assemble(text)).cid for text in texts]
    imports = "".join(f'(import "{cid}" "f" (func $f{index} (result i32)))' for index, cid in enumerate(cids))
    calls = "".join(f"(drop (call $f{index}))" for index in range(len(cids)))
    program = dag.add_bytes(assemble(f'(module {imports} (func (export "_start") {calls}))')).cid
    return program, dict(read_dag(dag.get, [program, *cids]))


def test_a_program_draws_its_modules_from_a_peer_several_at_a_time(bacpack: Bacpack, serve: ExitStack) -> None:
    program, blocks = program_of(6)
    server = serve.enter_context(Gateway(blocks, car=False))
    leaves = {cid for cid, block in blocks.items() if len(block) > 100_000}
    modules, parts = Together(4), Together(3)

    def mend(asked: Asked, reply: Reply) -> Reply:
        if asked.cid != program:
            (parts if asked.cid in leaves else modules).wait()
        return reply

    server.mend = mend
    report = bacpack.home.parent / "report.json"
    done = bacpack.run("run", program, "--peer", server.url, "--report", report)
    assert done.returncode == 0, done.stderr
    assert modules.met and parts.met
    assert {module["source"] for module in json.loads(report.read_text())["modules"]} == {"peer"}
    assert len(server.asked) == len(blocks)
    assert bacpack.ok("inspect", program, "--peer", server.url)["missing"] == []


class Together:
    """Holds requests until so many are held at once, or a while."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._now = 0
        self._lock = threading.Lock()
        self._all_here = threading.Event()

    def wait(self) -> None:
        with self._lock:
            self._now += 1
            if self._now >= self._count:
                self._all_here.set()
        self._all_here.wait(5)
        with self._lock:
            self._now -= 1

    @property
    def met(self) -> bool:
        return self._all_here.is_set()
