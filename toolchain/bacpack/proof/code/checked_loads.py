"""Loads in a shared module whose address a program adds to a computed index.

A blob's load has the address in its offset, and traps where index plus address go beyond 32 bits. A shared module takes
the address from a slot, so it computes the sum with `i32.add`, sees whether that wrapped around, and if so takes the
largest number in its place. The load then adds one more. So the address is the slot's value plus one, as a natural
number: where the sum wrapped around, the load is from 2**32, where there is never anything, as in the blob.

This is accepted only instruction for instruction as below. The two locals that it needs come after those of the blob,
and nothing else may use them.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from bacpack.proof.code.instruction_forms import NONE, InstructionForm, Number
from bacpack.proof.code.tokenizer import ends_with, locals_named
from bacpack.wasm.leb128 import encode_unsigned

LOADS = range(0x28, 0x36)
#: Larger numbers than this say more of an access than its alignment.
MOST_PLAIN = 0x3F
_MINUS_ONE = (1 << 32) - 1
_I32_CONST = b"\x41"
_I32_ADD, _I32_GE_U, _SELECT = b"\x6a", b"\x4f", b"\x1b"


@dataclass
class Scratch:
    """The two locals that checked loads of a function use, of which the first is `first`."""

    first: int
    #: The declarations of the locals before them.
    others: bytes

    def checked_load(self, before: bytes, after: bytes) -> tuple[bytes, bytes, bytes] | None:
        """What is before a checked load, its opcode and alignment, and what is after it.

        Between `before` and `after`, two coarse runs, a slot is read, and perhaps a constant added. None when this is
        not part of a checked load.
        """
        if not after.startswith(self._sum):
            return None
        start = len(self._sum)
        opcode, alignment, offset = after[start : start + 3] if len(after) >= start + 3 else b"\0\0\0"
        if opcode not in LOADS or alignment > MOST_PLAIN or offset != 1 or not ends_with(before, self._tee):
            return None
        return before[: -len(self._tee)], after[start : start + 2], after[start + 3 :]

    @cached_property
    def _tee(self) -> bytes:
        return _local("tee", self.first)

    @cached_property
    def _sum(self) -> bytes:
        get, get_sum, tee_sum = _local("get", self.first), _local("get", self.first + 1), _local("tee", self.first + 1)
        return _I32_ADD + tee_sum + _I32_CONST + b"\x7f" + get_sum + get + _I32_GE_U + _SELECT


class Tokens(NamedTuple):
    """Code that is tokenized: the runs between forms, the forms, and where each starts and ends."""

    runs: list[bytes]
    forms: list[InstructionForm]
    starts: array[int]
    ends: array[int]

    def append(self, other: Tokens, first: int, last: int) -> None:
        """Add the forms of another from `first` to before `last`, each with the run after it."""
        self.forms.extend(other.forms[first:last])
        self.starts.extend(other.starts[first:last])
        self.ends.extend(other.ends[first:last])
        self.runs.extend(other.runs[first + 1 : last + 1])


def join_checked_loads(tokenize: Tokens, first: int) -> Tokens | None:
    """Make one load of each such sequence, whose locals are `first` and the next; None when there is none.

    Also None when anything else uses these locals.
    """
    out = Tokens([tokenize.runs[0]], [], array("I"), array("I"))
    done = 0
    before = len(_local("tee", first))
    for number in [number for number, form in enumerate(tokenize.forms) if form.slot != NONE]:
        if load := _checked_load(tokenize, number, first):
            out.append(tokenize, done, number)
            out.runs[-1] = out.runs[-1][:-before]
            start, end = tokenize.starts[number] - before, tokenize.ends[number + 2]
            out.append(Tokens([b"", tokenize.runs[number + 3]], [load], array("I", (start,)), array("I", (end,))), 0, 1)
            done = number + 3
    out.append(tokenize, done, len(tokenize.forms))
    if len(out.forms) == len(tokenize.forms) or max(locals_named(out.runs), default=-1) >= first:
        return None
    return out


def _checked_load(tokenize: Tokens, number: int, first: int) -> InstructionForm | None:
    """The load that the forms from `number` on are with the runs before and between them, if they are one."""
    if len(tokenize.forms) < number + 3 or not tokenize.runs[number + 1].startswith(_I32_ADD):
        return None
    address, largest, load = tokenize.forms[number : number + 3]
    get, get_sum, tee_sum = _local("get", first), _local("get", first + 1), _local("tee", first + 1)
    if (
        address.shape != _I32_CONST
        or tokenize.runs[number + 1] != _I32_ADD + tee_sum
        or (largest.shape, largest.slot, largest.number) != (_I32_CONST, NONE, _MINUS_ONE)
        or tokenize.runs[number + 2] != get_sum + get + _I32_GE_U + _SELECT
        or load.shape[0] not in LOADS
        or (load.holds, load.slot, load.number, load.operands) != (Number.OFFSET, NONE, 1, ())
        or not ends_with(tokenize.runs[number], _local("tee", first))
    ):
        return None
    return load._replace(number=address.number, slot=address.slot, more=1)


def _local(what: str, index: int) -> bytes:
    return {"get": b"\x20", "tee": b"\x22"}[what] + encode_unsigned(index)


def without_last(locals_: Sequence[tuple[int, bytes]], type_: bytes, count: int) -> list[tuple[int, bytes]] | None:
    """Groups of locals without the last `count`, if these are of a type."""
    left = list(locals_)
    while count and left and left[-1][1] == type_:
        number, _ = left.pop()
        if number > count:
            left.append((number - count, type_))
        count -= min(number, count)
    return None if count else left
