"""Reading a module and writing it back unchanged gives the same bytes."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import soak
from bacpack.wasm import Kind, Module, SectionId, writer
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.types import Element, Global, Import, Limits, Table, TableType
from strategies_wasm import seeds
from wasmtools import ALL_FEATURES, assemble, padded, print_text, smith


def rewritten(module: Module) -> dict[SectionId, bytes]:
    """Every section that has a writer, written from the records that were read."""
    contents = {
        SectionId.IMPORT: writer.vector(map(writer.import_, module.imports)),
        SectionId.FUNCTION: writer.vector(map(encode_unsigned, module.functions)),
        SectionId.TABLE: writer.vector(map(writer.table, module.tables)),
        SectionId.MEMORY: writer.vector(map(writer.limits, module.memories)),
        SectionId.TAG: writer.vector(b"\0" + encode_unsigned(tag) for tag in module.tags),
        SectionId.GLOBAL: writer.vector(map(writer.global_, module.globals)),
        SectionId.EXPORT: writer.vector(map(writer.export, module.exports)),
        SectionId.START: encode_unsigned(module.start or 0),
        SectionId.ELEMENT: writer.vector(map(writer.element, module.elements)),
        SectionId.CODE: writer.vector(writer.sized(module.data[body.start : body.end]) for body in module.bodies),
        SectionId.DATA: writer.vector(
            writer.data_segment(data, module.data[data.start : data.end]) for data in module.data_segments
        ),
    }
    return {section_id: content for section_id, content in contents.items() if module.section(section_id)}


def test_real_programs(programs: dict[str, Path]) -> None:
    assert len(programs) > 42
    for name, path in programs.items():
        data = path.read_bytes()
        assert writer.rewrite(Module.parse(data), {}) == data, name


def test_records_of_real_programs(sample: list[bytes]) -> None:
    for data in sample:
        module = Module.parse(data)
        again = Module.parse(writer.rewrite(module, rewritten(module)))
        assert rewritten(again) == rewritten(module)
        assert again.bodies != [] != again.data_segments


@settings(max_examples=60 * soak.TIMES)
@given(seeds)
def test_generated_modules(seed: int) -> None:
    data = smith(seed, *ALL_FEATURES)
    module = Module.parse(data)
    assert writer.rewrite(module, {}) == data
    # Their numbers are minimal, and so their records come out as they were, too.
    again = writer.rewrite(module, rewritten(module))
    assert print_text(again) == print_text(data)


@settings(max_examples=20 * soak.TIMES)
@given(seeds, st.integers(2, 5))
def test_generated_modules_with_padded_numbers(seed: int, size: int) -> None:
    data = smith(seed, *ALL_FEATURES, f"--min-uleb-size={size}")
    module = Module.parse(data)
    assert writer.rewrite(module, {}) == data
    assert print_text(writer.rewrite(module, rewritten(module))) == print_text(data)


def test_sections_are_replaced_added_and_left_out_in_their_places() -> None:
    module = Module.parse(
        assemble(
            """(module (@custom "first" (before first) "1") (func (export "f")) (@custom "last" (after last) "2")
            (memory 1))"""
        )
    )
    changed = {SectionId.MEMORY: None, SectionId.GLOBAL: b"\0", SectionId.DATA: b"\0", SectionId.EXPORT: b"\0"}
    again = Module.parse(writer.rewrite(module, changed))
    assert [section.name or SectionId(section.id).name for section in again.sections] == [
        "first", "TYPE", "FUNCTION", "GLOBAL", "EXPORT", "CODE", "last", "DATA",
    ]  # fmt: skip
    assert again.exports == []
    assert again.functions == module.functions
    assert [again.data[s.content : s.end] for s in again.custom_sections("last")] == [b"\x04last2"]


def test_every_record_of_a_module_is_read() -> None:
    module = Module.parse(
        assemble(
            """(module
              (import "host" "memory" (memory 1 2))
              (import "host" "call" (func $call (param i32) (result i64)))
              (import "host" "value" (global $value i32))
              (table $small 1 2 externref)
              (table $null 3 (ref null $call_type) (ref.func $call))
              (type $call_type (func (param i32) (result i64)))
              (memory i64 1 2 shared)
              (tag $tag (param i32 i32))
              (global $one (mut i64) (i64.const 1))
              (export "again" (func $call))
              (start $main)
              (elem declare func $main)
              (func $main))"""
        )
    )
    assert module.imports[:2] == [
        Import("host", "memory", Kind.MEMORY, Limits(1, 2)), Import("host", "call", Kind.FUNCTION, 0),
    ]  # fmt: skip
    assert module.tables == [
        Table(TableType(b"\x6f", Limits(1, 2))), Table(TableType(b"\x63\0", Limits(3)), b"\xd2\0\x0b"),
    ]  # fmt: skip
    assert module.memories == [Limits(1, 2, shared=True, is_64=True)]
    assert len(module.tags) == 1
    assert [type(entry) for entry in (*module.globals, *module.elements)] == [Global, Element]
    assert (module.start, module.function_types) == (1, [0, 2])


def test_padding_changes_bytes_but_not_meaning() -> None:
    """The tool that other tests pad modules with."""
    text = "(module (memory 1) (func (param i32) i32.const 7 i32.load offset=9 call 0))"
    data = assemble(text)
    assert len(padded(data)) == len(data) + 3 * 4 + 0
    assert print_text(padded(data)) == print_text(data)
