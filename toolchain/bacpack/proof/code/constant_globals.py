"""Globals of a module that are constants: immutable, with a number that the module itself says.

To read one gives the same number at any time, whoever else can read it too.
"""

from __future__ import annotations

from bacpack.proof.code.constant_expressions import Atom, Value, append, integer, literal, operation
from bacpack.proof.code.module_view import ModuleView, decode
from bacpack.wasm import Kind
from bacpack.wasm.types import I32, I64


def constant_globals(view: ModuleView) -> dict[int, tuple[bytes, int]]:
    """The type and the number, without sign, of each global of the module's own that is a constant."""
    found: dict[int, tuple[bytes, int]] = {}
    for index, entry in enumerate(view.module.globals, len(view.imports[Kind.GLOBAL])):
        if entry.type.mutable or entry.type.value not in (I32, I64):
            continue
        number = literal(_evaluate(entry.init, found))
        if number is not None:
            found[index] = entry.type.value, number
    return found


def _evaluate(expression: bytes, before: dict[int, tuple[bytes, int]]) -> Value:
    """The value of a constant expression; nothing when it needs more than numbers, also those `before`."""
    atoms: list[Atom] = []
    for instruction in decode(expression)[:-1]:
        row, values, _ = instruction
        more = integer(instruction) or operation(instruction)
        if row.name == "global.get" and values[0] in before:
            type_, number = before[values[0]]
            more = (("i32" if type_ == I32 else "i64", number),)
        if not more:
            return ()
        append(atoms, more)
    return tuple(atoms)
