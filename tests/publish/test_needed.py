"""A program published as a file brings the modules along that it imports, so that it runs by its CID."""

from __future__ import annotations

from pathlib import Path

import pytest

from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.content.unixfs.reader import walk_files
from bacpack.content.unixfs.writer import cid_of_bytes
from content.harness import Bacpack
from node.harness import assemble, write_release

LEAF = assemble('(module (func (export "six") (result i32) i32.const 6))')
LEAF_CID = str(Cid.of_raw(LEAF))


def importing(namespace: str, more: str = "") -> bytes:
    return assemble(f"""(module {more} (import "{namespace}" "six" (func $six (result i32)))
      (func (export "six") (result i32) call $six) (memory (export "memory") 1))""")


MIDDLE = importing(LEAF_CID)
MIDDLE_CID = str(Cid.of_raw(MIDDLE))
PROGRAM = importing(MIDDLE_CID, '(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))')


def files_in(bacpack: Bacpack, root: str) -> set[str]:
    return {path for path, _ in walk_files(BlockStore(bacpack.home).get, Cid.parse(root))}


def runs(bacpack: Bacpack, ref: object) -> bool:
    return bacpack.run("run", "--offline", ref, "--invoke", "six").stdout == "6\n"


def test_core_modules_that_a_component_imports_come_along(bacpack: Bacpack, tmp_path: Path) -> None:
    import_middle = f'(import "{MIDDLE_CID}" (core module $m (import "{LEAF_CID}" "six" (func (result i32)))))'
    component = assemble(f'(component (import "host" (func)) (import "{LEAF_CID}" (core module)) {import_middle})')
    program = write_release(tmp_path / "out", component, LEAF, MIDDLE, b"of another program")
    published = bacpack.ok("publish", program)
    assert files_in(bacpack, published["root"]) == {
        "app.wasm", f"modules/{LEAF_CID}.wasm", f"modules/{MIDDLE_CID}.wasm",
    }  # fmt: skip
    (tmp_path / "out" / "modules" / f"{LEAF_CID}.wasm").unlink()
    Bacpack(tmp_path / "elsewhere").fails(1, "missing-module", "publish", program)


def test_modules_beside_a_program_come_along(bacpack: Bacpack, tmp_path: Path) -> None:
    program = write_release(tmp_path / "out", PROGRAM, LEAF, MIDDLE, b"of another program")
    published = bacpack.ok("publish", program, "--car", tmp_path / "app.car")
    assert files_in(bacpack, published["root"]) == {
        "app.wasm", f"modules/{LEAF_CID}.wasm", f"modules/{MIDDLE_CID}.wasm",
    }  # fmt: skip
    assert published["apps"] == {"app": str(Cid.of_raw(PROGRAM))}
    assert runs(bacpack, published["apps"]["app"])
    assert bacpack.ok("pack", program, "-o", tmp_path / "same.car")["root"] == published["root"]
    other = Bacpack(tmp_path / "elsewhere")
    other.ok("fetch", tmp_path / "app.car")
    assert runs(other, published["apps"]["app"])


def test_modules_come_from_the_store_too(bacpack: Bacpack, tmp_path: Path) -> None:
    # A custom section makes the module larger than a block.
    large = LEAF + b"\0\x85\x80\xc0\0\4pad!" + bytes(1 << 20)
    large_cid = str(cid_of_bytes(large))
    (tmp_path / "large.wasm").write_bytes(large)
    program = tmp_path / "app.wasm"
    program.write_bytes(importing(large_cid))
    error = bacpack.fails(1, "missing-module", "publish", program)
    assert error["details"] == {"app": "app", "missing": [large_cid]}
    bacpack.ok("publish", tmp_path / "large.wasm")
    published = bacpack.ok("publish", program, "--car", tmp_path / "app.car")
    other = Bacpack(tmp_path / "elsewhere")
    other.ok("fetch", tmp_path / "app.car")
    assert files_in(other, published["root"]) == {"app.wasm", f"modules/{large_cid}.wasm"}
    assert runs(other, published["apps"]["app"])


