"""A module put between a program and one of its modules, which passes on all, and does something more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from bacpack.wasm import Export, FuncType, GlobalType, Import, Kind, Limits, TableType, writer
from bacpack.wasm.types import FUNCREF, I32, Element, Global, Mode, Table
from mutation.attacks.attack import (
    Attack,
    add_function,
    add_type,
    imports_from,
    index,
    nothing_much,
    pass_on,
    redirected,
)  # fmt: skip
from mutation.parts import Parts, Segment
from mutation.release import REMAINDER, Release

#: Adds something to the module in between, and says what; None when there is nothing to add it to.
Payload = Callable[[Parts, Random], str | None]

_NOTHING = FuncType((), ())


def between(payload: Payload) -> Attack:
    """The attack that puts a module with a payload in between."""

    def attack(release: Release, chance: Random) -> tuple[str, str, Release] | None:
        modules = imports_from(release, REMAINDER)
        if not modules:
            return None
        cid = chance.choice(modules)
        parts = pass_on(cid, Parts.of(release[cid]))
        words = payload(parts, chance)
        if words is None:
            return None
        release, own = release.with_module(parts.encode())
        return own, f"between the remainder and {cid[-6:]}: {words}", redirected(release, REMAINDER, cid, own)

    return attack


def _alone(parts: Parts, chance: Random) -> str | None:
    """Nothing more: this should do no harm."""
    return "it only passes on"


def _entries(parts: Parts, chance: Random) -> str | None:
    """An active segment that writes a table of the other module."""
    tables = parts.imported(Kind.TABLE)
    functions = parts.imported(Kind.FUNCTION)
    if not tables or not functions:
        return None
    table = chance.randrange(len(tables))
    type_ = tables[table].type
    assert isinstance(type_, TableType)
    at = chance.randrange(type_.limits.minimum + 2)
    chosen = [chance.randrange(len(functions))]
    offset = writer.i32_const(at) + writer.END
    parts.elements.append(Element(Mode.ACTIVE, table, offset, FUNCREF, chosen, None))
    return f"it puts function {chosen[0]} in entry {at} of table {table}"


def _data(parts: Parts, chance: Random) -> str | None:
    """An active segment that writes the memory."""
    if not parts.imported(Kind.MEMORY):
        return None
    content = chance.randbytes(chance.choice((0, 4)))
    parts.data.append(Segment(Mode.ACTIVE, 0, writer.i32_const(0) + writer.END, content))
    return f"it writes {len(content)} bytes to the memory"


def _host_function(parts: Parts, chance: Random) -> str | None:
    """It imports a function of the host and exports it in the place of one of the same type."""
    found = [at for at, entry in enumerate(parts.imports) if entry.kind == Kind.FUNCTION]
    if not found:
        return None
    at = chance.choice(found)
    parts.imports[at] = replace(parts.imports[at], module="host", name="note")
    return f"import {at} comes from the host"


def _also_host(parts: Parts, chance: Random) -> str | None:
    """It imports something of the host for nothing."""
    type_ = Limits(0) if not parts.imported(Kind.MEMORY) and chance.random() < 0.5 else GlobalType(I32, False)
    kind = Kind.MEMORY if isinstance(type_, Limits) else Kind.GLOBAL
    parts.imports.append(Import("host", "more", kind, type_))
    return "it imports something of the host as well"


def _start(parts: Parts, chance: Random) -> str | None:
    """It runs code: it calls something, grows or sets something."""
    type_ = add_type(parts, _NOTHING)
    codes = [b""]
    for number, entry in enumerate(parts.imported(Kind.GLOBAL)):
        if isinstance(entry.type, GlobalType) and entry.type.mutable and entry.type.value == I32:
            codes.append(writer.i32_const(64) + b"\x24" + index(number))
    if parts.imported(Kind.MEMORY):
        codes.append(writer.i32_const(1) + b"\x40\0\x1a")
    for number in range(len(parts.imported(Kind.TABLE))):
        codes.append(b"\xd0\x70" + writer.i32_const(3) + b"\xfc\x0f" + index(number) + b"\x1a")
    types = parts.types or []
    for number, entry in enumerate(parts.imported(Kind.FUNCTION)):
        if isinstance(entry.type, int) and entry.type < len(types) and types[entry.type] == _NOTHING:
            codes.append(b"\x10" + index(number))
    if type_ is None:
        return None
    code = chance.choice(codes)
    function = add_function(parts, type_, code)
    if chance.random() < 0.5:
        parts.start = function
        return f"it starts with {code.hex()}"
    # Nothing but a habit of hosts makes this run.
    name = chance.choice(("_initialize", "_start", "__wasm_call_ctors"))
    if any(entry.name == name for entry in parts.exports):
        return None
    parts.exports.append(Export(name, Kind.FUNCTION, function))
    return f"it exports `{name}`, which does {code.hex()}"


def _exchanged(parts: Parts, chance: Random) -> str | None:
    """Two of what it passes on go under each other's names."""
    pairs = [
        (one, two)
        for one, first in enumerate(parts.exports)
        for two, second in enumerate(parts.exports[:one])
        if first.kind == second.kind and _type(parts, first) == _type(parts, second)
    ]
    if not pairs:
        return None
    one, two = chance.choice(pairs)
    first, second = parts.exports[one], parts.exports[two]
    parts.exports[one], parts.exports[two] = replace(first, index=second.index), replace(second, index=first.index)
    return f"`{first.name}` and `{second.name}` are exchanged"


