"""The opcode table against `wasm-tools`: every name, number and form of immediates, and nothing missing."""

from __future__ import annotations

import pytest

from bacpack.wasm import FuncType, Module, SectionId, writer
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.opcodes import BY_NUMBER, IMMEDIATES, OPCODES, PREFIXES, Opcode
from bacpack.wasm.reader import Reader
from bacpack.wasm.scanner import code_start
from wasmtools import assemble, run

#: Immediates as text, the bytes they take, and the numbers that `Reader.instruction` gives for them.
IMMEDIATE_FORMS: dict[tuple[str, ...], tuple[str, bytes, list[int]]] = {
    (): ("", b"", []),
    ("label",): ("3", b"\3", [3]),
    ("labels",): ("1 2 300", b"\2\1\2\xac\2", [1, 2, 300]),
    ("func",): ("5", b"\5", [5]),
    ("tag",): ("5", b"\5", [5]),
    ("local",): ("300", b"\xac\2", [300]),
    ("global",): ("5", b"\5", [5]),
    ("table",): ("5", b"\5", [5]),
    ("memory",): ("5", b"\5", [5]),
    ("elem",): ("5", b"\5", [5]),
    ("data",): ("5", b"\5", [5]),
    ("type",): ("6", b"\6", [6]),
    ("type", "table"): ("4 (type 6)", b"\6\4", [6, 4]),
    ("types",): ("(result i64)", b"\1\x7e", []),
    ("table", "table"): ("4 7", b"\4\7", [4, 7]),
    ("memory", "memory"): ("4 7", b"\4\7", [4, 7]),
    # Text names the target first, bytes the segment.
    ("data", "memory"): ("4 7", b"\7\4", [7, 4]),
    ("elem", "table"): ("4 7", b"\7\4", [7, 4]),
    ("type", "type"): ("4 7", b"\4\7", [4, 7]),
    ("type", "field"): ("4 7", b"\4\7", [4, 7]),
    ("type", "count"): ("4 7", b"\4\7", [4, 7]),
    ("type", "data"): ("4 7", b"\4\7", [4, 7]),
    ("type", "elem"): ("4 7", b"\4\7", [4, 7]),
    ("memarg",): ("9 offset=300 align=1", b"\x40\x09\xac\2", [0, 9, 300]),
    ("memarg", "lane"): ("9 offset=300 align=1 1", b"\x40\x09\xac\2\1", [0, 9, 300]),
    ("lane",): ("1", b"\1", []),
    ("lanes",): (" ".join(map(str, range(16))), bytes(range(16)), []),
    ("v128",): ("i8x16 " + " ".join(map(str, range(16))), bytes(range(16)), []),
    ("i32",): ("-1000000", b"\xc0\xfb\x42", [-1_000_000]),
    ("i64",): ("-0x8000000000000000", b"\x80" * 9 + b"\x7f", [-(1 << 63)]),
    ("f32",): ("-1", b"\0\0\x80\xbf", []),
    ("f64",): ("-1", b"\0\0\0\0\0\0\xf0\xbf", []),
    ("zero",): ("", b"\0", []),
    ("heap",): ("func", b"\x70", [-16]),
    ("cast", "label", "heap", "heap"): ("3 anyref (ref 300)", b"\1\3\x6e\xac\2", [3, -18, 300]),
    ("block",): ("(type 300)", b"\xac\2", [300]),
}

#: Instructions that stand only between others, or are closed by one: the text, and what stands around the bytes.
FRAMED = {
    "block": ("block (type 300) end", b"", b"\x0b"),
    "loop": ("loop (type 300) end", b"", b"\x0b"),
    "if": ("if (type 300) end", b"", b"\x0b"),
    "else": ("if else end", b"\x04\x40", b"\x0b"),
    "end": ("block end", b"\x02\x40", b""),
    "try": ("try (type 300) catch_all end", b"", b"\x19\x0b"),
    "catch": ("try catch 5 end", b"\x06\x40", b"\x0b"),
    "catch_all": ("try catch_all end", b"\x06\x40", b"\x0b"),
    "delegate": ("try delegate 3", b"\x06\x40", b""),
}

