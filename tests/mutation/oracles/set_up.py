"""What a module's start function does, by its instructions: for what an engine cannot be asked."""

from __future__ import annotations

from bacpack.wasm import Kind
from bacpack.wasm.types import Element, Mode
from mutation.oracles.linked import Thing, decoded
from mutation.parts import Instruction, Parts


def start_code(parts: Parts) -> list[Instruction]:
    """The start function's instructions; none where it is another module's."""
    position = -1 if parts.start is None else parts.start - len(parts.imported(Kind.FUNCTION))
    return decoded(parts.bodies[position]).code if position >= 0 else []


def sets(parts: Parts, thing: Thing) -> bool:
    """Whether the start function names a table, or sets a global."""
    kind = "table" if thing.kind == Kind.TABLE.name else "global"
    return any(
        thing.index == value
        for part in start_code(parts)
        for of, value in zip(part.row.immediates, part.values, strict=False)
        if of == kind and part.row.name != "global.get"
    )


def copied(parts: Parts, table: object) -> list[Element]:
    """The element segments that are copied to a table when a module is set up."""
    named = {part.values[0] for part in start_code(parts) if part.row.name == "table.init" and part.values[1] == table}
    found = [
        entry
        for index, entry in enumerate(parts.elements)
        if index in named or (entry.mode == Mode.ACTIVE and entry.table == table)
    ]
    # The same one twice in succession does what it does once.
    return [entry for at, entry in enumerate(found) if not at or entry != found[at - 1]]


def is_dropped(parts: Parts, name: str, index: int) -> bool:
    """Whether the start function drops a segment."""
    return any(part.row.name == name and part.values[0] == index for part in start_code(parts))
