"""Writing records and sections, each the mirror of what `module` reads, with minimal LEBs.

Source: WebAssembly Core Specification 3.0, "Binary Format / Modules".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bacpack.wasm.leb128 import encode_signed, encode_unsigned
from bacpack.wasm.module import CORE_VERSION, MAGIC, Module
from bacpack.wasm.types import (
    FUNCREF,
    SECTION_ORDER,
    Data,
    Element,
    Export,
    ExternType,
    FuncType,
    Global,
    GlobalType,
    Import,
    Kind,
    Limits,
    Mode,
    SectionId,
    Table,
    TableType,
)

END = b"\x0b"


def sized(content: bytes) -> bytes:
    """`content` after its size."""
    return encode_unsigned(len(content)) + content


def name(text: str) -> bytes:
    """A UTF-8 string after its size."""
    return sized(text.encode())


def vector(items: Iterable[bytes]) -> bytes:
    """The items after their number."""
    items = list(items)
    return encode_unsigned(len(items)) + b"".join(items)


def section(section_id: SectionId, content: bytes) -> bytes:
    """A section with its header."""
    return bytes([section_id]) + sized(content)


def custom_section(title: str, content: bytes) -> bytes:
    """A custom section with its header and name."""
    return section(SectionId.CUSTOM, name(title) + content)


def func_type(type_: FuncType) -> bytes:
    """A function type."""
    return b"\x60" + vector(type_.params) + vector(type_.results)


def limits(value: Limits) -> bytes:
    """Limits of a memory or table."""
    has_maximum = value.maximum is not None
    head = bytes([has_maximum | value.shared << 1 | value.is_64 << 2]) + encode_unsigned(value.minimum)
    return head + (encode_unsigned(value.maximum) if value.maximum is not None else b"")


def table_type(value: TableType) -> bytes:
    """The type of a table."""
    return value.element + limits(value.limits)


def table(value: Table) -> bytes:
    """A table definition."""
    return table_type(value.type) if value.init is None else b"\x40\0" + table_type(value.type) + value.init


def global_type(value: GlobalType) -> bytes:
    """The type of a global."""
    return value.value + bytes([value.mutable])


def global_(value: Global) -> bytes:
    """A global definition."""
    return global_type(value.type) + value.init


def import_(value: Import) -> bytes:
    """An import."""
    return name(value.module) + name(value.name) + bytes([value.kind]) + _extern_type(value.kind, value.type)


def _extern_type(kind: Kind, type_: ExternType) -> bytes:
    if isinstance(type_, TableType):
        return table_type(type_)
    if isinstance(type_, Limits):
        return limits(type_)
    if isinstance(type_, GlobalType):
        return global_type(type_)
    return (b"\0" if kind == Kind.TAG else b"") + encode_unsigned(type_)


def export(value: Export) -> bytes:
    """An export."""
    return name(value.name) + bytes([value.kind]) + encode_unsigned(value.index)


def element(value: Element) -> bytes:
    """An element segment."""
    flags = {Mode.ACTIVE: 0, Mode.PASSIVE: 1, Mode.DECLARATIVE: 3}[value.mode]
    plain = value.table == 0 and (value.type == FUNCREF or value.functions is not None)
    if value.mode == Mode.ACTIVE and not plain:
        flags |= 2
    if value.expressions is not None:
        flags |= 4
    out = encode_unsigned(flags)
    if value.mode == Mode.ACTIVE:
        out += (encode_unsigned(value.table) if flags & 2 else b"") + (value.offset or b"")
    if flags & 3:
        out += value.type if flags & 4 else b"\0"
    if value.expressions is not None:
        return out + vector(value.expressions)
    return out + vector(map(encode_unsigned, value.functions or ()))


def data_segment(value: Data, content: bytes) -> bytes:
    """A data segment with its content."""
    if value.mode == Mode.PASSIVE:
        return b"\1" + sized(content)
    head = b"\2" + encode_unsigned(value.memory) if value.memory else b"\0"
    return head + (value.offset or b"") + sized(content)


def i32_const(value: int) -> bytes:
    """The instruction `i32.const`; `value` may be given with or without sign."""
    return b"\x41" + encode_signed(value - (1 << 32) if value >= 1 << 31 else value)


def i64_const(value: int) -> bytes:
    """The instruction `i64.const`, likewise."""
    return b"\x42" + encode_signed(value - (1 << 64) if value >= 1 << 63 else value)


def module(sections: Iterable[bytes]) -> bytes:
    """A whole module of encoded sections."""
    return MAGIC + CORE_VERSION + b"".join(sections)


def rewrite(source: Module, changed: Mapping[SectionId, bytes | None]) -> bytes:
    """Return `source` with the content of some sections replaced, added, or (None) left out.

    All other sections keep their bytes, header included. An added section goes to its place in the required order.
    """
    out: list[bytes] = []
    pending = [section_id for section_id in SECTION_ORDER if changed.get(section_id) is not None]
    for old in source.sections:
        if old.id == SectionId.CUSTOM:
            out.append(source.data[old.start : old.end])
            continue
        rank = SECTION_ORDER.index(SectionId(old.id))
        while pending and SECTION_ORDER.index(pending[0]) <= rank:
            section_id = pending.pop(0)
            out.append(section(section_id, changed[section_id] or b""))
        if old.id not in changed:
            out.append(source.data[old.start : old.end])
    out += [section(section_id, changed[section_id] or b"") for section_id in pending]
    return module(out)
