"""Forms in which toolchains leave programs: object files, dynamic libraries, parts, newer and older features."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from bacpack.errors import InputError
from bacpack.split.input.blob import Input
from bacpack.split.pipeline.steps import split
from bacpack.wasm import Module
from node.harness import Command
from split.harness import both, engine, holds, split_all, work
from wasmtools import assemble

FILLER = f'(func (export "filler") (param i32) (result i32) {work("filler")} {work("and more")} local.get 0)'


def run_split(folder: Path, text: str) -> tuple[int, dict[str, Any]]:
    """Split two blobs by the command; its exit status and what it printed."""
    paths = []
    for name, blob in zip(("first", "second"), both(text), strict=True):
        paths.append(folder / f"{name}.wasm")
        paths[-1].write_bytes(assemble(blob))
    done = Command(folder / "home")("split", *paths, "-o", folder / "out", "--json")
    assert b"Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        ('(import "env" "__linear_memory" (memory 1)) (import "env" "__stack_pointer" (global (mut i32)))',
         "not linked", "wasm-ld"),
        ('(@custom "dylink.0" (before first) "") (import "env" "memory" (memory 1))'
         ' (import "env" "__memory_base" (global i32))', "dynamic library", "-shared"),
        ('(import "primary" "memory" (memory 1)) (import "primary" "table" (table 1 funcref))',
         "imports its memory (`primary` `memory`)", "defines its memory"),
        ('(import "env" "memory" (memory 1 9 shared)) (import "wasi" "thread-spawn" (func (param i32) (result i32)))',
         "shared between threads", "without threads"),
        ('(import "webcil" "memory" (memory 1)) (global (export "webcilVersion") i32 (i32.const 0))'
         ' (data $payload "assembly")', ".NET assembly", "dotnet.native.wasm"),
        ('(import "env" "memory" (memory 0)) (@custom "component-type:wasi:cli@0.2.12:command:encoded world" "")',
         "adapter", "leave it as it is"),
        ('(import "a" "a" (memory 256))', "imports its memory (`a` `a`)", "-sIMPORTED_MEMORY"),
    ],
    ids=[
        "object file", "dynamic library", "secondary part of wasm-split", "threads of WASI", "Webcil", "adapter",
        "Emscripten's imported memory",
    ],
)  # fmt: skip
def test_what_is_no_whole_program_is_refused_by_what_it_is(text: str, reason: str, hint: str) -> None:
    blobs = [assemble(f"(module {text} {FILLER})"), assemble(f"(module {FILLER})")]
    with pytest.raises(InputError) as caught:
        split([Input(f"app{number}", blob, f"app{number}.wasm") for number, blob in enumerate(blobs)])
    assert caught.value.code == "cannot-split"
    assert reason in caught.value.message
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_a_main_module_of_emscripten_is_split_and_stays_one() -> None:
    """It has the section of a dynamic library, but its own memory: other libraries are loaded into it."""
    text = f"""(@custom "dylink.0" (before first) "\\01\\04\\00\\00\\00\\00") (memory (export "memory") 1)
      (func (export "run") (param i32) (result i32) {work("run")} i32.const {{1000|2000}} local.get 0 i32.add)
      {FILLER}"""
    result = split_all([assemble(blob) for blob in both(text)])
    for app in result.apps:
        assert app.imports
        assert Module.parse(app.data).sections[0].name == "dylink.0"


@pytest.mark.parametrize(
    "text",
    [
        "(type $f (func)) (type $c (cont $f))",
        "(rec (type $a (descriptor $b) (struct)) (type $b (describes $a) (struct)))",
        "(global (shared mut i32) (i32.const 0))",
        "(func (result i64 i64) i64.const 1 i64.const 2 i64.const 3 i64.const 4 i64.add128)",
    ],
    ids=["stack switching", "custom descriptors", "shared everything", "wide arithmetic"],
)
def test_features_beyond_3_0_are_called_unsupported_and_not_malformed(tmp_path: Path, text: str) -> None:
    status, result = run_split(tmp_path, f"{FILLER} {text}")
    assert status == 2
    assert result["error"]["code"] == "wasm-unsupported"
    assert "beyond WebAssembly 3.0" in result["error"]["message"]
    assert "first.wasm" in result["error"]["message"] or "second.wasm" in result["error"]["message"]


def test_what_no_feature_explains_is_still_malformed(tmp_path: Path) -> None:
    blob = tmp_path / "first.wasm"
    data = assemble(f"(module {FILLER})")
    assert data.endswith(b"\x20\0\x0b")
    blob.write_bytes(data[:-3] + b"\xff\0\x0b")
    other = tmp_path / "other.wasm"
    other.write_bytes(data)
    done = Command(tmp_path / "home")("split", blob, other, "-o", tmp_path / "out", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "wasm-malformed"


def test_the_command_takes_exceptions_in_their_older_form(tmp_path: Path) -> None:
    status, result = run_split(
        tmp_path,
        f"""{FILLER} (tag $tag) (func (export "catch") (param i32) (result i32) {work("catch")}
          try throw $tag catch_all end i32.const {{1000|2000}})""",
    )
    assert status == 0
    outputs = {app["name"]: Path(app["path"]).read_bytes() for app in result["apps"]}
    modules = [Path(module["path"]).read_bytes() for module in result["modules"]]
    assert any(holds(module, "filler") for module in modules)
    assert all(holds(output, "catch") for output in outputs.values())


def test_branch_hints_say_where_code_is_and_are_dropped(tmp_path: Path) -> None:
    hint = '(@metadata.code.branch_hint "\\01")'
    text = f'{FILLER} (func (export "own") (param i32) (result i32) local.get 0 {hint} if unreachable end i32.const 1)'
    assert b"branch_hint" in assemble(both(text)[0])
    status, result = run_split(tmp_path, text)
    assert status == 0
    assert result["modules"]
    for output in (*result["apps"], *result["modules"]):
        assert b"branch_hint" not in Path(output["path"]).read_bytes()


#: As Binaryen's wasm-split leaves them: a call of the secondary part goes through the table, where it puts itself.
PRIMARY = f"""(import "placeholder" "0" (func $later (param i32) (result i32)))
  (memory (export "memory") 1) (table (export "table") 2 funcref) (elem (i32.const 0) $later $here)
  (func $here (param i32) (result i32) {work("here")} (i32.store offset={{2000|3000}} (i32.const 0) (local.get 0))
    local.get 0)
  (func (export "here") (param i32) (result i32) {work("export")} local.get 0 call $here)
  (func (export "run") (param i32) (result i32) {work("run")}
    (i32.add (i32.const {{2000|3000}}) (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0))))"""
SECONDARY = """(module (import "primary" "memory" (memory 1)) (import "primary" "table" (table 2 funcref))
  (import "primary" "here" (func $here (param i32) (result i32)))
  (elem (i32.const 0) $f)
  (func $f (param i32) (result i32) (i32.add (call $here (local.get 0)) (i32.load offset=2000 (i32.const 0)))))"""


def run_parts(primary: bytes, modules: Mapping[str, bytes], *, with_secondary: bool) -> list[object]:
    """Call a primary part before and after the secondary part is there."""
    store = wasmtime.Store(engine())
    store.set_fuel(1_000_000)
    linker = wasmtime.Linker(store.engine)

    def placeholder(_value: int) -> int:
        raise RuntimeError("not loaded")

    kind = wasmtime.FuncType([wasmtime.ValType.i32()], [wasmtime.ValType.i32()])
    linker.define_func("placeholder", "0", kind, placeholder)

    def instantiate(data: bytes) -> wasmtime.Instance:
        module = wasmtime.Module(store.engine, data)
        for name in dict.fromkeys(item.module for item in module.imports):
            if name in modules and name not in done:
                done.add(name)
                linker.define_instance(store, name, instantiate(modules[name]))
        return linker.instantiate(store, module)

    done: set[str] = set()
    instance = instantiate(primary)
    linker.define_instance(store, "primary", instance)
    if with_secondary:
        instantiate(assemble(SECONDARY))
    run = instance.exports(store)["run"]
    assert isinstance(run, wasmtime.Func)
    given: list[object] = []
    for number in (1, 7, 1):
        try:
            given.append(run(store, number))
        except (RuntimeError, wasmtime.Trap, wasmtime.WasmtimeError) as error:
            given.append("not loaded" if "not loaded" in str(error) else repr(error))
    return given


def test_the_primary_part_of_wasm_split_is_split_and_finds_its_secondary_part() -> None:
    blobs = [assemble(blob) for blob in both(PRIMARY.split("\n", 1)[1], PRIMARY.split("\n", 1)[0])]
    result = split_all(blobs)
    modules = {cid: module.data for cid, module in result.modules.items()}
    assert any(holds(module, "run") for module in modules.values())
    given = []
    for blob, app in zip(blobs, result.apps, strict=True):
        for with_secondary in (False, True):
            given.append(run_parts(blob, {}, with_secondary=with_secondary))
            assert run_parts(app.data, modules, with_secondary=with_secondary) == given[-1]
    assert given[0] == ["not loaded"] * 3
    assert len(set(map(str, given))) == 3
