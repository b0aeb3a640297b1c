"""Comparing the code of a blob's function with that of the function that is to replace it, instruction by instruction.

This also finds equal what only writes a number in another way, or the address of a global variable in another place,
and it can say what differs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import chain
from typing import NamedTuple

from bacpack.proof.code.address_constants import Bases
from bacpack.proof.code.function_code import Code
from bacpack.proof.code.instruction_forms import Number, SlotValue
from bacpack.proof.code.module_view import ModuleView, decoded
from bacpack.wasm.reader import Reader


class Difference(NamedTuple):
    """What differs, and where in the blob's function, in bytes from its first instruction."""

    what: str
    position: int


class Side(NamedTuple):
    """A function that is compared."""

    view: ModuleView
    function: int
    code: Code

    def instruction(self, position: int) -> str:
        """The name of the instruction at a position."""
        _, start, end = self.view.span(self.function)
        return Reader(self.view.module.data, start + position, end).instruction()[0].name


def numbers_of(code: Code, value: SlotValue) -> list[int]:
    """The numbers of some code in one program."""
    if not code.slots:
        return code.numbers
    numbers = code.numbers.copy()
    for slot in code.slots:
        numbers[slot.position] = (numbers[slot.position] + value(slot.index) & slot.mask) + slot.more
    return numbers


def find_difference(blob: Side, split: Side, value: SlotValue) -> Difference | None:
    """The first difference between two functions, but for their operands."""
    if blob.code.locals != split.code.locals:
        return Difference("their locals differ", 0)
    return _instructions(blob, split) or _numbers(blob, numbers_of(split.code, value))


def _instructions(blob: Side, split: Side) -> Difference | None:
    # A run starts where the token before it ends.
    starts = [chain((0,), side.code.ends) for side in (blob, split)]
    columns = zip(*starts, blob.code.runs, split.code.runs, strict=False)
    for number, (at, at_split, run, run_split) in enumerate(columns):
        if run != run_split:
            same = _common(run, run_split)
            return _replaced(blob, at + same, split, at_split + same)
        shape, shape_split = blob.code.shapes[number : number + 1], split.code.shapes[number : number + 1]
        if shape != shape_split and shape and shape_split:
            return _replaced(blob, blob.code.starts[number], split, split.code.starts[number])
    if len(blob.code.runs) != len(split.code.runs):
        return Difference(
            "one of them is longer", min(side.code.ends[-1] if side.code.ends else 0 for side in (blob, split))
        )
    return None


def _common(run: bytes, other: bytes) -> int:
    """How many bytes the instructions take with which both begin."""
    same = 0
    for (_, _, content), (_, _, content_other) in zip(decoded(run), decoded(other), strict=False):
        if content != content_other:
            break
        same += len(content)
    return same


def _replaced(blob: Side, position: int, split: Side, position_split: int) -> Difference:
    before, after = blob.instruction(position), split.instruction(position_split)
    if before == after:
        return Difference(f"`{before}` has other operands", position)
    return Difference(f"`{before}` became `{after}`", position)


def _numbers(blob: Side, numbers: list[int]) -> Difference | None:
    """The first constant or offset that differs, unless a constant and the offset of the one access to it sum up."""
    code = blob.code
    numbered = array("I", (position for position, form in enumerate(code.forms) if form.holds))
    explained = bytearray(len(numbered))
    bases = Bases(blob.view, blob.function)
    for number, (before, after) in enumerate(zip(code.numbers, numbers, strict=True)):
        position = numbered[number]
        if before == after or code.forms[position].holds != Number.CONSTANT:
            continue
        access = _starting_at(code, numbered, bases.access(code.ends[position]))
        if access is None:
            return Difference(f"the constant {before} became {after}", code.starts[position])
        address, address_after = before + code.numbers[access], after + numbers[access]
        if address != address_after:
            return Difference(f"the address {address} became {address_after}", code.starts[position])
        explained[access] = True
    for number, (before, after) in enumerate(zip(code.numbers, numbers, strict=True)):
        position = numbered[number]
        if before != after and code.forms[position].holds == Number.OFFSET and not explained[number]:
            return Difference(f"the offset {before} became {after}", code.starts[position])
    return None


def _starting_at(code: Code, numbered: array[int], start: int) -> int | None:
    """Which number stands in the token that starts there; None if `start` is zero, or if none does."""
    position = bisect_left(code.starts, start)
    number = bisect_left(numbered, position)
    found = start and number < len(numbered) and numbered[number] == position and code.starts[position] == start
    return number if found else None
