"""What others make of the CARs that we write, by each way that one is written, and what a node makes of theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bacpack.content.cid.cid import Cid
from content.harness import Bacpack, Oracles
from node.dags import MULTIBLOCK, Dag
from node.serving import Node, keep


@pytest.fixture(scope="session")
def oracles() -> Oracles:
    return Oracles()


@pytest.fixture
def bacpack(tmp_path: Path) -> Bacpack:
    return Bacpack(tmp_path / "home")


def read(oracles: Oracles, path: Path, root: Cid) -> list[str]:
    """The blocks of a CAR as `@ipld/car` lists them, and `ipfs-car`, which checks their hashes."""
    listed = oracles.ask("read", path)
    assert "error" not in listed, listed
    assert (listed["version"], listed["roots"]) == (1, [str(root)])
    blocks: list[str] = [cid for cid, _ in listed["blocks"]]
    checked = oracles.ipfs_car("blocks", path)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.split() == blocks
    return blocks


def unpacked(oracles: Oracles, path: Path, folder: Path) -> dict[str, bytes]:
    done = oracles.ipfs_car("unpack", path, "--output", folder)
    assert done.returncode == 0, done.stderr
    if folder.is_file():
        return {"": folder.read_bytes()}
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_cars_of_a_gateway(served: Node, oracles: Oracles, dag: Dag, tmp_path: Path) -> None:
    files = {f"{number}.txt": b"%d" % number * 50 for number in range(300)}
    large = dag.file(MULTIBLOCK)[0]
    sharded = dag.shard({**{name: dag.raw(data) for name, data in files.items()}, "large": large})
    root = dag.directory({"sharded": sharded, "large": large, "again": large})
    keep(served.store, dag.blocks)
    for name, query, whole in (
        ("once", "format=car", len(dag.blocks)),
        ("repeated", "format=car&car-dups=y", len(dag.blocks) + 2 * 6),
    ):
        path = tmp_path / f"{name}.car"
        path.write_bytes(served.get(f"/ipfs/{root}?{query}").body)
        blocks = read(oracles, path, root)
        assert len(blocks) == whole
        assert set(blocks) == set(map(str, dag.blocks))
        expected = {f"sharded/{file}": data for file, data in files.items()}
        expected |= dict.fromkeys(("sharded/large", "large", "again"), MULTIBLOCK)
        assert unpacked(oracles, path, tmp_path / name) == expected
    path = tmp_path / "file.car"
    path.write_bytes(served.get(f"/ipfs/{large}?format=car&dag-scope=entity").body)
    read(oracles, path, large)
    assert unpacked(oracles, path, tmp_path / "file") == {"": MULTIBLOCK}


def test_cars_of_the_commands(bacpack: Bacpack, oracles: Oracles, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    (folder / "below").mkdir(parents=True)
    contents = {"empty": b"", "below/small": b"small", "below/large.bin": bytes(range(251)) * 10_000}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    packed = bacpack.ok("pack", folder, "-o", tmp_path / "packed.car")
    published = bacpack.ok("publish", folder, "--to", f"car:{tmp_path / 'published.car'}")
    assert packed["root"] == published["root"]
    for name in ("packed", "published"):
        path = tmp_path / f"{name}.car"
        assert len(read(oracles, path, Cid.parse(packed["root"]))) == packed["blocks"]
        assert unpacked(oracles, path, tmp_path / name) == contents


def test_a_node_takes_their_cars_and_has_the_same_cids(node: Node, oracles: Oracles, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    contents = {"a.wasm": b"\0asm\1\0\0\0", "large.bin": bytes(range(251)) * 10_000}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    path = tmp_path / "theirs.car"
    root = oracles.ipfs_car("pack", folder, "--no-wrap", "--output", path).stdout.strip()
    answer = node.upload_bytes(path.read_bytes())
    assert answer.status == 200, answer.body
    assert answer.json["blocks"] == len(oracles.ask("read", path)["blocks"])
    assert node.post(f"/api/v1/pins/{root}", {"name": "theirs"}, method="PUT").status == 200
    ours = tmp_path / "ours.car"
    ours.write_bytes(node.get(f"/ipfs/{root}?format=car").body)
    assert unpacked(oracles, ours, tmp_path / "out") == contents
    assert Bacpack(tmp_path / "other").ok("pack", folder, "-o", tmp_path / "again.car")["root"] == root


def test_they_refuse_a_car_of_a_gateway_in_which_a_bit_is_flipped(
    served: Node, oracles: Oracles, dag: Dag, tmp_path: Path
) -> None:
    root = dag.directory({"file": dag.raw(b"content that matters")})
    keep(served.store, dag.blocks)
    body = bytearray(served.get(f"/ipfs/{root}?format=car").body)
    body[-1] ^= 1
    path = tmp_path / "flipped.car"
    path.write_bytes(body)
    assert oracles.ipfs_car("unpack", path, "--output", tmp_path / "out").returncode != 0
    assert json.dumps(oracles.ask("read", path)), "its structure is sound"
