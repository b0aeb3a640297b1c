"""`bacpack node serve` as a process: how it starts, what it says, how it ends, what it takes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bacnode.app.serve import Address, parse_address
from bacnode.peers.identity import load_identity, peer_id_of
from bacpack.content.cid.cid import Cid
from bacpack.errors import InputError
from node.dags import Dag
from node.harness import Command
from node.serving import Node, keep
from waiting import joined, line_of, started


def test_one_line_says_where_it_is(node: Node) -> None:
    assert node.ready == {"schema": 1, "url": f"http://127.0.0.1:{node.port}", "peer_id": node.peer_id}
    assert re.fullmatch(r"12D3KooW[1-9A-HJ-NP-Za-km-z]{44}", node.peer_id)
    assert node.get("/healthz").json == {"schema": 1, "status": "ok"}
    described = node.get("/api/v1/node").json
    assert described["peer_id"] == node.peer_id


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with Node(tmp_path) as node:
        held = socket.create_connection((node.host, node.port))
        out, err = node.stop(number)
        held.close()
    assert (node.process.returncode, out, err) == (0, "", "")


def test_an_answer_under_way_is_finished_first(tmp_path: Path, dag: Dag) -> None:
    root = dag.directory({str(n): dag.raw(os.urandom(1 << 20)) for n in range(8)})
    with Node(tmp_path) as node:
        keep(node.store, dag.blocks)
        connection = node.connect()
        connection.request("GET", f"/ipfs/{root}?format=car")
        answer = connection.getresponse()
        first = answer.read(100)
        node.process.send_signal(signal.SIGTERM)
        assert len(first + answer.read()) > 8 << 20
        connection.close()
        out, err = node.process.communicate(timeout=20)
        assert (node.process.returncode, out, err) == (0, "", "")


def test_the_same_store_gives_the_same_node(tmp_path: Path) -> None:
    with Node(tmp_path) as first:
        pass
    with Node(tmp_path) as second:
        assert (second.peer_id, second.token) == (first.peer_id, first.token)
    with Node(tmp_path / "other") as other:
        assert other.peer_id != first.peer_id
        assert other.token != first.token


def test_the_store_of_the_other_commands_is_served_by_default(
    command: Command, serve: ExitStack, tmp_path: Path
) -> None:
    (tmp_path / "app.wasm").write_bytes(b"\0asm\1\0\0\0")
    published = json.loads(command("publish", tmp_path / "app.wasm", "--json").stdout)
    line = command.line("node", "serve")
    environment = {**command.environment, "BACPACK_NODE_SERVE_LISTEN": "127.0.0.1:0"}
    process = serve.enter_context(started(line, stdout=subprocess.PIPE, env=environment))
    try:
        url = json.loads(line_of(process.stdout, "the node is ready"))["url"]
        done = command("run", "--peer", url, published["apps"]["app"], env={"BACPACK_HOME": str(tmp_path / "empty")})
        # It has no `_start`: that it came is what counts.
        assert b"no-entry-point" in done.stderr, done.stderr
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_other_addresses(serve: ExitStack, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "bacpack.cli", "node", "serve", "--listen", "0.0.0.0:0", "--store", str(tmp_path)]
    process = serve.enter_context(started(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    url = json.loads(line_of(process.stdout, "the node is ready"))["url"]
    assert url.startswith("http://0.0.0.0:")
    process.terminate()
    assert "can read" in process.communicate(timeout=20)[1]
    if socket.has_ipv6:
        with Node(tmp_path, listen="[::1]:0") as node:
            assert node.url == f"http://[::1]:{node.port}"
            cid = Cid.of_raw(b"six")
            keep(node.store, {cid: b"six"})
            (found,) = node.get(f"/routing/v1/providers/{cid}").json["Providers"]
            assert found["Addrs"] == [f"/ip6/::1/tcp/{node.port}/http"]


# Mistakes


def test_what_cannot_be_used_is_said(command: Command, tmp_path: Path) -> None:
    command.fails(2, "bad-address", "node", "serve", "--listen", "nonsense")
    command.fails(2, "bad-address", "node", "serve", "--listen", "127.0.0.1:99999")
    command.fails(2, "usage", "node", "serve", "--peer", "ftp://x")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command.fails(2, "cannot-listen", "node", "serve", "--listen", f"127.0.0.1:{port}")
    (tmp_path / "file").write_bytes(b"")
    command.fails(2, "usage", "node", "serve", "--store", tmp_path / "file")


@pytest.mark.parametrize("name", ["node-token", "node-key"])
def test_secrets_that_are_none(command: Command, name: str) -> None:
    command.home.mkdir()
    path = command.home / name
    path.write_text("short\n")
    path.chmod(0o600)
    command.fails(2, f"bad-{name}", "node", "serve", "--listen", "127.0.0.1:0")
    path.chmod(0o644)
    assert str(path) in command.fails(2, "not-private", "node", "serve", "--listen", "127.0.0.1:0")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:8301", "127.0.0.1", 8301), ("[::1]:0", "::1", 0), (":80", "127.0.0.1", 80), ("a.b:1", "a.b", 1)],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)


@pytest.mark.parametrize("text", ["", "127.0.0.1", "::1:80:90", "a:", "a:b", "a:-1", "a:65536", "a:²", "\n:1"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(InputError):
        parse_address(text)


def test_which_addresses_only_this_machine_reaches() -> None:
    assert all(Address(host, 1).is_loopback for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"))
    assert not any(Address(host, 1).is_loopback for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"))


# Identity


def test_peer_ids_are_those_of_libp2p(tmp_path: Path) -> None:
    """The key of the example in the specification of peer IDs."""
    private = bytes.fromhex("7e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d")
    key = Ed25519PrivateKey.from_private_bytes(private)
    assert key.public_key().public_bytes_raw().hex().startswith("1ed1e8fae2c4a144")
    assert peer_id_of(key.public_key().public_bytes_raw()).startswith("12D3KooW")
    found = load_identity(tmp_path)
    assert load_identity(tmp_path).peer_id == found.peer_id == peer_id_of(found.key.public_key().public_bytes_raw())


def test_nodes_that_start_together_agree_on_the_secrets(tmp_path: Path) -> None:
    ids: list[str] = []

    def start() -> None:
        ids.append(load_identity(tmp_path).peer_id)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        joined(thread, "the node starts")
    assert len(ids) == 8 and len(set(ids)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["node-key"]


# Memory


def test_an_idle_node_takes_little_memory(node: Node) -> None:
    node.get("/healthz")
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    assert kilobytes * 1000 < 80e6
