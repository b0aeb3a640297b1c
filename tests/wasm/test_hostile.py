"""Bytes that are no module, or a broken one, give a `WasmError` with an offset: quickly, and nothing is allocated."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import soak
from bacpack.wasm import Module, SectionId, WasmError, writer
from bacpack.wasm.custom_sections import read_names
from bacpack.wasm.leb128 import decode_signed, decode_unsigned, encode_unsigned
from bacpack.wasm.operand_stack import constant_bases
from bacpack.wasm.scanner import code_start, scan
from strategies_wasm import seeds
from wasmtools import ALL_FEATURES, assemble, run, smith

#: Every section, and most instructions that have immediates of their own kind.
WHOLE = assemble(
    r"""(module $whole
      (type $struct (struct (field (mut i8)) (field (ref null any))))
      (rec (type $array (sub (array (mut i32)))) (type (sub final $array (array (mut i32)))))
      (import "host" "call" (func $call (param i32)))
      (import "host" "memory" (memory 1 2 shared))
      (table $table 2 4 funcref) (table 1 (ref null $struct) (ref.null $struct))
      (memory i64 1)
      (tag $tag (param i32))
      (global $global (mut i32) (i32.const 1000)) (global funcref (ref.func $call))
      (export "main" (func $main)) (export "memory" (memory 0))
      (start $main)
      (elem (i32.const 0) $main) (elem (table 1) (i32.const 0) (ref null $struct) (ref.null $struct))
      (elem $passive func $main) (elem declare func $main)
      (func $main (local i32 i64) (local (ref null $struct))
        i32.const 100000 call $call
        i32.const 0 i32.load offset=100000 drop
        block (result (ref null $struct)) ref.null $struct end drop
        block (param) i32.const 1 br_table 0 0 0 end
        v128.const i64x2 1 2 i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 drop
        try_table (catch $tag 0) (catch_all_ref 0) end
        ref.null $struct br_on_cast 0 anyref (ref $struct) select (result i32 i64)
        memory.init 1 $data table.init $table $passive f64.const 1 drop)
      (data (i32.const 0) "active") (data $data "passive"))"""
)


def read_all(data: bytes) -> None:
    """Read everything that this library can read."""
    module = Module.parse(data)
    read_names(module)
    assert module.types is not None
    lists = (module.imports, module.tables, module.memories, module.tags, module.globals, module.exports)
    lists += (module.elements, module.data_segments, [module.start])
    for body in module.bodies:
        start = code_start(data, body.start, body.end)
        scan(data, start, body.end)
        constant_bases(module, data[start : body.end])


def read_or_refuse(data: bytes) -> WasmError | None:
    """Read everything; the error, when there is one, has an offset in the file."""
    try:
        read_all(data)
    except WasmError as error:
        assert 0 <= error.offset <= len(data)
        assert f"(at offset 0x{error.offset:x})" in str(error)
        return error
    return None


def test_the_whole_module_is_read() -> None:
    assert {section.id for section in Module.parse(WHOLE).sections} == set(SectionId)
    assert read_or_refuse(WHOLE) is None


def test_a_module_cut_at_any_byte_is_read_or_refused() -> None:
    sections = {section.end for section in Module.parse(WHOLE).sections} | {8}
    for length in range(len(WHOLE)):
        error = read_or_refuse(WHOLE[:length])
        # Only whole sections can pass for a module; and functions that have no code do not.
        assert error is not None or length in sections


@settings(max_examples=400 * soak.TIMES)
@given(st.lists(st.tuples(st.integers(8, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_are_read_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for position, value in changes:
        data[position] = value
    read_or_refuse(bytes(data))


@settings(max_examples=40 * soak.TIMES)
@given(seeds, st.randoms(use_true_random=False))
def test_changed_generated_modules_are_read_or_refused(seed: int, choose: random.Random) -> None:
    module = smith(seed, *ALL_FEATURES)
    for _ in range(10):
        data = bytearray(module)
        for _ in range(choose.randint(1, 5)):
            data[choose.randrange(len(data))] = choose.randrange(256)
        read_or_refuse(bytes(data))


@settings(max_examples=300 * soak.TIMES)
@given(st.binary(max_size=60))
@example(b"\x01\x01\x63\x0b")  # the final `end` is the heap type of a local
@example(b"\x00\x0e\x80\x01\x0b")
@example(b"\x00\x00")
def test_arbitrary_bytes_as_a_function_are_read_or_refused(body: bytes) -> None:
    read_or_refuse(function(body + b"\x0b"))
    read_or_refuse(function(body))


def function(*bodies: bytes) -> bytes:
    return writer.module(
        [
            writer.section(SectionId.TYPE, b"\1\x60\0\0"),
            writer.section(SectionId.FUNCTION, writer.vector([b"\0"] * len(bodies))),
            writer.section(SectionId.CODE, writer.vector(map(writer.sized, bodies))),
        ]
    )


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not-wasm"),
        (b"\0as", "not-wasm"),
        (b"(module)", "not-wasm"),
        (b"\x7fELF" + bytes(60), "not-wasm"),
        (b"\0asm", "wasm-version"),
        (b"\0asm\2\0\0\0", "wasm-version"),
        (assemble("(component (core module))"), "wasm-component"),
        (b"\0asm\1\0\0\0\x0e\0", "wasm-malformed"),
        (b"\0asm\1\0\0\0\1", "wasm-cut-short"),
        (b"\0asm\1\0\0\0\1\5\0", "wasm-cut-short"),
        (b"\0asm\1\0\0\0\0\3\2\xff\xff", "wasm-malformed"),
    ],
)
def test_what_is_no_module_is_named(data: bytes, code: str) -> None:
    with pytest.raises(WasmError) as caught:
        Module.parse(data)
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ([(SectionId.IMPORT, b"\0"), (SectionId.TYPE, b"\0")], "section type is out of order (at offset 0xb)"),
        ([(SectionId.TYPE, b"\0"), (SectionId.TYPE, b"\0")], "section type is out of order (at offset 0xb)"),
        ([(SectionId.CODE, b"\0"), (SectionId.DATA_COUNT, b"\0")], "section data_count is out of order"),
        ([(SectionId.GLOBAL, b"\0"), (SectionId.TAG, b"\0")], "section tag is out of order"),
        ([(SectionId.TYPE, b"\0\0")], "1 bytes too many in section type"),
        ([(SectionId.FUNCTION, b"\1\0")], "1 functions are declared and 0 defined"),
        ([(SectionId.CODE, b"\1\2\0\x0b")], "0 functions are declared and 1 defined"),
        ([(SectionId.IMPORT, b"\1\2\xc3\x28\0\0\0")], "an import's module is not UTF-8 (at offset 0xc)"),
        ([(SectionId.EXPORT, b"\1\1e\5\0")], "unknown kind 0x05"),
        ([(SectionId.TYPE, b"\1\x61")], "unknown type 0x61"),
        ([(SectionId.TYPE, b"\1\x60\1\x40\0")], "unknown value type 0x40"),
        ([(SectionId.MEMORY, b"\1\x08\1")], "unknown limits 0x08"),
        ([(SectionId.GLOBAL, b"\1\x7f\2\x41\0\x0b")], "mutability is 0x02"),
        ([(SectionId.GLOBAL, b"\1\x7f\1\x41\0")], "unexpected end"),
        ([(SectionId.ELEMENT, b"\1\x08")], "unknown form 8"),
        ([(SectionId.DATA, b"\1\3")], "unknown form 3"),
        ([(SectionId.DATA, b"\1\1\5a")], "5 bytes in a data segment cannot fit in the 2 bytes left"),
        ([(SectionId.FUNCTION, b"\1\0"), (SectionId.CODE, b"\1\2\0\0")], "does not end with `end`"),
        ([(SectionId.TYPE, b"\x80\x80\x80\x80\x80\0")], "takes more than 5 bytes"),
        ([(SectionId.TYPE, b"\xff\xff\xff\xff\x1f")], "too large"),
    ],
)  # fmt: skip
def test_a_broken_section_is_refused_with_the_reason(sections: list[tuple[SectionId, bytes]], message: str) -> None:
    with pytest.raises(WasmError) as caught:
        read_all(writer.module(writer.section(*entry) for entry in sections))
    assert message in str(caught.value)


def test_a_module_without_functions_refuses_types_that_are_none() -> None:
    module = Module.parse(assemble("(module (type (struct)))"))
    for index in (0, 1, -1):
        with pytest.raises(WasmError, match="is no function type"):
            module.function_type(index)


NO_VECTORS = (SectionId.CUSTOM, SectionId.START, SectionId.DATA_COUNT)
#: Vectors whose count claims far more than there is: the section, and its content before the count.
LONG_VECTORS = [
    *((section_id, b"") for section_id in SectionId if section_id not in NO_VECTORS),
    (SectionId.TYPE, b"\1\x4e"),
    (SectionId.TYPE, b"\1\x60"),
    (SectionId.TYPE, b"\1\x60\0"),
    (SectionId.TYPE, b"\1\x5f"),
    (SectionId.TYPE, b"\1\x50"),
    (SectionId.IMPORT, b"\1"),
    (SectionId.ELEMENT, b"\1\0\x41\0\x0b"),
    (SectionId.ELEMENT, b"\1\5\x70"),
    (SectionId.DATA, b"\1\1"),
]


@pytest.mark.parametrize("count", [9_999, 99_999, 999_999, 9_999_999, (1 << 30) - 1, (1 << 32) - 1])
def test_counts_beyond_what_is_there_are_refused_at_once(count: int) -> None:
    started = time.process_time()
    for section_id, before in LONG_VECTORS:
        with pytest.raises(WasmError) as caught:
            read_all(writer.module([writer.section(section_id, before + encode_unsigned(count) + b"\0" * 16)]))
        assert caught.value.code in ("wasm-cut-short", "wasm-too-large"), (section_id, before)
    assert time.process_time() - started < 1


#: Reads modules in little memory: those whose numbers are huge, then one of many small parts.
IN_LITTLE_MEMORY = """
import resource, sys
from wasm.test_hostile import huge_modules, read_or_refuse
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
for module in huge_modules():
    assert read_or_refuse(module) is not None
