"""Modules that jobs may use and nobody may have."""

from __future__ import annotations

import io
import random
from itertools import product
from pathlib import Path

import pytest

from bacpack.content.cid.cid import DAG_PB, Cid
from bacpack.content.ipld.dag_pb import Link, encode_node
from bacpack.content.store.block_store import BlockStore
from bacpack.content.unixfs.writer import build_file
from node.harness import Command
from node.jobs import programs
from node.jobs.harness import JobNode
from node.serving import keep

SECRET = programs.library(42)
CID = Cid.of_raw(SECRET)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret.wasm"
    path.write_bytes(SECRET)
    return path


def directory() -> tuple[Cid, bytes]:
    """A folder that names the module."""
    block = encode_node(b"\x08\x01", [Link(CID, "secret.wasm", len(SECRET))])
    return Cid.of_block(DAG_PB, block), block


def test_it_is_used_and_advertised_and_not_served(folder: Path, file: Path) -> None:
    with JobNode(folder, "--proprietary", file) as node:
        assert node.run(programs.user_of(str(CID)))["exit_code"] == 42
        (entry,) = [one for one in node.get("/api/v1/modules").json["modules"] if one["cid"] == str(CID)]
        assert (entry["proprietary"], entry["names"], entry["uses"]) == (True, ["secret.wasm"], 1)
        assert (entry["origin"], entry["pinned"]) == ("file", False)
        assert node.post("/api/v1/bids", {"modules": [str(CID)]}).json["can_run"]
        (record,) = node.get(f"/routing/v1/providers/{CID}").json["Providers"]
        assert (record["ID"], record["Protocols"]) == (node.peer_id, ["bacpack-jobs"])
        usable = node.get(f"/routing/v1/providers/{CID}?filter-protocols=transport-ipfs-gateway-http").json
        assert usable == {"Providers": []}


def test_no_form_of_asking_gets_it(folder: Path, file: Path) -> None:
    queries = ("?format=raw", "?format=car", "?format=car&dag-scope=block", "")
    given: tuple[dict[str, str], ...] = (
        {},
        {"Accept": "application/vnd.ipld.raw"},
        {"Cache-Control": "only-if-cached"},
    )
    spellings = (str(CID), "B" + str(CID)[1:].upper(), "f" + bytes(CID).hex())
    with JobNode(folder, "--proprietary", file) as node:
        for text, query, method, headers in product(spellings, queries, ("GET", "HEAD"), given):
            answer = node.ask(method, f"/ipfs/{text}{query}", headers=headers)
            assert answer.status in (400, 404, 412), (text, query, method, headers, answer)
            assert SECRET not in answer.body
            # Neither is its size told.
            assert answer.headers.get("content-length") != str(len(SECRET))
        assert node.get(f"/ipfs/{CID}?format=raw", If_None_Match="*").status == 404


def test_a_folder_that_holds_it_is_not_served_whole(folder: Path, file: Path) -> None:
    cid, block = directory()
    keep(folder, {cid: block, CID: SECRET})
    with JobNode(folder, "--proprietary", file) as node:
        assert node.get(f"/ipfs/{cid}?format=raw").body == block
        assert node.get(f"/ipfs/{cid}/secret.wasm?format=car").status == 404
        try:
            whole = node.get(f"/ipfs/{cid}?format=car").body
        except Exception:
            whole = b""
        assert SECRET not in whole
        # The program is found by the folder all the same, by those who may only run it.
        job = node.run(f"{cid}/secret.wasm", invoke="number")
        assert (job["state"], job["results"]) == ("done", ["42"])


def test_what_was_in_the_store_is_moved_out_of_it(folder: Path) -> None:
    keep(folder, {CID: SECRET})
    with JobNode(folder, "--proprietary", CID) as node:
        assert node.get(f"/ipfs/{CID}?format=raw").status == 404
        assert not BlockStore(folder).has(CID)
        assert node.run(programs.user_of(str(CID)))["exit_code"] == 42
    # It stays so when it is not named again.
    with JobNode(folder) as node:
        assert node.get(f"/ipfs/{CID}?format=raw").status == 404
        assert node.run(programs.user_of(str(CID)))["exit_code"] == 42
    command = Command(folder)
    for line in (
        ("pack", CID, "-o", folder / "x.car"),
        ("pin", "add", CID),
        ("publish", CID, "--car", folder / "y.car"),
    ):
        done = command(*line)
        assert done.returncode and SECRET not in done.stdout, line