def _type(parts: Parts, entry: Export) -> object:
    return parts.imported(entry.kind)[entry.index].type


def _own(parts: Parts, chance: Random) -> str | None:
    """One of what it passes on is something of its own of the same type."""
    at = chance.randrange(len(parts.exports)) if parts.exports else 0
    if not parts.exports:
        return None
    entry = parts.exports[at]
    type_ = _type(parts, entry)
    if isinstance(type_, TableType):
        parts.tables.append(Table(type_))
    elif isinstance(type_, Limits):
        parts.memories.append(type_)
    elif isinstance(type_, GlobalType):
        if type_.value != I32:
            return None
        parts.globals.append(Global(type_, writer.i32_const(0) + writer.END))
    elif entry.kind == Kind.FUNCTION and parts.types is not None and isinstance(type_, int):
        code = nothing_much(parts.types[type_])
        if code is None:
            return None
        add_function(parts, type_, code)
    else:
        return None
    parts.exports[at] = replace(entry, index=parts.count(entry.kind) - 1)
    return f"`{entry.name}` is its own"


def _more_exports(parts: Parts, chance: Random) -> str | None:
    """It exports more: something that can be changed."""
    parts.globals.append(Global(GlobalType(I32, True), writer.i32_const(7) + writer.END))
    parts.exports.append(Export("more", Kind.GLOBAL, parts.count(Kind.GLOBAL) - 1))
    return "it exports a global of its own as well"


def _two_writers(release: Release, chance: Random) -> tuple[str, str, Release] | None:
    """Two modules in between, each for some of the names, that write the same entry: who comes last decides."""
    for cid in imports_from(release, REMAINDER):
        source = Parts.of(release[cid])
        names = [entry.name for entry in source.exports]
        used = [entry.name for entry in Parts.of(release[REMAINDER]).imports if entry.module == cid]
        first = {name for name in used if chance.random() < 0.5}
        if not source.tables or len(used) < 2 or not first or first == set(used):
            continue
        at, words = chance.randrange(4), []
        for chosen in (first, set(used) - first):
            parts = pass_on(cid, source, chosen | set(names))
            tables, functions = parts.imported(Kind.TABLE), parts.imported(Kind.FUNCTION)
            if not tables or not functions:
                return None
            function = chance.randrange(len(functions))
            offset = writer.i32_const(at) + writer.END
            parts.elements.append(Element(Mode.ACTIVE, 0, offset, FUNCREF, [function], None))
            release, own = release.with_module(parts.encode())
            release = redirected(release, REMAINDER, cid, own, chosen)
            words.append(str(function))
        return cid, f"two modules put functions {' and '.join(words)} in entry {at}", release
    return None


ATTACKS: dict[str, Attack] = {
    "passes on": between(_alone),
    "writes a table": between(_entries),
    "writes the memory": between(_data),
    "gives a host function": between(_host_function),
    "imports of the host": between(_also_host),
    "runs code": between(_start),
    "exchanges exports": between(_exchanged),
    "gives its own": between(_own),
    "exports more": between(_more_exports),
    "two write one entry": _two_writers,
}
