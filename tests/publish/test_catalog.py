"""`publish --catalog`: what the next programs are split with, without the programs that it came from."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.links import read_dag
from bacpack.content.store.block_store import BlockStore
from bacpack.content.unixfs.reader import walk_files
from content.harness import Bacpack
from corpus import rust_programs
from node.server import FileServer
from publish.kubo_stand import KuboStand
from publish.releases import write_release

RUST = rust_programs()
NEXT = RUST["checksum"]
EARLIER = [RUST[name] for name in ("logsearch", "wordcount", "csvsum")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of our programs, split together."""
    folder = tmp_path_factory.mktemp("earlier")
    Bacpack(folder / "home").ok("split", *EARLIER, "-o", folder / "out")
    return folder / "out"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_holds_the_modules_and_the_catalog_alone(bacpack: Bacpack, folder: Path) -> None:
    whole = bacpack.ok("publish", folder)
    result = bacpack.ok("publish", folder, "--catalog")
    files = dict(walk_files(BlockStore(bacpack.home).get, Cid.parse(result["root"])))
    manifest = json.loads((folder / "bacpack.json").read_bytes())
    assert {path: str(cid) for path, cid in files.items()} == {
        entry["path"]: entry["cid"] for entry in [*manifest["modules"], *manifest["catalog"]]
    }
    assert result["apps"] == {}
    assert result["root"] != whole["root"]
    assert [pin["name"] for pin in bacpack.ok("pin", "ls")["pins"]] == ["out", "out-catalog"]
    # The release has all of it but the directory that is the root.
    assert 0 < result["new_bytes"] < 200
    assert bacpack.ok("publish", folder, "--catalog")["new_bytes"] == 0
    done = bacpack.run("publish", folder, "--catalog")
    assert done.stderr == f"next: bacpack split NEXT.wasm --catalog {result['root']}\n"


def test_a_split_elsewhere_fetches_what_it_needs_of_it(bacpack: Bacpack, folder: Path, tmp_path: Path) -> None:
    """Each block once, and only of modules that are used: counted at the server."""
    published = bacpack.ok("publish", folder, "--catalog")
    root = published["root"]
    other = Bacpack(tmp_path / "other")
    with FileServer() as server:
        sizes = {}
        for cid, block in read_dag(BlockStore(bacpack.home).get, [Cid.parse(root)]):
            server.put_block(str(cid), block)
            sizes[f"/ipfs/{cid}?format=raw"] = len(block)
        result = other.ok("split", NEXT, "--catalog", root, "--peer", server.url, "-o", tmp_path / "with")
        asked = Counter(path for path, _ in server.requests if path in sizes)
    local = bacpack.ok("split", NEXT, "--catalog", folder, "-o", tmp_path / "local")
    assert contents(tmp_path / "with") == contents(tmp_path / "local")
    reused = {module["cid"] for module in local["modules"] if module["reused"]}
    assert reused
    assert all(f"/ipfs/{cid}?format=raw" in asked for cid in reused)
    # The root is asked for once more, to see whether it is a program.
    assert set(asked.values()) <= {1, 2}
    assert len(asked) < len(sizes)
    fetched = sum(sizes[path] for path in asked)
    unused = {module["cid"] for module in json.loads((folder / "bacpack.json").read_bytes())["modules"]} - reused
    assert fetched < published["bytes"]
    assert any(f"/ipfs/{cid}?format=raw" not in asked for cid in unused)
    assert {module["cid"] for module in result["modules"] if module["reused"]} == reused


def test_it_goes_to_every_target(bacpack: Bacpack, folder: Path, tmp_path: Path) -> None:
    with KuboStand() as kubo:
        targets = ("--to", f"kubo:{kubo.url}", "--to", f"car:{tmp_path / 'catalog.car'}")
        result = bacpack.ok("publish", folder, "--catalog", *targets)
        assert kubo.pins == {Cid.parse(result["root"]): "out-catalog"}
        programs = {Cid.of_raw((folder / blob.name).read_bytes()) for blob in EARLIER}
        assert not programs & kubo.blocks.keys()
    local = bacpack.ok("split", NEXT, "--catalog", tmp_path / "catalog.car", "-o", tmp_path / "out")
    assert any(module["reused"] for module in local["modules"])


def test_a_release_without_a_catalog(bacpack: Bacpack, tmp_path: Path) -> None:
    write_release(tmp_path / "out")
    bacpack.fails(2, "no-catalog", "publish", tmp_path / "out", "--catalog")
    bacpack.fails(2, "no-catalog", "publish", NEXT, "--catalog")
    assert not bacpack.home.exists()
