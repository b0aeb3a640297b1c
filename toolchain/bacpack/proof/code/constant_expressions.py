"""What an initial value is: a constant expression in canonical form, a flat sequence of atoms.

`(("i32", 5),)`, `(("ref.func", address),)`, or for what only the host knows
`(("host", address), ("i32", 8), ("i32.add", 0))`. What an expression allocates has a number of its own, for two structs
with equal content are not one: `(("i32", 5), ("struct.new", …), ("new", 1))`.
"""

from __future__ import annotations

from collections.abc import Callable

from bacpack.proof.code.module_view import Instruction

Atom = tuple[str, int | bytes]
Value = tuple[Atom, ...]

NULL: Value = (("ref.null", 0),)
#: The atom that says which of all allocations a value is.
ALLOCATION = "new"

_INTEGERS = {"i32.const": ("i32", (1 << 32) - 1), "i64.const": ("i64", (1 << 64) - 1)}
_MASKS = dict(_INTEGERS.values())
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
}


def integer(instruction: Instruction) -> Value:
    """The value that `i32.const` or `i64.const` gives; nothing for other instructions."""
    row, values, _ = instruction
    if row.name not in _INTEGERS:
        return ()
    type_, largest = _INTEGERS[row.name]
    return ((type_, values[0] & largest),)


def operation(instruction: Instruction) -> Value:
    """What an addition, subtraction or multiplication adds to a value; nothing for other instructions."""
    row, _, _ = instruction
    return ((row.name, 0),) if row.name.partition(".")[2] in _ARITHMETIC and not row.immediates else ()


def literal(value: Value) -> int | None:
    """The integer that a value is, if it is one."""
    if len(value) != 1 or value[0][0] not in _MASKS:
        return None
    number = value[0][1]
    assert isinstance(number, int)
    return number


def combine(value: Value, more: Value) -> Value:
    """One value after the other; arithmetic on two integers is carried out."""
    atoms = list(value)
    append(atoms, more)
    return tuple(atoms)


def append(atoms: list[Atom], more: Value) -> None:
    """Do the same to a value that is not finished."""
    for atom in more:
        type_, _, operation = atom[0].partition(".")
        if operation in _ARITHMETIC and type_ in _MASKS:
            first, second = literal(tuple(atoms[-2:-1])), literal(tuple(atoms[-1:]))
            if first is not None and second is not None:
                atoms[-2:] = [(type_, _ARITHMETIC[operation](first, second) & _MASKS[type_])]
                continue
        atoms.append(atom)
