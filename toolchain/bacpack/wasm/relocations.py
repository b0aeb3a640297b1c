"""What a linker left behind about a module: its symbol table, and which bytes of code and data name which symbol.

Source: WebAssembly tool conventions, "Linking" (version 2 of the `linking` section).

`wasm-ld --emit-relocs` writes both into a linked program. What is then true (LLD 22):

- Functions and data that nothing reaches are dropped as ever. Data that is all zero is written out as a segment, where
  it is otherwise just memory that nobody wrote to.
- Relocated numbers stand in code as LEBs padded to five bytes; each relocation has its symbol and, for an address, what
  is added to it. Offsets count from where the content of the section begins.
- The position of a data symbol is its segment and its offset therein, also when equal strings were merged. Symbols of
  the linker's own, such as `__heap_base`, are flagged absolute: their offset is an address and their segment means
  nothing.
- Functions that the linker wrote itself, `__wasm_call_ctors` for one, have no relocations, and nothing else has outside
  code and data: elements, exports and globals do not.
- `--strip-all` leaves both, without names and debug information. Those have relocations too, which are not read here.
- `--compress-relocations` writes short LEBs and leaves the offsets as they would be without; tools that run later copy
  the sections as they are. So nothing here is to be trusted before it was compared with the code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from bacpack.wasm.errors import WasmError
from bacpack.wasm.limits import MAX_DATA_SEGMENTS, MAX_FUNCTIONS, MAX_MODULE_BYTES
from bacpack.wasm.module import Module
from bacpack.wasm.patterns import LEB
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import Section, SectionId

LINKING_SECTION = "linking"
RELOCATION_PREFIX = "reloc."
LINKING_VERSION = 2
_MAX_SYMBOLS = 10_000_000
#: Parts of the linking section.
SEGMENT_INFO, INIT_FUNCTIONS, SYMBOL_TABLE = 5, 6, 8
_U32_MAX = (1 << 32) - 1
_LEB_BYTES = 5


class SymbolKind(IntEnum):
    """What a symbol stands for."""

    FUNCTION = 0
    DATA = 1
    GLOBAL = 2
    SECTION = 3
    TAG = 4
    TABLE = 5


class SymbolFlags(IntFlag):
    """Flags of a symbol; bits without a meaning here are kept."""

    WEAK = 0x01
    LOCAL = 0x02
    HIDDEN = 0x04
    UNDEFINED = 0x10
    EXPORTED = 0x20
    EXPLICIT_NAME = 0x40
    NO_STRIP = 0x80
    TLS = 0x100
    ABSOLUTE = 0x200


class RelocationKind(IntEnum):
    """What is written where a relocation points to, and how."""

    FUNCTION_INDEX_LEB = 0
    TABLE_INDEX_SLEB = 1
    TABLE_INDEX_I32 = 2
    MEMORY_ADDR_LEB = 3
    MEMORY_ADDR_SLEB = 4
    MEMORY_ADDR_I32 = 5
    TYPE_INDEX_LEB = 6
    GLOBAL_INDEX_LEB = 7
    FUNCTION_OFFSET_I32 = 8
    SECTION_OFFSET_I32 = 9
    TAG_INDEX_LEB = 10
    MEMORY_ADDR_REL_SLEB = 11
    TABLE_INDEX_REL_SLEB = 12
    GLOBAL_INDEX_I32 = 13
    MEMORY_ADDR_LEB64 = 14
    MEMORY_ADDR_SLEB64 = 15
    MEMORY_ADDR_I64 = 16
    MEMORY_ADDR_REL_SLEB64 = 17
    TABLE_INDEX_SLEB64 = 18
    TABLE_INDEX_I64 = 19
    TABLE_NUMBER_LEB = 20
    MEMORY_ADDR_TLS_SLEB = 21
    FUNCTION_OFFSET_I64 = 22
    MEMORY_ADDR_LOCREL_I32 = 23
    TABLE_INDEX_REL_SLEB64 = 24
    MEMORY_ADDR_TLS_SLEB64 = 25
    FUNCTION_INDEX_I32 = 26


_KINDS = list(RelocationKind)
#: By kind: whether an addend follows.
HAS_ADDEND = [kind.name.startswith(("MEMORY_ADDR", "FUNCTION_OFFSET", "SECTION_OFFSET")) for kind in _KINDS]


@dataclass(slots=True)
class Symbol:
    """A symbol. What `index` counts depends on the kind; of data it is the segment, None when nobody defined it."""

    kind: SymbolKind
    flags: int
    #: None for a section, and for an import that is called as it is imported.
    name: str | None
    index: int | None
    #: Where data begins in its segment, and its size.
    offset: int = 0
    size: int = 0


@dataclass(slots=True)
class SegmentInfo:
    """What is known of a data segment beyond its content; `alignment` is a power of two."""

    name: str
    alignment: int
    flags: int


@dataclass(slots=True)
class InitFunction:
    """A function that is called before `main`, lowest priority first; `symbol` is a position in the symbol table."""

    priority: int
    symbol: int


@dataclass(slots=True)
class Linking:
    """The `linking` section. Of its parts, groups of copies of which a linker keeps one (COMDAT) are not read."""

    symbols: list[Symbol] = field(default_factory=list)
    segments: list[SegmentInfo] = field(default_factory=list)
    init_functions: list[InitFunction] = field(default_factory=list)


@dataclass(slots=True)
class Relocation:
    """A place that names a symbol; `offset` counts from the content of the section it is in."""

    kind: RelocationKind
    offset: int
    #: A position in the symbol table; the index of a type for `TYPE_INDEX_LEB`.
    index: int
    addend: int = 0


def has_relocations(module: Module) -> bool:
    """Whether a linker left relocations in a module."""
    return any(section.name is not None and section.name.startswith(RELOCATION_PREFIX) for section in module.sections)


def read_linking(module: Module) -> Linking | None:
    """Return the `linking` section, None when there is none."""
    sections = module.custom_sections(LINKING_SECTION)
    if not sections:
        return None
    if len(sections) > 1:
        raise WasmError("wasm-malformed", "there are two linking sections", sections[1].start)
    reader = Reader(module.data, sections[0].content, sections[0].end)
    reader.name("the section's name")
    if (version := reader.u32("the version of linking")) != LINKING_VERSION:
        raise reader.fail(f"linking of version {version}, not {LINKING_VERSION}")
    linking = Linking()
    while reader.remaining:
        kind = reader.byte()
        size = reader.count("bytes of linking", MAX_MODULE_BYTES)
        part = Reader(module.data, reader.skip(size, "a part of linking"), reader.position)
        if kind == SYMBOL_TABLE:
            linking.symbols += [_read_symbol(part) for _ in range(part.count("symbols", _MAX_SYMBOLS, item_bytes=3))]
        elif kind == SEGMENT_INFO:
            count = part.count("segments", MAX_DATA_SEGMENTS, item_bytes=3)
            linking.segments += [
                SegmentInfo(part.name("a segment's name"), part.u32("an alignment"), part.u32("flags"))
                for _ in range(count)
            ]
        elif kind == INIT_FUNCTIONS:
            count = part.count("functions to call first", MAX_FUNCTIONS, item_bytes=2)
            linking.init_functions += [InitFunction(part.u32("a priority"), part.u32("a symbol")) for _ in range(count)]
        else:
            continue
        if part.remaining:
            raise part.fail(f"{part.remaining} bytes too many in part {kind} of linking")
    return linking


def _read_symbol(reader: Reader) -> Symbol:
    code = reader.byte()
    if code > max(SymbolKind):
        reader.position -= 1
        raise reader.fail(f"unknown kind {code} of symbol")
    kind, flags = SymbolKind(code), reader.u32("a symbol's flags")
    if kind == SymbolKind.DATA:
        name = reader.name("a symbol's name")
        if flags & SymbolFlags.UNDEFINED:
            return Symbol(kind, flags, name, None)
        index, offset = reader.u32("a segment"), reader.u64("an offset in a segment")
        return Symbol(kind, flags, name, index, offset, reader.u64("a symbol's size"))
    index = reader.u32("a symbol's index")
    named = not flags & SymbolFlags.UNDEFINED or flags & SymbolFlags.EXPLICIT_NAME
    if kind == SymbolKind.SECTION or not named:
        return Symbol(kind, flags, None, index)
    return Symbol(kind, flags, reader.name("a symbol's name"), index)


def find_relocations(module: Module, section_id: SectionId) -> Section | None:
    """Return the section that holds the relocations of this section, None when there is none."""
    found: Section | None = None
    for section in module.sections:
        if section.name is None or not section.name.startswith(RELOCATION_PREFIX):
            continue
        target = _reader_after_name(module, section).u32("the section to relocate")
        if target < len(module.sections) and module.sections[target].id == section_id:
            if found is not None:
                raise WasmError(
                    "wasm-malformed", f"section {section_id.name.lower()} is relocated twice", section.start
                )
            found = section
    return found


def read_relocations(module: Module, section_id: SectionId) -> list[Relocation]:
    """Return the relocations of one section in the order of the file; of a custom section there are none."""
    section = find_relocations(module, section_id)
    if section is None:
        return []
    reader = _reader_after_name(module, section)
    reader.u32("the section to relocate")
    count = reader.count("relocations", MAX_MODULE_BYTES, item_bytes=3)
    return _read_entries(module.data, reader.position, section.end, count)


def _reader_after_name(module: Module, section: Section) -> Reader:
    reader = Reader(module.data, section.content, section.end)
    reader.name("the section's name")
    return reader


#: Cuts bytes into LEBs: tens of thousands of relocations are read many times faster than number by number.
_LEBS = re.compile(LEB)


def _read_entries(data: bytes, start: int, end: int, count: int) -> list[Relocation]:
    lebs = _LEBS.findall(data, start, end)
    found: list[Relocation] = []
    place = 0
    known = _Numbers()
    try:
        for _ in range(count):
            code = known[lebs[place]]
            kind = _KINDS[code]
            if HAS_ADDEND[code]:
                addend = _signed(lebs[place + 3])
                found.append(Relocation(kind, known[lebs[place + 1]], known[lebs[place + 2]], addend))
                place += 4
            else:
                found.append(Relocation(kind, known[lebs[place + 1]], known[lebs[place + 2]]))
                place += 3
    except (IndexError, ValueError):
        raise _entry_error(data, start + sum(map(len, lebs[:place])), end) from None
    at = start + sum(map(len, lebs[:place]))
    if at != end:
        raise WasmError("wasm-malformed", f"{end - at} bytes too many in a section of relocations", at)
    return found


def _entry_error(data: bytes, at: int, end: int) -> WasmError:
    """What is wrong with the relocation at `at`: read it again, number by number."""
    reader = Reader(data, at, end)
    try:
        code = reader.u32("a kind of relocation")
        if code >= len(_KINDS):
            return WasmError("wasm-malformed", f"unknown kind {code} of relocation", at)
        reader.u32("an offset")
        reader.u32("an index")
        reader.signed("an addend", 64 if _KINDS[code].name.endswith("64") else 32)
    except WasmError as error:
        return error
    return WasmError("wasm-malformed", "a relocation cannot be read", at)


class _Numbers(dict[bytes, int]):
    """Unsigned numbers by their bytes; raises ValueError for one that is too large."""

    def __missing__(self, leb: bytes) -> int:
        value = 0
        for byte in reversed(leb):
            value = value << 7 | byte & 0x7F
        if len(leb) > _LEB_BYTES or value > _U32_MAX:
            raise ValueError
        self[leb] = value
        return value


def _signed(leb: bytes) -> int:
    if len(leb) == 1:
        return leb[0] - 0x80 if leb[0] & 0x40 else leb[0]
    if len(leb) > 2 * _LEB_BYTES:
        raise ValueError
    value = 0
    for byte in reversed(leb):
        value = value << 7 | byte & 0x7F
    return value - (1 << 7 * len(leb)) if leb[-1] & 0x40 else value
