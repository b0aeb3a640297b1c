"""Against a real Kubo, where `make interop` says that there is one: a repository of its own, offline, on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx2
import pytest

from bacpack.content.car import car_chunks
from bacpack.manifest import MANIFEST_NAME
from commands import command
from content.harness import Bacpack, node, raw
from publish.kubo_stand import KuboStand
from publish.releases import write_release
from waiting import PATIENCE, line_of, started, until
from wanting import KUBO, skip

#: Set by `make interop`: a daemon is not started only because somebody happens to have one installed.
INTEROP = "BACPACK_INTEROP"

if not os.environ.get(INTEROP):
    skip(*KUBO, module=True)


class Daemon:
    """`ipfs daemon` without network: the profile `test` has no peers to start from and listens on loopback only."""

    def __init__(self, folder: Path, config: Mapping[str, object] | None = None) -> None:
        self.environment = {**os.environ, "IPFS_PATH": str(folder)}
        if not folder.exists():
            self.run("init", "--profile=test")
        assert self.run("bootstrap", "list").stdout == ""
        for key, value in (config or {}).items():
            self.run("config", "--json", key, json.dumps(value))
        line = ["ipfs", "daemon", "--offline"]
        self.process = subprocess.Popen(
            line, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        lines: list[str] = []
        while not lines or "Daemon is ready" not in lines[-1]:
            lines.append(line_of(self.process.stdout, "the daemon is ready"))
            assert lines[-1], "".join(lines)
        _, _, host, _, port = (folder / "api").read_text().strip().split("/")
        self.url = f"http://{host}:{port}"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["ipfs", *arguments], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    def output(self, *arguments: str) -> bytes:
        return subprocess.run(["ipfs", *arguments], env=self.environment, capture_output=True, check=True).stdout

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    assert shutil.which("ipfs"), "`ipfs` is not on the PATH"
    daemon = Daemon(tmp_path_factory.mktemp("kubo") / "repo")
    yield daemon
    daemon.stop()


def write(folder: Path, modules: int, seed: int) -> None:
    write_release(folder, modules=modules, module_bytes=1_300_000, seed=seed)
    (folder / MANIFEST_NAME).unlink()


def test_a_release_arrives_whole_pinned_and_named(bacpack: Bacpack, daemon: Daemon, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    write_release(folder, module_bytes=1_300_000)
    result = bacpack.ok("publish", folder, "--to", f"kubo:{daemon.url}", "--car", tmp_path / "ours.car")
    root = result["root"]
    assert result["new_bytes"] == result["bytes"]
    assert f"{root} recursive one" in daemon.run("pin", "ls", "--type=recursive", "--names").stdout
    assert daemon.run("pin", "verify").stdout == ""
    assert daemon.output("cat", f"{root}/app-0.wasm") == (folder / "app-0.wasm").read_bytes()
    assert daemon.output("dag", "export", root) == (tmp_path / "ours.car").read_bytes()
    # Garbage collection leaves it.
    daemon.run("repo", "gc")
    assert daemon.output("dag", "export", root) == (tmp_path / "ours.car").read_bytes()


def test_a_repeated_publish_sends_nothing(bacpack: Bacpack, daemon: Daemon, tmp_path: Path) -> None:
    write(tmp_path / "two", 2, seed=2)
    assert bacpack.ok("publish", tmp_path / "two", "--to", f"kubo:{daemon.url}")["new_bytes"] > 0
    again = bacpack.ok("publish", tmp_path / "two", "--to", f"kubo:{daemon.url}")
    assert again["new_bytes"] == 0
    assert again["pins"][0]["status"] == "pinned"
    # What is there and not pinned is pinned, under its name.
    daemon.run("pin", "rm", again["root"])
    assert bacpack.ok("publish", tmp_path / "two", "--to", f"kubo:{daemon.url}")["new_bytes"] == 0
    assert f"{again['root']} recursive two" in daemon.run("pin", "ls", "--type=recursive", "--names").stdout


def test_only_what_is_new_is_sent(bacpack: Bacpack, daemon: Daemon, tmp_path: Path) -> None:
    write(tmp_path / "three", 2, seed=3)
    first = bacpack.ok("publish", tmp_path / "three", "--to", f"kubo:{daemon.url}")
    write(tmp_path / "four", 3, seed=3)
    dry = bacpack.ok("publish", tmp_path / "four", "--to", f"kubo:{daemon.url}", "--dry-run")
    second = bacpack.ok("publish", tmp_path / "four", "--to", f"kubo:{daemon.url}")
    assert second["new_bytes"] == dry["new_bytes"]
    assert 1_300_000 < second["new_bytes"] < 1_310_000 < first["bytes"]
    # Two blocks were collected in between.
    daemon.run("pin", "rm", first["root"], second["root"])
    lost = daemon.run("refs", "-r", "--unique", second["root"]).stdout.split()[-2:]
    daemon.run("block", "rm", *lost)
    mended = bacpack.ok("publish", tmp_path / "four", "--to", f"kubo:{daemon.url}")
    assert 0 < mended["new_bytes"] < second["bytes"]
    assert daemon.run("pin", "verify").stdout == ""


def test_ipfs_add_computes_the_same_root(bacpack: Bacpack, daemon: Daemon, tmp_path: Path) -> None:
    write(tmp_path / "five", 2, seed=5)
    root = bacpack.ok("publish", tmp_path / "five", "--dry-run")["root"]
    options = ("--cid-version=1", "--chunker=size-1048576", "--max-file-links=1024", "--raw-leaves")
    added = daemon.run("add", "-r", "-Q", "--pin=false", *options, str(tmp_path / "five")).stdout.strip()
    assert added == root


def test_a_token_is_asked_for(bacpack: Bacpack, tmp_path: Path) -> None:
    secrets = {
        "one": {"AuthSecret": "basic:user:pass", "AllowedPaths": ["/api/v0"]},
        "two": {"AuthSecret": "bearer:word", "AllowedPaths": ["/api/v0"]},
    }
    daemon = Daemon(tmp_path / "repo", {"API.Authorizations": secrets})
    try:
        write(tmp_path / "six", 1, seed=6)
        target = ("publish", tmp_path / "six", "--to", f"kubo:{daemon.url}")
        bacpack.fails(3, "target-denied", *target)
        bacpack.environment["BACPACK_KUBO_TOKEN"] = "wrong"
        bacpack.fails(3, "target-denied", *target)
        for token in ("basic:user:pass", "bearer:word", "word"):
            bacpack.environment["BACPACK_KUBO_TOKEN"] = token
            assert bacpack.ok(*target)["pins"][0]["status"] == "pinned"
    finally:
        daemon.stop()


def test_a_daemon_that_is_killed_while_it_imports(bacpack: Bacpack, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "repo")
    write(tmp_path / "seven", 12, seed=7)
    line = command("publish", tmp_path / "seven", "--to", f"kubo:{daemon.url}", "--json")
    with started(line, env=bacpack.environment, stdout=subprocess.PIPE, text=True) as process:
        blocks = tmp_path / "repo" / "blocks"
        before = len(list(blocks.rglob("*.data")))
        is_far = lambda: process.poll() is not None or len(list(blocks.rglob("*.data"))) >= before + 3  # noqa: E731
        until(is_far, "three blocks came", pause=0.001)
        daemon.process.kill()
        daemon.process.communicate(timeout=PATIENCE)
        out, _ = process.communicate(timeout=60)
    if process.returncode != 0:
        assert process.returncode == 3
        assert json.loads(out)["error"]["code"] in ("target-unreachable", "target-failed")
    again = Daemon(tmp_path / "repo")
    try:
        root = bacpack.ok("publish", tmp_path / "seven", "--to", f"kubo:{again.url}")["root"]
        assert f"{root} recursive seven" in again.run("pin", "ls", "--type=recursive", "--names").stdout
        assert again.run("pin", "verify").stdout == ""
    finally:
        again.stop()


# The stand-in


ABSENT = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
LEAF = raw(b"never added by itself")
ROOT = node({"x": LEAF[0]})
PART = b"".join(car_chunks([ROOT[0]], [ROOT]))
WHOLE = b"".join(car_chunks([ROOT[0]], [ROOT, LEAF]))
CHANGED = b"".join(car_chunks([ROOT[0]], [ROOT, (LEAF[0], b"changed on the way...")]))


@pytest.mark.parametrize(
    ("method", "call", "car"),
    [
        ("GET", "version", None),
        ("POST", "nothing", None),
        ("POST", f"pin/ls?arg={ABSENT}&type=recursive", None),
        ("POST", f"block/stat?arg={ABSENT}&offline=true", None),
        ("POST", f"pin/add?arg={ABSENT}&recursive=true&name=x&offline=true", None),
        ("POST", "dag/import?pin-roots=true&stats=true", PART),
        ("POST", "dag/import?pin-roots=true&stats=true", CHANGED),
        ("POST", "dag/import?pin-roots=true&stats=true", WHOLE),
        ("POST", f"pin/ls?arg={ROOT[0]}&type=recursive", None),
        ("POST", f"pin/add?arg={ROOT[0]}&recursive=true&name=x&offline=true", None),
        ("POST", f"block/stat?arg={LEAF[0]}&offline=true", None),
    ],
)
def test_the_stand_in_answers_as_kubo_does(daemon: Daemon, method: str, call: str, car: bytes | None) -> None:
    """Status, type and content, after the same calls before."""
    with KuboStand() as stand:
        if str(ROOT[0]) in call or str(LEAF[0]) in call:
            stand.blocks |= {ROOT[0]: ROOT[1], LEAF[0]: LEAF[1]}
            stand.pins[ROOT[0]] = ""
        answers = []
        for url in (daemon.url, stand.url):
            files = {"file": ("x.car", car, "application/octet-stream")} if car else None
            answer = httpx2.request(method, f"{url}/api/v0/{call}", files=files, trust_env=False)
            text = answer.text.replace("pin: ipld", "pin: block was not found locally (offline): ipld")
            lines = [json.loads(line) for line in text.splitlines()] if text.startswith("{") else [text.strip()]
            for line in lines:
                if isinstance(line, dict) and "import failed" in line.get("Message", ""):
                    line["Message"] = "import failed"
            answers.append((answer.status_code, answer.headers.get("Content-Type", "").partition(";")[0], lines))
    assert answers[1][0] == answers[0][0]
    assert answers[1][2] == answers[0][2]
    if answers[0][0] != 405:
        assert answers[1][1] == answers[0][1]
