"""Changes of what a module declares: types, imports, exports, tables, memories, globals, its start function."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from bacpack.wasm import Export, FuncType, GlobalType, Import, Kind, Limits, TableType, writer
from bacpack.wasm.leb128 import decode_signed
from bacpack.wasm.types import EXTERNREF, F32, F64, I32, I64
from mutation.parts import Parts
from mutation.places.change import Change, near, other

_NUMBERS = (I32, I64, F32, F64)


def _export(parts: Parts, chance: Random) -> str | None:
    """An export that is named otherwise, is something else, is gone, was added, or stands elsewhere."""
    if not parts.exports:
        return None
    at = chance.randrange(len(parts.exports))
    old = parts.exports[at]
    match chance.randrange(6):
        case 0:
            parts.exports[at] = replace(old, name=chance.choice((old.name + "_", "", old.name[:-1], "memory")))
        case 1:
            kind = chance.choice([*Kind])
            parts.exports[at] = Export(old.name, kind, chance.randrange(max(1, parts.count(kind))))
        case 2:
            parts.exports[at] = replace(old, index=chance.randrange(parts.count(old.kind)))
        case 3:
            del parts.exports[at]
        case 4:
            kind = chance.choice([*Kind])
            parts.exports.insert(at, Export("added", kind, chance.randrange(max(1, parts.count(kind)))))
        case _:
            second = chance.randrange(len(parts.exports))
            parts.exports[at], parts.exports[second] = parts.exports[second], old
    return f"export {at} `{old.name}`"


def _exported(parts: Parts, chance: Random) -> str | None:
    """Two exports of one kind change their names."""
    first = chance.randrange(len(parts.exports)) if parts.exports else 0
    alike = [at for at, entry in enumerate(parts.exports) if at != first and entry.kind == parts.exports[first].kind]
    if not alike:
        return None
    second = chance.choice(alike)
    one, two = parts.exports[first], parts.exports[second]
    parts.exports[first], parts.exports[second] = replace(one, name=two.name), replace(two, name=one.name)
    return f"exports `{one.name}` and `{two.name}` exchanged"


def _import_name(parts: Parts, chance: Random) -> str | None:
    """An import of another name or module that stands among the imports."""
    if not parts.imports:
        return None
    at = chance.randrange(len(parts.imports))
    old = parts.imports[at]
    alike = [entry for entry in parts.imports if entry.kind == old.kind]
    if chance.random() < 0.7:
        name = chance.choice([*(entry.name for entry in alike), old.name + "0"])
        parts.imports[at] = replace(old, name=name)
    else:
        parts.imports[at] = replace(old, module=chance.choice([*(entry.module for entry in parts.imports), "env"]))
    return f"import {at} `{old.module}` `{old.name}`"


def _import_order(parts: Parts, chance: Random) -> str | None:
    """Two imports change places; whoever says their numbers gets the other."""
    if len(parts.imports) < 2:
        return None
    first, second = chance.sample(range(len(parts.imports)), 2)
    parts.imports[first], parts.imports[second] = parts.imports[second], parts.imports[first]
    return f"imports {first} and {second} exchanged"


def _import_type(parts: Parts, chance: Random) -> str | None:
    """What an import is declared to be."""
    if not parts.imports:
        return None
    at = chance.randrange(len(parts.imports))
    old = parts.imports[at]
    type_ = old.type
    if isinstance(type_, TableType):
        type_ = chance.choice(
            (replace(type_, limits=_other_limits(type_.limits, chance)), replace(type_, element=EXTERNREF))
        )
    elif isinstance(type_, Limits):
        type_ = _other_limits(type_, chance)
    elif isinstance(type_, GlobalType):
        type_ = chance.choice(
            (replace(type_, mutable=not type_.mutable), replace(type_, value=chance.choice(_NUMBERS)))
        )
    else:
        type_ = chance.randrange(len(parts.source.types))
    parts.imports[at] = replace(old, type=type_)
    return f"type of import {at} `{old.module}` `{old.name}`"


def _imports(parts: Parts, chance: Random) -> str | None:
    """One import more, at the end of its kind, or one less."""
    if not parts.imports:
        return None
    at = chance.randrange(len(parts.imports))
    old = parts.imports[at]
    if chance.random() < 0.5:
        del parts.imports[at]
        return f"import {at} `{old.module}` `{old.name}` removed"
    if old.kind == Kind.FUNCTION and chance.random() < 0.5:
        parts.imports.append(replace(old, module="wasi_snapshot_preview1", name="proc_raise"))
        return "import of a host function added"
    parts.imports.append(Import(old.module, old.name, old.kind, old.type))
    return f"import {at} `{old.module}` `{old.name}` said twice"


def _other_limits(limits: Limits, chance: Random) -> Limits:
    match chance.randrange(4):
        case 0:
            return replace(limits, minimum=max(0, limits.minimum + chance.choice((-1, 1, 1000))))
        case 1:
            return replace(limits, maximum=None if limits.maximum is not None else limits.minimum)
        case 2:
            return replace(limits, maximum=(limits.maximum or limits.minimum) + chance.choice((1, 4, 65_000)))
        case _:
            return replace(limits, is_64=not limits.is_64)


def _table(parts: Parts, chance: Random) -> str | None:
    """The size, type or first value of a table."""
    if not parts.tables:
        return None
    at = chance.randrange(len(parts.tables))
    old = parts.tables[at]
    if chance.random() < 0.7:
        parts.tables[at] = replace(old, type=replace(old.type, limits=_other_limits(old.type.limits, chance)))
    elif chance.random() < 0.5:
        parts.tables[at] = replace(old, type=replace(old.type, element=EXTERNREF))
    else:
        function = chance.randrange(max(1, parts.count(Kind.FUNCTION)))
        parts.tables[at] = replace(old, init=b"\xd2" + writer.encode_unsigned(function) + writer.END)
    return f"table {at}"


def _memory(parts: Parts, chance: Random) -> str | None:
    if not parts.memories:
        return None
    at = chance.randrange(len(parts.memories))
    parts.memories[at] = _other_limits(parts.memories[at], chance)
    return f"memory {at}"


def _definitions(parts: Parts, chance: Random) -> str | None:
    """One table, memory or global more, which nothing names, or less."""
    records = chance.choice((parts.tables, parts.memories, parts.globals))
    if not records:
        return None
    if chance.random() < 0.5:
        records.append(chance.choice(records))  # type: ignore[arg-type]
        return "one definition more"
    records.pop()
    return "one definition less"


def _global(parts: Parts, chance: Random) -> str | None:
    """What a global holds at first, whether it may change, its type."""
    if not parts.globals:
        return None
    at = chance.randrange(len(parts.globals))
    old = parts.globals[at]
    match chance.randrange(4):
        case 0:
            parts.globals[at] = replace(old, type=replace(old.type, mutable=not old.type.mutable))
        case 1:
            parts.globals[at] = replace(old, type=replace(old.type, value=chance.choice(_NUMBERS)))
        case _ if old.init[0] in (0x41, 0x42):
            number = near(chance, decode_signed(old.init, 1)[0], 32 if old.init[0] == 0x41 else 64)
            write = writer.i32_const if old.init[0] == 0x41 else writer.i64_const
            parts.globals[at] = replace(old, init=write(number) + writer.END)
        case _:
            second = chance.randrange(len(parts.globals))
            parts.globals[at], parts.globals[second] = parts.globals[second], old
    return f"global {at}"


def _type(parts: Parts, chance: Random) -> str | None:
    """A function type with other parameters or results, or two types that change places."""
    if not parts.types:
        return None
    at = chance.randrange(len(parts.types))
    old = parts.types[at]
    match chance.randrange(4):
        case 0:
            parts.types[at] = FuncType((*old.params, chance.choice(_NUMBERS)), old.results)
        case 1:
            parts.types[at] = FuncType(old.params[:-1], old.results)
        case 2:
            parts.types[at] = FuncType(old.params, old.results[:-1] if old.results else (I32,))
        case _:
            second = chance.randrange(len(parts.types))
            parts.types[at], parts.types[second] = parts.types[second], old
    return f"type {at}"


def _type_of_function(parts: Parts, chance: Random) -> str | None:
    if not parts.functions:
        return None
    at = chance.randrange(len(parts.functions))
    new = other(chance, [*range(len(parts.source.types))], parts.functions[at])
    if new is None:
        return None
    parts.functions[at] = new
    return f"type of function {at}"


def _functions(parts: Parts, chance: Random) -> str | None:
    """Two functions change places, or one is there once more."""
    if not parts.functions:
        return None
    first = chance.randrange(len(parts.functions))
    if chance.random() < 0.3:
        parts.functions.append(parts.functions[first])
        parts.bodies.append(parts.bodies[first])
        return f"function {first} once more"
    second = other(chance, [*range(len(parts.functions))], first)
    if second is None:
        return None
    for records in (parts.functions, parts.bodies):
        records[first], records[second] = records[second], records[first]  # type: ignore[index]
    return f"functions {first} and {second} exchanged"


def _start(parts: Parts, chance: Random) -> str | None:
    """The start function is gone, was added, or is another."""
    function = chance.randrange(max(1, parts.count(Kind.FUNCTION)))
    parts.start = None if parts.start is not None and chance.random() < 0.3 else function
    return f"start function {parts.start}"


def _custom(parts: Parts, chance: Random) -> str | None:
    name = chance.choice(("name", "producers", "linking", "x", "target_features"))
    parts.custom.append(writer.custom_section(name, chance.randbytes(chance.randrange(20))))
    return f"custom section `{name}`"


CHANGES: dict[str, Change] = {
    "export": _export,
    "names of exports": _exported,
    "name of an import": _import_name,
    "order of imports": _import_order,
    "type of an import": _import_type,
    "number of imports": _imports,
    "table": _table,
    "memory": _memory,
    "number of definitions": _definitions,
    "global": _global,
    "type": _type,
    "type of a function": _type_of_function,
    "order of functions": _functions,
    "start function": _start,
    "custom section": _custom,
}