def test_it_is_not_taken_in_again(folder: Path, file: Path) -> None:
    cid, block = directory()
    with JobNode(folder, "--proprietary", file) as node:
        answer = node.upload(cid, {cid: block, CID: SECRET})
        assert (answer.status, answer.code) == (403, "proprietary-module")
        assert node.get(f"/ipfs/{CID}?format=raw").status == 404
        pinned = node.post(f"/api/v1/pins/{CID}", {"name": "x"}, method="PUT")
        assert pinned.status >= 400
    # Nor is a copy served that another command has put into the store.
    keep(folder, {CID: SECRET, cid: block})
    with JobNode(folder) as node:
        assert node.get(f"/ipfs/{CID}?format=raw").status == 404
        assert node.get(f"/ipfs/{cid}/secret.wasm?format=car").status == 404


def test_jobs_are_not_given_it_to_read(folder: Path, file: Path) -> None:
    cid, block = directory()
    with JobNode(folder, "--proprietary", file) as node:
        keep(folder, {cid: block})
        for more in ({"files": [{"path": "in", "cid": str(CID)}], "outputs": ["in"]}, {"stdin": {"cid": str(CID)}}):
            job = node.run(programs.copier(), **more)
            assert (job["state"], job["error"]["code"]) == ("failed", "proprietary-module")
        # Nothing of the job's folder holds it, either.
        for path in (folder / "jobs").rglob("*"):
            assert not path.is_file() or SECRET not in path.read_bytes()


def test_one_of_many_blocks_is_kept_whole(folder: Path, tmp_path: Path) -> None:
    # A custom section makes it as large as several blocks.
    noise = random.Random(1).randbytes(3 << 20)
    size = len(noise) + 2
    length = bytes([0x80 | size & 0x7F, 0x80 | size >> 7 & 0x7F, 0x80 | size >> 14 & 0x7F, size >> 21])
    module = SECRET + b"\0" + length + b"\x01x" + noise
    path = tmp_path / "large.wasm"
    path.write_bytes(module)
    blocks: dict[Cid, bytes] = {}
    root = build_file(io.BytesIO(module), blocks.setdefault).cid
    assert len(blocks) > 2
    keep(folder, blocks)
    with JobNode(folder, "--proprietary", path) as node:
        for cid in blocks:
            assert node.get(f"/ipfs/{cid}?format=raw").status == 404
        assert node.run(programs.user_of(str(root)))["exit_code"] == 42


def test_another_node_says_who_runs_it(tmp_path: Path, file: Path) -> None:
    with (
        JobNode(tmp_path / "a", "--proprietary", file) as owner,
        JobNode(tmp_path / "b", "--peer", owner.url) as other,
    ):
        program = programs.user_of(str(CID))
        job = other.run(program)
        assert (job["state"], job["error"]["code"]) == ("failed", "proprietary-module")
        assert job["error"]["details"] == {"cid": str(CID), "node": owner.peer_id, "url": owner.url}
        assert owner.run(program)["exit_code"] == 42
        bid = other.post("/api/v1/bids", {"ref": other.add(program)}).json
        assert (bid["can_run"], bid["missing"], bid["missing_bytes"]) == (False, [str(CID)], None)


def test_its_processes_leave_no_core_and_its_files_are_private(folder: Path, file: Path) -> None:
    with JobNode(folder, "--proprietary", file) as node:
        node.run(programs.user_of(str(CID)))
        for pid in node.children():
            limits = Path(f"/proc/{pid}/limits").read_text()
            (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
            assert core.split()[4:6] == ["0", "0"]
        for name in ("proprietary", "cache/compiled", "cache/compiled-key", "jobs"):
            assert (folder / name).stat().st_mode & 0o077 == 0, name