def test_a_module_inside_a_directory_by_cid_comes_with_the_directory(bacpack: Bacpack, tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "middle.wasm").write_bytes(MIDDLE)
    (tmp_path / "leaf.wasm").write_bytes(LEAF)
    library = bacpack.ok("publish", tmp_path / "library")["root"]
    program = tmp_path / "app.wasm"
    program.write_bytes(importing(f"{library}/middle.wasm"))
    assert bacpack.fails(1, "missing-module", "publish", program)["details"]["missing"] == [LEAF_CID]
    bacpack.ok("publish", tmp_path / "leaf.wasm")
    published = bacpack.ok("publish", program, "--car", tmp_path / "app.car")
    other = Bacpack(tmp_path / "elsewhere")
    other.ok("fetch", tmp_path / "app.car")
    expected = {"app.wasm", f"modules/{library}/middle.wasm", f"modules/{LEAF_CID}.wasm"}
    assert files_in(other, published["root"]) == expected
    assert runs(other, published["apps"]["app"])


def test_what_is_published_with_a_program_is_not_taken_along_again(bacpack: Bacpack, tmp_path: Path) -> None:
    program = write_release(tmp_path / "out", PROGRAM, LEAF, MIDDLE)
    folder = program.parent / "modules"
    expected = {"app.wasm", f"modules/{LEAF_CID}.wasm", f"modules/{MIDDLE_CID}.wasm"}
    assert files_in(bacpack, bacpack.ok("publish", program, folder)["root"]) == expected
    (tmp_path / "middle.wasm").write_bytes(MIDDLE)
    assert files_in(bacpack, bacpack.ok("publish", program, tmp_path / "middle.wasm")["root"]) == {
        "app.wasm", "middle.wasm", f"modules/{LEAF_CID}.wasm",
    }  # fmt: skip


def test_a_damaged_module_is_as_good_as_missing(bacpack: Bacpack, tmp_path: Path) -> None:
    program = write_release(tmp_path / "out", PROGRAM, LEAF)
    (program.parent / "modules" / f"{MIDDLE_CID}.wasm").write_bytes(LEAF)
    error = bacpack.fails(1, "missing-module", "publish", program)
    assert error["details"]["missing"] == [MIDDLE_CID]
    assert MIDDLE_CID in error["message"]
    assert not bacpack.home.exists()


def test_a_module_at_a_url_is_left_there(bacpack: Bacpack, tmp_path: Path) -> None:
    (tmp_path / "app.wasm").write_bytes(importing("https://example.org/a.wasm"))
    root = bacpack.ok("publish", tmp_path / "app.wasm")["root"]
    assert files_in(bacpack, root) == {"app.wasm"}


@pytest.mark.parametrize(
    ("namespace", "code"),
    [("env", "unlinked-import"), ("", "unlinked-import"), ("wasi_snapshot_preview1", "missing-export"),
     ("odd://x", "bad-ref"), (LEAF_CID, "missing-export")],
)  # fmt: skip
def test_what_could_not_run_is_not_published(bacpack: Bacpack, tmp_path: Path, namespace: str, code: str) -> None:
    app = tmp_path / "app.wasm"
    app.write_bytes(assemble(f'(module (import "{namespace}" "gone" (func)))'))
    (tmp_path / "leaf.wasm").write_bytes(LEAF)
    error = bacpack.fails(2, code, "publish", app, tmp_path / "leaf.wasm")
    assert error["message"].endswith("(needed by `app`)")
    assert not bacpack.home.exists()
    # To hosts of another kind a file goes in a CAR file.
    assert bacpack.ok("pack", app, tmp_path / "leaf.wasm", "-o", tmp_path / "packed.car")["root"]


def test_a_file_called_modules_is_in_the_way(bacpack: Bacpack, tmp_path: Path) -> None:
    program = write_release(tmp_path / "out", PROGRAM, LEAF, MIDDLE)
    (tmp_path / "modules").write_bytes(b"")
    bacpack.fails(2, "duplicate-name", "publish", program, tmp_path / "modules")


def test_an_assembly_of_dotnet_is_published_and_said_to_be_no_program(bacpack: Bacpack, tmp_path: Path) -> None:
    assembly = tmp_path / "System.wasm"
    assembly.write_bytes(assemble('(module (import "webcil" "memory" (memory 1)) (data "assembly"))'))
    published = bacpack.ok("publish", assembly)
    assert files_in(bacpack, published["root"]) == {"System.wasm"}
    for ref in (assembly, published["apps"]["System"]):
        refused = bacpack.run("run", ref)
        assert refused.returncode == 2 and "this is a .NET assembly in a wrapper, so data" in refused.stderr
