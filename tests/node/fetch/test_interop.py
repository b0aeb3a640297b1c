"""Fetching from a real Kubo, where `make interop` says that there is one: by its RPC, and by its gateway."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from bacpack.content.cid.cid import Cid
from content.harness import Bacpack
from node.fetch.downloads import BLOCKS
from node.gateway_stand import Kubo
from publish.releases import write_release
from publish.test_interop import INTEROP, Daemon
from wanting import KUBO, skip

if not os.environ.get(INTEROP):
    skip(*KUBO, module=True)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "repo")
    yield daemon
    daemon.stop()


def gateway_url(daemon: Daemon) -> str:
    return (Path(daemon.environment["IPFS_PATH"]) / "gateway").read_text().strip()


def test_a_release_comes_by_both_protocols_and_what_is_lost_is_named(daemon: Daemon, tmp_path: Path) -> None:
    folder, car = tmp_path / "release", tmp_path / "release.car"
    write_release(folder, modules=12, module_bytes=1_300_000)
    release = Bacpack(tmp_path / "here").ok("publish", folder, "--car", car)
    root, lost = release["root"], release["apps"]["app-1"]
    daemon.run("dag", "import", str(car))
    sources = {"kubo": ("--kubo", daemon.url), "gateway": ("--gateway", gateway_url(daemon))}
    for kind, options in sources.items():
        bacpack = Bacpack(tmp_path / kind)
        fetched = bacpack.ok("fetch", root, *options)
        assert fetched["new_bytes"] == release["bytes"]
        assert fetched["sources"] == [{"source": kind, "url": options[1], "blocks": release["blocks"]}]
        block_file(bacpack, lost).unlink()
        assert bacpack.ok("fetch", root, *options)["new_bytes"] == 1000
    daemon.run("pin", "rm", root)
    daemon.run("block", "rm", lost)
    for kind, options in sources.items():
        bacpack = Bacpack(tmp_path / f"{kind}-lacks")
        error = bacpack.fails(3, "incomplete", "fetch", root, *options)
        assert error["details"]["missing"] == [lost]
        assert error["details"]["asked"] == [{"source": kind, "url": options[1], "answer": "it does not have them"}]


def block_file(bacpack: Bacpack, cid: str) -> Path:
    (path,) = bacpack.home.glob(f"blocks/*/{cid}")
    return path


def test_the_stand_in_answers_as_kubo_does(daemon: Daemon) -> None:
    """Status and kind of answer, for what is there and what is not."""
    here, absent = Cid.of_raw(b"here"), Cid.of_raw(b"absent")
    (Path(daemon.environment["IPFS_PATH"]).parent / "here").write_bytes(b"here")
    daemon.run("block", "put", "--cid-codec=raw", str(Path(daemon.environment["IPFS_PATH"]).parent / "here"))
    with Kubo({**BLOCKS, here: b"here"}) as stand:
        for call in ("block/get", "dag/export"):
            for cid in (here, absent):
                answers = [
                    httpx2.post(f"{url}/api/v0/{call}?arg={cid}&timeout=10s", timeout=30)
                    for url in (daemon.url, stand.url)
                ]
                real, ours = answers
                assert real.status_code == ours.status_code, (call, real.text)
                assert real.headers["Content-Type"].partition(";")[0] == ours.headers["Content-Type"].partition(";")[0]
                if real.status_code == 200:
                    assert real.content == ours.content
                else:
                    assert "could not find" in real.json()["Message"] and "could not find" in ours.json()["Message"]
        for url in (daemon.url, stand.url):
            assert httpx2.get(f"{url}/api/v0/block/get?arg={here}").status_code == 405
            assert httpx2.post(f"{url}/api/v0/no/such").status_code == 404
