"""Functions that nothing reaches are dropped; those that anything but dead code names are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bacpack.split.model.records import Split
from bacpack.wasm import Module
from differential.harness import Case, Host, differences
from linked import PROGRAM, RUNS, Toolchain
from split.harness import Comparer, both, holds, split_all, work
from wasmtools import assemble


def outputs(result: Split) -> list[bytes]:
    return [app.data for app in result.apps] + [module.data for module in result.modules.values()]


def test_what_only_dead_functions_call_is_dropped(compare: Comparer) -> None:
    text = f"""(func $below (param i32) {work("below")})
      (func $above (param i32) {work("above")} local.get 0 call $below)
      (func $itself (param i32) {work("itself")} local.get 0 call $itself)
      (func $used (param i32) (result i32) {work("used")} local.get 0)
      (func (export "run") (param i32) (result i32) {work("{one|other}")} local.get 0 call $used)"""
    blobs = both(text)
    compare(blobs, ("run", 5), shared=["used"], kept=["one", "other"])
    result = split_all([assemble(blob) for blob in blobs])
    for mark in ("below", "above", "itself"):
        assert not any(holds(data, mark) for data in outputs(result)), mark


ROOTS = {
    "an export": '(func $f (export "f") {body})',
    "the start function": "(func $f {body}) (start $f)",
    "a table": "(func $f {body}) (table 3 funcref) (elem (i32.const 1) $f)",
    "an expression in a table": "(func $f {body}) (table 3 funcref) (elem (i32.const 1) funcref (ref.func $f))",
    "a passive segment": "(func $f {body}) (elem func $f)",
    "a declared reference": '(func $f {body}) (elem declare func $f) (func (export "g") ref.func $f drop)',
    "a global": '(func $f {body}) (global (export "g") funcref (ref.func $f))',
    "the entries that a table begins with": "(func $f {body}) (table 3 (ref null func) (ref.func $f))",
    "a function that is reached": '(func $f {body}) (func $g call $f) (func (export "h") call $g)',
    "a tail call": '(func $f {body}) (func (export "h") return_call $f)',
}


@pytest.mark.parametrize("text", ROOTS.values(), ids=ROOTS)
def test_what_something_names_stays(text: str) -> None:
    body = work("marked").replace("local.get 0", "i32.const 1").replace("local.set 0", "drop")
    shared = f'(func (export "run") (param i32) (result i32) {work("used")} local.get 0)'
    result = split_all([assemble(blob) for blob in both(shared + text.replace("{body}", body))])
    assert result.modules, "nothing was shared, so nothing is tested"
    assert any(holds(data, "marked") for data in outputs(result))


def functions_of(data: bytes) -> int:
    return len(Module.parse(data).bodies)


def test_a_program_linked_without_collection_loses_what_it_never_uses(tmp_path: Path) -> None:
    """The C library and the linker's `--no-gc-sections` give hundreds of functions that nothing reaches."""
    zig = Toolchain(tmp_path)
    main = zig.compile(PROGRAM)
    blobs = [zig.link([main], "--no-gc-sections", "--allow-undefined"), zig.link([main], "--allow-undefined")]
    result = split_all(blobs)
    assert functions_of(blobs[0]) > 600
    assert functions_of(blobs[1]) < 100
    assert sum(map(functions_of, outputs(result))) < 120
    # The data of what is gone stays: nobody says whose it is.
    assert len(result.apps[0].data) < 0.35 * len(blobs[0])
    host = Host()
    for number, app in enumerate(result.apps):
        folder = tmp_path / str(number)
        (folder / "modules").mkdir(parents=True)
        (folder / "app.wasm").write_bytes(app.data)
        (folder / "blob.wasm").write_bytes(blobs[number])
        for cid, module in result.modules.items():
            (folder / "modules" / f"{cid}.wasm").write_bytes(module.data)
        for arguments, _, _ in RUNS:
            case = Case(arguments)
            whole, parts = host.run(folder / "blob.wasm", case), host.run(folder / "app.wasm", case, folder / "modules")
            assert differences(whole, parts) == []
