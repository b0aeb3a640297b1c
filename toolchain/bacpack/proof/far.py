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
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from bacpack.proof.form import NONE, Form, Number
from bacpack.proof.unit import decoded
from bacpack.wasm.leb128 import encode_unsigned

_LOADS = range(0x28, 0x36)
_MINUS_ONE = (1 << 32) - 1
_I32_CONST = b"\x41"
_I32_ADD, _I32_GE_U, _SELECT = b"\x6a", b"\x4f", b"\x1b"
_LOCALS = frozenset(("local.get", "local.set", "local.tee"))


class Cut(NamedTuple):
    """Code that is cut: the runs between forms, the forms, and where each starts and ends."""

    runs: list[bytes]
    forms: list[Form]
    starts: array[int]
    ends: array[int]


def join_far_loads(cut: Cut, first: int) -> Cut | None:
    """Make one load of each such sequence, whose locals are `first` and the next; None when there is none.

    Also None when anything else uses these locals.
    """
    runs, forms, starts, ends = [cut.runs[0]], list[Form](), array("I"), array("I")
    number = 0
    while number < len(cut.forms):
        load = _far_load(cut, runs[-1], number, first)
        if load is None:
            forms.append(cut.forms[number])
            starts.append(cut.starts[number])
            ends.append(cut.ends[number])
            runs.append(cut.runs[number + 1])
            number += 1
            continue
        before = len(_local("tee", first))
        runs[-1] = runs[-1][:-before]
        forms.append(load)
        starts.append(cut.starts[number] - before)
        ends.append(cut.ends[number + 2])
        runs.append(cut.runs[number + 3])
        number += 3
    if len(forms) == len(cut.forms) or any(_uses_locals(run, first) for run in runs):
        return None
    return Cut(runs, forms, starts, ends)


def _far_load(cut: Cut, before: bytes, number: int, first: int) -> Form | None:
    """The load that the forms from `number` on are with the runs between them, if they are one."""
    if cut.forms[number].slot == NONE or len(cut.forms) < number + 3:
        return None
    address, largest, load = cut.forms[number : number + 3]
    get, get_sum, tee_sum = _local("get", first), _local("get", first + 1), _local("tee", first + 1)
    if (
        address.shape != _I32_CONST
        or cut.runs[number + 1] != _I32_ADD + tee_sum
        or (largest.shape, largest.slot, largest.number) != (_I32_CONST, NONE, _MINUS_ONE)
        or cut.runs[number + 2] != get_sum + get + _I32_GE_U + _SELECT
        or load.shape[0] not in _LOADS
        or (load.holds, load.slot, load.number, load.operands) != (Number.OFFSET, NONE, 1, ())
        or not _ends_with(before, _local("tee", first))
    ):
        return None
    return load._replace(number=address.number, slot=address.slot, more=1)


def _local(what: str, index: int) -> bytes:
    return {"get": b"\x20", "tee": b"\x22"}[what] + encode_unsigned(index)


def _ends_with(run: bytes, instruction: bytes) -> bool:
    """Whether an instruction is the last of a run."""
    return run.endswith(instruction) and deque(decoded(run), maxlen=1).pop()[2] == instruction


def _uses_locals(run: bytes, first: int) -> bool:
    return any(row.name in _LOCALS and values[0] >= first for row, values, _ in decoded(run))


def without_last(locals_: Sequence[tuple[int, bytes]], type_: bytes, count: int) -> list[tuple[int, bytes]] | None:
    """Groups of locals without the last `count`, if these are of a type."""
    left = list(locals_)
    while count and left and left[-1][1] == type_:
        number, _ = left.pop()
        if number > count:
            left.append((number - count, type_))
        count -= min(number, count)
    return None if count else left