"""


def huge_modules() -> list[bytes]:
    """Modules that claim to need gigabytes."""
    count = encode_unsigned(0xFFFF_FFF0)
    code = [b"\1" + count + b"\x7f", count, b"\0\x0e" + count, b"\0\x1c" + count, b"\0\x1f\x40" + count]
    sections = [writer.section(section_id, before + count + bytes(99)) for section_id, before in LONG_VECTORS]
    sections += [bytes([section_id]) + count + bytes(99) for section_id in SectionId]
    return [writer.module([section]) for section in sections] + [function(body + bytes(99) + b"\x0b") for body in code]


def test_huge_numbers_allocate_nothing() -> None:
    limit = resource.getrlimit(resource.RLIMIT_AS)
    assert limit[1] == resource.RLIM_INFINITY or limit[1] > 512 << 20
    command = [sys.executable, "-c", IN_LITTLE_MEMORY, str(512 << 20)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": ":".join(sys.path)})
    assert done.returncode == 0, done.stderr


def test_a_function_of_many_long_branch_tables_is_scanned_in_linear_time() -> None:
    def seconds(tables: int) -> float:
        code = (b"\x0e\x80\x01" + bytes(129) + b"\x10\x05") * tables + b"\x0b"
        started = time.process_time()
        assert len(scan(code, 0, len(code))[1]) == tables
        return time.process_time() - started

    seconds(1)
    # Twenty times as much code: in quadratic time 400 times as long, and a busy machine swings far less than that.
    assert seconds(8_000) < 100 * max(seconds(400), 0.001)


def test_wasm_tools_refuses_what_is_refused_here() -> None:
    """Strictness of both, on cuts: what `wasm-tools` takes for a module, so does this library."""
    for length in (8, *(section.end for section in Module.parse(WHOLE).sections)):
        if not run(["validate", "--features=all", "-"], WHOLE[:length]).returncode:
            assert read_or_refuse(WHOLE[:length]) is None


def test_a_number_of_many_bytes_is_refused_at_once() -> None:
    for decode in (decode_unsigned, decode_signed):
        with pytest.raises(WasmError, match="a number has more than ten bytes"):
            decode(b"\x80" * 20_000_000 + b"\0")
        assert decode(b"\xff" * 9 + b"\x01")[1] == 10
