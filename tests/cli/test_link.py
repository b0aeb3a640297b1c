"""`bacpack link`: import namespaces become CIDs, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bacpack.content.cid import Cid
from bacpack.link import link_imports
from bacpack.wasm import Module, SectionId
from node.harness import Command, assemble

LIBRARY = assemble('(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))')
LIBRARY_CID = str(Cid.of_raw(LIBRARY))
BLOB = assemble("""(module (@custom "before" "x") (import "math" "add" (func $add (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (import "other" "g" (global i32))
  (memory (export "memory") 1) (func (export "_start") (call $exit (call $add (i32.const 3) (i32.const 4)))))""")
LINKABLE = assemble("""(module (import "math" "add" (func $add (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1) (func (export "_start") (call $exit (call $add (i32.const 3) (i32.const 4)))))""")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "app.wasm").write_bytes(BLOB)
    (tmp_path / "linkable.wasm").write_bytes(LINKABLE)
    (tmp_path / "math.wasm").write_bytes(LIBRARY)
    return tmp_path


def test_only_the_import_section_changes() -> None:
    linked = link_imports("app.wasm", BLOB, {"math": LIBRARY_CID})
    before, after = Module.parse(BLOB), Module.parse(linked.data)
    assert [(entry.module, entry.name, entry.type) for entry in after.imports] == [
        (LIBRARY_CID if entry.module == "math" else entry.module, entry.name, entry.type) for entry in before.imports
    ]

    def others(module: Module) -> list[bytes]:
        sections = (section for section in module.sections if section.id != SectionId.IMPORT)
        return [module.data[section.start : section.end] for section in sections]

    assert others(after) == others(before)
    assert linked.namespaces == [LIBRARY_CID, "wasi_snapshot_preview1", "other"]


def test_nothing_to_map_changes_nothing() -> None:
    assert link_imports("app.wasm", BLOB, {}).data == BLOB


def test_a_blob_and_its_library_run_once_linked(command: Command, files: Path) -> None:
    done = command("link", "linkable.wasm", "--map", "math=math.wasm", "-o", "out/app.wasm", cwd=files)
    assert done.returncode == 0
    assert f"math -> {LIBRARY_CID}" in done.stdout.decode()
    assert b"`bacpack publish math.wasm`" in done.stderr
    assert command("run", "out/app.wasm", cwd=files).returncode == 3
    assert command("publish", "math.wasm", cwd=files).returncode == 0
    assert command("run", "out/app.wasm", cwd=files).returncode == 7


def test_json_says_what_is_linked_and_what_is_not(command: Command, files: Path) -> None:
    done = command("link", "app.wasm", "--map", f"math=ipfs://{LIBRARY_CID}", "--json", cwd=files)
    linked = (files / "app.linked.wasm").read_bytes()
    assert json.loads(done.stdout) == {
        "schema": 1,
        "path": "app.linked.wasm",
        "cid": str(Cid.of_raw(linked)),
        "bytes": len(linked),
        "linked": {"math": LIBRARY_CID},
        "unlinked": ["other"],
    }


@pytest.mark.parametrize(
    ("ref", "namespace"),
    [
        (LIBRARY_CID, LIBRARY_CID),
        (f"{LIBRARY_CID}/a/b.wasm", f"{LIBRARY_CID}/a/b.wasm"),
        ("https://example.org/math.wasm", "https://example.org/math.wasm"),
        ("math.wasm", LIBRARY_CID),
    ],
)
def test_what_a_name_can_be_mapped_to(command: Command, files: Path, ref: str, namespace: str) -> None:
    done = command("link", "app.wasm", "--map", f"math={ref}", "--json", cwd=files)
    assert json.loads(done.stdout)["linked"] == {"math": namespace}


def test_a_name_that_the_blob_does_not_import_is_refused(command: Command, files: Path) -> None:
    text = command.fails(2, "no-such-namespace", "link", "app.wasm", "--map", "maths=math.wasm", cwd=files)
    assert "`app.wasm` imports nothing from `maths`" in text
    assert "it imports from `math`, `wasi_snapshot_preview1`, `other`" in text
    assert not (files / "app.linked.wasm").exists()


@pytest.mark.parametrize("value", ["math", "math=", "=x"])
def test_a_map_that_is_none_is_refused(command: Command, files: Path, value: str) -> None:
    done = command("link", "app.wasm", "--map", value, cwd=files)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_name_mapped_twice_is_refused(command: Command, files: Path) -> None:
    maps = ["--map", "math=math.wasm", "--map", f"math={LIBRARY_CID}"]
    command.fails(2, "usage", "link", "app.wasm", *maps, cwd=files)


def test_a_provider_that_is_no_module_is_refused(command: Command, files: Path) -> None:
    (files / "text.wasm").write_bytes(b"no module")
    assert "`text.wasm`: " in command.fails(2, "not-wasm", "link", "app.wasm", "--map", "math=text.wasm", cwd=files)


def test_a_blob_that_is_no_module_is_refused(command: Command, files: Path) -> None:
    (files / "text.wasm").write_bytes(b"no module")
    assert "`text.wasm`: " in command.fails(2, "not-wasm", "link", "text.wasm", "--map", "math=math.wasm", cwd=files)


def test_a_blob_that_is_not_there_is_refused(command: Command, files: Path) -> None:
    command.fails(2, "not-found", "link", "none.wasm", "--map", "math=math.wasm", cwd=files)
