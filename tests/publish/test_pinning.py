"""Publishing to a pinning service: one that checks each request against the specification, and one from npm."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from content.harness import Bacpack, Oracles
from packages import NODE
from publish.kubo_stand import PEER, KuboStand
from publish.pinning_stand import PinningStand, answer, failure
from publish.releases import write_release
from publish.stand import Cut, Reply, Wire
from waiting import line_of, started

ELSEWHERE = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
ORIGIN = f"/dns4/node.example/tcp/4001/p2p/{PEER}"


@pytest.fixture
def service() -> Iterator[PinningStand]:
    with PinningStand() as service:
        yield service


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    write_release(folder)
    return folder


@pytest.fixture
def bacpack(tmp_path: Path) -> Bacpack:
    bacpack = Bacpack(tmp_path / "home")
    bacpack.environment["BACPACK_PINNING_TOKEN"] = "secret"
    return bacpack


def target(service: PinningStand) -> str:
    return f"pinning-service:{service.url}/psa"


def posts(service: PinningStand) -> int:
    return service.count("POST", "/psa/pins")


def test_it_is_asked_once_and_polled_until_it_is_pinned(bacpack: Bacpack, service: PinningStand, folder: Path) -> None:
    result = bacpack.ok("publish", folder, "--to", target(service), "--origin", ORIGIN)
    pin = {"target": target(service), "status": "pinned", "new_bytes": 0, "requestid": "request-0"}
    assert result["pins"] == [pin]
    assert result["new_bytes"] == 0
    assert service.pins["request-0"]["pin"] == {"cid": result["root"], "name": "out", "origins": [ORIGIN]}
    assert bacpack.ok("publish", folder, "--to", target(service))["pins"] == [pin]
    assert posts(service) == 1


def test_origins_are_those_of_the_kubo_that_is_published_to(
    bacpack: Bacpack, service: PinningStand, folder: Path
) -> None:
    """Kubo has the release before the service is told to fetch it from there."""
    public, own = f"/ip4/203.0.113.7/tcp/4001/p2p/{PEER}", f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}"
    with KuboStand(addresses=[own, public]) as kubo:
        had: list[int] = []
        service.on_pin = lambda _pin: had.append(len(kubo.pins))
        targets = ("--to", target(service), "--to", f"kubo:{kubo.url}")
        result = bacpack.ok("publish", folder, *targets)
        assert had == [1]
        assert [pin["status"] for pin in result["pins"]] == ["pinned", "pinned"]
        assert result["pins"][0]["target"] == target(service)
        assert service.pins["request-0"]["pin"]["origins"] == [public]  # type: ignore[index]
        service.pins.clear()
        # Where all addresses are of this machine, so may be the service.
        kubo.addresses = [own.partition("/p2p/")[0]]
        bacpack.ok("publish", folder, *targets, "--origin", ORIGIN)
        assert service.pins["request-0"]["pin"]["origins"] == [ORIGIN, own]  # type: ignore[index]


def test_without_origins_a_person_is_told(bacpack: Bacpack, service: PinningStand, folder: Path) -> None:
    assert "bitswap" in bacpack.run("publish", folder, "--to", target(service)).stderr
    assert "origins" not in service.pins["request-0"]["pin"]  # type: ignore[operator]


def test_a_dry_run_asks_for_nothing(bacpack: Bacpack, service: PinningStand, folder: Path) -> None:
    assert bacpack.ok("publish", folder, "--to", target(service), "--dry-run")["pins"][0]["status"] == "dry-run"
    assert service.pins == {}
    assert posts(service) == 0


def test_a_failed_pin_is_reported_and_asked_for_anew(bacpack: Bacpack, service: PinningStand, folder: Path) -> None:
    service.path, service.details = ("queued", "failed"), "no provider found"
    error = bacpack.fails(3, "pin-failed", "publish", folder, "--to", target(service))
    assert "no provider found" in error["message"]
    assert "bitswap" in error["hint"]
    service.path = ("queued", "failed", "failed", "pinned")
    bacpack.fails(3, "pin-failed", "publish", folder, "--to", target(service))
    assert posts(service) == 2


def test_a_pin_that_takes_too_long_is_gone_on_with(bacpack: Bacpack, service: PinningStand, folder: Path) -> None:
    service.path = ("queued", "pinning")
    error = bacpack.fails(3, "target-timeout", "publish", folder, "--to", target(service), "--timeout", 1)
    assert re.search("request-0 is (queued|pinning)", error["message"])
    service.path = ("pinning", "pinning", "pinning", "pinned")
    assert bacpack.ok("publish", folder, "--to", target(service))["pins"][0]["requestid"] == "request-0"
    assert posts(service) == 1


def test_its_errors_are_repeated(bacpack: Bacpack, service: PinningStand, folder: Path) -> None:
    service.first = [("/pins", answer(200, {"count": 0, "results": []}))]
    service.first.append(("/pins", failure(409, "INSUFFICIENT_FUNDS", "Unable to process request: no money")))
    error = bacpack.fails(3, "target-failed", "publish", folder, "--to", target(service))
    assert "it answers 409: INSUFFICIENT_FUNDS: Unable to process request: no money" in error["message"]
    bacpack.environment["BACPACK_PINNING_TOKEN"] = "wrong"
    error = bacpack.fails(3, "target-denied", "publish", folder, "--to", target(service))
    assert "401: UNAUTHORIZED: Access token is missing or invalid" in error["message"]
    del bacpack.environment["BACPACK_PINNING_TOKEN"]
    error = bacpack.fails(3, "target-denied", "publish", folder, "--to", target(service))
    assert "asks for a token" in error["message"]
    assert "BACPACK_PINNING_TOKEN" in error["hint"]


@pytest.mark.parametrize("position", [0, 200])
def test_a_lost_answer_makes_no_second_request(
    bacpack: Bacpack, service: PinningStand, folder: Path, position: int
) -> None:
    """The connection is cut when the service has taken the request down: it is found, not made again."""
    first = len(b"".join(_raw(answer(200, {"count": 0, "results": []}))))
    with Wire(service.port, [Cut(down=first + position)]) as wire:
        result = bacpack.ok("publish", folder, "--to", f"pinning-service:{wire.url}/psa")
    assert result["pins"][0]["status"] == "pinned"
    assert wire.connections > 1
    assert posts(service) == 1


def _raw(reply: Reply) -> list[bytes]:
    """About what a reply is on the wire."""
    return [b"HTTP/1.1 200 OK\r\nServer: BaseHTTP/0.6 Python/3.11.7\r\nDate: Sun, 22 Nov 2026 21:15:10 GMT\r\n"
            b"Content-Type: application/json\r\nContent-Length: 27\r\n\r\n", reply.body]  # fmt: skip


@pytest.mark.parametrize("reply", [Reply(429, b"", {"Retry-After": "0"}), Reply(503)])
def test_not_now_is_tried_again(bacpack: Bacpack, service: PinningStand, folder: Path, reply: Reply) -> None:
    service.first = [("/pins", reply), ("/pins", answer(200, {"count": 0, "results": []})), ("/pins", reply)]
    bacpack.ok("publish", folder, "--to", target(service))
    assert len(service.pins) == 1


@pytest.mark.parametrize(
    "value",
    [
        {"count": 1},
        {"count": 1, "results": [{}]},
        {"count": 1, "results": [{"requestid": "../x", "status": "pinned"}]},
        {"count": 1, "results": [{"requestid": "x", "status": "pinned", "pin": {"cid": ELSEWHERE}}]},
        [],
    ],
)
def test_answers_that_no_such_service_gives(
    bacpack: Bacpack, service: PinningStand, folder: Path, value: object
) -> None:
    service.first = [("/pins", answer(200, value))]
    error = bacpack.fails(3, "target-failed", "publish", folder, "--to", target(service))
    assert target(service) in error["message"]
    assert posts(service) == 0


@pytest.mark.parametrize("origin", ["12D3KooW", "/ip4/127.0.0.1/tcp/4001", "p2p/x"])
def test_an_origin_is_a_multiaddr_of_a_peer(bacpack: Bacpack, service: PinningStand, folder: Path, origin: str) -> None:
    bacpack.fails(2, "usage", "publish", folder, "--to", target(service), "--origin", origin)


def test_configured_origins_and_token_file(bacpack: Bacpack, service: PinningStand, folder: Path) -> None:
    del bacpack.environment["BACPACK_PINNING_TOKEN"]
    (folder.parent / "token").write_text("secret\n")
    (folder.parent / "bacpack.toml").write_text(
        f'[publish]\nto = ["{target(service)}"]\norigins = ["{ORIGIN}"]\ntoken-files = {{ pinning = "token" }}\n'
    )
    done = bacpack.run("publish", ".", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert f"publishing to {target(service)}, as `{folder.parent / 'bacpack.toml'}` says" in done.stderr
    assert service.pins["request-0"]["pin"]["origins"] == [ORIGIN]  # type: ignore[index]


def test_the_mock_from_npm(bacpack: Bacpack, folder: Path, oracles: Oracles) -> None:
    """Its pins stay in the state that their name begins with."""
    line = [NODE, str(oracles.folder / "pinning.mjs"), "secret"]
    with started(line, stdout=subprocess.PIPE, text=True) as process:
        try:
            while not (found := re.match(r"port (\d+)", text := line_of(process.stdout, "the mock says its port"))):
                assert text, "the mock ended"
            port = found[1]
            url = f"pinning-service:http://127.0.0.1:{port}"
            folder.rename(folder.with_name("pinned-release"))
            folder = folder.with_name("pinned-release")
            for _ in range(2):
                assert bacpack.ok("publish", folder, "--to", url, "--origin", ORIGIN)["pins"][0]["status"] == "pinned"
            folder.rename(folder.with_name("pinning-release"))
            (folder.with_name("pinning-release") / "bacpack.json").unlink()
            folder = folder.with_name("pinning-release")
            bacpack.fails(3, "target-timeout", "publish", folder, "--to", url, "--timeout", 1)
            bacpack.environment["BACPACK_PINNING_TOKEN"] = "wrong"
            bacpack.fails(3, "target-denied", "publish", folder, "--to", url)
        finally:
            process.terminate()
