"""What linkers leave behind: read as `wasm-tools` reads it, written as it was, and never believed to be whole."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacpack.wasm import Module, SectionId, WasmError, writer
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.relocations import (
    HAS_ADDEND,
    InitFunction,
    Linking,
    Relocation,
    RelocationKind,
    SegmentInfo,
    Symbol,
    SymbolFlags,
    SymbolKind,
    find_relocations,
    read_linking,
    read_relocations,
)
from linked import PROGRAM, Toolchain
from strategies_wasm import names, u32s
from wasm.relocation_writer import linking_section, relocation_section
from wasmtools import padded_unsigned, run

RELOCATED = (SectionId.CODE, SectionId.DATA)


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real program with relocations."""
    zig = Toolchain(tmp_path_factory.mktemp("relocations"))
    return zig.link([zig.compile(PROGRAM)], "--emit-relocs", "--strip-debug")


def read_all(data: bytes) -> tuple[Linking | None, list[list[Relocation]]]:
    module = Module.parse(data)
    return read_linking(module), [read_relocations(module, section_id) for section_id in RELOCATED]


def read_or_refuse(data: bytes) -> None:
    try:
        read_all(data)
    except WasmError as error:
        assert 0 <= error.offset <= len(data)


def test_symbols_and_relocations_are_those_that_wasm_tools_names(blob: bytes) -> None:
    text = run(["dump", "-"], blob).stdout.decode()
    linking, relocations = read_all(blob)
    assert linking is not None
    named = re.findall(r"\b(Func|Global|Table|Data) \{ flags: .*?name: (?:Some\()?\"(.*?)\"", text)
    kinds = {"Func": "FUNCTION", "Data": "DATA", "Global": "GLOBAL", "Table": "TABLE"}
    assert [(kinds[kind], name) for kind, name in named] == [
        (symbol.kind.name, symbol.name) for symbol in linking.symbols if symbol.name is not None
    ]
    indices = re.findall(r"(?:Func|Global|Table) \{ flags: .*?index: (\d+), name:", text)
    assert [int(index) for index in indices] == [
        symbol.index for symbol in linking.symbols if symbol.kind != SymbolKind.DATA
    ]
    places = re.findall(r"DefinedDataSymbol \{ index: (\d+), offset: (\d+), size: (\d+) \}", text)
    assert [tuple(map(int, place)) for place in places] == [
        (symbol.index, symbol.offset, symbol.size)
        for symbol in linking.symbols
        if symbol.kind == SymbolKind.DATA and symbol.index is not None
    ]
    assert len(places) > 20
    entries = re.findall(r"RelocationEntry \{ ty: (\w+), offset: (\d+), index: (\d+), addend: (-?\d+) \}", text)
    assert [(kind, *map(int, numbers)) for kind, *numbers in entries] == [
        ("".join(word.capitalize() for word in entry.kind.name.split("_")), entry.offset, entry.index, entry.addend)
        for section in relocations
        for entry in section
    ]
    assert len(entries) > 400
    assert [segment.name for segment in linking.segments] == [".rodata", ".data", ".bss"]


def test_what_is_read_is_written_as_it_was(blob: bytes) -> None:
    module = Module.parse(blob)
    linking, relocations = read_all(blob)
    assert linking is not None
    section = module.custom_sections("linking")[0]
    assert linking_section(linking) == blob[section.start : section.end]
    for section_id, entries in zip(RELOCATED, relocations, strict=True):
        found, target = find_relocations(module, section_id), module.section(section_id)
        assert found is not None
        assert target is not None
        written = relocation_section(section_id.name, module.sections.index(target), entries)
        assert written == blob[found.start : found.end]


def test_a_program_without_relocations_has_none(sample: list[bytes]) -> None:
    for data in sample:
        assert read_all(data) == (None, [[], []])


def data_symbols() -> st.SearchStrategy[Symbol]:
    defined = st.builds(Symbol, st.just(SymbolKind.DATA), st.sampled_from([0, 1, 0x200]), names, u32s, u32s, u32s)
    return defined | st.builds(Symbol, st.just(SymbolKind.DATA), st.just(0x10), names, st.none())


def other_symbols() -> st.SearchStrategy[Symbol]:
    kinds = st.sampled_from([SymbolKind.FUNCTION, SymbolKind.GLOBAL, SymbolKind.TAG, SymbolKind.TABLE])
    named = st.builds(Symbol, kinds, st.sampled_from([0, 2, 0x50, 0xA4]), names, u32s)
    section = st.builds(Symbol, st.just(SymbolKind.SECTION), st.just(2), st.none(), u32s)
    return named | section | st.builds(Symbol, kinds, st.just(0x10), st.none(), u32s)


linkings = st.builds(
    Linking,
    st.lists(data_symbols() | other_symbols(), max_size=8),
    st.lists(st.builds(SegmentInfo, names, u32s, u32s), max_size=4),
    st.lists(st.builds(InitFunction, u32s, u32s), max_size=4),
)


@given(linkings)
def test_any_linking_section_is_read_as_it_was_written(linking: Linking) -> None:
    assert read_linking(Module.parse(writer.module([linking_section(linking)]))) == linking


@st.composite
def relocation_lists(draw: st.DrawFn) -> list[Relocation]:
    entries = draw(
        st.lists(
            st.builds(Relocation, st.sampled_from(RelocationKind), u32s, u32s, st.integers(-(2**31), 2**31 - 1)),
            max_size=10,
        )
    )
    return [entry if HAS_ADDEND[entry.kind] else replace(entry, addend=0) for entry in entries]


