"""`bacpack link`: import namespaces become CIDs, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bacpack.content.cid.cid import Cid
from bacpack.linker.namespaces import link_imports
from bacpack.wasm import Module, SectionId
from node.harness import Command, assemble

LIBRARY = assemble('(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))')
LIBRARY_CID = str(Cid.of_raw(LIBRARY))
FOLDER_CID = str(Cid.of_block(0x70, b"a folder"))
BLOB = assemble("""(module (@custom "before" "x") (import "math" "add" (func $add (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "https://example.org/other.wasm" "g" (global i32))
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
    assert linked.namespaces == [LIBRARY_CID, "wasi_snapshot_preview1", "https://example.org/other.wasm"]


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


def test_json_says_what_is_linked(command: Command, files: Path) -> None:
    done = command("link", "app.wasm", "--map", f"math=ipfs://{LIBRARY_CID}", "--json", cwd=files)
    linked = (files / "app.linked.wasm").read_bytes()
    assert json.loads(done.stdout) == {
        "schema": 1,
        "path": "app.linked.wasm",
        "cid": str(Cid.of_raw(linked)),
        "bytes": len(linked),
        "linked": {"math": LIBRARY_CID},
        "unlinked": [],
    }


@pytest.mark.parametrize(
    ("ref", "namespace"),
    [
        (LIBRARY_CID, LIBRARY_CID),
        (f"{FOLDER_CID}/a/b.wasm", f"{FOLDER_CID}/a/b.wasm"),
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
    assert "it imports from `math`, `wasi_snapshot_preview1`, `https://example.org/other.wasm`" in text
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


@pytest.mark.parametrize("configured", [False, True], ids=["map", "toml"])
def test_what_could_not_run_is_not_linked(command: Command, files: Path, configured: bool) -> None:
    (files / "app.wasm").write_bytes(assemble('(module (import "math" "ad" (func)))'))
    (files / "bacpack.toml").write_text('[modules]\nmath = "math.wasm"\n')
    how = [] if configured else ["--map", "math=math.wasm"]
    text = command.fails(2, "missing-export", "link", "app.wasm", *how, cwd=files)
    assert "`ad` is wanted from `math`, which does not export it (needed by app.wasm)" in text
    assert "hint: did you mean `add`? It exports `add`" in text
    assert not (files / "app.linked.wasm").exists()


def test_a_provider_that_could_not_run_is_not_linked_with(command: Command, files: Path) -> None:
    library = '(module (import "env" "f" (func)) (func (export "add") (param i32 i32) (result i32) local.get 0))'
    (files / "math.wasm").write_bytes(assemble(library))
    text = command.fails(2, "unlinked-import", "link", "app.wasm", "--map", "math=math.wasm", cwd=files)
    assert "nothing provides `f` of `env`" in text
    assert "(needed by `math`)" in text


def test_a_provider_in_the_store_is_checked_as_a_file_is(command: Command, files: Path) -> None:
    assert command("publish", "math.wasm", cwd=files).returncode == 0
    (files / "app.wasm").write_bytes(assemble('(module (import "math" "sub" (func)))'))
    text = command.fails(2, "missing-export", "link", "app.wasm", "--map", f"math={LIBRARY_CID}", cwd=files)
    assert "`sub` is wanted from `math`" in text


@pytest.mark.parametrize("target", ["app.wasm", "./app.wasm", "math.wasm", "other name.wasm"])
def test_what_is_linked_is_not_written_over_what_it_is_made_from(command: Command, files: Path, target: str) -> None:
    (files / "other name.wasm").symlink_to("app.wasm")
    command.fails(2, "output-is-input", "link", "app.wasm", "--map", "math=math.wasm", "-o", target, cwd=files)
    assert ((files / "app.wasm").read_bytes(), (files / "math.wasm").read_bytes()) == (BLOB, LIBRARY)


@pytest.mark.parametrize(("blob", "linked"), [("v1.2", "v1.2.linked.wasm"), ("a.b.wasm", "a.b.linked.wasm")])
def test_the_default_name_keeps_all_of_the_blobs(command: Command, files: Path, blob: str, linked: str) -> None:
    (files / blob).write_bytes(BLOB)
    assert command("link", blob, "--map", "math=math.wasm", cwd=files).returncode == 0
    assert (files / linked).is_file()


def test_a_command_that_is_suggested_can_be_pasted(command: Command, files: Path) -> None:
    (files / "two words.wasm").write_bytes(LIBRARY)
    done = command("link", "app.wasm", "--map", "math=two words.wasm", cwd=files)
    assert b"`bacpack publish 'two words.wasm'`" in done.stderr
