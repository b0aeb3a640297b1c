"""The form of a shared module: the names of its exports, and what stands in its code for what programs differ in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bacpack.wasm.leb import encode_unsigned
from bacpack.wasm.types import I32, I64
from bacpack.wasm.writer import END, i32_const

#: Sets slots: several such functions are numbered.
SET_SLOTS = "S"
#: Places functions of the module in the program's table, each stretch at the index given, unless that is zero.
PLACE = "P"
#: The table of all functions of the module, in order.
FUNCTIONS = "F"
#: The private table, through which late-bound calls go.
LATE_TABLE = "T"
#: An import of a function takes about so many bytes, and a call through a table so many more than another.
IMPORT_BYTES, TABLE_CALL_BYTES = 66, 4
#: Engines take at most this many parameters.
MOST_PARAMETERS = 1000
#: The instruction that adds two constants of each type.
ADD = {I32: b"\x6a", I64: b"\x7c"}


class UnknownFormError(Exception):
    """A module that was read is not in the form that bacpack writes."""


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
class TableCall:
    """A call of a function of a lower module through its table of functions: shorter than an import for few calls."""

    module: int
    index: int


@dataclass(frozen=True, slots=True)
class LateCall:
    """A call through an entry of the module's private table."""

    entry: int


def export_name(position: int) -> str:
    """The name of a function that a higher module calls, by its place in its own module."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = digits[position % 36]
    while position := position // 36:
        text = digits[position % 36] + text
    return text


def write_placer(first: int, sizes: Sequence[int]) -> bytes:
    """The code of a function that places stretches, from `first` on in segment 1, each where its parameter says."""
    code: list[bytes] = []
    for number, size in enumerate(sizes):
        get = b"\x20" + encode_unsigned(number)
        code += get, b"\x04\x40", get, i32_const(first), i32_const(size), b"\xfc\x0c\x01\0", END
        first += size
    return b"\0" + b"".join(code) + END
