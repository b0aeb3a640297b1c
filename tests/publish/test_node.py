"""Publishing to a real node of bacpack."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.collection import check_blocks
from bacpack.content.store.pins import Pins
from bacpack.manifest import MANIFEST_NAME
from content.harness import Bacpack
from node.serving import Node
from publish.releases import write_release
from publish.stand import Cut, Reply, Request, Stand, Wire


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "node") as node:
        yield node


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    write_release(folder, modules=4, module_bytes=60_000)
    return folder


@pytest.fixture
def bacpack(tmp_path: Path, node: Node) -> Bacpack:
    bacpack = Bacpack(tmp_path / "home")
    bacpack.environment["BACPACK_NODE_TOKEN"] = node.token
    return bacpack


def held(node: Node, root: str) -> bool:
    """Whether the node has pinned the root with all that belongs to it, every block sound."""
    store, cid = BlockStore(node.store), Cid.parse(root)
    assert all(found.matches(store.get(found)) for found in store)
    return Pins(node.store).get(cid) is not None and check_blocks(store, cid).missing == []


def test_a_release_is_sent_pinned_and_named(bacpack: Bacpack, node: Node, folder: Path) -> None:
    dry = bacpack.ok("publish", folder, "--to", f"node:{node.url}", "--dry-run")
    assert (dry["pins"][0]["status"], dry["new_bytes"]) == ("dry-run", dry["bytes"])
    assert list(BlockStore(node.store)) == []
    result = bacpack.ok("publish", folder, "--to", f"node:{node.url}")
    assert result["pins"] == [{"target": f"node:{node.url}", "status": "pinned", "new_bytes": result["bytes"]}]
    assert held(node, result["root"])
    pin = Pins(node.store).get(Cid.parse(result["root"]))
    assert pin is not None
    assert (pin.name, pin.mode) == ("out", "recursive")
    assert not bacpack.home.exists()
    # Another machine runs from there.
    assert Bacpack(folder.parent / "other").run("fetch", result["root"], "--peer", node.url).returncode == 0


def test_a_repeated_publish_sends_nothing_and_a_changed_one_what_is_new(
    bacpack: Bacpack, node: Node, folder: Path, tmp_path: Path
) -> None:
    with Wire(node.port) as wire:
        first = bacpack.ok("publish", folder, "--to", f"node:{wire.url}")
        assert wire.up > first["bytes"]
        before = wire.up
        assert bacpack.ok("publish", folder, "--to", f"node:{wire.url}")["new_bytes"] == 0
        assert wire.up - before < 1000
        write_release(tmp_path / "next", modules=5, module_bytes=60_000)
        (tmp_path / "next" / MANIFEST_NAME).unlink()
        before = wire.up
        second = bacpack.ok("publish", tmp_path / "next", "--to", f"node:{wire.url}")
        assert 60_000 < second["new_bytes"] < wire.up - before < 70_000
    assert held(node, second["root"])
    # Blocks that are there and not pinned are pinned, not sent.
    Pins(node.store).remove(Cid.parse(second["root"]))
    assert bacpack.ok("publish", tmp_path / "next", "--to", f"node:{node.url}")["new_bytes"] == 0
    assert held(node, second["root"])


def test_without_the_right_token_nothing_is_taken(bacpack: Bacpack, node: Node, folder: Path) -> None:
    bacpack.environment["BACPACK_NODE_TOKEN"] = "wrong-token"
    error = bacpack.fails(3, "target-denied", "publish", folder, "--to", f"node:{node.url}")
    assert "wrong-token" not in str(error)
    del bacpack.environment["BACPACK_NODE_TOKEN"]
    error = bacpack.fails(3, "target-denied", "publish", folder, "--to", f"node:{node.url}")
    assert "BACPACK_NODE_TOKEN" in error["hint"]
    assert "--token-file node=FILE" in error["hint"]
    assert list(BlockStore(node.store)) == []
    bacpack.ok("publish", folder, "--to", f"node:{node.url}", "--token-file", f"node={node.store / 'node-token'}")


@pytest.mark.parametrize("cut", [Cut(up=400), Cut(up=120_000), Cut(down=0), Cut(down=700)])
def test_a_connection_that_is_cut_is_made_again(bacpack: Bacpack, node: Node, folder: Path, cut: Cut) -> None:
    with Wire(node.port, [cut]) as wire:
        result = bacpack.ok("publish", folder, "--to", f"node:{wire.url}")
    assert wire.connections > 1
    assert held(node, result["root"])


def test_connections_that_are_always_cut_end_in_an_error_and_the_next_run_completes(
    bacpack: Bacpack, node: Node, folder: Path
) -> None:
    with Wire(node.port, always=Cut(up=100_000)) as wire:
        bacpack.fails(3, "target-unreachable", "publish", folder, "--to", f"node:{wire.url}")
    assert Pins(node.store).all() == []
    result = bacpack.ok("publish", folder, "--to", f"node:{node.url}")
    assert held(node, result["root"])


def test_a_node_whose_disk_is_full(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk: writing fails midway all the same."""
    folder = tmp_path / "out"
    write_release(folder, modules=2, module_bytes=900_000)
    bacpack = Bacpack(tmp_path / "home")
    with Node(tmp_path / "node") as node:
        bacpack.environment["BACPACK_NODE_TOKEN"] = node.token
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        error = bacpack.fails(3, "target-failed", "publish", folder, "--to", f"node:{node.url}")
        assert f"node:{node.url}" in error["message"]
        assert Pins(node.store).all() == []
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert held(node, bacpack.ok("publish", folder, "--to", f"node:{node.url}")["root"])