HANDLERS = b"\4\0\1\2\1\3\4\2\5\3\6"

#: Numbers that `wasm-tools` knows from proposals that came after WebAssembly 3.0.
LATER = {
    None: range(0xE0, 0xE7),  # stack switching
    0xFB: range(32, 39),  # custom descriptors
    0xFC: range(18, 23),  # memory control, wide arithmetic
    0xFE: range(0x4F, 0x73),  # shared-everything threads
}


def as_text(row: Opcode) -> tuple[str, bytes, bytes, bytes, list[int]]:
    """One instruction as text; the bytes around it, its own after the opcode, and its numbers."""
    if row.immediates == ("block", "catches"):
        handlers = "(catch 1 2) (catch_ref 3 4) (catch_all 5) (catch_all_ref 6)"
        return f"try_table (type 300) {handlers} end", b"", b"\x0b", b"\xac\2" + HANDLERS, [300]
    text, immediates, values = IMMEDIATE_FORMS[row.immediates]
    if row.name in FRAMED:
        return *FRAMED[row.name], immediates, values
    if row.name.startswith(("ref.test", "ref.cast")):
        operation, _, null = row.name.partition("_")
        return f"{operation} (ref {null} func)", b"", b"", immediates, values
    return f"{row.name} {text}", b"", b"", immediates, values


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    """What `wasm-tools parse` makes of each row of the table."""
    functions = "\n".join(f"(func {as_text(row)[0]})" for row in OPCODES)
    module = Module.parse(assemble(f"(module {functions})"))
    return [module.data[code_start(module.data, body.start, body.end) : body.end] for body in module.bodies]


def test_every_row_is_what_wasm_tools_writes(bodies: list[bytes]) -> None:
    for row, body in zip(OPCODES, bodies, strict=True):
        _, before, after, immediates, _ = as_text(row)
        assert body == before + row.encoding + immediates + after + b"\x0b", row


def test_every_row_is_read_back_with_its_numbers(bodies: list[bytes]) -> None:
    for row, body in zip(OPCODES, bodies, strict=True):
        _, before, after, _, values = as_text(row)
        reader = Reader(body, len(before))
        assert reader.instruction() == (row, values)
        assert body[reader.position :] == after + b"\x0b", row


def test_no_number_stands_twice_and_no_immediate_is_unknown() -> None:
    assert len(BY_NUMBER) == len(OPCODES)
    assert {kind for row in OPCODES for kind in row.immediates} == IMMEDIATES


def is_known_to_wasm_tools(prefix: int | None, number: int) -> bool:
    opcode = bytes([number]) if prefix is None else bytes([prefix]) + encode_unsigned(number)
    module = writer.module(
        [
            writer.section(SectionId.TYPE, writer.vector([writer.func_type(FuncType((), ()))])),
            writer.section(SectionId.FUNCTION, b"\1\0"),
            writer.section(SectionId.CODE, writer.vector([writer.sized(b"\0" + opcode + bytes(20) + b"\x0b")])),
        ]
    )
    said = run(["print", "-"], module).stderr
    return b"illegal opcode" not in said and b"subopcode" not in said


@pytest.mark.parametrize(("prefix", "end"), [(None, 0x100), (0xFB, 44), (0xFC, 28), (0xFD, 0x120), (0xFE, 0x76)])
def test_no_instruction_of_webassembly_3_is_missing(prefix: int | None, end: int) -> None:
    later = LATER.get(prefix, range(0))
    absent = [n for n in range(end) if (prefix, n) not in BY_NUMBER and not (prefix is None and n in PREFIXES)]
    assert is_known_to_wasm_tools(prefix, max(n for p, n in BY_NUMBER if p == prefix))
    assert [n for n in absent if n not in later and is_known_to_wasm_tools(prefix, n)] == []
