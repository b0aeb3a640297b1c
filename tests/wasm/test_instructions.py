"""Instructions that are written by name are read back as that instruction, with the same immediates."""

from __future__ import annotations

import pytest

from bacpack.wasm.instructions import VOID, op
from bacpack.wasm.opcodes import OPCODES, Opcode
from bacpack.wasm.reader import Reader
from wasmtools import assemble

#: Immediates that are one number each, or two.
NUMBERS = {"memarg": (2, 70_000), "lane": (3,), "zero": (0,), "block": (VOID,)}
NO_NUMBERS = {"labels", "types", "catches", "heap", "lanes", "v128", "f32", "f64", "cast"}
WRITTEN = [row for row in OPCODES if NO_NUMBERS.isdisjoint(row.immediates)]


@pytest.mark.parametrize("row", WRITTEN, ids=lambda row: row.name)
def test_what_is_written_is_read_back(row: Opcode) -> None:
    values = [value for kind in row.immediates for value in NUMBERS.get(kind, (1000,))]
    reader = Reader(op(row.name, *values))
    found, _ = reader.instruction()
    assert (found.name, found.immediates, reader.remaining) == (row.name, row.immediates, 0)


@pytest.mark.parametrize("value", [0, 63, 64, -64, -65, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, -(1 << 31)])
def test_constants_are_written_with_or_without_sign(value: int) -> None:
    text = f"(module (func (result i32) i32.const {value}))"
    assert op("i32.const", value) + op("end") in assemble(text)
    assert op("i64.const", value) + op("end") in assemble(text.replace("i32", "i64"))
