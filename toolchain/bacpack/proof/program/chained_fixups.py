"""Functions of data modules that change words in memory: each word of a chain by the same distance.

A word of a chain holds a value in its low bits and, in those above, how many words further the next one lies; zero ends
the chain. Such a function is accepted only when it is, instruction for instruction, the one below.
"""

from __future__ import annotations

from typing import NamedTuple

from bacpack.proof.code.errors import not_equivalent
from bacpack.proof.code.module_view import ModuleView
from bacpack.proof.program.initial_state import PAGE_BYTES, StartTrapError, State
from bacpack.proof.program.linked_program import Address
from bacpack.wasm import FuncType, Kind
from bacpack.wasm.types import I32

_VOID = -64
_WORD = (1 << 32) - 1
_TYPE = FuncType((I32, I32), ())
_MASK, _SHIFT = "mask", "shift"
_FURTHER: list[tuple[str, list[int] | str]] = [("local.get", [2]), ("i32.const", _SHIFT), ("i32.shr_u", [])]
#: (address, distance): do { word = *address; *address = (word & mask) + distance; address += (word >> shift) * 4 }
#: while (word >> shift).
_PROGRAM: list[tuple[str, list[int] | str]] = [
    ("loop", [_VOID]),
    ("local.get", [0]),
    ("local.get", [0]),
    ("i32.load", [2, 0, 0]),
    ("local.tee", [2]),
    ("i32.const", _MASK),
    ("i32.and", []),
    ("local.get", [1]),
    ("i32.add", []),
    ("i32.store", [2, 0, 0]),
    ("local.get", [0]),
    *_FURTHER,
    ("i32.const", [4]),
    ("i32.mul", []),
    ("i32.add", []),
    ("local.set", [0]),
    *_FURTHER,
    ("br_if", [0]),
    ("end", []),
    ("end", []),
]
#: Its locals: one group, of one i32.
_LOCALS = b"\x01\x01" + I32
#: More than it takes.
_MOST_BYTES = 80


class FixUps(NamedTuple):
    """What a function does with each word of a chain."""

    mask: int
    shift: int


def find_fix_ups(view: ModuleView, index: int) -> FixUps | None:
    """How the function at `index` of a shared module changes chains, if that is all it does."""
    if not view.is_shared or index < len(view.imports[Kind.FUNCTION]):
        return None
    start, code, end = view.span(index)
    if view.module.data[start:code] != _LOCALS or end - code > _MOST_BYTES:
        return None
    if view.module.function_type(view.module.function_types[index]) != _TYPE:
        return None
    found = [(row.name, values) for row, values, _ in view.instructions(index)]
    if [name for name, _ in found] != [name for name, _ in _PROGRAM]:
        return None
    numbers: dict[str, int] = {}
    for (_, values), (_, wanted) in zip(found, _PROGRAM, strict=True):
        if isinstance(wanted, str):
            if numbers.setdefault(wanted, values[0]) != values[0]:
                return None
        elif values != wanted:
            return None
    return FixUps(numbers[_MASK] & _WORD, numbers[_SHIFT] & 31)


def apply_fix_ups(state: State, memory: Address, at: int, distance: int, how: FixUps) -> None:
    """Change the words of the chain at an address of a memory."""
    if memory not in state.memories or state.last_copy(Kind.MEMORY, memory):
        raise not_equivalent("words are changed in a memory whose content only the host knows")
    held = state.memories[memory]
    while True:
        state.spend(1)
        if at + 4 > held.pages * PAGE_BYTES:
            raise StartTrapError(f"a chain of words goes beyond the memory at address {at}")
        word = int.from_bytes(held.content.read(at, 4), "little")
        held.content.write(at, ((word & how.mask) + distance & _WORD).to_bytes(4, "little"))
        further = word >> how.shift
        if not further:
            return
        at = at + 4 * further & _WORD
