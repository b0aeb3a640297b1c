"""The form of a shared module: the names of its exports, and what stands in its code for what programs differ in."""

from __future__ import annotations

from dataclasses import dataclass

from bacpack.wasm import FuncType
from bacpack.wasm.types import I32, I64

#: Sets slots: several such functions are numbered.
SET_SLOTS = "S"
#: Copies functions of the module to the program's table: (to, from, count).
PLACE, PLACE_TYPE = "P", FuncType((I32, I32, I32), ())
#: The private table, through which late-bound calls go.
LATE_TABLE = "T"
#: Engines take at most this many parameters.
SLOTS_PER_CALL = 1000
#: The instruction that adds two constants of each type.
ADD = {I32: b"\x6a", I64: b"\x7c"}


@dataclass(frozen=True, slots=True)
class SlotRead:
    """The value of a slot plus a constant."""

    slot: int
    add: int


@dataclass(frozen=True, slots=True)
class DirectCall:
    """A call of a shared function in this module or a lower one."""

    module: int
    index: int


@dataclass(frozen=True, slots=True)
class LateCall:
    """A call through an entry of the module's private table."""

    entry: int


def export_name(position: int) -> str:
    """The name of a function, by its place in the module. All are exported: the next program may call any of them."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = digits[position % 36]
    while position := position // 36:
        text = digits[position % 36] + text
    return text
