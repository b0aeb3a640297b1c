"""`bacpack inspect`: what a program needs, also when some of it is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bacpack.content.cid.cid import Cid
from bacpack.manifest import App, Manifest, SharedModule, Totals, encode_manifest
from node.harness import Command, assemble, write_release

LEAF = assemble('(module (memory (export "memory") 0) (func (export "link")))')
LEAF_CID = str(Cid.of_raw(LEAF))
SHARED = assemble(f'(module (import "{LEAF_CID}" "link" (func)) (func (export "work") (param i32)))')
SHARED_CID = str(Cid.of_raw(SHARED))
PROGRAM = assemble(f"""(module
  (import "{LEAF_CID}" "memory" (memory 0)) (import "{SHARED_CID}" "work" (func (param i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
  (export "memory" (memory 0)) (func (export "_start")))""")
OTHER = assemble(f'(module (import "{LEAF_CID}" "link" (func)) (func (export "_start")))')


def inspect(command: Command, *arguments: object) -> dict[str, Any]:
    done = command("inspect", *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def text(command: Command, *arguments: object) -> str:
    done = command("inspect", *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def write_manifest(folder: Path) -> None:
    apps = [
        App(name=name, blob=f"{name}.wasm", blob_cid=LEAF_CID, blob_bytes=1, path=f"{name}.wasm", cid=LEAF_CID, bytes=1,
            closure_bytes=1, imports=[], verified=True)
        for name in ("app", "other")
    ]  # fmt: skip
    modules = [
        SharedModule(cid=LEAF_CID, path="", bytes=len(LEAF), kind="environment", users=["app", "other"]),
        SharedModule(cid=SHARED_CID, path="", bytes=len(SHARED), kind="shared", users=["app"]),
    ]
    manifest = Manifest(apps=apps, modules=modules, totals=Totals(blob_bytes=2, split_bytes=2))
    (folder / "bacpack.json").write_bytes(encode_manifest(manifest))


def test_a_program_is_drawn_as_a_tree_with_sizes(command: Command, tmp_path: Path) -> None:
    program = write_release(tmp_path / "out", PROGRAM, LEAF, SHARED)
    whole = len(PROGRAM) + len(LEAF) + len(SHARED)
    assert (
        text(command, program)
        == f"""\
app.wasm  {Cid.of_raw(PROGRAM)}
{len(PROGRAM)} B, {whole} B with all it needs

exports: 1 memory: memory
exports: 1 function: _start
imports from wasi_snapshot_preview1: 1 function: proc_exit

app.wasm
├── {LEAF_CID}  {len(LEAF)} B
└── {SHARED_CID}  {len(SHARED)} B, {len(SHARED) + len(LEAF)} B with all it needs
    └── {LEAF_CID}  {len(LEAF)} B
"""
    )


def test_how_much_a_module_is_shared_comes_from_the_manifest(command: Command, tmp_path: Path) -> None:
    program = write_release(tmp_path / "out", PROGRAM, LEAF, SHARED)
    write_manifest(program.parent)
    drawn = text(command, program)
    assert f"{LEAF_CID}  {len(LEAF)} B, environment, used by 2 programs" in drawn
    assert "shared, used by 1 program\n" in drawn


def test_a_program_as_json(command: Command, tmp_path: Path) -> None:
    program = write_release(tmp_path / "out", PROGRAM, LEAF, SHARED)
    content = inspect(command, program)
    assert content["schema"] == 1 and content["ref"] == str(program)
    assert content["program"] == {
        "cid": str(Cid.of_raw(PROGRAM)),
        "url": None,
        "name": "app.wasm",
        "bytes": len(PROGRAM),
        "closure_bytes": len(PROGRAM) + len(LEAF) + len(SHARED),
        "imports": [LEAF_CID, SHARED_CID],
        "kind": None,
        "users": None,
        "source": "file",
        "fetched_from": str(program),
        "verified": True,
    }
    assert content["imports"][1] == {"namespace": SHARED_CID, "name": "work", "kind": "function", "type": "(i32) -> ()"}
    assert content["exports"][0] == {"name": "memory", "kind": "memory", "type": "from 0"}
    assert content["host"] == ["wasi_snapshot_preview1"]
    assert [module["cid"] for module in content["modules"]] == [LEAF_CID, SHARED_CID]
    assert content["missing"] == []


def test_a_missing_module_is_shown_in_its_place(command: Command, tmp_path: Path) -> None:
    program = write_release(tmp_path / "out", PROGRAM, SHARED)
    drawn = text(command, program)
    assert f"├── {SHARED_CID}" in drawn
    assert f"│   └── missing: {LEAF_CID} is not available" in drawn
    assert f"└── missing: {LEAF_CID} is not available" in drawn
    missing = inspect(command, program)["missing"]
    assert [(problem["code"], problem["needed_by"]) for problem in missing] == [
        ("module-not-found", ["app.wasm", SHARED_CID]),
        ("module-not-found", ["app.wasm"]),
    ]


def test_a_program_that_is_not_linked_can_be_looked_at(command: Command, tmp_path: Path) -> None:
    program = write_release(tmp_path / "out", assemble('(module (import "env" "abort" (func)))'))
    assert "└── missing: nothing provides `abort` of `env`" in text(command, program)


def test_a_folder_lists_programs_and_the_modules_they_share(command: Command, tmp_path: Path) -> None:
    program = write_release(tmp_path / "out", PROGRAM, LEAF, SHARED)
    (program.parent / "other.wasm").write_bytes(OTHER)
    content = inspect(command, program.parent)
    assert [app["name"] for app in content["apps"]] == ["app.wasm", "other.wasm"]
    assert {module["cid"]: module["users"] for module in content["modules"]} == {
        LEAF_CID: ["app.wasm", "other.wasm"],
        SHARED_CID: ["app.wasm"],
    }
    drawn = text(command, program.parent)
    assert "2: app.wasm, other.wasm" in drawn and "PROGRAM" in drawn and "MODULE" in drawn


def test_a_release_lists_the_same_from_a_folder_a_car_and_the_store(command: Command, tmp_path: Path) -> None:
    program = write_release(tmp_path / "out", PROGRAM, LEAF, SHARED)
    car = tmp_path / "release.car"
    packed = json.loads(command("pack", program.parent, "-o", car, "--json").stdout)
    assert command("fetch", car).returncode == 0

    def shown(ref: object) -> list[tuple[str, int]]:
        content = inspect(command, ref, "--offline")
        return [(module["cid"], module["bytes"]) for module in content["apps"] + content["modules"]]

    assert shown(car) == shown(packed["root"]) == shown(program.parent)
    assert len(shown(car)) == 3


def test_a_missing_module_of_a_release_is_listed(command: Command, tmp_path: Path) -> None:
    program = write_release(tmp_path / "out", OTHER)
    assert f"missing: {LEAF_CID} is not available" in text(command, program.parent)


def test_what_is_no_module_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "app.wasm").write_bytes(b"no module")
    command.fails(2, "not-wasm", "inspect", tmp_path / "app.wasm")


def test_a_reference_that_nobody_has_is_refused(command: Command) -> None:
    done = command("inspect", LEAF_CID, "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["code"] == "module-not-found"
