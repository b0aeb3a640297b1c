"""Writing what `relocations` reads: the `linking` section, and relocations of code and data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bacpack.wasm import writer
from bacpack.wasm.leb128 import encode_signed, encode_unsigned
from bacpack.wasm.relocations import (
    HAS_ADDEND,
    INIT_FUNCTIONS,
    LINKING_SECTION,
    LINKING_VERSION,
    RELOCATION_PREFIX,
    SEGMENT_INFO,
    SYMBOL_TABLE,
    Linking,
    Relocation,
    SegmentInfo,
    Symbol,
    SymbolFlags,
    SymbolKind,
)


def linking_section(linking: Linking) -> bytes:
    """The `linking` section with its header; parts without entries are left out."""
    functions = [encode_unsigned(entry.priority) + encode_unsigned(entry.symbol) for entry in linking.init_functions]
    parts = [
        (SYMBOL_TABLE, [_symbol(symbol) for symbol in linking.symbols]),
        (SEGMENT_INFO, [_segment(segment) for segment in linking.segments]),
        (INIT_FUNCTIONS, functions),
    ]
    content = b"".join(bytes([kind]) + writer.sized(writer.vector(entries)) for kind, entries in parts if entries)
    return writer.custom_section(LINKING_SECTION, encode_unsigned(LINKING_VERSION) + content)


def relocation_section(name: str, section: int, relocations: Sequence[Relocation]) -> bytes:
    """The relocations of the section that is at position `section` in the file, with header."""
    content = encode_unsigned(section) + writer.vector(_relocations(relocations))
    return writer.custom_section(RELOCATION_PREFIX + name, content)


def _relocations(relocations: Iterable[Relocation]) -> Iterable[bytes]:
    for entry in relocations:
        head = encode_unsigned(entry.kind) + encode_unsigned(entry.offset) + encode_unsigned(entry.index)
        yield head + encode_signed(entry.addend) if HAS_ADDEND[entry.kind] else head


def _segment(segment: SegmentInfo) -> bytes:
    return writer.name(segment.name) + encode_unsigned(segment.alignment) + encode_unsigned(segment.flags)


def _symbol(symbol: Symbol) -> bytes:
    head = bytes([symbol.kind]) + encode_unsigned(symbol.flags)
    name = b"" if symbol.name is None else writer.name(symbol.name)
    if symbol.kind != SymbolKind.DATA:
        return head + encode_unsigned(symbol.index or 0) + name
    if symbol.flags & SymbolFlags.UNDEFINED:
        return head + name
    return head + name + b"".join(map(encode_unsigned, (symbol.index or 0, symbol.offset, symbol.size)))
