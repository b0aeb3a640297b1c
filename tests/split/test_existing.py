"""Reading shared modules back: every function must be found to be what it was in the programs it came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from bacpack.split.catalog.published_code import Existing, Literal
from bacpack.split.catalog.shared_module_reader import LateCall, SlotRead, read_existing
from bacpack.split.input.blob import Input
from bacpack.split.pipeline.steps import split
from bacpack.split.shapes.fingerprint import fingerprint
from bacpack.wasm import Module
from split.harness import both, work
from wasmtools import assemble

TOOLCHAINS = Path(__file__).parents[1] / "data" / "toolchains"


def read_back(blobs: Sequence[bytes]) -> list[Existing]:
    """The shared modules of a split, read; each function has a shape, and operands of kinds, that the blobs have."""
    result = split([Input(f"app{number}", blob, f"app{number}.wasm") for number, blob in enumerate(blobs)])
    known = {
        (function.shape, function.kinds)
        for blob in blobs
        for function in fingerprint(Module.parse(blob)).functions
        if function.shape
    }
    found = []
    for cid, module in result.modules.items():
        if module.kind == "shared":
            existing = read_existing(cid, module.data)
            assert existing, f"{cid} cannot be read"
            unknown = [
                number
                for number, function in enumerate(existing.functions)
                if (function.shape, function.kinds) not in known or len(function.kinds) != len(function.operands)
            ]
            assert not unknown, f"functions {unknown} of {cid} are like none"
            found.append(existing)
    return found


@pytest.mark.parametrize("folder", ["c", "cpp", "rust", "rust/lto", "assemblyscript"])
def test_functions_of_toolchains(folder: str) -> None:
    blobs = [path.read_bytes() for path in sorted((TOOLCHAINS / folder).glob("*.wasm"))]
    functions = [function for existing in read_back(blobs) for function in existing.functions]
    assert len(functions) > 10
    operands = [operand for function in functions for operand in function.operands]
    assert any(isinstance(operand, SlotRead) for operand in operands)


def test_functions_of_several_toolchains() -> None:
    blobs = [path.read_bytes() for folder in ("c", "cpp") for path in sorted((TOOLCHAINS / folder).glob("*.wasm"))]
    assert read_back(blobs)


def test_everything_that_a_function_may_hold() -> None:
    """Registers of both types, slots of both, with something added, and calls of more than 64 functions that stay."""
    count = 80
    stay = "".join(
        f"(func $stay{n} (param i32) (result i32) local.get 0 i32.const {n} i32.{{add|xor}} global.get $own i32.sub)"
        for n in range(count)
    )
    calls = "".join(f"local.get 0 call $stay{n} i32.xor " for n in range(count))
    text = f"""(memory 1) (global $sp (mut i32) (i32.const 65536))
      (global $long (mut i64) (i64.const 1)) (global $constant i32 (i32.const {{4000|5000}})) {stay}
      (func (export "calls") (param i32) (result i32) {work("calls")} local.get 0 {calls})
      (func (export "slots") (param i32) (result i64) {work("slots")}
        global.get $long i64.const {{70000000000|80000000000}} i64.add global.set $long
        global.get $long i64.const {{70000000001|80000000001}} i64.xor i64.const {{70000000100|80000000100}} i64.add
        i32.const {{12000|13000}} i32.load8_u global.get $constant i32.load16_u i32.add
        i32.const {{12001|13001}} i32.add i32.const {{12100|13100}} i32.sub i32.const 5 i32.add i32.const 500 i32.add
        local.get 0 i32.load offset={{12000|13000}} i32.add local.get 0 i64.load8_u offset={{12300|13300}} i32.wrap_i64
        i32.add local.get 0 i32.load offset=12000 i32.add global.get $sp i32.add i64.extend_i32_u i64.add)"""
    found = read_back([assemble(blob) for blob in both(text, '(import "host" "g" (global $own i32))')])
    operands = [operand for existing in found for function in existing.functions for operand in function.operands]
    entries = {operand.entry for operand in operands if isinstance(operand, LateCall)}
    assert entries == set(range(count))
    assert {operand.add for operand in operands if isinstance(operand, SlotRead)} >= {0, 1}
    assert {12000 - 1, 500} <= {operand.value for operand in operands if isinstance(operand, Literal)}
    assert len({type_ for existing in found for type_ in existing.slots}) == 2
