"""What the writer writes, the reader reads back: every kind of record, with minimal LEBs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacpack.wasm import Export, FuncType, Import, Limits, Module, SectionId, WasmError, writer
from bacpack.wasm.custom_sections import name_section, read_names
from bacpack.wasm.leb128 import decode_signed, decode_unsigned, encode_signed, encode_unsigned
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import Data, DefinedType, Element, Global, Table
from strategies_wasm import (
    data_segments,
    elements,
    exports,
    func_types,
    globals_,
    imports,
    limits,
    names,
    s64s,
    tables,
    u32s,
    u64s,
)
from wasmtools import padded_signed, padded_unsigned

T = TypeVar("T")


def module_with(section_id: SectionId, records: Sequence[T], write: Callable[[T], bytes]) -> Module:
    return Module.parse(writer.module([writer.section(section_id, writer.vector(map(write, records)))]))


@given(st.lists(func_types, max_size=4))
def test_function_types(types: list[FuncType]) -> None:
    module = module_with(SectionId.TYPE, types, writer.func_type)
    assert module.types == [DefinedType(type_, alone=True) for type_ in types]
    assert [module.function_type(index) for index in range(len(types))] == types


@given(st.lists(limits(), max_size=4))
def test_memories(memories: list[Limits]) -> None:
    assert module_with(SectionId.MEMORY, memories, writer.limits).memories == memories


@given(st.lists(tables, max_size=4))
def test_tables(entries: list[Table]) -> None:
    assert module_with(SectionId.TABLE, entries, writer.table).tables == entries


@given(st.lists(globals_, max_size=4))
def test_globals(entries: list[Global]) -> None:
    assert module_with(SectionId.GLOBAL, entries, writer.global_).globals == entries


@given(st.lists(imports, max_size=4))
def test_imports(entries: list[Import]) -> None:
    module = module_with(SectionId.IMPORT, entries, writer.import_)
    assert module.imports == entries
    assert sorted(map(str, entries)) == sorted(str(entry) for kind in range(5) for entry in module.imported(kind))


@given(st.lists(exports, max_size=4))
def test_exports(entries: list[Export]) -> None:
    assert module_with(SectionId.EXPORT, entries, writer.export).exports == entries


@given(st.lists(elements(), max_size=4))
def test_element_segments(entries: list[Element]) -> None:
    read = module_with(SectionId.ELEMENT, entries, writer.element).elements
    assert read == entries
    assert [len(entry) for entry in read] == [len(entry.functions or entry.expressions or ()) for entry in entries]


@given(st.lists(data_segments(), max_size=4))
def test_data_segments(entries: list[tuple[Data, bytes]]) -> None:
    module = module_with(SectionId.DATA, entries, lambda entry: writer.data_segment(*entry))
    read = [(replace(data, start=0, end=0), module.data[data.start : data.end]) for data in module.data_segments]
    assert read == entries


@given(st.lists(u32s, max_size=20))
def test_function_section(type_indices: list[int]) -> None:
    assert module_with(SectionId.FUNCTION, type_indices, encode_unsigned).functions == type_indices


@given(st.none() | names, st.dictionaries(u32s, names, max_size=5))
def test_name_section(module_name: str | None, functions: dict[int, str]) -> None:
    module = Module.parse(writer.module([name_section(module_name, functions)]))
    assert read_names(module) == (module_name, functions)


@given(u64s)
def test_unsigned_numbers_are_minimal_and_padded_ones_are_read(value: int) -> None:
    encoded = encode_unsigned(value)
    assert len(encoded) == max(1, -(-value.bit_length() // 7))
    assert decode_unsigned(encoded) == (value, len(encoded))
    assert Reader(padded_unsigned(value, 10)).u64() == value
    if value < 1 << 32:
        assert Reader(encoded).u32() == Reader(padded_unsigned(value)).u32() == value


@given(s64s)
def test_signed_numbers_are_minimal_and_padded_ones_are_read(value: int) -> None:
    encoded = encode_signed(value)
    assert len(encoded) == (value if value >= 0 else ~value).bit_length() // 7 + 1
    assert decode_signed(encoded) == (value, len(encoded))
    assert Reader(padded_signed(value, 10)).signed("number", 64) == value


@given(st.lists(u32s, max_size=20))
def test_numbers_in_a_row_are_read_as_one_by_one(values: list[int]) -> None:
    reader = Reader(b"".join(map(encode_unsigned, values)) + b"\5")
    assert list(reader.numbers(len(values), "number")) == values
    assert reader.byte() == 5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x80\x80\x80\x80\x00", "takes more than 5 bytes"),
        (b"\x80\x80\x80\x80\x10", "too large"),
        (b"\xff\xff\xff\xff\x7f", "too large"),
        (b"\x80\x80", "unexpected end"),
        (b"", "unexpected end"),
    ],
)
def test_a_32_bit_number_that_is_none_is_refused(data: bytes, message: str) -> None:
    reader = Reader(data)
    with pytest.raises(WasmError, match=message):
        reader.u32()
    assert reader.position == 0


@pytest.mark.parametrize("value", [1 << 31, -(1 << 31) - 1, 1 << 33, -(1 << 34)])
def test_a_constant_beyond_32_bits_is_refused(value: int) -> None:
    with pytest.raises(WasmError, match="too large"):
        Reader(padded_signed(value)).signed("an i32 constant", 32)
