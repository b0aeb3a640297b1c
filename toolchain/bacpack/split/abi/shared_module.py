"""The form of a shared module: the names of its exports, and the functions that set it up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from bacpack.split.abi.words import MOST_WORDS, ONE_LOCAL, WORD_BYTES, read_word
from bacpack.wasm.instructions import NO_LOCALS, VOID, op
from bacpack.wasm.types import I32, I64

#: Sets slots, each to a word: several such functions are numbered.
SET_SLOTS = "S"
#: Places functions of the module in the program's table, each run of entries where a word says, unless it is zero.
PLACE = "P"
#: The table of all functions of the module, in order.
FUNCTIONS = "F"
#: The private table, through which late-bound calls go.
LATE_TABLE = "T"
#: The instruction that adds two constants of each type.
ADD = {I32: op("i32.add"), I64: op("i64.add")}

T = TypeVar("T")


class UnknownFormError(Exception):
    """A module that was read is not in the form that bacpack writes."""


def export_name(position: int) -> str:
    """The name of a function that a higher module calls, by its place in its own module."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = digits[position % 36]
    while position := position // 36:
        text = digits[position % 36] + text
    return text


def slot_setters(slots: Sequence[T]) -> list[tuple[str, Sequence[T]]]:
    """Names of the functions that set `slots`, each with those that it sets. There is always one."""
    firsts = range(0, max(1, len(slots)), MOST_WORDS)
    return [(f"{SET_SLOTS}{number}", slots[first : first + MOST_WORDS]) for number, first in enumerate(firsts)]


def write_setter(first: int, types: Sequence[bytes]) -> bytes:
    """The code of a function that sets globals of these types, from index `first` on, each to a word."""
    code: list[bytes] = []
    offset = 0
    for index, type_ in enumerate(types, first):
        code += read_word(offset, type_), op("global.set", index)
        offset += WORD_BYTES[type_]
    return NO_LOCALS + b"".join(code) + op("end")


def write_placer(first: int, sizes: Sequence[int]) -> bytes:
    """The code of a function that places runs of entries, from `first` on in segment 1, each where its word says."""
    code: list[bytes] = []
    for number, size in enumerate(sizes):
        code += read_word(WORD_BYTES[I32] * number), op("local.tee", 1), op("if", VOID)
        code += op("local.get", 1), op("i32.const", first), op("i32.const", size), op("table.init", 1, 0), op("end")
        first += size
    return ONE_LOCAL + b"".join(code) + op("end")
