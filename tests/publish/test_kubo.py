"""Publishing to a Kubo: what is sent, what is made of its answers, and what happens when they do not come."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacpack.content.cid.cid import Cid
from bacpack.manifest import MANIFEST_NAME
from content.harness import Bacpack
from publish.kubo_stand import KuboStand
from publish.releases import write_release
from publish.stand import Cut, Reply, Wire


@pytest.fixture
def kubo() -> Iterator[KuboStand]:
    with KuboStand() as kubo:
        yield kubo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    write_release(folder, modules=4, module_bytes=60_000)
    return folder


def held(bacpack: Bacpack, kubo: KuboStand, root: str) -> bool:
    """Whether Kubo has pinned the root with all that belongs to it."""
    cid = Cid.parse(root)
    return cid in kubo.pins and kubo._missing(cid) == ""


def test_a_release_is_imported_pinned_and_named(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    result = bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}/")
    assert result["pins"] == [
        {
            "target": f"kubo:{kubo.url}",
            "status": "pinned",
            "new_bytes": result["bytes"],
            "version": "0.43.1",
            "announces": True,
        }
    ]
    assert result["new_bytes"] == result["bytes"] == sum(map(len, kubo.blocks.values()))
    assert len(kubo.blocks) == result["blocks"]
    assert held(bacpack, kubo, result["root"])
    assert kubo.pins == {Cid.parse(result["root"]): "out"}
    assert not bacpack.home.exists()


def test_a_repeated_publish_sends_nothing(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    first = bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}")
    sent = kubo.bytes_in
    again = bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}")
    assert kubo.bytes_in == sent
    assert again["new_bytes"] == 0
    assert again["root"] == first["root"]
    # Blocks that are there and not pinned are pinned, not sent.
    kubo.pins.clear()
    assert bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}")["new_bytes"] == 0
    assert kubo.bytes_in == sent
    assert held(bacpack, kubo, first["root"])


def test_only_the_blocks_that_it_lacks_are_sent(
    bacpack: Bacpack, kubo: KuboStand, folder: Path, tmp_path: Path
) -> None:
    first = bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}")
    write_release(tmp_path / "next", modules=5, module_bytes=60_000)
    (tmp_path / "next" / MANIFEST_NAME).unlink()
    dry = bacpack.ok("publish", tmp_path / "next", "--to", f"kubo:{kubo.url}", "--dry-run")
    before = kubo.car_bytes
    assert dry["pins"][0]["status"] == "dry-run"
    assert kubo.count("POST", "/api/v0/dag/import") == 1
    second = bacpack.ok("publish", tmp_path / "next", "--to", f"kubo:{kubo.url}")
    assert second["new_bytes"] == dry["new_bytes"]
    assert 60_000 < second["new_bytes"] < 65_000 < first["bytes"]
    assert kubo.car_bytes - before < 65_000
    assert held(bacpack, kubo, second["root"])


def test_garbage_collection_between_question_and_import(
    bacpack: Bacpack, kubo: KuboStand, folder: Path, tmp_path: Path
) -> None:
    """What it said it had is gone: the pin fails after 200, and all is sent."""
    bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}")
    lost = list(kubo.blocks)[3:6]
    kubo.pins.clear()
    kubo.collected = lost
    del kubo.blocks[list(kubo.blocks)[-1]]
    result = bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}")
    assert held(bacpack, kubo, result["root"])
    assert result["new_bytes"] == result["bytes"]


def test_a_pin_error_after_200_is_an_error(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    kubo.pin_error = "block was not found locally (offline): ipld: could not find bafy\x1b[2J"
    error = bacpack.fails(3, "pin-failed", "publish", folder, "--to", f"kubo:{kubo.url}")
    assert "could not find bafy" in error["message"]
    assert "\x1b" not in error["message"]
    assert f"kubo:{kubo.url}" in error["message"]
    assert error["details"]["published"]["pins"][0]["status"] == "failed"


@pytest.mark.parametrize("stats", [True, False])
def test_an_error_in_a_trailer_is_an_error(bacpack: Bacpack, kubo: KuboStand, folder: Path, stats: bool) -> None:
    kubo.stream_error = "datastore: no space left on device"
    kubo.stats = stats
    error = bacpack.fails(3, "target-failed", "publish", folder, "--to", f"kubo:{kubo.url}")
    assert "no space left on device" in error["message"]


def test_an_import_that_says_no_end_is_an_error(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    kubo.stats = False
    error = bacpack.fails(3, "target-failed", "publish", folder, "--to", f"kubo:{kubo.url}")
    assert "ended before it was done" in error["message"]


def test_its_own_message_is_repeated(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    kubo.import_error = "write /data/blocks/x: no space left on device"
    error = bacpack.fails(3, "target-failed", "publish", folder, "--to", f"kubo:{kubo.url}")
    assert "it answers 500: write /data/blocks/x: no space left on device" in error["message"]


@pytest.mark.parametrize(("version", "announces"), [("0.20.0", False), ("0.38.2", False), ("0.44.0-dev", True)])
def test_versions_are_told_apart(
    bacpack: Bacpack, kubo: KuboStand, folder: Path, version: str, announces: bool
) -> None:
    kubo.version = version
    pin = bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}")["pins"][0]
    assert (pin["version"], pin["announces"]) == (version, announces)
    # Before 0.26 pins have no names, and nothing is asked that would have no effect.
    assert kubo.count("POST", "/api/v0/pin/add") == (version != "0.20.0")


def test_a_version_that_is_too_old(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    kubo.version = "0.4.22"
    error = bacpack.fails(3, "target-failed", "publish", folder, "--to", f"kubo:{kubo.url}")
    assert "0.4.22" in error["message"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404, b"404 page not found"),
        Reply(200, b"<html>hello</html>"),
        Reply(200, b"[]"),
        Reply(200, b'{"Version": 3}'),
        Reply(301, b"", {"Location": "https://elsewhere.example/"}),
    ],
)
def test_what_is_no_kubo_is_named(bacpack: Bacpack, kubo: KuboStand, folder: Path, reply: Reply) -> None:
    kubo.first = [("version", reply)] * 4
    error = bacpack.fails(3, "target-failed", "publish", folder, "--to", f"kubo:{kubo.url}")
    assert f"`kubo:{kubo.url}`" in error["message"]
    assert len(kubo.requests) == 1


def test_long_names_are_cut_between_letters(bacpack: Bacpack, kubo: KuboStand, tmp_path: Path) -> None:
    folder = tmp_path / ("ü" * 127)
    write_release(folder)
    result = bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}")
    assert kubo.pins[Cid.parse(result["root"])] == "ü" * 127


# Tokens


def test_a_token_is_sent_from_environment_or_file(bacpack: Bacpack, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("basic:user:pass\n")
    with KuboStand(authorization="Basic dXNlcjpwYXNz") as kubo:
        target = f"kubo:{kubo.url}"
        error = bacpack.fails(3, "target-denied", "publish", folder, "--to", target)
        assert "BACPACK_KUBO_TOKEN" in error["hint"]
        bacpack.environment["BACPACK_KUBO_TOKEN"] = "basic:user:wrong"
        bacpack.fails(3, "target-denied", "publish", folder, "--to", target)
        bacpack.ok("publish", folder, "--to", target, "--token-file", f"kubo={tmp_path / 'token'}")
    with KuboStand(authorization="Bearer secret") as kubo:
        bacpack.environment["BACPACK_KUBO_TOKEN"] = "bearer:secret"
        bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}")


def test_a_token_is_never_printed(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    """Not even when the server repeats it."""
    bacpack.environment["BACPACK_KUBO_TOKEN"] = "basic:user:s3cret-word"
    said = b'{"Message": "bad: Basic dXNlcjpzM2NyZXQtd29yZA== s3cret-word basic:user:s3cret-word", "Code": 0}'
    for status in (403, 500):
        kubo.first = [("version", Reply(status, said))]
        for more in ((), ("--json",)):
            done = bacpack.run("publish", folder, "--to", f"kubo:{kubo.url}", *more)
            kubo.first = [("version", Reply(status, said))]
            assert done.returncode == 3
            assert "bad: Basic ***" in done.stdout + done.stderr
            for secret in ("s3cret-word", "dXNlcjpzM2NyZXQtd29yZA"):
                assert secret not in done.stdout + done.stderr


# Faults


@pytest.mark.parametrize("position", [0, 150, 2_000, 100_000, 230_000])
def test_a_connection_cut_on_the_way_up_is_made_again(
    bacpack: Bacpack, kubo: KuboStand, folder: Path, position: int
) -> None:
    with Wire(kubo.port, [Cut(up=position)]) as wire:
        result = bacpack.ok("publish", folder, "--to", f"kubo:{wire.url}")
    assert wire.connections > 1
    assert held(bacpack, kubo, result["root"])
    assert kubo.pins == {Cid.parse(result["root"]): "out"}


@pytest.mark.parametrize("position", [0, 300, 1_500, 2_500])
def test_a_connection_cut_on_the_way_down_is_made_again(
    bacpack: Bacpack, kubo: KuboStand, folder: Path, position: int
) -> None:
    with Wire(kubo.port, [Cut(down=position)]) as wire:
        result = bacpack.ok("publish", folder, "--to", f"kubo:{wire.url}")
    assert wire.connections > 1
    assert held(bacpack, kubo, result["root"])


@pytest.mark.parametrize("cut", [Cut(up=20_000), Cut(down=600)])
def test_connections_that_are_always_cut_end_in_an_error_and_the_next_run_completes(
    bacpack: Bacpack, kubo: KuboStand, folder: Path, cut: Cut
) -> None:
    with Wire(kubo.port, always=cut) as wire:
        error = bacpack.fails(3, "target-unreachable", "publish", folder, "--to", f"kubo:{wire.url}")
        assert "4 attempts" in error["message"]
    assert kubo.pins == {}
    assert held(bacpack, kubo, bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}")["root"])


def test_nothing_listens(bacpack: Bacpack, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = bacpack.fails(3, "target-unreachable", "publish", folder, "--to", f"kubo:http://127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in error["message"]


@pytest.mark.parametrize("reply", [Reply(429, b"", {"Retry-After": "0"}), Reply(503), Reply(502, b"<html>bad gateway")])
def test_not_now_is_tried_again(bacpack: Bacpack, kubo: KuboStand, folder: Path, reply: Reply) -> None:
    kubo.first = [(end, reply) for end in ("version", "pin/ls", "block/stat", "dag/import", "pin/add")]
    result = bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}")
    assert kubo.first == []
    assert held(bacpack, kubo, result["root"])


def test_retry_after_is_waited_for(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    kubo.first = [("version", Reply(429, b"", {"Retry-After": "2"}))]
    begun = time.monotonic()
    bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}")
    assert time.monotonic() - begun >= 2


def test_a_wait_beyond_the_time_limit_is_not_begun(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    kubo.first = [("version", Reply(429, b"", {"Retry-After": "3600"}))]
    error = bacpack.fails(3, "target-failed", "publish", folder, "--to", f"kubo:{kubo.url}", "--timeout", 20)
    assert "asks to wait for 3600 s" in error["message"]


def test_busy_for_ever_ends(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    kubo.first = [("version", Reply(503, b"starting"))] * 10
    error = bacpack.fails(3, "target-failed", "publish", folder, "--to", f"kubo:{kubo.url}")
    assert "503" in error["message"]
    assert len(kubo.requests) == 4


def test_an_answer_that_drips_ends_at_the_time_limit(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    """A byte every 50 ms keeps any limit for one read; it is the whole that takes too long."""
    begun = time.monotonic()
    with Wire(kubo.port, always=Cut(drip=True)) as wire:
        error = bacpack.fails(3, "target-timeout", "publish", folder, "--to", f"kubo:{wire.url}", "--timeout", 1.5)
    assert "1.5 s" in error["message"]
    assert time.monotonic() - begun < 10


def test_silence_ends_at_the_time_limit(bacpack: Bacpack, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"kubo:http://127.0.0.1:{silent.getsockname()[1]}"
        error = bacpack.fails(3, "target-timeout", "publish", folder, "--to", target, "--timeout", 1)
    assert target in error["message"]


def test_a_file_changed_while_it_is_sent_is_no_fault_of_the_target(
    bacpack: Bacpack, kubo: KuboStand, folder: Path
) -> None:
    """The command is told to publish while a module of the release is being replaced after it was hashed."""
    module = next((folder / "modules").iterdir())
    original = module.read_bytes()

    class Changing(KuboStand):
        def reply(self, request):  # type: ignore[no-untyped-def]
            if request.path.endswith("pin/ls"):
                module.write_bytes(b"x" * len(original))
            return super().reply(request)

    with Changing() as changing:
        error = bacpack.fails(2, "changed-meanwhile", "publish", folder, "--to", f"kubo:{changing.url}")
        assert str(module) in error["message"]
        assert changing.pins == {}


def test_json_of_a_failure_has_the_root(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    kubo.import_error = "no"
    done = bacpack.run("publish", folder, "--to", f"kubo:{kubo.url}", "--json")
    published = json.loads(done.stdout)["error"]["details"]["published"]
    assert published["root"] == bacpack.ok("publish", folder, "--dry-run")["root"]
    assert published["pins"][0]["error"]["code"] == "target-failed"
