"""What an attack is, and what several need."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from bacpack.wasm import Export, FuncType, Import, Kind, Module, writer
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.types import F32, F64, I32, I64, Limits, TableType
from mutation.parts import Parts
from mutation.release import Release

#: Makes another release; returns where, what it did, and the release. None when this one has no place for it.
Attack = Callable[[Release, Random], tuple[str, str, Release] | None]

_ZEROS = {I32: writer.i32_const(0), I64: writer.i64_const(0), F32: b"\x43" + bytes(4), F64: b"\x44" + bytes(8)}
EMPTY = writer.module([])


def pass_on(cid: str, source: Parts, names: set[str] | None = None) -> Parts:
    """A module that imports what another one exports, and exports it again: a place to stand in between."""
    parts = Parts.of(writer.module([_types(source.source)]))
    for entry in source.exports:
        if names is None or entry.name in names:
            kind = entry.kind
            index = parts.count(kind)
            parts.imports.append(Import(cid, entry.name, kind, type_of(source, kind, entry.index)))
            parts.exports.append(Export(entry.name, kind, index))
    return parts


def _types(module: Module) -> bytes:
    return b"".join(module.data[section.start : section.end] for section in module.sections if section.id == 1)


def type_of(parts: Parts, kind: Kind, index: int) -> int | TableType | Limits | object:
    """The type of anything, as an import says it."""
    types: list[object] = [entry.type for entry in parts.imported(kind)]
    defined = {
        Kind.FUNCTION: parts.functions,
        Kind.TABLE: [entry.type for entry in parts.tables],
        Kind.MEMORY: parts.memories,
        Kind.GLOBAL: [entry.type for entry in parts.globals],
        Kind.TAG: parts.tags,
    }
    return [*types, *defined[kind]][index]  # type: ignore[misc]


def add_function(parts: Parts, type_index: int, code: bytes) -> int:
    """Add a function without locals; return its index."""
    parts.functions.append(type_index)
    parts.bodies.append(b"\0" + code + writer.END)
    return parts.count(Kind.FUNCTION) - 1


def add_type(parts: Parts, type_: FuncType) -> int | None:
    """The index of a type, which is added if it is not there; None when types cannot be added."""
    if parts.types is None:
        return None
    if type_ not in parts.types:
        parts.types.append(type_)
    return parts.types.index(type_)


def nothing_much(type_: FuncType) -> bytes | None:
    """Code that returns zeros; None for types that have none."""
    if not set(type_.results) <= _ZEROS.keys():
        return None
    return b"".join(_ZEROS[result] for result in type_.results)


def index(value: int) -> bytes:
    return encode_unsigned(value)


def imports_from(release: Release, place: str) -> list[str]:
    """The modules that a module imports from."""
    return list(
        dict.fromkeys(entry.module for entry in Parts.of(release[place]).imports if entry.module in release.modules)
    )


def redirected(release: Release, place: str, old: str, new: str, names: set[str] | None = None) -> Release:
    """The release where a module imports from `new` what it did from `old`, all or what has one of these names."""
    from dataclasses import replace

    parts = Parts.of(release[place])
    parts.imports = [
        replace(entry, module=new) if entry.module == old and (names is None or entry.name in names) else entry
        for entry in parts.imports
    ]
    return release.changed(place, parts.encode())