@given(relocation_lists())
def test_any_relocations_are_read_as_they_were_written(entries: list[Relocation]) -> None:
    sections = [writer.section(SectionId.CODE, b"\0"), relocation_section("CODE", 0, entries)]
    module = Module.parse(writer.module(sections))
    assert read_relocations(module, SectionId.CODE) == entries
    assert read_relocations(module, SectionId.DATA) == []


@given(st.data())
def test_a_blob_cut_anywhere_is_read_or_refused(blob: bytes, data: st.DataObject) -> None:
    """The sizes of the section and its parts follow the cut, so that what is cut is noticed where it is read."""
    module = Module.parse(blob)
    section = data.draw(st.sampled_from([section for section in module.sections if section.id == SectionId.CUSTOM]))
    end = data.draw(st.integers(section.content, section.end))
    content = blob[section.content : end]
    read_or_refuse(blob[: section.start] + writer.section(SectionId.CUSTOM, content))
    read_or_refuse(blob[:end])


@given(st.data())
def test_a_blob_with_other_bytes_is_read_or_refused(blob: bytes, data: st.DataObject) -> None:
    first = Module.parse(blob).custom_sections("linking")[0].start
    changed = bytearray(blob)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(first, len(blob) - 1))] = data.draw(st.integers(0, 255))
    read_or_refuse(bytes(changed))


CODE = writer.section(SectionId.CODE, b"\0")


def linking_of(*parts: tuple[int, bytes]) -> bytes:
    content = b"".join(bytes([kind]) + writer.sized(part) for kind, part in parts)
    return writer.custom_section("linking", b"\2" + content)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ([writer.custom_section("linking", b"\1")], "linking of version 1, not 2"),
        ([writer.custom_section("linking", b"")], "unexpected end"),
        ([linking_of(), linking_of()], "two linking sections"),
        ([linking_of((8, b"\1\6\0\0"))], r"unknown kind 6 of symbol \(at offset 0x16\)"),
        ([linking_of((8, b"\1\0\0\0\2a"))], "2 bytes in a symbol's name cannot fit"),
        ([linking_of((8, b"\0\0"))], "1 bytes too many in part 8"),
        ([linking_of((8, b"\xff\xff\xff\xff\7"))], "more than the limit"),
        ([linking_of((8, b"\xff\xff\xff\1"))], "more than the limit|cannot fit"),
        ([linking_of((5, b"\xff\xff\xff\xff\7"))], "more than the limit"),
        ([linking_of((6, b"\2\0\0"))], "cannot fit"),
        ([CODE, writer.custom_section("reloc.CODE", b"\0\1\x1b\0\0")], "unknown kind 27 of relocation"),
        ([CODE, writer.custom_section("reloc.CODE", b"\0\1\x80\1\0")], "unknown kind 128 of relocation"),
        ([CODE, writer.custom_section("reloc.CODE", b"\0\2\0\0\0")], "2 relocations cannot fit"),
        ([CODE, writer.custom_section("reloc.CODE", b"\0\1\3\0\0")], "unexpected end"),
        ([CODE, writer.custom_section("reloc.CODE", b"\0\1\0\0\x80")], "unexpected end"),
        ([CODE, writer.custom_section("reloc.CODE", b"\0\1\0\0\0\0")], "1 bytes too many"),
        ([CODE, writer.custom_section("reloc.CODE", b"\0\1\0" + b"\x80" * 5 + b"\0\0")], "takes more than 5 bytes"),
        ([CODE, writer.custom_section("reloc.CODE", b"\0\xff\xff\xff\xff\7\0")], "more than the limit|cannot fit"),
        ([CODE, *[writer.custom_section("reloc.CODE", b"\0\0")] * 2], "relocated twice"),
    ],
)
def test_broken_sections_are_refused_with_the_reason(sections: list[bytes], message: str) -> None:
    with pytest.raises(WasmError, match=message):
        read_all(writer.module(sections))


def test_sections_that_relocate_others_are_passed_over() -> None:
    other = writer.custom_section("reloc..debug_info", b"\1\xff\xff")
    module = Module.parse(writer.module([CODE, writer.custom_section(".debug_info", b""), other]))
    assert read_relocations(module, SectionId.CODE) == []


def test_padded_numbers_are_read() -> None:
    entry = b"".join(padded_unsigned(number) for number in (3, 70_000, 5))
    section = writer.custom_section("reloc.CODE", b"\0" + padded_unsigned(1) + entry + b"\xfc\xff\xff\xff\x7f")
    expected = Relocation(RelocationKind.MEMORY_ADDR_LEB, 70_000, 5, -4)
    assert read_relocations(Module.parse(writer.module([CODE, section])), SectionId.CODE) == [expected]


def test_many_relocations_are_read_in_little_time() -> None:
    entries = [Relocation(RelocationKind.MEMORY_ADDR_SLEB, 13 * place, place % 9_000) for place in range(60_000)]
    symbols = [Symbol(SymbolKind.DATA, SymbolFlags.LOCAL, f".L.str.{place}", 0, place, 9) for place in range(9_000)]
    data = writer.module([CODE, linking_section(Linking(symbols)), relocation_section("CODE", 0, entries)])
    started = time.process_time()
    linking, (code, _) = read_all(data)
    seconds = time.process_time() - started
    assert code == entries
    assert linking == Linking(symbols)
    assert seconds < 1  # it takes a tenth of that on a machine with nothing else to do


def test_a_huge_count_allocates_nothing() -> None:
    started = time.process_time()
    for count in (1 << 20, 1 << 29, (1 << 32) - 1):
        for section in (
            writer.custom_section("reloc.CODE", b"\0" + encode_unsigned(count) + bytes(99)),
            *(linking_of((kind, encode_unsigned(count) + bytes(99))) for kind in (5, 6, 8)),
        ):
            with pytest.raises(WasmError):
                read_all(writer.module([CODE, section]))
    assert time.process_time() - started < 1