def test_blocks_that_are_collected_before_the_pin_are_sent_again(bacpack: Bacpack, node: Node, folder: Path) -> None:
    """The node says that it has a block, and has it no more when the root is to be pinned."""
    bacpack.ok("publish", folder, "--to", f"node:{node.url}")
    store = BlockStore(node.store)
    root = Cid.parse(bacpack.ok("publish", folder, "--dry-run")["root"])
    Pins(node.store).remove(root)
    lost = list(store)[:3]

    class Between(Stand):
        """Passes requests on, and takes blocks away before the first pin."""

        def reply(self, request: Request) -> Reply:
            if request.method == "PUT" and self.count("PUT", request.path) == 1:
                for cid in lost:
                    # As if by a collection; a real one waits until the node has pinned what it was sent.
                    store.path(cid).unlink()
            kept = {name: value for name, value in request.headers.items() if name != "transfer-encoding"}
            answer = node.ask(request.method, request.path, request.body, headers=kept)
            return Reply(answer.status, answer.body, {"Content-Type": "application/json"})

    with Between() as between:
        result = bacpack.ok("publish", folder, "--to", f"node:{between.url}")
    assert result["new_bytes"] > 0
    assert between.count("PUT", f"/api/v1/pins/{root}") == 2
    assert held(node, str(root))


@pytest.mark.parametrize("answer", [Reply(404), Reply(200, b"{}"), Reply(200, b'{"missing": ["x"]}')])
def test_what_is_no_node_is_named(bacpack: Bacpack, folder: Path, answer: Reply) -> None:
    class Other(Stand):
        def reply(self, request: Request) -> Reply:
            return Reply(404) if request.method == "GET" else answer

    with Other() as other:
        error = bacpack.fails(3, "target-failed", "publish", folder, "--to", f"node:{other.url}")
        assert "no node of bacpack" in error["message"]


def test_a_large_release_is_sent_in_parts(bacpack: Bacpack, node: Node, folder: Path) -> None:
    """With limits that are small enough to be reached here; the node's own are far above."""
    start = "import bacpack.publish.targets.node as n; n.MAX_CAR_BYTES, n.MAX_CAR_BLOCKS, n.MAX_CIDS = 100_000, 4, 3"
    line = [sys.executable, "-c", f"{start}\nfrom bacpack.cli import main; main()"]
    with Wire(node.port) as wire:
        done = subprocess.run(
            [*line, "publish", str(folder), "--to", f"node:{wire.url}", "--json"],
            env={**os.environ, **bacpack.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stdout
    assert held(node, bacpack.ok("publish", folder, "--dry-run")["root"])
