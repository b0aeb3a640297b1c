"""The form of a shared module: the names of its exports, and what stands in its code for what programs differ in.

Functions that set up a module take the address of *words*: the numbers that a program hands over lie in memory while it
is set up. As parameters, hundreds of them would make engines spend most of a program's compilation on passing them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from bacpack.wasm import FuncType
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.types import I32, I64
from bacpack.wasm.writer import END, i32_const

#: Sets slots, each to a word: several such functions are numbered.
SET_SLOTS = "S"
#: Places functions of the module in the program's table, each stretch where a word says, unless it is zero.
PLACE = "P"
#: The table of all functions of the module, in order.
FUNCTIONS = "F"
#: The private table, through which late-bound calls go.
LATE_TABLE = "T"
#: An import of a function takes about so many bytes, and a call through a table so many more than another.
IMPORT_BYTES, TABLE_CALL_BYTES = 66, 4
#: The type of a function that takes words: their address is its parameter.
WORDS_TYPE = FuncType((I32,), ())
#: How many words a function takes at most; so they are sure to fit into the smallest memory.
MOST_WORDS = 1000
#: The size of a word of each type, in bytes.
WORD_BYTES = {I32: 4, I64: 8}
#: What all words of one function take at most.
WORDS_BYTES = MOST_WORDS * WORD_BYTES[I64]
#: The declaration of one local of type i32, for the address or index that a function reads from its words.
ONE_LOCAL = b"\1\1" + I32
#: The instruction that adds two constants of each type.
ADD = {I32: b"\x6a", I64: b"\x7c"}

T = TypeVar("T")

_LOAD = {I32: b"\x28\x02", I64: b"\x29\x02"}  # both aligned to four bytes


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


def read_word(offset: int, type_: bytes = I32) -> bytes:
    """The instructions that read the word at an offset, in a function that takes words."""
    return b"\x20\0" + _LOAD[type_] + encode_unsigned(offset)


def slot_setters(slots: Sequence[T]) -> list[tuple[str, Sequence[T]]]:
    """Names of the functions that set `slots`, each with those that it sets. There is always one."""
    firsts = range(0, max(1, len(slots)), MOST_WORDS)
    return [(f"{SET_SLOTS}{number}", slots[first : first + MOST_WORDS]) for number, first in enumerate(firsts)]


def write_setter(first: int, types: Sequence[bytes]) -> bytes:
    """The code of a function that sets globals of these types, from index `first` on, each to a word."""
    code: list[bytes] = []
    offset = 0
    for index, type_ in enumerate(types, first):
        code += read_word(offset, type_), b"\x24", encode_unsigned(index)
        offset += WORD_BYTES[type_]
    return b"\0" + b"".join(code) + END


def write_placer(first: int, sizes: Sequence[int]) -> bytes:
    """The code of a function that places stretches, from `first` on in segment 1, each where its word says."""
    code: list[bytes] = []
    for number, size in enumerate(sizes):
        code += read_word(WORD_BYTES[I32] * number), b"\x22\1\x04\x40"  # local.tee 1; if
        code += b"\x20\1", i32_const(first), i32_const(size), b"\xfc\x0c\1\0", END
        first += size
    return ONE_LOCAL + b"".join(code) + END
