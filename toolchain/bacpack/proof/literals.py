"""Globals of a module that are constants: immutable, with a number that the module itself says.

To read one gives the same number at any time, whoever else can read it too.
"""

from __future__ import annotations

from bacpack.proof.unit import Unit, decode
from bacpack.proof.value import Value, combine, integer, literal, operation
from bacpack.wasm import Kind
from bacpack.wasm.types import I32, I64


def constant_globals(unit: Unit) -> dict[int, tuple[bytes, int]]:
    """The type and the number, without sign, of each global of the module's own that is a constant."""
    values: dict[int, Value] = {}
    found = {}
    for index, entry in enumerate(unit.module.globals, len(unit.imports[Kind.GLOBAL])):
        if entry.type.mutable or entry.type.value not in (I32, I64):
            continue
        values[index] = _evaluate(entry.init, values)
        number = literal(values[index])
        if number is not None:
            found[index] = entry.type.value, number
    return found


def _evaluate(expression: bytes, before: dict[int, Value]) -> Value:
    """The value of a constant expression; nothing when it needs more than the module and the globals `before`."""
    value: Value = ()
    for instruction in decode(expression)[:-1]:
        row, values, _ = instruction
        atoms = integer(instruction) or operation(instruction)
        if row.name == "global.get":
            atoms = before.get(values[0], ())
        if not atoms:
            return ()
        value = combine(value, atoms)
    return value
