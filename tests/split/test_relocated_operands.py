"""What relocations say of operands: right for what a linker wrote, and never believed for what was changed since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacpack.split.shapes.relocated_operands import Meaning, NotRelocated, RelocatedOperands, read_relocated_operands
from bacpack.wasm import Module, SectionId, writer
from bacpack.wasm import scanner as scan
from bacpack.wasm.custom_sections import read_names
from bacpack.wasm.leb128 import decode_signed
from bacpack.wasm.relocations import (
    RELOCATION_PREFIX,
    Linking,
    Relocation,
    RelocationKind,
    read_linking,
    read_relocations,
)
from linked import PROGRAM, Toolchain
from wasm.relocation_writer import linking_section, relocation_section
from wasmtools import assemble


@pytest.fixture(scope="module")
def zig(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    return Toolchain(tmp_path_factory.mktemp("exact"))


@pytest.fixture(scope="module")
def blob(zig: Toolchain) -> bytes:
    return zig.link([zig.compile(PROGRAM)], "--emit-relocs", "--strip-debug")


def known(data: bytes) -> RelocatedOperands:
    found = read_relocated_operands(Module.parse(data))
    assert isinstance(found, RelocatedOperands), found.reason
    return found


def reason(data: bytes) -> str:
    found = read_relocated_operands(Module.parse(data))
    assert isinstance(found, NotRelocated)
    return found.reason


def named(found: RelocatedOperands, name: str) -> int:
    (position,) = (place for place, symbol in enumerate(found.linking.symbols) if symbol.name == name)
    return position


def memory_of(module: Module) -> dict[int, int]:
    """Bytes of static data by address."""
    found = {}
    for segment in module.data_segments:
        start = decode_signed(segment.offset or b"", 1)[0]
        found.update(enumerate(module.data[segment.start : segment.end], start))
    return found


def word(memory: dict[int, int], address: int) -> int:
    return int.from_bytes(bytes(memory[address + place] for place in range(4)), "little")


def text(memory: dict[int, int], address: int) -> str:
    end = address
    while memory[end]:
        end += 1
    return bytes(memory[place] for place in range(address, end)).decode()


def test_data_symbols_lie_where_their_content_is(blob: bytes) -> None:
    """A list in memory is walked by what relocations say, and by the words that are there."""
    found, module = known(blob), Module.parse(blob)
    memory = memory_of(module)
    functions = {name: index for index, name in read_names(module)[1].items()}
    shifts = {
        address: segment.start - address
        for segment in module.data_segments
        for address in [decode_signed(segment.offset or b"", 1)[0]]
    }
    words = {entry.position: entry for entry in found.data}

    def entry_at(address: int) -> tuple[Meaning, str | None, int]:
        start = max(start for start in shifts if start <= address)
        entry = words[address + shifts[start]]
        return entry.meaning, found.linking.symbols[entry.symbol].name, entry.addend

    first, last = (found.addresses[named(found, name)] or 0 for name in ("first", "last"))
    assert text(memory, word(memory, first)) == "length"
    assert text(memory, word(memory, last)) == "letters"
    assert entry_at(first + 4) == (Meaning.TABLE_INDEX, "length", 0)
    assert found.table[word(memory, first + 4)] == functions["length"]
    assert entry_at(first + 8) == (Meaning.ADDRESS, "last", 0)
    assert word(memory, first + 8) == last
    assert found.linking.symbols[named(found, "points")].size == 48
    assert entry_at(found.addresses[named(found, "words")] or 0)[0] == Meaning.ADDRESS


def test_operands_are_what_stands_in_the_code(blob: bytes) -> None:
    found, module = known(blob), Module.parse(blob)
    imported = len(module.function_types) - len(module.functions)
    main = read_names(module)[1]
    (number,) = (index - imported for index, name in main.items() if name in {"__main_argc_argv", "main"})
    code = found.functions[number]
    meant = {found.linking.symbols[entry.symbol].name: entry for entry in code.operands}
    assert meant["compare"].meaning == Meaning.TABLE_INDEX
    assert {"first", "seen", "points", "total", "used_in_order"} <= meant.keys()
    for entry in code.operands:
        value = decode_signed(module.data, entry.position)[0]
        if entry.meaning == Meaning.ADDRESS:
            assert value == (found.addresses[entry.symbol] or 0) + entry.addend
        else:
            assert found.table[value] == found.linking.symbols[entry.symbol].index
    assert {main[index] for index in code.callees} >= {"puts", "abort"}
    # A weak function that nobody defined is at 0, and 0 is no place in the table.
    assert "nobody_defines_this" not in meant


def test_every_call_is_found_with_or_without_relocation(blob: bytes) -> None:
    found, module = known(blob), Module.parse(blob)
    names = read_names(module)[1]
    imported = len(module.function_types) - len(module.functions)
    (ctors,) = (index for index, name in names.items() if name == "__wasm_call_ctors")
    assert "before" in {names[index] for index in found.functions[ctors - imported].callees}
    for body, code in zip(module.bodies, found.functions, strict=True):
        opened = scan.scan(blob, scan.code_start(blob, body.start, body.end), body.end)[1]
        assert len(code.callees) == sum(entry[0] in (scan.CALL, scan.RETURN_CALL) for entry in opened)


@pytest.mark.parametrize(
    "options", [("-O2",), ("--no-merge-data-segments",), ("--no-gc-sections",), ("--stack-first",)]
)
def test_other_ways_to_link_agree_as_well(zig: Toolchain, options: tuple[str, ...]) -> None:
    known(zig.link([zig.compile(PROGRAM)], "--emit-relocs", *options))


def test_code_that_could_be_in_a_library_is_understood(zig: Toolchain) -> None:
    """It adds a global to constants, and reads addresses and places in the table from others."""
    data = zig.link([zig.compile(PROGRAM, "-Os", "-fPIC", name="pic")], "--emit-relocs", "--strip-debug")
    found, module = known(data), Module.parse(data)
    kinds = {entry.kind for entry in read_relocations(module, SectionId.CODE)}
    assert {RelocationKind.MEMORY_ADDR_REL_SLEB, RelocationKind.TABLE_INDEX_REL_SLEB} <= kinds
    main = next(code for code in found.functions if code.through_globals)
    meant = {
        found.linking.symbols[entry.symbol].name: entry.meaning for code in found.functions for entry in code.operands
    }
    assert (meant["compare"], meant["first"]) == (Meaning.TABLE_INDEX, Meaning.ADDRESS)
    assert main.through_globals


def test_short_numbers_with_long_offsets_are_not_believed(zig: Toolchain) -> None:
    data = zig.link([zig.compile(PROGRAM)], "--emit-relocs", "--compress-relocations", "--strip-all")
    assert "relocation" in reason(data)


def test_debug_information_does_no_harm(zig: Toolchain) -> None:
    known(zig.link([zig.compile(PROGRAM, "-g", "-O1", name="debugged")], "--emit-relocs"))


def rewritten(data: bytes, change: Callable[[Linking, list[Relocation], list[Relocation]], object]) -> bytes:
    """The blob with other relocations."""
    module = Module.parse(data)
    linking = read_linking(module)
    assert linking is not None
    code, words = (read_relocations(module, section_id) for section_id in (SectionId.CODE, SectionId.DATA))
    change(linking, code, words)
    kept = [
        section
        for section in module.sections
        if section.name is None or not (section.name == "linking" or section.name.startswith(RELOCATION_PREFIX))
    ]
    out = writer.rewrite(Module(data, kept), {})
    sections = Module.parse(out).sections
    places = [next(place for place, section in enumerate(sections) if section.id == number) for number in (10, 11)]
    return (
        out
        + linking_section(linking)
        + relocation_section("CODE", places[0], code)
        + relocation_section("DATA", places[1], words)
    )


def test_relocations_written_anew_are_believed(blob: bytes) -> None:
    assert known(rewritten(blob, lambda *_: None)).functions


def first_of(entries: list[Relocation], kind: RelocationKind) -> int:
    return next(place for place, entry in enumerate(entries) if entry.kind == kind)


@pytest.mark.parametrize("kind", sorted({*RelocationKind} & set(range(8)) | {20}))
@pytest.mark.parametrize("by", [-1, 1, 5])
def test_a_relocation_at_another_place_is_not_believed(blob: bytes, kind: RelocationKind, by: int) -> None:
    def move(_: Linking, *lists: list[Relocation]) -> None:
        entries = next(entries for entries in lists if any(entry.kind == kind for entry in entries))
        at = first_of(entries, kind)
        entries[at] = replace(entries[at], offset=entries[at].offset + by)

    assert reason(rewritten(blob, move))


@given(st.data())
def test_one_relocation_less_in_a_function_is_not_believed(blob: bytes, data: st.DataObject) -> None:
    """All operands of a relocated function have relocations: what has none is known to be a number."""

    def drop(_: Linking, code: list[Relocation], __: list[Relocation]) -> None:
        kinds = (RelocationKind.FUNCTION_INDEX_LEB, RelocationKind.MEMORY_ADDR_SLEB, RelocationKind.TABLE_INDEX_SLEB)
        places = [place for place, entry in enumerate(code) if entry.kind in kinds]
        del code[data.draw(st.sampled_from(places))]

    changed = read_relocated_operands(Module.parse(rewritten(blob, drop)))
    if isinstance(changed, RelocatedOperands):
        # The only relocation of a function that is like what a linker writes: calls alone.
        assert [code.operands for code in changed.functions] == [code.operands for code in known(blob).functions]
        assert [code.callees for code in changed.functions] == [code.callees for code in known(blob).functions]


@given(st.data())
def test_another_symbol_or_addend_is_not_believed(blob: bytes, data: st.DataObject) -> None:
    """Unless it is the same: two names of one place."""
    before = known(blob)
    by = data.draw(st.sampled_from([-4, -1, 1, 4]))

    def change(_: Linking, code: list[Relocation], words: list[Relocation]) -> None:
        entries = data.draw(st.sampled_from([code, words]))
        at = data.draw(st.integers(0, len(entries) - 1))
        entry = entries[at]
        if entry.kind.name.startswith("MEMORY_ADDR") and data.draw(st.booleans()):
            entries[at] = replace(entry, addend=entry.addend + by)
        else:
            entries[at] = replace(entry, index=max(entry.index + by, 0))

    after = read_relocated_operands(Module.parse(rewritten(blob, change)))
    if isinstance(after, RelocatedOperands):
        for old, new in zip(before.functions, after.functions, strict=True):
            for was, is_ in zip(old.operands, new.operands, strict=True):
                if was.meaning == Meaning.ADDRESS:
                    addresses = [(before.addresses[entry.symbol] or 0) + entry.addend for entry in (was, is_)]
                else:
                    addresses = [before.linking.symbols[entry.symbol].index or 0 for entry in (was, is_)]
                assert addresses[0] == addresses[1]


@given(st.data())
def test_code_that_was_changed_later_is_not_believed(blob: bytes, data: st.DataObject) -> None:
    """A relocated number with another value, as a tool leaves it that knows nothing of relocations."""
    module = Module.parse(blob)
    section = module.section(SectionId.CODE)
    assert section is not None
    entry = data.draw(st.sampled_from(read_relocations(module, SectionId.CODE)))
    at = section.content + entry.offset + data.draw(st.integers(0, 3))
    changed = bytearray(blob)
    changed[at] ^= 1 << data.draw(st.integers(0, 6))
    assert reason(bytes(changed))


def test_data_that_was_filled_in_later_is_not_believed(blob: bytes) -> None:
    module = Module.parse(blob)
    zeros = module.data_segments[2]
    changed = bytearray(blob)
    changed[zeros.start + 17] = 1
    assert reason(bytes(changed)) == "its data was changed after linking: segment .bss is not zero"


def test_data_in_other_segments_is_not_believed(blob: bytes) -> None:
    module = Module.parse(blob)
    segments = [writer.data_segment(entry, blob[entry.start : entry.end]) for entry in module.data_segments]
    data = writer.rewrite(module, {SectionId.DATA: writer.vector(segments[:2])})
    assert reason(data) == "its linking section knows 3 data segments, there are 2"


def test_what_has_no_relocations_says_so(zig: Toolchain) -> None:
    assert reason(assemble("(module)")) == "it has no linking section"
    plain = zig.link([zig.compile(PROGRAM)])
    assert reason(plain) == "it has no linking section"
    assert "has no relocations" in reason(plain + linking_section(Linking()))
